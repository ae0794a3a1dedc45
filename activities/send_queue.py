"""Handing a campaign's pages to the send queue of an account, and looking whether they would come in time."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import starmap
from uuid import UUID, uuid4

from pydantic import Field
from temporalio import activity

from activities.failure import translated
from domain.alternative import Page, page_eta, too_late
from domain.campaign import CampaignRecord
from domain.delivery import AccountControl, AccountState, MessageStatus, message_id
from domain.errors import NotFound
from domain.model import AccountId, Model
from domain.ports import AccountStore, CampaignStore, Limiter, MessageStore, SendQueues
from domain.rate_limit import LimitPolicy
from domain.schedule import call_ms, relevant_windows
from domain.send_queue import EnqueueBatch, QueueOutlook, maybe_under_way, still_waiting

_CLOSED_AGAIN_MS = 60_000
"""How long a campaign waits before it offers a page to a draining account again."""

AWAY_AT_MOST = timedelta(hours=1)
"""How much longer an account is expected to stand still at most: a campaign's choice of an alternative is final."""


class SubmitPage(Model):
    """Hand the approved messages of a page to the account's queue, as ``batch``."""

    campaign_id: str
    account_id: AccountId
    page: int = Field(ge=0)
    batch: int = Field(ge=0)


class Submitted(Model):
    """How many messages of the batch are in the queue or beyond it; ``waitMs``: none yet, come back after that."""

    count: int
    wait_ms: int = 0
    reason: str = Field(default="", description="why the account takes nothing now")


class Resubmit(Model):
    """Nothing was heard of these batches for long: compare with the store and hand them in again."""

    campaign_id: str
    account_id: AccountId
    batches: tuple[int, ...]


class Resubmitted(Model):
    """What the store says: submitted messages that ended, by status, and messages that wait, by batch."""

    counts: dict[MessageStatus, int]
    waiting: dict[int, int]


class LookAhead(Model):
    """Would so many more messages of a campaign be sent before its deadline?"""

    campaign_id: str
    account_id: AccountId
    messages: int = Field(ge=1)


class Ahead(Model):
    """``late``: why they would come after the deadline; empty if they would not."""

    late: str = ""


