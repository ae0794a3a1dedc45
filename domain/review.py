"""When a person must look before anything is sent, what that person decided, and what a decision covers.

Human approval is the default (``strict``). Anything less is an opt-in of the account's owner, recorded with
who gave it, when and why.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from statistics import fmean
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from domain.compliance import MAX_TEXT_CHARACTERS, ComplianceLevel, ComplianceReport
from domain.delivery import EarlierText, Message, MessageOrigin, MessageReview, MessageStatus
from domain.experiment import ArmObservation, Metric
from domain.model import AccountId, Model, Request

REVIEW_THRESHOLD = 0.8
"""``moderate``: what scores below this is reviewed."""

REVIEW_HOURS = 72
"""How long drafts wait for a person unless the request says otherwise."""

MAX_REVIEW_HOURS = 720

REVIEW_EXPIRED = "review_expired"
"""The reason of a draft about which nobody decided in time."""

AWAITING_REVIEW = "awaiting_review"
"""The reason of a draft that has a text and waits for a decision."""

REVIEWER = "reviewer"
"""In place of a provider: a person wrote the first text of a draft."""

MANUAL_REVIEW = "manual_review"
"""The reason of a draft that a person has to write, before a colon and why nobody else could."""

MAX_EDITS = 20
"""Edits of one draft: every earlier text is kept with it, and an item of the store is bounded."""

MAX_NAMED = 100
"""Messages that one decision names, and decisions in one call."""

_AUTONOMY = {ComplianceLevel.STRICT: 0, ComplianceLevel.MODERATE: 1, ComplianceLevel.RELAXED: 2}


def needs_review(level: ComplianceLevel, report: ComplianceReport) -> bool:
    """Whether a message that no rule blocks waits for a person.

    Where the provider's moderation gave no answer, ``moderate`` has a person look instead; ``relaxed`` does without.
    """
    if level is ComplianceLevel.STRICT:
        return True
    if level is ComplianceLevel.MODERATE:
        return report.score < REVIEW_THRESHOLD or report.moderated is False
    return bool(report.violations)


class AutonomyRequest(Request):
    """The owner of an account allows campaigns with less review than ``strict``."""

    level: ComplianceLevel = Field(description="the most relaxed level that campaigns of the account may ask for")
    reason: str = Field(min_length=3, max_length=500, examples=["Texts were reviewed for three months."])


class AutonomyOptIn(Model):
    """What is on record for an account."""

    account_id: AccountId
    level: ComplianceLevel = ComplianceLevel.STRICT
    reason: str = ""
    granted_by: str = ""
    granted_at: datetime | None = None

    def allows(self, level: ComplianceLevel) -> bool:
        """Whether a campaign at ``level`` may run on the account."""
        return _AUTONOMY[level] <= _AUTONOMY[self.level]


class ReviewPolicy(Request):
    """How long a campaign's drafts wait for a person."""

    expires_after_hours: int = Field(
        default=REVIEW_HOURS,
        ge=1,
        le=MAX_REVIEW_HOURS,
        description="drafts about which nobody has decided by then are skipped; a pause does not stop this clock",
    )


class PageKey(Model):
    """One page of one account's part of a campaign, counted from 0."""

    account_id: AccountId
    page: int = Field(ge=0)


class WaitingPage(PageKey):
    """A page with drafts that wait, how many of them, and until when."""

    awaiting: int = Field(default=0, description="drafts that an approval of the page covers")
    unwritten: int = Field(default=0, description="drafts without a text that may be sent: edit or reject them")
    expires_at: datetime | None = None


class Verdict(StrEnum):
    """What is to become of drafts. ``expire`` is nobody's decision, but the clock's."""

    APPROVE = "approve"
    REJECT = "reject"
    EXPIRE = "expire"

    @property
    def target(self) -> MessageStatus:
        """The state of a draft after it."""
        return _TARGETS[self]


