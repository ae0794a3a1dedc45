"""The legacy API in front of two systems: the flag leads a user's requests to one of them.

Everything that is not ours by the flag goes to the legacy system as it came, and its answer goes back as it is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import uuid4

import structlog
from starlette.requests import ClientDisconnect

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.authentication import TokenVerifier
from api.legacy_exchange import CLIENT_GONE, ClientTooSlow, Forwarded, LegacyExchange
from api.legacy_hybrid import Answered, HandedBack, HybridRequest, HybridSystem, awaits_review
from api.legacy_route import MAX_READ, Routed, read, route_campaign, route_list
from api.shadow import MAX_ANSWER, Answers, ShadowRuns
from domain.campaign import CampaignRecord, campaign_id
from domain.errors import HuntazeError
from domain.flag import HYBRID_ORCHESTRATOR, HYBRID_SHADOW, FlagReason, FlagSubject
from domain.legacy import FALLBACK_VERSION, VERSION, AnsweredBy, Headers, LegacyReason, LegacyUnavailable
from domain.legacy_answer import ANSWERED_BY_LEGACY, failure, merged, summary
from domain.observation import Observation
from domain.ports import CampaignFilter

_log = structlog.get_logger()

MAX_LIST: Final = 16 * 1024 * 1024
"""Bytes of the legacy system's list that is merged with ours."""

_LISTED_AT_ONCE: Final = 100
_STICKY: Final = frozenset(FlagReason) - {
    FlagReason.UNKNOWN_FLAG,
    FlagReason.NO_SNAPSHOT,
    FlagReason.FORCED_OFF,
    FlagReason.DISABLED,
    FlagReason.DENY_LIST,
}
"""Reasons after which a repetition still goes to the system that has the first one."""

_AS_ONE_PIECE: Final = frozenset({b"accept-encoding", b"if-none-match", b"if-modified-since", b"range", b"if-range"})
"""Headers that ask for less than the whole list, or for one that would have to be unpacked."""


class RoutedKind(NamedTuple):
    """What requests are counted by; nothing of it is personal."""

    method: str
    provider: str
    version: str
    reason: str
    error: str