class SubmissionActivities:
    """The way from a campaign's drafts into the send queue."""

    def __init__(
        self,
        campaigns: CampaignStore,
        messages: MessageStore,
        queues: SendQueues,
        limiter: Limiter,
        accounts: AccountStore,
        *,
        policy: LimitPolicy,
    ) -> None:
        self._campaigns = campaigns
        self._messages = messages
        self._queues = queues
        self._limiter = limiter
        self._accounts = accounts
        self._policy = policy

    @activity.defn(name="delivery.submit_page")
    @translated
    async def submit_page(self, request: SubmitPage) -> Submitted:
        """Idempotent: the batch number is kept with each message, so a repetition submits the same ones.

        An account that is draining takes nothing new: its messages stay approved.
        """
        audience = await self._campaigns.audience_page(request.campaign_id, request.account_id, request.page)
        ids = [
            message_id(request.campaign_id, request.account_id, recipient.recipient_id)
            for recipient in audience.recipients
        ]
        stored = await self._messages.get_many(request.campaign_id, ids)
        approved = [key for key, message in stored.items() if message.status is MessageStatus.APPROVED]
        if approved and not (state := (await self._accounts.control(request.account_id)).state).accepts:
            return Submitted(count=0, wait_ms=_CLOSED_AGAIN_MS, reason=f"account:{state}")
        await self._messages.transition(request.campaign_id, approved, MessageStatus.QUEUED, batch=request.batch)
        stored = await self._messages.get_many(request.campaign_id, ids)
        batch = [key for key in ids if key in stored and stored[key].batch == request.batch]
        waiting = tuple(key for key in batch if not stored[key].status.is_terminal)
        if waiting:
            record = await self._record(request.campaign_id)
            await self._queues.enqueue(request.account_id, _batch(record, request.batch, waiting))
        return Submitted(count=len(batch))

    @activity.defn(name="delivery.resubmit")
    @translated
    async def resubmit(self, request: Resubmit) -> Resubmitted:
        """A batch that the queue still has stays as it is; one that it lost is there again."""
        record = await self._record(request.campaign_id)
        outlines = await self._messages.outlines(request.campaign_id, request.account_id)
        counts: dict[MessageStatus, int] = {}
        for outline in outlines:
            if outline.status.is_terminal and outline.batch is not None:
                counts[outline.status] = counts.get(outline.status, 0) + 1
        waiting: dict[int, int] = {}
        for batch in request.batches:
            ids = tuple(
                outline.message_id for outline in outlines if outline.batch == batch and not outline.status.is_terminal
            )
            waiting[batch] = len(ids)
            if ids:
                # A submission of its own: Temporal would answer a repetition from its record of the first one.
                await self._queues.enqueue(request.account_id, _batch(record, batch, ids), again=str(uuid4()))
        return Resubmitted(counts=counts, waiting=waiting)

    @activity.defn(name="delivery.outlook")
    @translated
    async def outlook(self, request: LookAhead) -> Ahead:
        """From the queue as it is and the limiter's own log; a queue that can't be asked counts as empty.

        Of an account that takes or sends nothing now, as if it went on at the moment that ``_back_at`` expects.
        """
        record = await self._record(request.campaign_id)
        times = record.delivery.times
        queue = await self._waiting(request.account_id)
        limits = await self._accounts.limits(request.account_id)
        now = datetime.now(UTC)
        back_at = _back_at(await self._accounts.control(request.account_id), now)
        queue = queue.model_copy(update={"throttled_until": max(queue.throttled_until or back_at, back_at)})
        types = {record.message_type, *(message.message_type for message in queue.messages)}
        windows = relevant_windows(self._policy, limits, now, types)
        usage = await self._limiter.usage(request.account_id, windows)
        page = Page(
            campaign_id=record.campaign_id,
            priority=record.priority,
            message_type=record.message_type,
            messages=request.messages,
            not_before=times.not_before,
        )
        # A long queue takes seconds to simulate: not on the event loop, which also heartbeats.
        eta = await asyncio.to_thread(page_eta, usage, queue, page, now, send_ms=call_ms(usage))
        return Ahead(late=too_late(times, eta))

    async def _waiting(self, account_id: str) -> QueueOutlook:
        """The queue without what is being sent at this moment, which the limiter's log, read later, counts already."""
        queue = await self._queues.outlook(account_id)
        if queue is None:
            return QueueOutlook(account_id=account_id, messages=())
        found = await asyncio.gather(*starmap(self._messages.get_many, maybe_under_way(queue).items()))
        return still_waiting(queue, {key: message.status for stored in found for key, message in stored.items()})

    async def _record(self, campaign_id: str) -> CampaignRecord:
        record = await self._campaigns.get(campaign_id)
        if record is None:
            raise NotFound(f"campaign {campaign_id} is not in the store")
        return record


def _back_at(control: AccountControl, now: datetime) -> datetime:
    """When an account sends what it is given: now, or after it has stood still for as long again as it has so far.

    So a pause of a moment costs a campaign nothing, and during a long one no page is paid for that would come too late.
    """
    if control.state is AccountState.ACTIVE:
        return now
    away = timedelta(0) if control.changed_at is None else now - control.changed_at
    return now + min(max(away, timedelta(0)), AWAY_AT_MOST)


def _batch(record: CampaignRecord, batch: int, ids: Sequence[UUID]) -> EnqueueBatch:
    times = record.delivery.times
    return EnqueueBatch(
        campaign_id=record.campaign_id,
        batch=batch,
        priority=record.priority,
        message_type=record.message_type,
        message_ids=tuple(ids),
        not_before=times.not_before,
        expires_at=times.expires_at,
        reports=True,
    )