_TARGETS = {
    Verdict.APPROVE: MessageStatus.APPROVED,
    Verdict.REJECT: MessageStatus.REJECTED,
    Verdict.EXPIRE: MessageStatus.SKIPPED,
}


class Decision(Model):
    """A verdict with who gave it and why; about the drafts that it names, or all of a page if it names none.

    It is about the texts that were there when it was made: of the drafts in ``revisions`` about that revision, of
    others about what nobody has edited after ``decided_at``. Without a moment (the clock's) it is about any text.
    """

    verdict: Verdict
    decided_by: str
    decided_at: datetime | None = None
    comment: str = ""
    messages: tuple[UUID, ...] = ()
    revisions: dict[UUID, int] = Field(default_factory=dict)

    def covers(self, message: Message) -> bool:
        """Whether a message becomes what the verdict says: an approval covers only what could be sent."""
        if message.status is not MessageStatus.DRAFTED or (self.messages and message.message_id not in self.messages):
            return False
        return self._is_about(message) if is_approvable(message) else self.verdict is not Verdict.APPROVE

    def _is_about(self, message: Message) -> bool:
        if message.message_id in self.revisions:
            return message.revision == self.revisions[message.message_id]
        edited_at = message.origin.edited_at if message.origin is not None else None
        return edited_at is None or self.decided_at is None or edited_at <= self.decided_at

    @property
    def reason(self) -> str:
        """What the messages say about why they became what they are."""
        return REVIEW_EXPIRED if self.verdict is Verdict.EXPIRE else self.comment


def satisfied(message: Message) -> float | None:
    """What a person's decision says about a model's text.

    1: approved as written, 0.5: approved after an edit, 0: rejected. ``None``: nobody has decided, or no model wrote.
    """
    origin = message.origin
    if origin is None or origin.provider == REVIEWER or message.review is None:
        return None
    approved = 0.5 if origin.edited_by else 1.0
    return 0.0 if message.status is MessageStatus.REJECTED else approved


def satisfaction(message: Message) -> ArmObservation | None:
    """What a person's decision says about the arm that wrote a text; ``None``: no experiment, or nothing is said."""
    value = satisfied(message)
    if value is None or message.origin is None or not message.origin.arm:
        return None
    return ArmObservation(
        observation_id=f"{message.message_id}/review",
        experiment=message.origin.experiment,
        arm=message.origin.arm,
        values={Metric.SATISFACTION: value},
    )


def plan_satisfaction(
    campaign_id: str, experiment: str, arm: str, messages: Sequence[Message]
) -> ArmObservation | None:
    """What the first decision about texts that were written after a plan says about the arm that wrote the plan.

    One value for a campaign, as of everything else that is known of a plan: texts after one plan are alike, and many of
    them would pass for many plans. ``None``: no experiment, or nothing is said.
    """
    values = [value for message in messages if (value := satisfied(message)) is not None]
    if not arm or not values:
        return None
    return ArmObservation(
        observation_id=f"{campaign_id}/plan/review",
        experiment=experiment,
        arm=arm,
        values={Metric.SATISFACTION: fmean(values)},
    )


EXPIRY = Decision(verdict=Verdict.EXPIRE, decided_by="timer")
"""What the clock decides about a page for which nobody had the time."""


