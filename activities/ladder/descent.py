"""One question's way down the rungs."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID

from activities.ladder.booking import Booking
from activities.ladder.error_class import (
    OUTAGES,
    SHOPPED,
    other_wording,
    patience_s,
    refusal_error,
    wait_before_repeating,
)
from activities.ladder.ports import Answered, Question
from activities.ladder.size import Sized
from domain.alert import AlertKind, Severity
from domain.breaker import Admission
from domain.budget import Budget
from domain.cost import Usage
from domain.errors import CostLimitExceeded, ProviderError, ProviderFault
from domain.progress import Tally
from domain.prompt import ProviderCall, Refusal, Variant
from domain.provider import FallbackReason, Provider
from domain.routing import Candidate, Decision, PassedOver, RouteReason, Target, route_taken

if TYPE_CHECKING:
    from activities.ladder.ladder import Ladder

R = TypeVar("R")


class Descent(Generic[R]):
    """One question's way down; ``until`` is its deadline on the monotonic clock (s).

    ``refused``: what an earlier attempt was told on policy.
    """

    def __init__(
        self,
        ladder: "Ladder",
        booking: Booking,
        question: Question[R],
        usual: Sized,
        decision: Decision,
        until: float,
        refused: Refusal | None = None,
    ) -> None:
        self._ladder = ladder
        self._booking = booking
        self._ports = ladder.ports
        self._question = question
        self._usual = usual
        self._decision = decision
        self._step_id = ladder.step_id(question)
        self._until = until
        self._refused = refused
        self._failure: ProviderError | None = None
        self._refusal: ProviderError | None = None
        self._passed_over: list[PassedOver] = []
        self._unusable: tuple[UUID, int] | None = None

    async def run(self) -> Answered[R]:
        """The first usable answer; what its arm was billed for in vain counts for the arm, also without one."""
        try:
            return await self._answer()
        finally:
            if self._unusable is not None:
                await self._ladder.observe_cost(self._decision, *self._unusable)

    async def _answer(self) -> Answered[R]:
        """The models of the route, then the cheaper ones if it was money that was missing.

        Once one has refused on policy, its own answer to a safe rewrite is all that may follow: whatever else the
        rewrite meets, an outage or an empty budget, the refusal stands and is raised.
        """
        if self._refused is not None:
            return await self._after_refusal(self._refused)
        cheaper = self._decision.cheaper
        try:
            answer = await self._first_of(self._decision.candidates, cheaper[0].target.key if cheaper else "none")
        except CostLimitExceeded:
            if not cheaper:
                raise
            answer = await self._first_of(cheaper, "none")
        if answer is None:
            refused_or_failed = self._refusal or self._failure
            raise refused_or_failed or ProviderError("no model may be asked", fault=ProviderFault.TRANSIENT)
        return answer

    async def _after_refusal(self, refused: Refusal) -> Answered[R]:
        """The safe wording for whoever refused before, where an earlier attempt did not get that far."""
        self._ladder.raise_if_stopped()
        fault = ProviderFault.CONTENT_POLICY
        self._refusal = refusal_error(refused)
        asked = (*self._decision.candidates, *self._decision.cheaper)
        candidate = next((each for each in asked if each.target.key == refused.target), None)
        if candidate is None or refused.reworded:
            provider, _, model = refused.target.partition("/")
            self._ladder.step(self._question, Target(provider=Provider(provider), model=model), "none", fault)
            raise self._refusal
        self._ladder.step(self._question, candidate.target, "rewrite", fault)
        answer = await self._first_of((candidate,), "none", Variant.SAFE)
        if answer is None:
            raise self._refusal
        return answer

    async def _first_of(
        self, candidates: Sequence[Candidate], without_money: str, variant: Variant = Variant.USUAL
    ) -> Answered[R] | None:
        """The first answer; ``without_money``: what comes after all of them when one is not affordable."""
        for position, candidate in enumerate(candidates):
            following = candidates[position + 1].target.key if position + 1 < len(candidates) else "none"
            try:
                answer = await self._from(candidate, following, variant)
            except CostLimitExceeded as short:
                self._leave(candidate.target, without_money, FallbackReason.BUDGET)
                await self._booking.budget_alert(short)
                raise self._refusal or short from None
            if answer is not None or self._refusal is not None:
                return answer
        return None

    def _leave(self, target: Target, to: str, reason: ProviderFault | FallbackReason) -> None:
        if self._refusal is not None:
            to = "none"
        self._passed_over.append(PassedOver(target=target.key, reason=reason))
        self._ladder.step(self._question, target, to, reason)

    async def _from(self, candidate: Candidate, following: str, variant: Variant) -> Answered[R] | None:
        """One model's answer; ``None``: the next one may be asked. Raises what must not be shopped around."""
        target, repeated = candidate.target, 0
        while True:
            self._ladder.raise_if_stopped()
            if monotonic() >= self._until:
                self._note(ProviderError("the deadline has passed", fault=ProviderFault.TIMEOUT))
                self._leave(target, following, FallbackReason.DEADLINE)
                return None
            try:
                answer = await self._try(candidate, variant)
            except ProviderError as error:
                self._failure = error
                if error.fault is ProviderFault.CONTENT_POLICY:
                    self._refusal = error
            else:
                if answer is None:
                    self._leave(target, following, FallbackReason.BREAKER_OPEN)
                return answer
            fault = self._failure.fault
            wording = other_wording(fault, variant)
            if wording is not None:
                variant, to = wording
                self._ladder.step(self._question, target, to, fault)
                continue
            wait_s = wait_before_repeating(self._failure, repeated, self._until - monotonic())
            if wait_s is not None:
                repeated += 1
                await asyncio.sleep(wait_s)
                continue
            if fault not in SHOPPED:
                self._leave(target, "none", fault)
                raise self._refusal or self._failure
            self._leave(target, following, fault)
            return None

    async def _try(self, candidate: Candidate, variant: Variant) -> Answered[R] | None:
        """Reserve, ask the breaker, call; ``None``: the breaker is open.

        In this order, because whoever is given the probe has to make the call.
        """
        target = candidate.target
        prompt = self._usual if variant is Variant.USUAL else self._ladder.sized(self._question.prompt(variant))
        operation = self._ladder.next_operation(self._step_id, target)
        now = datetime.now(UTC)
        charged = await self._booking.reserve(operation, prompt, target, now)
        admission = await self._ladder.breaker.admit(target.key)
        if not admission.allowed:
            await self._booking.refund(operation, charged)
            self._note(_rejected(target, admission))
            return None
        return await self._call(candidate, variant, prompt, operation, charged, admission, now)

    async def _call(
        self,
        candidate: Candidate,
        variant: Variant,
        prompt: Sized,
        operation: UUID,
        charged: Sequence[Budget],
        admission: Admission,
        now: datetime,
    ) -> Answered[R]:
        """Call and book: an answer that can't be read was paid for as well."""
        ladder, ports, question, target = self._ladder, self._ports, self._question, candidate.target
        call = ProviderCall(
            operation_id=operation,
            step_id=self._step_id,
            campaign_id=ladder.campaign_id,
            timeout_s=max(0.1, min(patience_s(ports.call_timeout_s, admission), self._until - monotonic())),
        )
        started = monotonic()
        try:
            completion = await ports.models[target.key].complete(prompt.prompt, call)
        except ProviderError as error:
            keeping = None
            if error.fault is ProviderFault.CONTENT_POLICY:
                ladder.refusals.heard(question, target.key, reworded=variant is Variant.SAFE)
                # Neither waits for the other: each is lost if the process ends before.
                keeping = asyncio.create_task(ladder.refusals.keep(question))
            try:
                await self._account_for(error, candidate, prompt, operation, charged, admission, now)
            finally:
                if keeping is not None:
                    await keeping
            raise
        except BaseException:
            if admission.probe:
                await ladder.breaker.failed(target.key, admission)
            await self._booking.hold(operation, prompt, target, charged, now)
            raise
        latency_ms = (monotonic() - started) * 1000
        if admission.probe:
            await ladder.breaker.succeeded(target.key, admission)
        # Nothing is free: what the provider does not say is booked at the most that it can be.
        usage = completion.usage or prompt.at_most(target)
        booked = partial(self._booking.book, question.purpose, target, operation, usage, charged=charged, at=now)
        try:
            value = question.read(completion.content)
        except ProviderError:
            self._was_unusable(candidate, operation, await booked(usable=False))
            raise
        cost = await booked(usable=True)
        route = route_taken(self._decision, candidate, tuple(self._passed_over))
        if route.arm and self._unusable is not None:
            cost, self._unusable = cost + self._unusable[1], None
        await ladder.answered(route, target, operation, cost, latency_ms)
        return Answered(value, target, prompt.prompt.version, route.experiment, route.arm)

    async def _account_for(
        self,
        error: ProviderError,
        candidate: Candidate,
        prompt: Sized,
        operation: UUID,
        charged: Sequence[Budget],
        admission: Admission,
        now: datetime,
    ) -> None:
        """Book, hold or give back what a failed call took, and tell the breaker."""
        target = candidate.target
        if error.fault in OUTAGES:
            await self._ladder.breaker.failed(target.key, admission)
        elif admission.probe:
            await self._ladder.breaker.succeeded(target.key, admission)
        if error.fault is ProviderFault.AUTH:
            await self._booking.alert(AlertKind.PROVIDER_AUTH, target.key, Severity.CRITICAL, now)
        if error.billed_tokens is not None:
            usage = Usage.of(error.billed_tokens)
            cost = await self._booking.book(
                self._question.purpose, target, operation, usage, usable=False, charged=charged, at=now
            )
            self._was_unusable(candidate, operation, cost)
        elif error.billing_unknown:
            # The provider may charge for an answer that nobody got.
            self._ladder.tally += Tally(unresolved=1)
            await self._booking.hold(operation, prompt, target, charged, now)
        else:
            await self._booking.refund(operation, charged)

    def _was_unusable(self, candidate: Candidate, operation: UUID, micros: int) -> None:
        """Remember what the arm of an experiment was billed for an answer that can't be used."""
        if candidate.reason is RouteReason.EXPERIMENT:
            before = 0 if self._unusable is None else self._unusable[1]
            self._unusable = operation, before + micros

    def _note(self, error: ProviderError) -> None:
        self._failure = self._failure or error


def _rejected(target: Target, admission: Admission) -> ProviderError:
    return ProviderError(
        f"the breaker of {target.key} is open",
        fault=ProviderFault.TRANSIENT,
        retry_after_s=admission.retry_after_ms / 1000,
    )
