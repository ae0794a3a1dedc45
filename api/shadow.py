"""Shadow runs: what the legacy system has just answered, once more through the new one, without any effect.

Nobody waits for them, nothing is sent, and their requests belong to a user of their own with a small budget.
"""

import asyncio
import json
import zlib
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
from api.legacy_exchange import Forwarded
from api.legacy_hybrid import UNEXPECTED, Answered, HybridRequest, HybridSystem, campaign_of
from api.legacy_route import read
from domain.campaign import OnBudget
from domain.cost import micros_from_dollars
from domain.flag import HYBRID_SHADOW
from domain.legacy import SHADOW_USER, VERSION, AnsweredBy, LegacyCampaign, LegacyReason, translate, without_effect
from domain.shadow import ComparedAnswer, Comparison, compare

_log = structlog.get_logger()

MAX_ANSWER: Final = 256 * 1024
"""Bytes of a legacy answer, unpacked, that is compared."""

NOT_COMPARABLE: Final = "answer_not_comparable"
NOT_TRANSLATABLE: Final = "not_translatable"
OVER_BUDGET: Final = "daily_cost"
BUSY: Final = "busy"


class Answers(NamedTuple):
    """A request that the legacy system has answered."""

    request: bytes
    answer: Forwarded
    trace_id: str


class ShadowRuns:
    """The runs of one process; ``close`` ends them. ``dropped``: by why they were not run."""

    def __init__(self, ports: Ports, settings: Settings, hybrid: HybridSystem) -> None:
        self._ports = ports
        self._hybrid = hybrid
        self._most = settings.shadow_concurrency
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

        Every process looks for itself: together they may exceed the cap by what they are running at that moment.
        """
        today = datetime.now(UTC).date().isoformat()
        totals = await self._ports.costs.user_totals(SHADOW_USER, today, today)
        spent = sum(each.cost_micros for each in totals.values())
        return spent + len(self._tasks) * micros_from_dollars(self._max_cost) <= self._daily_micros

    async def _compared(self, answers: Answers) -> Comparison:
        key, at = str(uuid4()), datetime.now(UTC)
        legacy = _compared_answer(answers.answer)
        request, intent = self._request(answers, key)
        if request is None or legacy is None:
            error = NOT_COMPARABLE if request is not None else intent
            return _without_answer(key, at, intent if request is not None else "", error, answers)
        started = perf_counter()
        outcome = await self._hybrid.run(request)
        hybrid_ms = (perf_counter() - started) * 1000
        cost = 0
        with suppress(Exception):
            cost = (await self._ports.costs.campaign_totals(campaign_of(request))).cost_micros
        answered = isinstance(outcome, Answered) and not outcome.error
        return Comparison(
            comparison_id=key,
            at=at,
            intent=intent,
            fields=compare(legacy, _hybrid_answer(outcome)) if isinstance(outcome, Answered) and answered else (),
            legacy_ms=answers.answer.first_byte_ms,
            hybrid_ms=hybrid_ms,
            cost_micros=cost,
            error="" if answered else outcome.error,
        )

    def _request(self, answers: Answers, key: str) -> tuple[HybridRequest | None, str]:
        """The request with its intent, or why there is none."""
        document, _ = read(answers.request)
        try:
            campaign = LegacyCampaign.model_validate(document)
        except ValidationError:
            return None, NOT_TRANSLATABLE
        translation = translate(campaign, None)
        if isinstance(translation, LegacyReason):
            return None, f"{NOT_TRANSLATABLE}_{translation}"
        translation = without_effect(translation)
        thrifty = {"max_cost": self._max_cost, "on_budget": OnBudget.STOP}
        translation = translation.model_copy(update={"intent": translation.intent.model_copy(update=thrifty)})
        request = HybridRequest(
            translation=translation,
            user=campaign.user_id,
            owner=SHADOW_USER,
            key=key,
            keyed=False,
            flag=HYBRID_SHADOW,
            trace_id=answers.trace_id,
        )
        return request, str(translation.intent.type)


def _compared_answer(answer: Forwarded) -> ComparedAnswer | None:
    """Unpacked and read; ``None`` when it is no JSON, too large, or packed in a way that is not known."""
    headers = {name.decode("latin-1"): text.decode("latin-1") for name, text in answer.headers}
    body = answer.body
    if body is None:
        return None
    packed = headers.pop("content-encoding", "identity").lower()
    if packed == "gzip":
        unpacking = zlib.decompressobj(wbits=31)
        with suppress(zlib.error):
            body = unpacking.decompress(body, MAX_ANSWER)
    elif packed != "identity":
        return None
    document, readable = read(body)
    return ComparedAnswer(answer.status, headers, document) if readable else None


def _hybrid_answer(answered: Answered) -> ComparedAnswer:
    """With the headers that a client would get."""
    headers = {
        "content-type": "application/json",
        "content-length": "0",
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
