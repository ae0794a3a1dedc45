"""Sending as many messages of an account as its limits admit right now."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from temporalio import activity

from activities.failure import heartbeating, translated
from domain.campaign import CampaignRecord, CampaignStatus
from domain.compliance import SCREENING, check
from domain.delivery import (
    FailureDecision,
    Message,
    MessageStatus,
    NextStep,
    StartOutcome,
    after_failure,
    needs_read_back,
)
from domain.errors import DependencyUnavailable, GatewayError, GatewayFault
from domain.ports import CampaignStore, Gateway, Limiter, MessageStore
from domain.rate_limit import Window
from domain.send_queue import (
    Candidate,
    Deferred,
    DeliveryReport,
    DeliveryRound,
    Settled,
)

SHORT_WAIT_MS = 1_000
"""Waits up to this long happen inside the activity; longer ones are durable timers of the queue."""

STORE_AWAY_WAIT_MS = 5_000

LEASE_MARGIN_S = 1.0
"""A call ends this long before its slot stops counting, so that what is on the wire still arrives inside it."""

UNREADABLE = frozenset({GatewayFault.RECIPIENT_NOT_FOUND, GatewayFault.INVALID_REQUEST, GatewayFault.BANNED_WORDS})
"""Answers to reading a chat that will not change by asking again."""

_NOTHING_ARRIVED = frozenset(
    {
        GatewayFault.THROTTLED,
        GatewayFault.SESSION_EXPIRED,
        GatewayFault.AUTH,
        GatewayFault.BANNED_WORDS,
        GatewayFault.RECIPIENT_NOT_FOUND,
        GatewayFault.INVALID_REQUEST,
    }
)
"""Refusals: the platform took no message, so the slot is given back."""


class _Lease(NamedTuple):
    id: str
    left_s: float


class _Round:
    """What one delivery round has found out so far."""

    def __init__(self) -> None:
        self.settled: list[Settled] = []
        self.deferred: list[Deferred] = []
        self.paused: set[str] = set()
        self.wait_ms = 0
        self.reason = ""

    def settle(self, message: Message, status: MessageStatus) -> None:
        self.settled.append(Settled(message_id=message.message_id, status=status))

    def defer(self, message: Message, delay_ms: int) -> None:
        self.deferred.append(Deferred(message_id=message.message_id, delay_ms=delay_ms))

    def stop(self, wait_ms: int, reason: str) -> None:
        self.wait_ms, self.reason = max(1, wait_ms), reason

    @property
    def stopped(self) -> bool:
        return self.wait_ms > 0

    def report(self) -> DeliveryReport:
        return DeliveryReport(
            settled=tuple(self.settled),
            deferred=tuple(self.deferred),
            paused_campaigns=tuple(sorted(self.paused)),
            wait_ms=self.wait_ms,
            reason=self.reason,
        )


class DeliveryActivities:
    """The only code that sends. ``lease_ms``: how long a slot counts when an outcome never becomes known."""

    def __init__(
        self,
        campaigns: CampaignStore,
        messages: MessageStore,
        limiter: Limiter,
        gateway: Gateway,
        *,
        windows: Sequence[Window],
        lease_ms: int,
    ) -> None:
        self._campaigns = campaigns
        self._messages = messages
        self._limiter = limiter
        self._gateway = gateway
        self._windows = windows
        self._lease_ms = lease_ms

    @activity.defn(name="delivery.deliver")
    @translated
    async def deliver(self, request: DeliveryRound) -> DeliveryReport:
        """Send the candidates in order until a limit binds; whatever was interrupted is told by the store."""
        found = _Round()
        async with heartbeating():
            records = await self._records(request.candidates)
            messages = await self._stored(request.candidates)
            sendable: list[Message] = []
            for candidate in request.candidates:
                message = messages.get(candidate.message_id)
                record = records.get(candidate.campaign_id)
                if message is None or record is None:
                    # Erased meanwhile: there is nothing to send, and the queue of the account must go on.
                    found.settled.append(Settled(message_id=candidate.message_id, status=MessageStatus.CANCELLED))
                    continue
                status = record.status
                if message.status.is_terminal:
                    found.settle(message, message.status)
                elif status is CampaignStatus.PAUSED:
                    found.paused.add(message.campaign_id)
                elif status is not CampaignStatus.RUNNING:
                    await self._cancel(message, found)
                else:
                    sendable.append(message)
            for message in sendable:
                if found.stopped or activity.is_worker_shutdown():
                    break
                if message.campaign_id not in found.paused:
                    await self._deliver_one(message, records[message.campaign_id], found)
        return found.report()

    async def _deliver_one(self, message: Message, record: CampaignRecord, found: _Round) -> None:
        now = datetime.now(UTC)
        if needs_read_back(message.status, message.first_attempt_at, now) and await self._read_back(message, found):
            return
        report = check(message.text)
        if report.blocked and message.status is MessageStatus.QUEUED:
            rules = ",".join(violation.rule_id for violation in report.violations)
            await self._messages.transition(
                message.campaign_id,
                [message.message_id],
                MessageStatus.SKIPPED,
                reason=f"compliance_violation:{rules}",
            )
            found.settle(message, MessageStatus.SKIPPED)
            return
        reserving_since = monotonic()
        lease_id = await self._reserve(message.account_id, found)
        if lease_id is None:
            return
        started = await self._messages.begin_send(message, datetime.now(UTC))
        if started is not StartOutcome.STARTED:
            await self._release(message.account_id, lease_id)
            await self._not_started(message, started, found)
            return
        # Waiting for a slot makes this earlier than the grant: the lease is never thought longer than it is.
        left_s = self._lease_ms / 1000 - LEASE_MARGIN_S - (monotonic() - reserving_since)
        if left_s <= 0:
            await self._failed(message, GatewayError("too late", fault=GatewayFault.TRANSIENT), lease_id, found)
            return
        await self._send(message, record, _Lease(lease_id, left_s), found)

    async def _send(self, message: Message, record: CampaignRecord, lease: _Lease, found: _Round) -> None:
        try:
            async with asyncio.timeout(lease.left_s):
                delivered = await self._gateway.send(
                    account_id=message.account_id,
                    recipient_id=message.recipient_id,
                    text=message.text,
                    key=message.message_id,
                    screening=SCREENING[record.compliance_level],
                )
        except TimeoutError:
            unknown = GatewayError("no answer within the lease", fault=GatewayFault.UNKNOWN_OUTCOME)
            await self._failed(message, unknown, lease.id, found)
            return
        except GatewayError as error:
            await self._failed(message, error, lease.id, found)
            return
        await self._messages.record_sent(message, delivered, datetime.now(UTC))
        found.settle(message, MessageStatus.SENT)
        await self._confirm(message.account_id, lease.id)

    async def _failed(self, message: Message, error: GatewayError, lease_id: str, found: _Round) -> None:
        outcome_open = message.status is MessageStatus.SENDING
        decision = after_failure(
            error.fault,
            attempts=message.attempts + 1,
            outcome_open=outcome_open,
            retry_after_s=error.retry_after_s,
            jitter=random.random(),
        )
        if error.fault in _NOTHING_ARRIVED:
            await self._release(message.account_id, lease_id)
        elif error.fault is GatewayFault.TRANSIENT:
            await self._confirm(message.account_id, lease_id)
        now = datetime.now(UTC)
        if decision.step is NextStep.FAIL:
            await self._messages.transition(
                message.campaign_id, [message.message_id], MessageStatus.FAILED, reason=decision.reason
            )
            found.settle(message, MessageStatus.FAILED)
            return
        if not outcome_open and error.fault is not GatewayFault.UNKNOWN_OUTCOME:
            await self._messages.record_unsent(message, decision.reason, now, attempts=message.attempts + 1)
        await self._wait(message, decision, found)

    async def _wait(self, message: Message, decision: FailureDecision, found: _Round) -> None:
        if decision.step is NextStep.HOLD_ACCOUNT:
            await self._limiter.hold(message.account_id, decision.delay_ms, decision.reason)
            found.stop(decision.delay_ms, f"gateway:{decision.reason}")
        else:
            found.defer(message, decision.delay_ms)

    async def _reserve(self, account_id: str, found: _Round) -> str | None:
        while True:
            try:
                answer = await self._limiter.reserve(account_id, self._windows, lease_ms=self._lease_ms)
            except DependencyUnavailable:
                found.stop(STORE_AWAY_WAIT_MS, "limiter_unavailable")
                return None
            if answer.lease_id is not None:
                return answer.lease_id
            if answer.retry_after_ms > SHORT_WAIT_MS:
                found.stop(answer.retry_after_ms, f"rate_limit:{answer.binding_layer}")
                return None
            await asyncio.sleep(answer.retry_after_ms / 1000)

    async def _not_started(self, message: Message, outcome: StartOutcome, found: _Round) -> None:
        if outcome is StartOutcome.CAMPAIGN_PAUSED:
            found.paused.add(message.campaign_id)
        elif outcome is StartOutcome.CAMPAIGN_CANCELLED:
            await self._cancel(message, found)
        else:
            stored = (await self._messages.get_many(message.campaign_id, [message.message_id]))[message.message_id]
            if stored.status.is_terminal:
                found.settle(stored, stored.status)
            else:
                found.defer(stored, SHORT_WAIT_MS)

    async def _cancel(self, message: Message, found: _Round) -> None:
        """End a message whose campaign is cancelled; one that may be on its way is read back first."""
        if message.status is MessageStatus.SENDING:
            if await self._read_back(message, found):
                return
            age = datetime.now(UTC) - message.updated_at
            if age < timedelta(milliseconds=self._lease_ms):
                # The last attempt may still arrive: look again when it no longer can.
                found.defer(message, self._lease_ms)
                return
            await self._messages.record_unsent(message, "cancelled", datetime.now(UTC), attempts=message.attempts)
        await self._messages.transition(
            message.campaign_id, [message.message_id], MessageStatus.CANCELLED, reason="campaign_cancelled"
        )
        found.settle(message, MessageStatus.CANCELLED)

    async def _read_back(self, message: Message, found: _Round) -> bool:
        try:
            delivered = await self._gateway.find_sent(
                account_id=message.account_id,
                recipient_id=message.recipient_id,
                text=message.text,
                since=message.first_attempt_at or message.updated_at,
            )
        except GatewayError as error:
            if error.fault in UNREADABLE:
                # The chat is gone: what became of the message can't be learnt any more.
                await self._messages.transition(
                    message.campaign_id,
                    [message.message_id],
                    MessageStatus.FAILED,
                    reason=f"outcome_unknown:{error.fault}",
                )
                found.settle(message, MessageStatus.FAILED)
            else:
                found.defer(message, STORE_AWAY_WAIT_MS)
            return True
        if delivered is None:
            return False
        await self._messages.record_sent(message, delivered, datetime.now(UTC))
        found.settle(message, MessageStatus.SENT)
        return True

    async def _confirm(self, account_id: str, lease_id: str) -> None:
        try:
            await self._limiter.confirm(account_id, lease_id)
        except DependencyUnavailable:
            # The slot counts to the end of its lease: later than it must, never earlier.
            activity.logger.warning("limiter unavailable: a slot keeps its lease")

    async def _release(self, account_id: str, lease_id: str) -> None:
        try:
            await self._limiter.release(account_id, lease_id)
        except DependencyUnavailable:
            activity.logger.warning("limiter unavailable: a slot keeps its lease")

    async def _records(self, candidates: Sequence[Candidate]) -> dict[str, CampaignRecord]:
        records: dict[str, CampaignRecord] = {}
        for campaign_id in {candidate.campaign_id for candidate in candidates}:
            record = await self._campaigns.get(campaign_id)
            if record is not None:
                records[campaign_id] = record
        return records

    async def _stored(self, candidates: Sequence[Candidate]) -> dict[UUID, Message]:
        by_campaign: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            by_campaign.setdefault(candidate.campaign_id, []).append(candidate)
        stored: dict[UUID, Message] = {}
        for campaign_id, group in by_campaign.items():
            stored |= await self._messages.get_many(campaign_id, [candidate.message_id for candidate in group])
        return stored
