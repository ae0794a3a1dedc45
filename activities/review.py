"""Carrying out what was decided about a page's drafts, and reading a page that somebody else has changed."""

from datetime import UTC, datetime

from pydantic import Field
from temporalio import activity

from activities.failure import translated
from domain.delivery import Message, MessageReview, message_id
from domain.errors import HuntazeError
from domain.lane import PageDrafted, distribution
from domain.model import AccountId, Model
from domain.ports import CampaignStore, Experiments, MessageStore
from domain.review import Decision, Verdict, plan_satisfaction, satisfaction


class ReviewedPage(Model):
    """A page to be read; with ``decision``, what is to be carried out on it first."""

    campaign_id: str
    account_id: AccountId
    page: int = Field(ge=0)
    decision: Decision | None = None


class ReviewActivities:
    """Methods that move drafted messages on."""

    def __init__(self, campaigns: CampaignStore, messages: MessageStore, experiments: Experiments) -> None:
        self._campaigns = campaigns
        self._messages = messages
        self._experiments = experiments

    @activity.defn(name="review.decide_page")
    @translated
    async def decide_page(self, request: ReviewedPage) -> PageDrafted:
        """Idempotent; a message that is no draft any more stays as it is, whatever was decided about it."""
        stored = await self._page(request)
        if request.decision is not None:
            await self._carry_out(request.decision, stored)
            stored = await self._page(request)
        await self._observe(
            request.campaign_id, [message for message in stored if _may_be_new(message, request.decision)]
        )
        return distribution(stored)

    async def _carry_out(self, decision: Decision, stored: list[Message]) -> None:
        now = datetime.now(UTC)
        # When it was made, which may be long before it is carried out.
        decided_at = decision.decided_at or now
        review = MessageReview(decided_by=decision.decided_by, decided_at=decided_at, comment=decision.comment)
        await self._messages.decide(
            [message for message in stored if decision.covers(message)],
            decision.verdict.target,
            reason=decision.reason,
            review=None if decision.verdict is Verdict.EXPIRE else review,
            now=now,
        )

    async def _observe(self, campaign_id: str, messages: list[Message]) -> None:
        """What people have decided, as it is stored; what was observed before an interruption does not count again."""
        if all(message.review is None for message in messages):
            return
        try:
            plan = await self._campaigns.plan(campaign_id)
            of_plan = None if plan is None else plan_satisfaction(campaign_id, plan.experiment, plan.arm, messages)
            for observation in (*map(satisfaction, messages), of_plan):
                if observation is not None:
                    await self._experiments.observe(observation)
        except HuntazeError:
            # A decision is worth more than what an experiment learns from it.
            activity.logger.warning("observations of an experiment are lost")

    async def _page(self, request: ReviewedPage) -> list[Message]:
        audience = await self._campaigns.audience_page(request.campaign_id, request.account_id, request.page)
        ids = [
            message_id(request.campaign_id, request.account_id, recipient.recipient_id)
            for recipient in audience.recipients
        ]
        return list((await self._messages.get_many(request.campaign_id, ids)).values())


def _may_be_new(message: Message, decision: Decision | None) -> bool:
    """Whether what somebody has decided about the message may not have been observed yet.

    An approval that came with an edit is stored by the API; the first to read the page observes it.
    """
    by_edit = message.origin is not None and message.origin.edited_by != ""
    return by_edit or decision is None or not decision.messages or message.message_id in decision.messages
