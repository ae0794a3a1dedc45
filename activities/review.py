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
from domain.review import Decision, Verdict, satisfaction


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
        if request.decision is None:
            return distribution(stored)
        decision = request.decision
        now = datetime.now(UTC)
        review = MessageReview(decided_by=decision.decided_by, decided_at=now, comment=decision.comment)
        covered = [message for message in stored if decision.covers(message)]
        for message in covered:
            await self._observe(message, decision.verdict)
        await self._messages.decide(
            covered,
            decision.verdict.target,
            reason=decision.reason,
            review=None if decision.verdict is Verdict.EXPIRE else review,
            now=now,
        )
        return distribution(await self._page(request))

    async def _observe(self, message: Message, verdict: Verdict) -> None:
        observation = satisfaction(message, verdict)
        if observation is None:
            return
        try:
            await self._experiments.observe(observation)
        except HuntazeError:
            # A decision is worth more than what an experiment learns from it.
            activity.logger.warning("an observation of an experiment is lost")

    async def _page(self, request: ReviewedPage) -> list[Message]:
        audience = await self._campaigns.audience_page(request.campaign_id, request.account_id, request.page)
        ids = [
            message_id(request.campaign_id, request.account_id, recipient.recipient_id)
            for recipient in audience.recipients
        ]
        return list((await self._messages.get_many(request.campaign_id, ids)).values())
