"""Taking messages back, as long as the platform lets us."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from pydantic import Field
from temporalio import activity

from activities.delivery import DeliveryPorts
from activities.delivery.events import PlatformEvents
from activities.delivery.findings import Findings
from activities.delivery.hold import hold_account
from activities.failure import heartbeating, translated
from domain.alternative import SAVED
from domain.campaign import CampaignRecord, CampaignStatus
from domain.dead_letter import may_have_arrived, retry_id
from domain.delivery import Message, MessageStatus, NextStep, after_failure, backoff_ms
from domain.errors import GatewayError, NotFound
from domain.model import AccountId, Model
from domain.ports import CampaignStore
from domain.recall import RecallInput, RecallReport, in_time, recallable_until, report

T = TypeVar("T")
R = TypeVar("R")

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
    """Take back what can be; ``refusals``: why earlier passes could not, by message."""

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
        async with heartbeating():
            await self._cancel(record)
        return Stopped(account_ids=tuple(lane.account_id for lane in record.lanes))

    @activity.defn(name="recall.unsend")
    @translated
    async def unsend(self, request: Unsend) -> RecallReport:
        """One pass over everything that is sent by now; what was taken back already is not touched again.

        Dead letters that were sent once more belong to it; those that wait are cancelled here.
        """
        async with heartbeating():
            if await self._campaigns.get(request.campaign_id) is not None:
                # From here on the dead letters of it stay what they are.
                await self._campaigns.mark_recalled(request.campaign_id, datetime.now(UTC))
            refusals = dict(request.refusals)
            # Most of it first: to find the rest takes time, in which messages become too old.
            await self._take_back_sent([request.campaign_id], refusals)
            again = await self._sent_once_more(request.campaign_id)
            await self._take_back_sent(again, refusals)
            parts = [request.campaign_id, *again]
            kept = await self._all_of(parts, MessageStatus.SENT)
            kept += [each for each in await self._all_of(parts, MessageStatus.SKIPPED) if each.reason == SAVED]
            unknown = [each for each in await self._all_of(parts, MessageStatus.FAILED) if may_have_arrived(each)]
            counts: Counter[MessageStatus] = Counter()
            for found in await _several(self._messages.count_by_status, parts):
                counts.update(found)
            record = await self._campaigns.get(request.campaign_id)
        settled = all(status.is_terminal for status, number in counts.items() if number)
        return report(
            request.campaign_id,
            recalled=counts[MessageStatus.RECALLED],
            cancelled=counts[MessageStatus.CANCELLED],
            kept=[*kept, *unknown],
            refusals=refusals | {each.message_id: each.reason for each in unknown},
            complete=settled and record is not None and record.status.is_final,
        )

    async def _cancel(self, record: CampaignRecord) -> None:
        if not record.status.is_final:
            await self._campaigns.set_status(record.campaign_id, CampaignStatus.CANCELLED, RECALLED)
        for status in _UNSENT:
            waiting = [message.message_id for message in await self._all(record.campaign_id, status)]
            await self._messages.transition(record.campaign_id, waiting, MessageStatus.CANCELLED, reason=RECALLED)

    async def _sent_once_more(self, campaign_id: str) -> list[str]:
        """The messages that took the place of dead letters, of those that failed in their turn as well, cancelled."""
        found: list[str] = []
        failed = await self._all(campaign_id, MessageStatus.FAILED)
        while failed:
            records = await self._campaigns.get_many([str(retry_id(message.message_id)) for message in failed])
            await _several(self._cancel, [record for record in records if not record.status.is_final])
            ids = [record.campaign_id for record in records]
            failed = await self._all_of(ids, MessageStatus.FAILED)
            found += ids
        return found

    async def _take_back_sent(self, campaign_ids: Sequence[str], refusals: dict[UUID, str]) -> None:
        due = deque(in_time(await self._all_of(campaign_ids, MessageStatus.SENT), datetime.now(UTC)))
        await asyncio.gather(*(self._work_off(due, refusals) for _ in range(UNSENT_AT_ONCE)))

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

    async def _all_of(self, campaign_ids: Sequence[str], status: MessageStatus) -> list[Message]:
        found = await _several(lambda campaign_id: self._all(campaign_id, status), campaign_ids)
        return [message for messages in found for message in messages]

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


async def _several(work: Callable[[T], Awaitable[R]], items: Iterable[T]) -> list[R]:
    """``work`` on each item, in their order, some at the same time."""
    room = asyncio.Semaphore(UNSENT_AT_ONCE)

    async def one(item: T) -> R:
        async with room:
            return await work(item)

    return await asyncio.gather(*(one(item) for item in items))
