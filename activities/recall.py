"""Taking messages back, as long as the platform lets us."""

import asyncio
import random
from collections import deque
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import Field
from temporalio import activity

from activities.delivery import DeliveryPorts
from activities.delivery.events import PlatformEvents
from activities.delivery.findings import Findings
from activities.delivery.hold import hold_account
from activities.failure import heartbeating, translated
from domain.alternative import SAVED
from domain.campaign import CampaignStatus
from domain.delivery import Message, MessageStatus, NextStep, after_failure, backoff_ms
from domain.errors import GatewayError, NotFound
from domain.model import AccountId, Model
from domain.ports import CampaignStore
from domain.recall import RecallInput, RecallReport, in_time, recallable_until, report

UNSENT_AT_ONCE = 8
"""Calls in flight: what expires soonest must not wait for a slow answer about something else."""

UNSEND_ATTEMPTS = 5
LISTED_AT_ONCE = 1_000
RECALLED = "campaign_recalled"

_UNSENT = (MessageStatus.DRAFTED, MessageStatus.APPROVED, MessageStatus.QUEUED)


class Stopped(Model):
    """The accounts whose queues may still hold messages of the campaign."""

    account_ids: tuple[AccountId, ...]


class Unsend(Model):
    """Take back what can be; ``refusals``: what the gateway said in earlier passes."""

    campaign_id: str
    refusals: dict[UUID, str] = Field(default_factory=dict)


class RecallActivities:
    """Methods that undo a campaign."""

    def __init__(self, campaigns: CampaignStore, ports: DeliveryPorts) -> None:
        self._campaigns = campaigns
        self._ports = ports
        self._messages = ports.messages
        self._gateway = ports.gateway

    @activity.defn(name="recall.stop")
    @translated
    async def stop(self, request: RecallInput) -> Stopped:
        """Cancel a campaign that no workflow steers (any more), such as a single message; idempotent."""
        record = await self._campaigns.get(request.campaign_id)
        if record is None:
            raise NotFound(f"campaign {request.campaign_id} is not in the store")
        if not record.status.is_final:
            await self._campaigns.set_status(request.campaign_id, CampaignStatus.CANCELLED, RECALLED)
        async with heartbeating():
            for status in _UNSENT:
                waiting = [message.message_id for message in await self._all(request.campaign_id, status)]
                await self._messages.transition(request.campaign_id, waiting, MessageStatus.CANCELLED, reason=RECALLED)
        return Stopped(account_ids=tuple(lane.account_id for lane in record.lanes))

    @activity.defn(name="recall.unsend")
    @translated
    async def unsend(self, request: Unsend) -> RecallReport:
        """One pass over everything that is sent by now; what was taken back already is not touched again."""
        async with heartbeating():
            due = deque(in_time(await self._all(request.campaign_id, MessageStatus.SENT), datetime.now(UTC)))
            refusals = dict(request.refusals)
            await asyncio.gather(*(self._work_off(due, refusals) for _ in range(UNSENT_AT_ONCE)))
            kept = await self._all(request.campaign_id, MessageStatus.SENT)
            skipped = await self._all(request.campaign_id, MessageStatus.SKIPPED)
            kept += [message for message in skipped if message.reason == SAVED]
            counts = await self._messages.count_by_status(request.campaign_id)
            record = await self._campaigns.get(request.campaign_id)
        settled = all(status.is_terminal for status, number in counts.items() if number)
        return report(
            request.campaign_id,
            recalled=counts.get(MessageStatus.RECALLED, 0),
            cancelled=counts.get(MessageStatus.CANCELLED, 0),
            kept=kept,
            refusals=refusals,
            complete=settled and record is not None and record.status.is_final,
        )

    async def _work_off(self, due: deque[Message], refusals: dict[UUID, str]) -> None:
        while due:
            message = due.popleft()
            refusal = await self._take_back(message)
            if refusal:
                refusals[message.message_id] = refusal
            else:
                await self._messages.record_recalled(message, datetime.now(UTC))

    async def _take_back(self, message: Message) -> str:
        """Why the gateway would not, after several attempts; empty when the message is gone."""
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._gateway.unsend(
                    account_id=message.account_id,
                    recipient_id=message.recipient_id,
                    platform_message_id=message.platform_message_id or "",
                )
            except GatewayError as error:
                await self._hold(message.account_id, error)
                pause_s = error.retry_after_s
                if pause_s is None:
                    pause_s = backoff_ms(attempt, random.random()) / 1000
                until = recallable_until(message)
                in_vain = until is None or datetime.now(UTC) + timedelta(seconds=pause_s) >= until
                if not error.retryable or attempt >= UNSEND_ATTEMPTS or in_vain:
                    return str(error.fault)
                await asyncio.sleep(pause_s)
            else:
                return ""

    async def _hold(self, account_id: str, error: GatewayError) -> None:
        """What an answer says about the account holds it as after a send: sends wait, but what may expire does not."""
        decision = after_failure(
            error.fault, attempts=1, outcome_open=False, retry_after_s=error.retry_after_s, jitter=0
        )
        if decision.step is NextStep.HOLD_ACCOUNT:
            events = PlatformEvents(self._ports.accounts, self._ports.alerts, account_id)
            await hold_account(self._ports, Findings(), events, account_id, error, decision.delay_ms)

    async def _all(self, campaign_id: str, status: MessageStatus) -> list[Message]:
        messages: list[Message] = []
        cursor: str | None = None
        while True:
            listing = await self._messages.list(
                campaign_id, status=status, account_id=None, limit=LISTED_AT_ONCE, cursor=cursor
            )
            messages.extend(listing.messages)
            cursor = listing.cursor
            if cursor is None:
                return messages
