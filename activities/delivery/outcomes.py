"""What became of attempts: stored together, slots given back or confirmed, open ones looked for in the chat."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from time import monotonic

from temporalio import activity

from activities.delivery.events import PlatformEvents
from activities.delivery.findings import Findings
from activities.delivery.hold import hold_account
from activities.delivery.ports import DeliveryPorts, Granted, is_open
from domain.dead_letter import OUTCOME_UNKNOWN
from domain.delivery import (
    Attempt,
    Delivered,
    Message,
    MessageStatus,
    NextStep,
    Outcome,
    after_failure,
    goes_first,
    is_rival,
    may_have_brought,
)
from domain.errors import DependencyUnavailable, GatewayError, GatewayFault
from domain.rate_limit import Lease, Slot
from domain.send_queue import DeliveryReport

FLUSH_AFTER_S = 1.0
"""Outcomes are stored together, but not later than this."""

STORE_AWAY_WAIT_MS = 5_000

OTHERS_FIRST_WAIT_MS = 60_000
"""How long to wait for another message of which has to be known first what became of it."""

UNREADABLE = frozenset({GatewayFault.RECIPIENT_NOT_FOUND, GatewayFault.INVALID_REQUEST, GatewayFault.BANNED_WORDS})
"""Answers to reading a chat that will not change by asking again."""


class Outcomes:
    """The outcomes of one round."""

    def __init__(self, ports: DeliveryPorts, found: Findings, events: PlatformEvents) -> None:
        self._ports = ports
        self._found = found
        self._events = events
        self._open: list[Outcome] = []
        self._flush_at = 0.0

    async def read_back(self, message: Message) -> bool:
        """Look for an open message in its chat; whether that told what to do with it."""
        try:
            in_chat = await self._ports.gateway.find_sent(
                account_id=message.account_id,
                recipient_id=message.recipient_id,
                text=message.text,
                since=message.first_attempt_at or message.updated_at,
            )
        except GatewayError as error:
            await self._chat_unread(message, error)
            return True
        if not in_chat:
            return False
        beside = await self._ports.messages.sent_beside(message)
        taken = {other.platform_message_id for other in beside}
        unclaimed = [each for each in in_chat if each.platform_message_id not in taken]
        rivals = [
            other
            for other in beside
            if is_rival(other, message) and any(may_have_brought(other, each) for each in unclaimed)
        ]
        # What is too old to be a rival's is this one's.
        own = next((each for each in unclaimed if not any(may_have_brought(other, each) for other in rivals)), None)
        now = datetime.now(UTC)
        if own is None and unclaimed:
            if any(goes_first(other, message, now) for other in rivals):
                self._found.defer(message.message_id, OTHERS_FIRST_WAIT_MS, "outcome_open")
                return True
            if len(unclaimed) > len(rivals):
                own = unclaimed[0]
            elif any(now - other.updated_at < timedelta(milliseconds=self._ports.lease_ms) for other in rivals):
                self._found.defer(message.message_id, OTHERS_FIRST_WAIT_MS, "outcome_open")
                return True
        if own is None:
            # Fewer arrived than are open, and what did is left to the rivals. Should this one be sent again, then with
            # its own key: either the gateway knows it and tells which of the messages it is, or it is a new one.
            return False
        await self._ports.messages.settle([_outcome(message, MessageStatus.SENT, delivered=own)])
        self._found.settle(message.message_id, MessageStatus.SENT)
        return True

    async def _chat_unread(self, message: Message, error: GatewayError) -> None:
        if error.fault in UNREADABLE:
            # The chat is gone: what became of the message can't be learnt any more.
            await self.fail(message, f"{OUTCOME_UNKNOWN}:{error.fault}")
            return
        next_step = after_failure(
            error.fault, attempts=0, outcome_open=True, retry_after_s=error.retry_after_s, jitter=0
        )
        if next_step.step is NextStep.HOLD_ACCOUNT:
            await hold_account(self._ports, self._found, self._events, message.account_id, error, next_step.delay_ms)
        else:
            wait_ms = max(STORE_AWAY_WAIT_MS, next_step.delay_ms)
            self._found.defer(message.message_id, wait_ms, f"gateway:{error.fault}")

    async def end(self, message: Message, status: MessageStatus, reason: str) -> None:
        """End a message that must not be sent (any more); one that may be on its way is looked for first."""
        if is_open(message) and not await self.never_arrived(message, self._ports.lease_ms):
            return
        if message.status is MessageStatus.SENDING:
            await self.unsent(message, reason)
        await self._ports.messages.transition(message.campaign_id, [message.message_id], status, reason=reason)
        self._found.settle(message.message_id, status)

    async def never_arrived(self, message: Message, within_ms: int) -> bool:
        """Whether it is certain by now that an open message reached nobody; if not, it has ended, or waits.

        ``within_ms``: how long after its last attempt it may still appear in its chat.
        """
        left = timedelta(milliseconds=within_ms) - (datetime.now(UTC) - message.updated_at)
        if await self.read_back(message):
            return False
        if left <= timedelta(0):
            return True
        # The last attempt may have arrived since: look again when it no longer can.
        self._found.defer(message.message_id, ceil(left / timedelta(milliseconds=1)), "outcome_open")
        return False

    async def fail(self, message: Message, reason: str) -> None:
        await self._ports.messages.settle([_outcome(message, MessageStatus.FAILED, reason=reason)])
        self._found.settle(message.message_id, MessageStatus.FAILED)
        await self._events.dead_letter(message, reason)

    async def give_back(self, batch: Sequence[Granted]) -> None:
        """These were marked and not sent."""
        for granted in batch:
            await self.release(granted.lease)
            message = granted.message
            if not is_open(message):
                await self.record(granted, MessageStatus.QUEUED, reason=message.reason, attempts=message.attempts)
        await self.flush()

    async def record(
        self,
        granted: Granted,
        status: MessageStatus,
        *,
        reason: str = "",
        delivered: Delivered | None = None,
        attempts: int | None = None,
        failures: int | None = None,
    ) -> None:
        if not self._open:
            self._flush_at = monotonic() + FLUSH_AFTER_S
        self._open.append(
            Outcome(
                attempt=granted.attempt,
                status=status,
                reason=reason,
                delivered=delivered,
                attempts=granted.message.attempts + 1 if attempts is None else attempts,
                failures=granted.message.failures if failures is None else failures,
                at=datetime.now(UTC),
            )
        )
        # What an open attempt ended with decides how it is repeated: it must not be forgotten with this process.
        if status is MessageStatus.SENDING or monotonic() >= self._flush_at:
            await self.flush()

    async def flush(self) -> None:
        if self._open:
            await self._ports.messages.settle(self._open)
            self._open = []

    async def confirm(self, lease: Lease) -> None:
        try:
            await self._ports.limiter.confirm(lease)
        except DependencyUnavailable:
            # The slot counts to the end of its lease: later than it must, never earlier.
            activity.logger.warning("limiter unavailable: a slot keeps its lease")

    async def release(self, lease: Lease) -> None:
        try:
            await self._ports.limiter.release(lease)
        except DependencyUnavailable:
            activity.logger.warning("limiter unavailable: a slot keeps its lease")

    async def unsent(self, message: Message, reason: str) -> None:
        """The attempt that the store has is known to have sent nothing."""
        await self._ports.messages.settle([_outcome(message, MessageStatus.QUEUED, reason=reason)])


async def look_for(ports: DeliveryPorts, message: Message, within_ms: int) -> DeliveryReport | None:
    """Find out about an open message without sending it again; what to wait for, or how it ended.

    ``None``: it certainly reached nobody, and is queued again. ``within_ms`` as in ``never_arrived``.
    """
    found = Findings()
    outcomes = Outcomes(ports, found, PlatformEvents(ports.accounts, ports.alerts, message.account_id))
    if not await outcomes.never_arrived(message, within_ms):
        return found.report()
    await outcomes.unsent(message, message.reason)
    return None


def _outcome(
    message: Message, status: MessageStatus, *, reason: str = "", delivered: Delivered | None = None
) -> Outcome:
    """The outcome of the attempt that the store already has."""
    before = message.model_copy(update={"attempts": message.attempts - 1})
    slot = Slot(lease_id="", account_id=message.account_id, message_type=message.message_type, counts_at_us=0)
    return Outcome(
        attempt=Attempt(message=before, slot=slot),
        status=status,
        reason=reason,
        delivered=delivered,
        attempts=message.attempts,
        failures=message.failures,
        at=datetime.now(UTC),
    )
