"""Which messages may be sent now: slots from the limiter, then the mark in the store."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from time import monotonic

from activities.delivery.findings import Findings
from activities.delivery.outcomes import STORE_AWAY_WAIT_MS, Outcomes
from activities.delivery.ports import DeliveryPorts, Granted
from domain import rate_limit
from domain.compliance import check
from domain.delivery import Message, MessageStatus, given_up, needs_read_back
from domain.errors import DependencyUnavailable
from domain.rate_limit import AccountLimits, MessageType, Reservation

BATCH_SIZE = 10
"""Messages that are marked as ``sending`` in one transaction: the hard ceiling of a minute."""

SHORT_WAIT_MS = 5_000
"""Waits up to this long happen inside the activity; longer ones are durable timers of the queue."""

NEVER_WAIT_MS = 3_600_000
"""How long a message waits whose limit is 0: changed limits wake the queue anyway."""


class Admission:
    """Admits messages of one account during one round."""

    def __init__(self, ports: DeliveryPorts, account_id: str, found: Findings, outcomes: Outcomes) -> None:
        self._ports = ports
        self._account_id = account_id
        self._found = found
        self._outcomes = outcomes
        self._type_until: dict[MessageType, float] = {}
        self._aside: list[Message] = []
        self._limits: AccountLimits | None = None

    async def admit(self, waiting: deque[Message]) -> list[Granted]:
        """The next messages that may be sent, at most ``BATCH_SIZE``; waits shortly if none may right now."""
        granted: list[Granted] = []
        passed_over: list[Message] = []
        self._limits = None
        while len(granted) < BATCH_SIZE and not self._found.stopped:
            if not waiting:
                if granted or not self.may_go_shortly:
                    break
                await self._wait_for_a_type(waiting)
                continue
            message = waiting[0]
            if self._type_wait_s(message.message_type) > 0:
                self._aside.append(waiting.popleft())
                continue
            if not await self._is_ready(message):
                waiting.popleft()
                continue
            limits = await self._limits_in_force()
            since = monotonic()
            answer = await self._reserve(message, limits)
            if answer is None:
                break
            if answer.lease is not None:
                waiting.popleft()
                until = since + self._ports.lease_ms / 1000 - self._ports.grace_s
                granted.append(Granted(message, answer.lease, until, limits.revision))
            elif answer.binding_layer is not None and not answer.binding_layer.holds_account:
                waiting.popleft()
                if granted:
                    # How long it has to wait is known once the slots of this batch are confirmed.
                    passed_over.append(message)
                else:
                    self._step_aside(message, answer)
            elif granted:
                break
            else:
                await self._wait_or_stop(answer)
        waiting.extendleft(reversed(passed_over))
        return granted

    @property
    def may_go_shortly(self) -> bool:
        """Whether messages stepped aside whose type admits one within ``SHORT_WAIT_MS``."""
        waits = [self._type_wait_s(message.message_type) for message in self._aside]
        return bool(waits) and min(waits) * 1000 <= SHORT_WAIT_MS

    def report_waits(self) -> None:
        """Tell how long each type that has to wait does so from now on."""
        for message_type in self._type_until:
            wait_s = self._type_wait_s(message_type)
            if wait_s > 0:
                self._found.type_waits_ms[message_type] = ceil(wait_s * 1000)

    def _type_wait_s(self, message_type: MessageType) -> float:
        return self._type_until.get(message_type, 0.0) - monotonic()

    async def _limits_in_force(self) -> AccountLimits:
        """Read once for a batch, and after whatever may have taken long; each send looks at them once more."""
        if self._limits is None:
            self._limits = (await self._ports.gate.read(self._account_id, ())).limits
        return self._limits

    async def _wait_for_a_type(self, waiting: deque[Message]) -> None:
        shortest = min(self._type_wait_s(message.message_type) for message in self._aside)
        await asyncio.sleep(max(0.0, shortest))
        self._limits = None
        waiting.extend(self._aside)
        self._aside = []

    async def _reserve(self, message: Message, limits: AccountLimits) -> Reservation | None:
        windows = rate_limit.windows(
            self._ports.policy,
            limits,
            datetime.now(UTC),
            message_type=message.message_type,
            recipient_id=None if self._ports.for_many else message.recipient_id,
        )
        try:
            return await self._ports.limiter.reserve(self._account_id, windows, lease_ms=self._ports.lease_ms)
        except DependencyUnavailable:
            self._found.stop(STORE_AWAY_WAIT_MS, "limiter_unavailable")
            return None

    def _step_aside(self, message: Message, denied: Reservation) -> None:
        wait_ms = NEVER_WAIT_MS if denied.retry_after_ms is None else denied.retry_after_ms
        if denied.binding_layer is rate_limit.Layer.MESSAGE_TYPE:
            self._type_until[message.message_type] = monotonic() + wait_ms / 1000
            self._aside.append(message)
        else:
            self._found.defer(message.message_id, wait_ms, f"rate_limit:{denied.binding_layer}")

    async def _wait_or_stop(self, denied: Reservation) -> None:
        reason = f"rate_limit:{denied.binding_layer}"
        if denied.retry_after_ms is None:
            self._found.sleep(reason)
        elif denied.retry_after_ms > SHORT_WAIT_MS:
            self._found.stop(denied.retry_after_ms, reason)
        else:
            await asyncio.sleep(denied.retry_after_ms / 1000)
            self._limits = None

    async def _is_ready(self, message: Message) -> bool:
        """Whether the message may be tried; what an earlier attempt left open is cleared up first."""
        blocking = _blocking(message)
        if blocking:
            # Also one that an earlier attempt left open: it is looked for, and never sent again.
            self._limits = None
            await self._outcomes.end(message, MessageStatus.SKIPPED, f"compliance_violation:{','.join(blocking)}")
            return False
        if needs_read_back(message, datetime.now(UTC)):
            self._limits = None
            if not await self._outcomes.never_arrived(message, self._ports.lease_ms):
                return False
            reason = given_up(message)
            if reason:
                await self._outcomes.fail(message, reason)
                return False
        return True

    async def begin(self, granted: Sequence[Granted]) -> list[Granted]:
        if not granted:
            return []
        started = await self._ports.messages.begin_sends([each.attempt for each in granted], datetime.now(UTC))
        for each in granted:
            if each.message.message_id not in started:
                await self._outcomes.release(each.lease)
                await self._look_again(each.message)
        begun = [each for each in granted if each.message.message_id in started]
        try:
            intact = await self._ports.limiter.intact([each.lease for each in begun])
        except DependencyUnavailable:
            await self._outcomes.give_back(begun)
            self._found.stop(STORE_AWAY_WAIT_MS, "limiter_unavailable")
            return []
        lost = [each for each in begun if each.lease.lease_id not in intact]
        if lost:
            await self._outcomes.give_back(lost)
            # The next round asks a limiter that has been rebuilt from the store.
            self._found.stop(1, "limiter_rebuilt")
        return [each for each in begun if each.lease.lease_id in intact]

    async def _look_again(self, message: Message) -> None:
        """Somebody else changed the message meanwhile."""
        stored = (await self._ports.messages.get_many(message.campaign_id, [message.message_id])).get(
            message.message_id
        )
        if stored is None:
            self._found.settle(message.message_id, MessageStatus.CANCELLED)
        elif stored.status.is_terminal:
            self._found.settle(message.message_id, stored.status)
        else:
            self._found.defer(message.message_id, 1_000, "changed_meanwhile")


def _blocking(message: Message) -> list[str]:
    """The rules that forbid to send a message, by what they are now; empty when none does."""
    report = check(message.text)
    if message.compliance is not None and message.compliance.blocked:
        # Found when it was written or edited, perhaps by the provider's moderation, which is not asked again.
        report = message.compliance
    return [violation.rule_id for violation in report.violations] if report.blocked else []
