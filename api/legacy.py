"""The legacy API in front of two systems: the flag leads a user's requests to one of them.

Everything that is not ours by the flag goes to the legacy system as it came, and its answer goes back as it is.
"""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import uuid4

import structlog
from starlette.requests import ClientDisconnect

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.authentication import TokenVerifier
from api.legacy_exchange import ClientTooSlow, LegacyExchange
from api.legacy_hybrid import Answered, HandedBack, HybridRequest, HybridSystem, error_class
from api.legacy_list import MergedLists
from api.legacy_route import CLOSED, MAX_READ, LegacyRouter, Routed
from api.shadow import MAX_ANSWER, Answers, ShadowRuns
from domain.campaign import CampaignRecord, campaign_id
from domain.flag import HYBRID_ORCHESTRATOR, HYBRID_SHADOW, FlagReason, FlagSubject
from domain.legacy import FALLBACK_VERSION, VERSION, AnsweredBy, LegacyReason
from domain.legacy_answer import ANSWERED_BY_LEGACY, failure, left_to_legacy
from domain.observation import Observation

_log = structlog.get_logger()

LOOK_S: Final = 3.0
"""How long finding out where a request was before may take."""

MARK_S: Final = 1.0
"""How long putting on record that the legacy system has a request may take."""

_STICKY: Final = frozenset(FlagReason) - CLOSED
"""Reasons after which a repetition still goes to the system that has the first one."""


class Undecided(Exception):
    """Nobody can say which system has a request: neither must act. ``error``: the class of why."""

    def __init__(self, message: str, error: str) -> None:
        super().__init__(message)
        self.message = message
        self.error = error


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
        self._router = LegacyRouter(ports.flags, verifier, settings)
        self._lists = MergedLists(ports, settings)
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
            await exchange.too_slow()
            return
        if body is None:
            await self._by_legacy(Routed(LegacyReason.TOO_LARGE), exchange, None, trace_id)
            return
        routed = await self._router.campaign(body, exchange)
        if routed.repeatable_send and not routed.to_hybrid:
            try:
                routed = await self._where_it_was(routed, body, exchange)
            except Undecided as undecided:
                await self._come_back(routed, exchange, undecided)
                return
        if routed.to_hybrid:
            await self._by_hybrid(routed, exchange, trace_id)
        else:
            await self._by_legacy(routed, exchange, body, trace_id)

    async def listing(self, exchange: LegacyExchange) -> None:
        """``GET /api/campaigns``: both systems' campaigns, or an error; never a part of them."""
        routed = await self._router.listing(exchange)
        # Outside of the percentage it is off whoever asks.
        if routed.unclear and routed.decision and routed.decision.reason is not FlagReason.NOT_IN_ROLLOUT:
            await self._come_back(routed, exchange, Undecided(routed.unclear, routed.reason))
        elif routed.to_hybrid:
            status, error = await self._lists.answer(exchange, routed.user)
            self._note(exchange, routed, AnsweredBy.HYBRID, VERSION, status, error)
            self._observe(routed, exchange, _error_of(status, error))
        else:
            await self._by_legacy(routed, exchange, None, "")

    async def _where_it_was(self, routed: Routed, body: bytes, exchange: LegacyExchange) -> Routed:
        """A repetition of what may send goes where the first one went, also if the flag has changed meanwhile.

        Otherwise a change between a request and its repetition would have both systems act. Raises ``Undecided``.
        """
        if routed.unclear:
            raise Undecided(routed.unclear, routed.reason)
        if routed.reason not in _STICKY:
            return routed
        key = exchange.headers["idempotency-key"]
        try:
            async with asyncio.timeout(LOOK_S):
                record = await self._ports.campaigns.get(campaign_id(routed.user, key))
        except Exception as error:
            message = "Whether this request was taken on before can't be found out now; repeat it with the same key."
            raise Undecided(message, error_class(error)) from error
        if record is None:
            record = await self._marked(routed.user, key)
        if record is None or record.status_reason == ANSWERED_BY_LEGACY:
            return routed
        if routed.identity is None:
            routed = await self._router.campaign(body, exchange, identify=True)
            if routed.unclear:
                raise Undecided(routed.unclear, routed.reason)
        if routed.translation is None:
            return routed
        return routed._replace(to_hybrid=True, reason="repetition", arm=None)

    async def _marked(self, user: str, key: str) -> CampaignRecord | None:
        """Put on record that the legacy system has a request; returns who has it, ``None`` when that failed.

        Then the request goes on all the same: the legacy system must not depend on our store.
        """
        try:
            async with asyncio.timeout(MARK_S):
                return await self._ports.campaigns.create(left_to_legacy(user, key, datetime.now(UTC)), ())
        except Exception as error:  # noqa: BLE001 - whatever failed, the legacy system can do its work
            _log.warning("legacy.not_marked", error=type(error).__name__, effect="a repetition may be led here")
            return None

    async def _come_back(self, routed: Routed, exchange: LegacyExchange, undecided: Undecided) -> None:
        status = await exchange.come_back(undecided.message)
        self._note(exchange, routed, AnsweredBy.HYBRID, VERSION, status, undecided.error)

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
                arm=str(routed.arm or ""),
            )
        )
        if outcome.repeats:
            routed = routed._replace(arm=None)
        if isinstance(outcome, HandedBack):
            forwarded = await exchange.forward(self._ports.legacy, version=FALLBACK_VERSION)
            self._note(exchange, routed, AnsweredBy.LEGACY, FALLBACK_VERSION, forwarded.status, outcome.error)
            self._observe(routed, exchange, outcome.error)
            return
        await exchange.answer(outcome.status, outcome.body, AnsweredBy.HYBRID)
        self._note(exchange, routed, AnsweredBy.HYBRID, VERSION, outcome.status, outcome.error)
        self._observe(routed, exchange, outcome.error, outcome)

    async def _by_legacy(self, routed: Routed, exchange: LegacyExchange, body: bytes | None, trace_id: str) -> None:
        shadowed = body is not None and self._is_shadowed(exchange)
        forwarded = await exchange.forward(self._ports.legacy, keep=MAX_ANSWER if shadowed else 0)
        self._note(exchange, routed, AnsweredBy.LEGACY, VERSION, forwarded.status, forwarded.error)
        self._observe(routed, exchange, _error_of(forwarded.status, forwarded.error))
        if shadowed and body is not None and forwarded.status == 200 and not forwarded.error:
            accounts = routed.identity.accounts if routed.identity else None
            self._shadow.submit(Answers(body, forwarded, trace_id, accounts))

    def _is_shadowed(self, exchange: LegacyExchange) -> bool:
        """A share of the traffic, whoever's it is: the unit is the request."""
        unit = exchange.headers.get("idempotency-key") or str(uuid4())
        return self._ports.flags.evaluate(HYBRID_SHADOW, FlagSubject(user_id=unit)).enabled

    def _observe(self, routed: Routed, exchange: LegacyExchange, error: str, answered: Answered | None = None) -> None:
        """Evidence for a rollout, from requests that only its percentage has divided: timed to the first byte of the
        answer, whoever gave it, or until the client left."""
        if routed.arm is None:
            return
        self._ports.observations.record(
            Observation(
                flag=HYBRID_ORCHESTRATOR,
                arm=routed.arm,
                at=datetime.now(UTC),
                latency_ms=exchange.first_byte_ms,
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


def _error_of(status: int, error: str) -> str:
    """A refusal, or a client that left, is no failure; an answer that broke off is one, whatever its status."""
    if status >= 500:
        return error or f"legacy_http_{status}"
    return error if status < 400 else ""