class LegacyApi:
    """What stands behind ``/api/campaigns``. ``counts``: requests of this process, by kind."""

    def __init__(
        self, ports: Ports, settings: Settings, verifier: TokenVerifier, hybrid: HybridSystem, shadow: ShadowRuns
    ) -> None:
        self._ports = ports
        self._verifier = verifier
        self._trusts = settings.trusts_legacy_user_id
        self._hybrid = hybrid
        self._shadow = shadow
        self.counts: Counter[RoutedKind] = Counter()

    async def pass_on(self, exchange: LegacyExchange) -> None:
        """Everything but the two routes that are ours as well."""
        await exchange.forward(self._ports.legacy)

    async def create(self, exchange: LegacyExchange, trace_id: str) -> None:
        """``POST /api/campaigns``."""
        try:
            body = await exchange.body.beginning(MAX_READ)
        except ClientDisconnect:
            return
        except ClientTooSlow:
            await exchange.answer(408, failure("The request was not sent in time."), AnsweredBy.LEGACY)
            return
        if body is None:
            routed = Routed(LegacyReason.TOO_LARGE)
        else:
            routed = await route_campaign(body, exchange, self._ports.flags, self._verifier, self._trusts)
            routed = await self._where_it_was(routed, exchange)
        if routed.to_hybrid:
            await self._by_hybrid(routed, exchange, trace_id)
        else:
            await self._by_legacy(routed, exchange, body, trace_id)

    async def listing(self, exchange: LegacyExchange) -> None:
        """``GET /api/campaigns``: both systems' campaigns, or an error; never a part of them."""
        routed = await route_list(exchange, self._ports.flags, self._verifier, self._trusts)
        if not routed.to_hybrid:
            forwarded = await exchange.forward(self._ports.legacy)
            self._note(exchange, routed, AnsweredBy.LEGACY, VERSION, forwarded.status, forwarded.error)
            return
        try:
            ours = await self._ours(routed.user)
        except Exception as error:  # noqa: BLE001 - whatever failed, the list would be incomplete
            _log.warning("legacy.list_failed", error=type(error).__name__)
            message = "The campaigns can't be listed completely at the moment; try again."
            await exchange.answer(503, failure(message), AnsweredBy.HYBRID, headers=((b"retry-after", b"5"),))
            self._note(exchange, routed, AnsweredBy.HYBRID, VERSION, 503, "list_incomplete")
            return
        status, failed = await self._merged(exchange, ours)
        self._note(exchange, routed, AnsweredBy.HYBRID, VERSION, status, failed)

    async def _where_it_was(self, routed: Routed, exchange: LegacyExchange) -> Routed:
        """A repetition of what may send goes where the first one went, also if the flag has changed meanwhile.

        Otherwise a rollback between a request and its repetition would have both systems act.
        """
        key = exchange.headers.get("idempotency-key")
        translation, decision = routed.translation, routed.decision
        if routed.to_hybrid or key is None or translation is None or not translation.may_send:
            return routed
        if decision is None or decision.reason not in _STICKY:
            return routed
        try:
            record = await self._ports.campaigns.get(campaign_id(routed.user, key))
        except HuntazeError:
            return routed
        if record is None or record.status_reason == ANSWERED_BY_LEGACY:
            return routed
        return routed._replace(to_hybrid=True, reason="repetition", arm=None)

    async def _by_hybrid(self, routed: Routed, exchange: LegacyExchange, trace_id: str) -> None:
        if routed.errors is not None:
            await exchange.answer(400, failure("Invalid request format", routed.errors), AnsweredBy.HYBRID)
            self._note(exchange, routed, AnsweredBy.HYBRID, VERSION, 400, "")
            return
        assert routed.translation is not None  # noqa: S101 - what leads to us is translated
        key = exchange.headers.get("idempotency-key")
        outcome = await self._hybrid.run(
            HybridRequest(
                translation=routed.translation,
                user=routed.user,
                owner=routed.user,
                key=key or str(uuid4()),
                keyed=key is not None,
                flag=HYBRID_ORCHESTRATOR,
                trace_id=trace_id,
            )
        )
        if isinstance(outcome, HandedBack):
            forwarded = await exchange.forward(self._ports.legacy, version=FALLBACK_VERSION)
            self._note(exchange, routed, AnsweredBy.LEGACY, FALLBACK_VERSION, forwarded.status, outcome.error)
            self._observe(routed, exchange.elapsed_ms, outcome.error)
            return
        await exchange.answer(outcome.status, outcome.body, AnsweredBy.HYBRID)
        self._note(exchange, routed, AnsweredBy.HYBRID, VERSION, outcome.status, outcome.error)
        self._observe(routed, exchange.elapsed_ms, outcome.error, outcome)

    async def _by_legacy(self, routed: Routed, exchange: LegacyExchange, body: bytes | None, trace_id: str) -> None:
        shadowed = body is not None and self._is_shadowed(exchange)
        forwarded = await exchange.forward(self._ports.legacy, keep=MAX_ANSWER if shadowed else 0)
        self._note(exchange, routed, AnsweredBy.LEGACY, VERSION, forwarded.status, forwarded.error)
        if forwarded.error != CLIENT_GONE:
            self._observe(routed, forwarded.first_byte_ms, _legacy_error(forwarded))
        if shadowed and body is not None and forwarded.status == 200 and not forwarded.error:
            self._shadow.submit(Answers(body, forwarded, trace_id))

    def _is_shadowed(self, exchange: LegacyExchange) -> bool:
        """A share of the traffic, whoever's it is: the unit is the request."""
        unit = exchange.headers.get("idempotency-key") or str(uuid4())
        return self._ports.flags.evaluate(HYBRID_SHADOW, FlagSubject(user_id=unit)).enabled

    async def _ours(self, user: str) -> list[dict[str, Any]]:
        """All of a user's campaigns, but those that the legacy system answered instead."""
        found: list[CampaignRecord] = []
        cursor: str | None = None
        while True:
            page = await self._ports.campaigns.list(CampaignFilter(owner=user), limit=_LISTED_AT_ONCE, cursor=cursor)
            found.extend(each for each in page.campaigns if each.status_reason != ANSWERED_BY_LEGACY)
            cursor = page.cursor
            if cursor is None:
                break
        return [summary(each, user, waiting=await awaits_review(each, self._ports)) for each in found]

    async def _merged(self, exchange: LegacyExchange, ours: Sequence[dict[str, Any]]) -> tuple[int, str]:
        """Answer with both lists; what the legacy system answers instead of a list goes back as it is."""
        content = bytearray()
        try:
            async with self._ports.legacy.exchange(exchange.call(without=_AS_ONE_PIECE)) as answer:
                async for chunk in answer.chunks:
                    content += chunk
                    if len(content) > MAX_LIST:
                        break
        except LegacyUnavailable as error:
            return await exchange.refuse(error), f"legacy_{error.fault}"
        if answer.status != 200:
            await exchange.relay(answer.status, answer.headers, bytes(content))
            return answer.status, f"legacy_http_{answer.status}"
        theirs = _list_in(bytes(content))
        if theirs is None:
            await exchange.answer(502, failure("The legacy system's list can't be read."), AnsweredBy.LEGACY)
            return 502, "legacy_list_unreadable"
        body = {
            "status": "success",
            "message": "Campaigns retrieved successfully",
            "data": merged(theirs, ours),
        }
        cookies: Headers = tuple((name, text) for name, text in answer.headers if name == b"set-cookie")
        await exchange.answer(200, body, AnsweredBy.HYBRID, headers=cookies)
        return 200, ""

    def _observe(self, routed: Routed, latency_ms: float, error: str, answered: Answered | None = None) -> None:
        """Evidence for a rollout, from requests that only its percentage has divided."""
        if routed.arm is None:
            return
        self._ports.observations.record(
            Observation(
                flag=HYBRID_ORCHESTRATOR,
                arm=routed.arm,
                at=datetime.now(UTC),
                latency_ms=latency_ms,
                error=error,
                cost_micros=answered.cost_micros if answered else None,
                compliance=answered.compliance if answered else None,
            )
        )

    def _note(
        self, exchange: LegacyExchange, routed: Routed, by: AnsweredBy, version: str, status: int, error: str
    ) -> None:
        """One log line and one count for each routed request; neither says whose it was."""
        kind = RoutedKind(exchange.method, str(by), version, str(routed.reason), error)
        self.counts[kind] += 1
        self._ports.metrics.routed(**kind._asdict(), arm=str(routed.arm or ""), latency_ms=exchange.elapsed_ms)
        _log.info(
            "legacy.routed",
            method=exchange.method,
            provider=str(by),
            version=version,
            reason=str(routed.reason),
            error=error,
            status=status,
            arm=str(routed.arm or ""),
            flagRevision=routed.decision.revision if routed.decision else 0,
            bucket=routed.decision.bucket if routed.decision else -1,
            durationMs=round(exchange.elapsed_ms, 1),
        )


def _legacy_error(forwarded: Forwarded) -> str:
    """A refusal is an answer; a failure of the legacy system is an error."""
    return forwarded.error or (f"legacy_http_{forwarded.status}" if forwarded.status >= 500 else "")


def _list_in(content: bytes) -> list[dict[str, Any]] | None:
    document, _ = read(content)
    data = document.get("data") if isinstance(document, Mapping) else None
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        return None
    return data
