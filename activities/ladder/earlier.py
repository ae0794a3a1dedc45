"""What an attempt before this one has bought of a step: asked of the providers before anything is bought again."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from random import uniform
from time import monotonic
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from activities.ladder.booking import Booking
from activities.ladder.ports import Answered, Question
from domain.alert import AlertKind, Severity
from domain.errors import ProviderError, ProviderFault
from domain.prompt import KeptAnswer
from domain.routing import Candidate, Decision, Target, route_taken

if TYPE_CHECKING:
    from activities.ladder.ladder import Ladder

R = TypeVar("R")

LOOK_UP_S = 5.0
"""How long a provider may take to say what it has kept."""
PATIENCE_S = 15.0
"""For so long an attempt asks again a provider that can't say; then whoever runs the attempt decides."""
PAUSE_S = 1.0
"""Between two such questions, on average."""
LONGEST_PAUSE_S = 4.0
"""Between two looks for a call that may still run; each pause is twice as long as the one before."""

_PASSES = frozenset({ProviderFault.THROTTLED, ProviderFault.TRANSIENT, ProviderFault.TIMEOUT})
"""After these it can say so later. A key or an address that may not list answers stays so, and says nothing."""


class Earlier:
    """Looks up the purchases of earlier attempts of one activity.

    A model that still lets calls through may have been asked, so its list is waited for. One whose breaker is not
    closed is passed over, as it is after a time-out: should it have been paid, that is found in the end.
    """

    def __init__(self, ladder: "Ladder", booking: Booking) -> None:
        self._ladder = ladder
        self._ports = ladder.ports
        self._booking = booking
        self._breaker = ladder.breaker

    async def bought(
        self,
        question: Question[R],
        decision: Decision,
        asked: Sequence[Candidate],
        patience_s: float,
        running_until: float,
    ) -> Answered[R] | None:
        """The first readable answer that was paid for, of those who may have been ``asked``; all are booked, once.

        ``running_until``: when a call that an earlier attempt began has ended or would have been given up, on the
        monotonic clock (s). Raises ``ProviderError`` (transient) when it can't be found out within ``patience_s``
        whether there is an answer, and when the request is stopped.
        """
        if not any(self._ports.models[each.target.key].keeps_answers for each in asked):
            return None
        pause_s = PAUSE_S
        while True:
            looked_at = monotonic()
            found = await self._listed(question, decision, asked, looked_at + min(PATIENCE_S, patience_s))
            if found is not None or looked_at >= running_until:
                return found
            await asyncio.sleep(min(pause_s, max(0.0, running_until - monotonic())))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            self._ladder.raise_if_stopped()

    async def _listed(
        self, question: Question[R], decision: Decision, everyone: Sequence[Candidate], until: float
    ) -> Answered[R] | None:
        """What the providers list by now; one that can't say is asked ``until`` then, on the monotonic clock (s)."""
        step_id = self._ladder.step_id(question)
        asking = everyone
        while True:
            found: Answered[R] | None = None
            silent: list[Candidate] = []
            for candidate in asking:
                kept = await self._kept(candidate.target, step_id, until)
                if kept is None:
                    silent.append(candidate)
                for each in kept or ():
                    answer = await self._booked(question, decision, candidate, each, first=found is None)
                    found = found or answer
            asking = [] if found else [each for each in silent if await self._breaker.closed(each.target.key)]
            if not asking:
                return found
            pause_s = uniform(PAUSE_S / 2, PAUSE_S * 3 / 2)
            if monotonic() + pause_s >= until:
                raise ProviderError(
                    f"{asking[0].target.key} can't say what it was paid for before", fault=ProviderFault.TRANSIENT
                )
            await asyncio.sleep(pause_s)
            self._ladder.raise_if_stopped()

    async def _booked(
        self, question: Question[R], decision: Decision, candidate: Candidate, kept: KeptAnswer, *, first: bool
    ) -> Answered[R] | None:
        """The answer, if it can be read; ``first``: it is the one that serves."""
        target, operation = candidate.target, kept.operation_id
        book = partial(self._booking.book, question.purpose, target, operation, kept.usage)
        if kept.refused:
            # Only who asks anew has to tell what was asked before from what was asked since.
            ours = not question.asked_anew or self._ladder.is_ours(operation, self._ladder.step_id(question), target)
            self._ladder.refusals.listed(question, target.key, reworded=kept.is_safe, ours=ours)
            await book(usable=False)
            await self._ladder.refusals.keep(question)
            return None
        try:
            value = question.read(kept.content)
        except ProviderError:
            await book(usable=False)
            return None
        cost = await book(usable=True)
        route = route_taken(decision, candidate)
        if first:
            await self._ladder.answered(route, target, operation, cost, latency_ms=None)
        return Answered(value, target, kept.prompt_version, route.experiment, route.arm)

    async def _kept(self, target: Target, step_id: UUID, until: float) -> Sequence[KeptAnswer] | None:
        """``None``: it can't say now.

        Looking up has a breaker of its own: that a list works, or does not, says nothing about answers.
        """
        name = target.kept_key
        admission = await self._breaker.admit(name)
        if not admission.allowed:
            return None
        timeout_s = max(0.1, min(LOOK_UP_S, self._ports.call_timeout_s, until - monotonic()))
        try:
            kept = await self._ports.models[target.key].kept_of_step(step_id, timeout_s=timeout_s)
        except ProviderError as error:
            if error.fault in _PASSES:
                await self._breaker.failed(name, admission)
                return None
            await self._breaker.succeeded(name, admission)
            await self._booking.alert(AlertKind.PROVIDER_AUTH, name, Severity.WARNING, datetime.now(UTC))
            return ()
        except BaseException:
            await self._breaker.failed(name, admission)
            raise
        await self._breaker.succeeded(name, admission)
        return kept