class ReviewDecision(Model):
    """Approve or reject drafts; sent as a signal by API, Temporal UI or CLI.

    ``pages`` empty means every page that waits now; ``messages`` narrows it to these drafts, the rest goes on
    waiting. ``scope: campaign`` also covers all pages to come, unless messages are named. ``revisions`` and
    ``decidedAt`` as in ``Decision``; without ``decidedAt`` it is made when the workflow hears of it.
    """

    pages: tuple[PageKey, ...] = ()
    messages: tuple[UUID, ...] = ()
    revisions: dict[UUID, int] = Field(default_factory=dict)
    scope: Literal["pages", "campaign"] = "pages"
    decided_by: str = "temporal-signal"
    decided_at: datetime | None = None
    comment: str = Field(default="", max_length=500)

    def decision(self, verdict: Verdict) -> Decision:
        """What it says about the pages that it is about."""
        return Decision(
            verdict=verdict,
            decided_by=self.decided_by,
            decided_at=self.decided_at,
            comment=self.comment,
            messages=self.messages,
            revisions=self.revisions,
        )

    def heard_at(self, now: datetime) -> "ReviewDecision":
        """The same with the moment at which it was made, for which ``now`` has to do where nobody has said it."""
        return self if self.decided_at is not None else self.model_copy(update={"decided_at": now})

    @property
    def stands(self) -> bool:
        """Whether it is also about pages to come."""
        return self.scope == "campaign" and not self.messages


class ReviewRequest(Request):
    """The body of ``approve`` and ``reject``; an empty one decides every page that waits now."""

    pages: tuple[PageKey, ...] = ()
    messages: tuple[UUID, ...] = Field(default=(), max_length=MAX_NAMED, description="only these drafts")
    revisions: dict[UUID, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict,
        max_length=MAX_NAMED,
        description="of messages that are named: the revision that was read; refused when it is another by now",
    )
    scope: Literal["pages", "campaign"] = "pages"
    comment: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _one_way_to_say_which(self) -> Self:
        if self.messages and (self.pages or self.scope == "campaign"):
            raise ValueError("messages: name messages, or pages, or the whole campaign; not several of these")
        if not self.revisions.keys() <= set(self.messages):
            raise ValueError("revisions: only of messages that are named in messages")
        return self


class BulkDecision(ReviewRequest):
    """One of many decisions: a verdict about drafts of one campaign."""

    campaign_id: str = Field(max_length=100)
    verdict: Literal["approve", "reject"]


class BulkReviewRequest(Request):
    """Decisions about several campaigns; each one stands for itself."""

    items: tuple[BulkDecision, ...] = Field(min_length=1, max_length=MAX_NAMED)


class EditRequest(Request):
    """A new text for a draft. ``revision``: what it was when its text was read; refused when it is another by now."""

    text: str = Field(min_length=1, max_length=4 * MAX_TEXT_CHARACTERS)
    approve: bool = Field(default=False, description="and let it be sent")
    comment: str = Field(default="", max_length=500)
    revision: int | None = Field(default=None, ge=0)


def is_approvable(message: Message) -> bool:
    """Whether a draft has a text, and no rule blocks it."""
    return bool(message.text.strip()) and message.compliance is not None and not message.compliance.blocked


def edited(
    message: Message, change: EditRequest, report: ComplianceReport, quality: float, review: MessageReview
) -> Message:
    """A draft with a new text; the one before it stays in ``earlier``. ``review``: who edits it, when and why."""
    origin = message.origin or MessageOrigin(provider=REVIEWER, model="", prompt_version="")
    before = EarlierText(
        text=message.text,
        origin=message.origin,
        replaced_by=review.decided_by,
        replaced_at=review.decided_at,
        comment=review.comment,
    )
    changes: dict[str, object] = {
        "text": change.text,
        "origin": origin.model_copy(update={"edited_by": review.decided_by, "edited_at": review.decided_at}),
        "compliance": report,
        "quality": quality,
        "reason": AWAITING_REVIEW,
        "revision": message.revision + 1,
        "earlier": (*message.earlier, before),
        "updated_at": review.decided_at,
    }
    draft = message.model_copy(update=changes)
    return approved(draft, review) if change.approve else draft


def approved(message: Message, review: MessageReview) -> Message:
    """A draft that a person lets be sent."""
    origin = message.origin
    if origin is not None:
        origin = origin.model_copy(update={"approved_by": review.decided_by, "approved_at": review.decided_at})
    return message.model_copy(
        update={"status": MessageStatus.APPROVED, "reason": review.comment, "review": review, "origin": origin}
    )
