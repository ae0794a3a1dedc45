"""What is not sent by a campaign's deadline is withdrawn: its recipients get the alternative action instead.

Message by message, each under the condition that nobody has begun to send it and nobody has changed its text since it
was read. So a recipient gets the own message or the alternative, never both. What may be on its way stays as it is.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from pydantic import Field
from temporalio import activity

from activities.failure import heartbeating, translated
from domain.alternative import AlternativeAction, taken
from domain.campaign import CampaignRecord
from domain.delivery import MessageOutline, MessageStatus
from domain.errors import NotFound
from domain.model import AccountId, Model
from domain.ports import CampaignStore, MessageStore

_UNSENT = frozenset({MessageStatus.DRAFTED, MessageStatus.APPROVED, MessageStatus.QUEUED})

_AT_ONCE = 100


class Withdraw(Model):
    """Withdraw what an account has not sent of a campaign, in favour of ``action``. ``why``: kept with each text."""

    campaign_id: str
    account_id: AccountId
    action: AlternativeAction
    why: str


class Withdrawn(Model):
    """What the store has afterwards."""

    taken: int = Field(description="messages whose recipients get the alternative")
    drafts: int = Field(description="those of them that never were in the send queue and have not ended yet")
    counts: dict[MessageStatus, int] = Field(description="messages that ended without having been in the send queue")


class WithdrawalActivities:
    """Methods for messages that are not sent when a deadline passes."""

    def __init__(self, campaigns: CampaignStore, messages: MessageStore) -> None:
        self._campaigns = campaigns
        self._messages = messages

    @activity.defn(name="delivery.withdraw")
    @translated
    async def withdraw(self, request: Withdraw) -> Withdrawn:
        """Idempotent, as long as the alternative has not begun. Afterwards nothing is left that was not tried."""
        record = await self._campaigns.get(request.campaign_id)
        if record is None:
            raise NotFound(f"campaign {request.campaign_id} is not in the store")
        async with heartbeating():
            outlines = await self._outlines(request)
            while unsent := [each.message_id for each in outlines if each.status in _UNSENT]:
                for start in range(0, len(unsent), _AT_ONCE):
                    await self._take(request, record, unsent[start : start + _AT_ONCE])
                outlines = await self._outlines(request)
        drafts = [outline for outline in outlines if outline.batch is None]
        counts: dict[MessageStatus, int] = {}
        for outline in drafts:
            if outline.status.is_terminal:
                counts[outline.status] = counts.get(outline.status, 0) + 1
        return Withdrawn(
            taken=sum(outline.reason == request.action.message_reason for outline in outlines),
            drafts=len(drafts) - sum(counts.values()),
            counts=counts,
        )

    async def _take(self, request: Withdraw, record: CampaignRecord, ids: Sequence[UUID]) -> None:
        action = request.action
        if action is AlternativeAction.SKIP:
            await self._messages.transition(
                request.campaign_id, ids, MessageStatus.SKIPPED, reason=action.message_reason
            )
            return
        stored = (await self._messages.get_many(request.campaign_id, ids)).values()
        now = datetime.now(UTC)
        await self._messages.take(
            [
                taken(message, action, record.delivery, owner=record.owner, why=request.why, now=now)
                for message in stored
                if message.status in _UNSENT
            ]
        )

    async def _outlines(self, request: Withdraw) -> list[MessageOutline]:
        return await self._messages.outlines(request.campaign_id, request.account_id)
