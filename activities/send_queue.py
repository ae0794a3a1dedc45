"""Handing a campaign's pages to the send queue of an account."""

from pydantic import Field
from temporalio import activity

from activities.failure import translated
from domain.delivery import MessageStatus, Priority, message_id
from domain.model import AccountId, Model
from domain.ports import CampaignStore, MessageStore, SendQueues
from domain.send_queue import EnqueueBatch


class SubmitPage(Model):
    """Hand the approved messages of a page to the account's queue, as ``batch``."""

    campaign_id: str
    account_id: AccountId
    page: int = Field(ge=0)
    batch: int = Field(ge=0)
    priority: Priority


class Submitted(Model):
    """How many messages of the batch are in the queue or beyond it."""

    count: int


class Resubmit(Model):
    """Nothing was heard of these batches for long: compare with the store and hand them in again."""

    campaign_id: str
    account_id: AccountId
    batches: tuple[int, ...]
    priority: Priority


class Resubmitted(Model):
    """What the store says: messages that ended, by status, and messages that wait, by batch."""

    counts: dict[MessageStatus, int]
    waiting: dict[int, int]


class SubmissionActivities:
    """The way from a campaign's drafts into the send queue."""

    def __init__(self, campaigns: CampaignStore, messages: MessageStore, queues: SendQueues) -> None:
        self._campaigns = campaigns
        self._messages = messages
        self._queues = queues

    @activity.defn(name="delivery.submit_page")
    @translated
    async def submit_page(self, request: SubmitPage) -> Submitted:
        """Idempotent: the batch number is kept with each message, so a repetition submits the same ones."""
        audience = await self._campaigns.audience_page(request.campaign_id, request.account_id, request.page)
        ids = [
            message_id(request.campaign_id, request.account_id, recipient.recipient_id)
            for recipient in audience.recipients
        ]
        stored = await self._messages.get_many(request.campaign_id, ids)
        approved = [key for key, message in stored.items() if message.status is MessageStatus.APPROVED]
        await self._messages.transition(request.campaign_id, approved, MessageStatus.QUEUED, batch=request.batch)
        stored = await self._messages.get_many(request.campaign_id, ids)
        batch = [key for key in ids if key in stored and stored[key].batch == request.batch]
        waiting = tuple(key for key in batch if not stored[key].status.is_terminal)
        if waiting:
            await self._queues.enqueue(
                request.account_id,
                EnqueueBatch(
                    campaign_id=request.campaign_id,
                    batch=request.batch,
                    priority=request.priority,
                    message_ids=waiting,
                ),
            )
        return Submitted(count=len(batch))

    @activity.defn(name="delivery.resubmit")
    @translated
    async def resubmit(self, request: Resubmit) -> Resubmitted:
        """A batch that the queue still has stays as it is; one that it lost is there again."""
        outlines = await self._messages.outlines(request.campaign_id, request.account_id)
        counts: dict[MessageStatus, int] = {}
        for outline in outlines:
            if outline.status.is_terminal:
                counts[outline.status] = counts.get(outline.status, 0) + 1
        waiting: dict[int, int] = {}
        for batch in request.batches:
            ids = tuple(
                outline.message_id for outline in outlines if outline.batch == batch and not outline.status.is_terminal
            )
            waiting[batch] = len(ids)
            if ids:
                await self._queues.enqueue(
                    request.account_id,
                    EnqueueBatch(
                        campaign_id=request.campaign_id, batch=batch, priority=request.priority, message_ids=ids
                    ),
                )
        return Resubmitted(counts=counts, waiting=waiting)
