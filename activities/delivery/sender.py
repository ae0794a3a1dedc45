"""From candidates to outcomes: slots, the mark in the store, the last look at the gate, the call.

The order is what makes it exact. A slot is granted; the message is marked as ``sending`` together with that slot;
the limiter is asked whether it still knows the slot, so that a limiter that lost its memory in between admits nothing;
the gate is read right before each call; the call is never given more time than its slot has.
"""

import asyncio
import random
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from time import monotonic
from uuid import UUID

from temporalio import activity

from activities.delivery.admission import Admission
from activities.delivery.events import PlatformEvents
from activities.delivery.findings import Findings
from activities.delivery.hold import hold_account, keep_hold
from activities.delivery.outcomes import Outcomes
from activities.delivery.ports import DeliveryPorts, Granted, is_open
from domain.campaign import CampaignStanding, CampaignStatus
from domain.compliance import SCREENING
from domain.delivery import (
    MAX_ATTEMPTS,
    REFUSALS,
    AccountState,
    Delivered,
    Message,
    MessageStatus,
    NextStep,
    after_failure,
    is_expired,
    platform_hold_ms,
)
from domain.errors import GatewayError, GatewayFault
from domain.ports import GateState

SLOW_STORE_WAIT_MS = 1_000
"""Stores that are so slow that slots run out before the call are given a pause."""


