"""Shadow runs: what the legacy system has just answered, once more through the new one, without any effect.

Nobody waits for them, nothing is sent, and their requests belong to a user of their own with a small budget.
"""

import asyncio
import json
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from time import perf_counter
from typing import Final, NamedTuple
from uuid import uuid4

import structlog
from pydantic import ValidationError

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.legacy_exchange import Forwarded, unpacked
from api.legacy_hybrid import (
    ENGINE_UNAVAILABLE,
    TIMEOUT,
    UNEXPECTED,
    Answered,
    HandedBack,
    HybridRequest,
    HybridSystem,
    campaign_of,
)
from api.legacy_route import off_the_loop, read
from domain.campaign import OnBudget
from domain.cost import micros_from_dollars
from domain.flag import HYBRID_SHADOW
from domain.legacy import SHADOW_USER, VERSION, AnsweredBy, LegacyReason
from domain.legacy_translation import LegacyCampaign, translate, without_effect
from domain.shadow import STATUSES, ComparedAnswer, Comparison, FieldParity, compare

_log = structlog.get_logger()

MAX_ANSWER: Final = 256 * 1024
"""Bytes of a legacy answer, unpacked, that is compared."""

NOT_COMPARABLE: Final = "answer_not_comparable"
NOT_TRANSLATABLE: Final = "not_translatable"
OVER_BUDGET: Final = "daily_cost"
BUSY: Final = "busy"


GRACE_S: Final = 15.0
"""How long a worker has to stop a run that took too long, and to book what it cost."""


_PERHAPS_RUNNING: Final = frozenset({TIMEOUT, ENGINE_UNAVAILABLE})


class Answers(NamedTuple):
    """A request that the legacy system has answered. ``accounts``: those that its user's token lists; ``None``: not
    limited by one."""

    request: bytes
    answer: Forwarded
    trace_id: str
    accounts: frozenset[str] | None = None


class ShadowRequest(NamedTuple):
    """What is run. ``intent``: what was asked for; ``only_planned``: it would send, so it is planned and no more."""

    request: HybridRequest
    intent: str
    only_planned: bool


class ShadowRuns:
    """The runs of one process; ``close`` ends them. ``dropped``: by why they were not run."""

    def __init__(self, ports: Ports, settings: Settings, hybrid: HybridSystem) -> None:
        self._ports = ports
        self._hybrid = hybrid
        self._most = settings.shadow_concurrency
        self._max_audience = settings.max_audience
        self._max_cost: Decimal = settings.shadow_max_cost
        self._daily_micros = micros_from_dollars(settings.shadow_daily_cost)
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped: Counter[str] = Counter()

    def submit(self, answers: Answers) -> None:
        """Run it in the background, unless enough are running; returns at once."""
        if len(self._tasks) >= self._most:
            self.dropped[BUSY] += 1
            return
        task = asyncio.create_task(self._run(answers))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Return when nothing runs."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Cancel what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, answers: Answers) -> None:
        try:
            if not await self._affordable():
                self.dropped[OVER_BUDGET] += 1
                return
            comparison = await self._compared(answers)
            await self._ports.shadow.add(comparison)
            _log.info("shadow.compared", intent=comparison.intent, error=comparison.error)
        except Exception as error:  # noqa: BLE001 - nobody waits for it, and nothing depends on it
            self.dropped[UNEXPECTED] += 1
            _log.warning("shadow.lost", error=type(error).__name__)

    async def _affordable(self) -> bool:
        """Whether the day's money covers everything that runs now, at its most expensive.

        This saves runs that would come to nothing. The cap itself is a budget of the user whose the runs are, and holds
        before each call of a model, whichever worker makes it and when.
        """
        today = datetime.now(UTC).date().isoformat()
        totals = await self._ports.costs.user_totals(SHADOW_USER, today, today)
        spent = sum(each.cost_micros for each in totals.values())
        return spent + len(self._tasks) * micros_from_dollars(self._max_cost) <= self._daily_micros

    async def _compared(self, answers: Answers) -> Comparison:
        key, at = str(uuid4()), datetime.now(UTC)
        legacy = await off_the_loop(len(answers.answer.body or b""), lambda: _compared_answer(answers.answer))
        shadow = await off_the_loop(len(answers.request), lambda: self._request(answers, key))
        if isinstance(shadow, str):
            return _without_answer(key, at, "", shadow, answers)
        if legacy is None:
            return _without_answer(key, at, shadow.intent, NOT_COMPARABLE, answers)
        started = perf_counter()
        outcome = await self._hybrid.run(shadow.request)
        hybrid_ms = (perf_counter() - started) * 1000
        if isinstance(outcome, HandedBack) and outcome.error in _PERHAPS_RUNNING:
            await self._hybrid.abandon(shadow.request, GRACE_S)
        cost = 0
        with suppress(Exception):
            cost = (await self._ports.costs.campaign_totals(campaign_of(shadow.request))).cost_micros
        fields: tuple[FieldParity, ...] = ()
        if isinstance(outcome, Answered) and not outcome.error:
            fields = compare(legacy, _hybrid_answer(outcome), by_type=STATUSES if shadow.only_planned else frozenset())
        return Comparison(
            comparison_id=key,
            at=at,
            intent=shadow.intent,
            fields=fields,
            legacy_ms=answers.answer.first_byte_ms,
            hybrid_ms=hybrid_ms,
            cost_micros=cost,
            error=outcome.error,
        )

    def _request(self, answers: Answers, key: str) -> ShadowRequest | str:
        """What to run, or why there is nothing."""
        document, _ = read(answers.request)
        try:
            campaign = LegacyCampaign.model_validate(document)
        except ValidationError:
            return NOT_TRANSLATABLE
        asked = translate(campaign, answers.accounts, max_audience=self._max_audience)
        if isinstance(asked, LegacyReason):
            return f"{NOT_TRANSLATABLE}_{asked}"
        translation = without_effect(asked)
        thrifty = {"max_cost": self._max_cost, "on_budget": OnBudget.STOP}
        request = HybridRequest(
            translation=translation.model_copy(update={"intent": translation.intent.model_copy(update=thrifty)}),
            user=campaign.user_id,
            owner=SHADOW_USER,
            key=key,
            keyed=False,
            flag=HYBRID_SHADOW,
            trace_id=answers.trace_id,
        )
        return ShadowRequest(request, str(asked.intent.type), only_planned=asked.may_send)


def _compared_answer(answer: Forwarded) -> ComparedAnswer | None:
    """Unpacked and read; ``None`` when it is no JSON, too large, or packed in a way that is not known."""
    plain = None if answer.body is None else unpacked(answer.headers, answer.body, MAX_ANSWER)
    document, readable = read(plain or b"")
    headers = {
        name.decode("latin-1"): text.decode("latin-1") for name, text in answer.headers if name != b"content-encoding"
    }
    return ComparedAnswer(answer.status, headers, document) if readable else None


def _hybrid_answer(answered: Answered) -> ComparedAnswer:
    """With the headers that a client would get."""
    headers = {
        "content-type": "application/json",
        "x-api-version": VERSION,
        "x-provider": str(AnsweredBy.HYBRID),
        "x-duration": "0ms",
    }
    # As it goes over the wire: enumerations are texts, tuples are lists.
    return ComparedAnswer(answered.status, headers, json.loads(json.dumps(answered.body)))


def _without_answer(key: str, at: datetime, intent: str, error: str, answers: Answers) -> Comparison:
    return Comparison(
        comparison_id=key,
        at=at,
        intent=intent,
        fields=(),
        legacy_ms=answers.answer.first_byte_ms,
        hybrid_ms=0.0,
        error=error,
    )
