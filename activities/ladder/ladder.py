"""The way of one request through the providers.

Rungs: the policy's models in order, each with a retry and at most one other wording (tamer, stricter, shorter); when
money is short a cheaper model. What is below (cached text, a person) is for the caller, who knows whom a text is for.
Each step down is remembered with its reason. One deadline bounds the whole chain.

Who was asked, who was not, and why, is one story: the policy's decision, completed by what was met on the way down.

An answer is bought at most once, and a refusal is never shopped around: an attempt after another one first asks the
store who has refused, and the providers what they keep of the step. What a process that was killed has begun may still
run there: the next attempt looks until it would have been given up.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count, product
from time import monotonic
from types import MappingProxyType
from typing import TypeVar
from uuid import UUID

from temporalio import activity

from activities.ladder.booking import Booking
from activities.ladder.breaker import CountedBreaker
from activities.ladder.descent import Descent
from activities.ladder.earlier import Earlier
from activities.ladder.error_class import refusal_error
from activities.ladder.metrics import LadderMetrics
from activities.ladder.ports import Answered, LadderPorts, Question
from activities.ladder.refusals import KnownRefusals
from activities.ladder.size import Sized
from domain.campaign import CampaignRecord, OnBudget
from domain.cost import operation_id
from domain.errors import CostLimitExceeded, ProviderError, ProviderFault
from domain.experiment import ArmObservation, Metric
from domain.progress import Tally
from domain.prompt import Prompt, Refusal, Variant
from domain.provider import FallbackReason, FallbackStep, IntentType
from domain.routing import CACHE, Decision, RouteReason, RouteTaken, Target, decide

R = TypeVar("R")

CALLS_OF_A_PLAN = 20
"""More than one attempt at one question can make: each model twice, and once in another wording."""


class Ladder:
    """Asks for one request (or one page); ``tally`` is what happened on the way.

    ``attempt``: from 2 on, an earlier attempt may have bought answers that never arrived; its calls may still run for
    ``running_s``, and it knew of ``refusals`` by step. ``run`` tells one execution of the activity from every other.
    """

    def __init__(
        self,
        record: CampaignRecord,
        ports: LadderPorts,
        tally: Tally,
        *,
        attempt: int,
        run: str,
        running_s: float = 0.0,
        refusals: Mapping[UUID, Refusal] = MappingProxyType({}),
    ) -> None:
        self._record = record
        self._ports = ports
        self._attempt = attempt
        self._run = run
        self._running_until = monotonic() + running_s
        self.refusals = KnownRefusals(record.campaign_id, ports.refusals, run, refusals)
        self._stopped = False
        self._numbers: Iterator[int] = count()
        self._booking = Booking(record, ports)
        self._last: dict[UUID, Target] = {}
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

    @cached_property
    def breaker(self) -> CountedBreaker:
        """The breakers of all models."""
        return CountedBreaker(self._ports.breaker, self.metrics)

    @property
    def campaign_id(self) -> str:
        """Whose way it is."""
        return self._record.campaign_id

    @property
    def running_s(self) -> float:
        """How long (s) calls of earlier attempts may still run at their providers."""
        return max(0.0, self._running_until - monotonic())

    def stop(self) -> None:
        """Begin no further call."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether no further call is to be begun."""
        return self._stopped

    def raise_if_stopped(self) -> None:
        """Raises ``ProviderError`` (transient) after ``stop``."""
        if self._stopped:
            raise ProviderError("nobody is asked any more", fault=ProviderFault.TRANSIENT)

    async def ask(self, question: Question[R]) -> Answered[R]:
        """The first usable answer.

        Raises the last ``ProviderError`` when nobody has one, ``CostLimitExceeded`` when no budget has enough left.
        """
        usual = self.sized(question.prompt(Variant.USUAL))
        decision = self._decide(question, usual)
        refused = await self.refusals.of(question, looks=question.looks or self._attempt > 1)
        if question.asked_anew or self._attempt > 1:
            kept = await self._bought(question, decision, refused)
            if kept is not None:
                return kept
            refused = await self.refusals.of(question, looks=False)
        until = monotonic() + self._ports.deadline_s
        return await Descent(self, self._booking, question, usual, decision, until, refused).run()

    async def refused(self, question: Question[R]) -> Sequence[Refusal | None]:
        """What was refused before of each that a question is about; empty: nothing."""
        return await self.refusals.each(question, looks=question.looks or self._attempt > 1)

    async def _bought(self, question: Question[R], decision: Decision, refused: Refusal | None) -> Answered[R] | None:
        earlier = Earlier(self, self._booking)
        running_until = self._running_until if question.waits else 0.0
        asked = (*decision.candidates, *decision.cheaper)
        if refused is not None:
            # Nobody else was asked since.
            asked = tuple(each for each in asked if each.target.key == refused.target)
        try:
            return await earlier.bought(question, decision, asked, self._ports.deadline_s, running_until)
        except ProviderError:
            if self._stopped:
                raise
            self.step(question, asked[0].target, "none", FallbackReason.LOOK_UP)
            refused = await self.refusals.of(question, looks=False)
            if refused is not None:
                raise refusal_error(refused) from None
            raise

    def sized(self, prompt: Prompt) -> Sized:
        """A prompt to be asked."""
        return Sized(prompt, self._ports.tokens)

    def step_id(self, question: Question[R]) -> UUID:
        """The same for every attempt."""
        return operation_id(self._record.campaign_id, question.purpose, question.key)

    def next_operation(self, step_id: UUID, target: Target) -> UUID:
        """A purchase of its own for every call."""
        return self._operation(step_id, target, self._attempt, next(self._numbers))

    def is_ours(self, operation: UUID, step_id: UUID, target: Target) -> bool:
        """Whether an attempt of this execution bought it, as one of its first calls."""
        numbers = product(range(1, self._attempt), range(CALLS_OF_A_PLAN))
        return any(operation == self._operation(step_id, target, *each) for each in numbers)

    def _operation(self, step_id: UUID, target: Target, attempt: int, number: int) -> UUID:
        return operation_id(str(step_id), target.key, self._run, str(attempt), str(number))

    async def observe(self, observation: ArmObservation) -> None:
        """Add to what an experiment knows; the answer is paid for, so one observation less is the smaller loss."""
        try:
            await self._ports.experiments.observe(observation)
        except Exception as error:  # noqa: BLE001 - whatever it is
            activity.logger.warning("an observation of an experiment is lost", extra={"error": type(error).__name__})

    async def observe_cost(self, decision: Decision, operation: UUID, micros: int) -> None:
        """What the arm of a decision was billed without an answer of it that could be used, in µ$."""
        await self.observe(
            ArmObservation(
                observation_id=str(operation),
                experiment=decision.experiment,
                arm=decision.arm,
                values={Metric.COST_MICROS: micros},
            )
        )

    def step(self, question: Question[R], target: Target, to: str, reason: ProviderFault | FallbackReason) -> None:
        """Remember one step down."""
        taken = FallbackStep(
            from_provider=target.provider, model=target.model, to=to, reason=reason, purpose=question.purpose
        )
        self._last[self.step_id(question)] = target
        self.tally += Tally(fallbacks=(taken,), fallback_count=1)
        self.metrics.stepped(taken)
        activity.logger.info(
            "provider.fallback", extra={"from": target.key, "to": to, "reason": str(reason), "purpose": taken.purpose}
        )

    def step_below(self, question: Question[R], to: str, error: ProviderError | CostLimitExceeded) -> None:
        """Remember the step from the last model that was asked to what is below all of them."""
        reason = error.fault if isinstance(error, ProviderError) else FallbackReason.BUDGET
        target = self._last.get(self.step_id(question)) or self._ports.routing.routes[question.intent][0]
        self.step(question, target, to, reason)

    def served_from_cache(
        self, question: Question[R], error: ProviderError | CostLimitExceeded, answers: int = 1
    ) -> None:
        """What was paid for before serves in place of so many answers, which cost nothing."""
        self.step_below(question, CACHE, error)
        route = RouteTaken(intent=question.intent, target=CACHE, reason=RouteReason.CACHED, answers=answers)
        self.tally += Tally(routes=(route,), cached=answers)

    async def answered(
        self, route: RouteTaken, target: Target, operation: UUID, cost_micros: int, latency_ms: float | None
    ) -> None:
        """Remember who answered, why it was asked, and what that took of the arm that it counts for.

        ``cost_micros``: in µ$, with what the arm was billed for answers before it that could not be used.
        ``latency_ms``: ``None`` for an answer to an attempt before this one: nobody knows when it came.
        """
        # Who judges a text has not made it.
        made_by = () if route.intent is IntentType.CONTENT_VALIDATION else (target.provider,)
        self.tally += Tally(providers=made_by, routes=(route,))
        self.metrics.answered(route, latency_ms)
        activity.logger.info(
            "provider.answered",
            extra={
                "target": route.target,
                "intent": str(route.intent),
                "reason": str(route.reason),
                "passed_over": [f"{each.target}: {each.reason}" for each in route.passed_over],
                "experiment": route.experiment,
                "arm": route.arm,
            },
        )
        if route.arm:
            latency = {} if latency_ms is None else {Metric.LATENCY_MS: latency_ms}
            await self.observe(
                ArmObservation(
                    observation_id=str(operation),
                    experiment=route.experiment,
                    arm=route.arm,
                    values={Metric.COST_MICROS: cost_micros, **latency},
                )
            )

    def _decide(self, question: Question[R], usual: Sized) -> Decision:
        options = self._ports.routing.options(question.intent)
        decision = decide(
            self._ports.routing,
            question.intent,
            preferred=self._record.preferred_provider,
            unit=question.unit,
            too_small=frozenset(each.key for each in options if not usual.fits(each)),
        )
        return decision.model_copy(update={"cheaper": ()}) if self._record.on_budget is OnBudget.STOP else decision
