"""The way of one request through the providers.

Rungs: the policy's models in order, each with a retry and at most one other wording (tamer, stricter, shorter); when
money is short a cheaper model. What is below (cached text, a person) is for the caller, who knows whom a text is for.
Each step down is remembered with its reason. One deadline bounds the whole chain.

An answer is bought at most once: an attempt after a crash first asks the providers what they keep of the step.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import count
from time import monotonic
from typing import TypeVar
from uuid import UUID

from temporalio import activity

from activities.ladder.booking import Booking
from activities.ladder.descent import Descent
from activities.ladder.metrics import LadderMetrics
from activities.ladder.ports import Answered, LadderPorts, Question
from domain.campaign import CampaignRecord, OnBudget
from domain.cost import operation_id
from domain.errors import ProviderError, ProviderFault
from domain.experiment import ArmObservation
from domain.progress import Tally
from domain.prompt import KeptAnswer
from domain.provider import FallbackReason, FallbackStep
from domain.routing import Decision, RouteTaken, Target, decide, route_taken

R = TypeVar("R")

LOOK_UP_S = 5.0
"""How long a provider may take to say what it has kept."""


class Ladder:
    """Asks for one request (or one page); ``tally`` is what happened on the way.

    ``attempt``: from 2 on, an earlier attempt may have bought answers that never arrived. ``run`` tells one execution
    of the activity from every other.
    """

    def __init__(self, record: CampaignRecord, ports: LadderPorts, tally: Tally, *, attempt: int, run: str) -> None:
        self._record = record
        self._ports = ports
        self._attempt = attempt
        self._run = run
        self._numbers: Iterator[int] = count()
        self._booking = Booking(record, ports)
        # What an attempt before this one began may have been charged without an entry.
        self.tally = tally if attempt == 1 else tally + Tally(unresolved=1)

    @property
    def ports(self) -> LadderPorts:
        """What it works with."""
        return self._ports

    @cached_property
    def metrics(self) -> LadderMetrics:
        """The activity's instruments."""
        return LadderMetrics()

    @property
    def campaign_id(self) -> str:
        """Whose way it is."""
        return self._record.campaign_id

    async def ask(self, question: Question[R]) -> Answered[R]:
        """The first usable answer.

        Raises the last ``ProviderError`` when nobody has one, ``CostLimitExceeded`` when no budget has enough left.
        """
        until = monotonic() + self._ports.deadline_s
        decision = decide(
            self._ports.routing, question.intent, preferred=self._record.preferred_provider, unit=question.unit
        )
        if self._record.on_budget is OnBudget.STOP:
            decision = decision.model_copy(update={"cheaper": ()})
        if self._attempt > 1:
            kept = await self._bought_before(question, decision, until)
            if kept is not None:
                return kept
        return await Descent(self, self._booking, question, decision, until).run()

    def step_id(self, question: Question[R]) -> UUID:
        """The same for every attempt."""
        return operation_id(self._record.campaign_id, question.purpose, question.key)

    def next_operation(self, question: Question[R], target: Target) -> UUID:
        """A purchase of its own for every call."""
        number = str(next(self._numbers))
        return operation_id(str(self.step_id(question)), target.key, self._run, str(self._attempt), number)

    async def observe(self, observation: ArmObservation) -> None:
        """Add to what an experiment knows; the answer is paid for, so one observation less is the smaller loss."""
        try:
            await self._ports.experiments.observe(observation)
        except Exception as error:  # noqa: BLE001 - whatever it is
            activity.logger.warning("an observation of an experiment is lost", extra={"error": type(error).__name__})

    def step(self, question: Question[R], target: Target, to: str, reason: ProviderFault | FallbackReason) -> None:
        """Remember one step down."""
        taken = FallbackStep(
            from_provider=target.provider, model=target.model, to=to, reason=reason, purpose=question.purpose
        )
        self.tally += Tally(fallbacks=(taken,), fallback_count=1)
        self.metrics.stepped(taken)
        activity.logger.info(
            "provider.fallback", extra={"from": target.key, "to": to, "reason": str(reason), "purpose": taken.purpose}
        )

    def answered(self, route: RouteTaken, target: Target, latency_ms: float) -> None:
        """Remember who answered, and why it was asked."""
        self.tally += Tally(providers=(target.provider,), routes=(route,))
        self.metrics.answered(route, latency_ms)
        activity.logger.info(
            "provider.answered",
            extra={
                "target": route.target,
                "intent": str(route.intent),
                "reason": str(route.reason),
                "experiment": route.experiment,
                "arm": route.arm,
            },
        )

    async def _bought_before(self, question: Question[R], decision: Decision, until: float) -> Answered[R] | None:
        """The first readable answer that an earlier attempt paid for; all of them are booked, once."""
        found: Answered[R] | None = None
        for candidate in (*decision.candidates, *decision.cheaper):
            target = candidate.target
            for kept in await self._kept(target, self.step_id(question), until):
                answer = _read_again(question, route_taken(decision, candidate), target, kept)
                await self._booking.book(
                    question.purpose, target, kept.operation_id, kept.usage, usable=answer is not None
                )
                found = found or answer
        return found

    async def _kept(self, target: Target, step_id: UUID, until: float) -> Sequence[KeptAnswer]:
        """Not asked of a provider that does not answer: what was paid there is found at the end of the campaign.

        Looking up has a breaker of its own: that a list works, or does not, says nothing about answers.
        """
        breaker, name = self._ports.breaker, f"{target.key}/kept"
        admission = await breaker.admit(name)
        if not admission.allowed:
            return ()
        timeout_s = max(0.1, min(LOOK_UP_S, self._ports.call_timeout_s, until - monotonic()))
        try:
            kept = await self._ports.models[target.key].kept_of_step(step_id, timeout_s=timeout_s)
        except ProviderError:
            await breaker.failed(name, admission)
            return ()
        except BaseException:
            await breaker.failed(name, admission)
            raise
        await breaker.succeeded(name, admission)
        return kept


def _read_again(question: Question[R], route: RouteTaken, target: Target, kept: KeptAnswer) -> Answered[R] | None:
    try:
        value = question.read(kept.content)
    except ProviderError:
        return None
    return Answered(value, target, kept.prompt_version, route.experiment, route.arm)