class Sender:
    """Sends for one account during one round. ``probing``: one message finds out whether its session works again."""

    def __init__(self, ports: DeliveryPorts, account_id: str, found: Findings, *, probing: bool = False) -> None:
        self._ports = ports
        self._probing = probing
        self._account_id = account_id
        self._found = found
        self._events = PlatformEvents(ports.accounts, ports.alerts, account_id)
        self.outcomes = Outcomes(ports, found, self._events)
        self._admission = Admission(ports, account_id, found, self.outcomes)
        self._retried: set[UUID] = set()
        self._session_was_expired = False

    async def send(self, messages: Iterable[Message]) -> None:
        """In order; what could not be tried any more is left to the next round."""
        waiting = deque(messages)
        while (waiting or self._admission.may_go_shortly) and self._goes_on():
            batch = await self._admission.begin(await self._admission.admit(waiting))
            for number, granted in enumerate(batch):
                if not self._goes_on():
                    await self.outcomes.give_back(batch[number:])
                    break
                again = await self._send_one(granted)
                if again is not None:
                    waiting.append(again)
            await self.outcomes.flush()
        self._admission.report_waits()

    def _goes_on(self) -> bool:
        return not self._found.stopped and not activity.is_worker_shutdown()

    async def _send_one(self, granted: Granted) -> Message | None:
        """Send, unless the gate says no; returns the message if it has to be tried again with a new slot."""
        message = granted.message
        record = await self._pass_gate(granted)
        if record is None:
            return None
        if granted.until - monotonic() < self._ports.send_timeout_s:
            # The calls before it took so long that this one could outlive its slot.
            await self.outcomes.give_back([granted])
            return self._once_more(message)
        try:
            async with asyncio.timeout(self._ports.send_timeout_s):
                delivered = await self._ports.gateway.send(
                    account_id=message.account_id,
                    recipient_id=message.recipient_id,
                    text=message.text,
                    key=message.message_id,
                    screening=SCREENING[record.compliance_level],
                )
        except TimeoutError:
            await self._failed(granted, GatewayError("no answer in time", fault=GatewayFault.UNKNOWN_OUTCOME))
        except GatewayError as error:
            await self._failed(granted, error)
        else:
            await self._sent(granted, delivered)
        return None

    def _once_more(self, message: Message) -> Message | None:
        if message.status is MessageStatus.QUEUED and message.message_id not in self._retried:
            self._retried.add(message.message_id)
            return message
        self._found.defer(message.message_id, SLOW_STORE_WAIT_MS, "slot_too_short")
        return None

    async def _pass_gate(self, granted: Granted) -> CampaignStanding | None:
        """The campaign, if it and the account may send at this very moment; otherwise the message goes back."""
        message = granted.message
        gate = await self._ports.gate.read(message.account_id, [message.campaign_id])
        record = gate.campaigns.get(message.campaign_id)
        running = record is not None and record.status is CampaignStatus.RUNNING
        late = is_expired(message, datetime.now(UTC))
        self._session_was_expired = gate.control.state is AccountState.SESSION_EXPIRED
        changed = gate.limits.revision != granted.limits_revision
        if running and self._may_send(gate) and not late and not changed:
            return record
        await self.outcomes.give_back([granted])
        if record is not None and record.status in {CampaignStatus.PAUSED, CampaignStatus.PLANNING}:
            self._found.pause(message, record)
        elif not running or late:
            # The next round ends it.
            self._found.defer(message.message_id, 0, "campaign_cancelled" if not running else "expired")
        if not self._may_send(gate):
            # The next round knows for how long.
            self._found.stop(1, f"account:{gate.control.state}")
        elif changed:
            # The next round asks for a slot under the limits that hold now.
            self._found.stop(1, "limits_changed")
        return None

    async def _sent(self, granted: Granted, delivered: Delivered) -> None:
        hold_ms = platform_hold_ms(delivered)
        if hold_ms is not None:
            # First of all: whoever goes on, should this process end now, must know of it.
            self._found.stop(hold_ms, "platform_allowance_spent")
            await keep_hold(self._ports, self._account_id, hold_ms, "platform_allowance_spent")
        self._found.settle(granted.message.message_id, MessageStatus.SENT)
        await self.outcomes.record(granted, MessageStatus.SENT, delivered=delivered)
        await self.outcomes.confirm(granted.lease)
        if self._session_was_expired:
            await self._events.session_works()
        if hold_ms is not None:
            await self._events.violation(f"the platform's allowance is spent: nothing for {hold_ms} ms")

    async def _failed(self, granted: Granted, error: GatewayError) -> None:
        message = granted.message
        outcome_open = is_open(message) and message.reason != GatewayFault.SERVER_ERROR
        attempts, failures = message.attempts + 1, message.failures + 1
        decision = after_failure(
            error.fault,
            attempts=min(failures, MAX_ATTEMPTS - 1) if self._ports.for_many else failures,
            outcome_open=outcome_open,
            retry_after_s=error.retry_after_s,
            jitter=random.random(),
        )
        holds = decision.step is NextStep.HOLD_ACCOUNT
        if holds:
            # First of all, as above.
            await hold_account(self._ports, self._found, self._events, self._account_id, error, decision.delay_ms)
        if error.fault in REFUSALS or error.fault is GatewayFault.TRANSIENT:
            await self.outcomes.release(granted.lease)
        if decision.step is NextStep.FAIL:
            self._found.settle(message.message_id, MessageStatus.FAILED)
            await self.outcomes.record(granted, MessageStatus.FAILED, reason=decision.reason)
            await self._events.dead_letter(message, decision.reason)
            return
        if error.fault in {GatewayFault.UNKNOWN_OUTCOME, GatewayFault.SERVER_ERROR} or outcome_open:
            await self.outcomes.record(granted, MessageStatus.SENDING, reason=error.fault, failures=failures)
        elif error.fault is GatewayFault.TRANSIENT:
            await self.outcomes.record(
                granted, MessageStatus.QUEUED, reason=error.fault, attempts=attempts, failures=failures
            )
        else:
            # Throttling and sessions are no fault of the message and don't count against it.
            await self.outcomes.record(granted, MessageStatus.QUEUED, reason=error.fault, attempts=message.attempts)
        if not holds:
            self._found.defer(message.message_id, decision.delay_ms, f"gateway:{error.fault}")

    def _may_send(self, gate: GateState) -> bool:
        state = gate.control.state
        return state.sends or (self._probing and state is AccountState.SESSION_EXPIRED)
