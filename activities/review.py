"""Carrying out what a reviewer decided about a page."""

from temporalio import activity

from activities.failure import translated
from domain.delivery import Message, MessageStatus, message_id
from domain.lane import Decision, PageDrafted, Verdict
from domain.model import AccountId, Model
from domain.ports import CampaignStore, MessageStore


class DecidePage(Model):
    """A verdict for everything on a page that waits for one."""

    campaign_id: str
    account_id: AccountId
    page: int
    decision: Decision


class ReviewActivities:
    """Methods that move drafted messages on."""

    def __init__(self, campaigns: CampaignStore, messages: MessageStore) -> None:
        self._campaigns = campaigns
        self._messages = messages

    @activity.defn(name="review.decide_page")
    @translated
    async def decide_page(self, request: DecidePage) -> PageDrafted:
        """Idempotent; a message that has ended in the meantime stays as it is."""
        approve = request.decision.verdict is Verdict.APPROVE
        stored = await self._page(request)
        waiting = [message.message_id for message in stored if message.status is MessageStatus.DRAFTED]
        await self._messages.transition(
            request.campaign_id,
            waiting,
            MessageStatus.APPROVED if approve else MessageStatus.REJECTED,
            reason=request.decision.comment,
            approved_by=request.decision.decided_by,
        )
        stored = await self._page(request)
        rejected = sum(message.status is MessageStatus.REJECTED for message in stored)
        return PageDrafted(
            awaiting=sum(message.status is MessageStatus.DRAFTED for message in stored),
            ready=sum(message.status is MessageStatus.APPROVED for message in stored),
            counts={MessageStatus.REJECTED: rejected} if rejected else {},
        )

    async def _page(self, request: DecidePage) -> list[Message]:
        audience = await self._campaigns.audience_page(request.campaign_id, request.account_id, request.page)
        ids = [
            message_id(request.campaign_id, request.account_id, recipient.recipient_id)
            for recipient in audience.recipients
        ]
        return list((await self._messages.get_many(request.campaign_id, ids)).values())
