"""Campaigns: what a caller asks for, what is stored, and what a workflow is started with."""

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from typing import Self
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import Field, field_validator, model_validator

from domain.alternative import DeliveryPolicy, DeliveryTerms, DeliveryTimes
from domain.compliance import MAX_TEXT_CHARACTERS, ComplianceLevel
from domain.cost import micros_from_dollars
from domain.delivery import Priority
from domain.model import AccountId, Model, RecipientId, Request
from domain.provider import IntentType, PreferredProvider, RecipientProfile
from domain.rate_limit import MessageType
from domain.review import REVIEW_HOURS, ReviewPolicy

MAX_AUDIENCE = 100_000
MAX_LANGUAGES = 8
"""General texts that a plan has room for."""
PLATFORMS = frozenset({"onlyfans"})

SEARCH_ATTRIBUTES: dict[str, str] = {
    "HuntazeStatus": "Keyword",
    "HuntazeIntentType": "Keyword",
    "HuntazeMessageType": "Keyword",
    "HuntazeComplianceLevel": "Keyword",
    "HuntazePriority": "Keyword",
}
"""Custom search attributes by name and type; none of them carries personal data."""

_CAMPAIGNS = uuid5(NAMESPACE_URL, "huntaze:campaign")


class AudienceMember(RecipientProfile, Request):
    """One recipient as the caller names it; ``accountId`` defaults to the context's account."""

    account_id: AccountId | None = None

    @field_validator("name")
    @classmethod
    def _readable_name(cls, name: str) -> str:
        """A name goes into texts and in front of reviewers: nothing in it may hide, turn or mark up what is read."""
        trimmed = name.strip()
        if not trimmed or any(sign in "<>" or unicodedata.category(sign) in {"Cc", "Cf"} for sign in trimmed):
            raise ValueError("must be a readable name, without control characters, invisible signs, < or >")
        return trimmed


class OnlyFansContext(Request):
    """The account that speaks, and how carefully."""

    account_id: AccountId
    recipient_id: RecipientId | None = None
    message_type: MessageType = MessageType.CUSTOM
    compliance_level: ComplianceLevel = ComplianceLevel.STRICT


class OnBudget(StrEnum):
    """What a campaign does when a budget has too little left.

    ``degrade``: a cheaper model, then general texts that cost nothing, then a person writes. ``stop``: nothing more is
    written; whoever has no message by then is skipped.
    """

    DEGRADE = "degrade"
    STOP = "stop"


class WorkflowIntent(Request):
    """What a caller asks for. Everything but ``type`` and ``onlyFansContext`` has a default."""

    type: IntentType
    only_fans_context: OnlyFansContext
    request_id: str | None = Field(default=None, pattern=r"^[\x21-\x7e]{1,255}$", examples=["spring-sale-1"])
    timestamp: datetime | None = None
    client_version: str = Field(default="", max_length=64)
    feature_flags: dict[str, bool] = Field(default_factory=dict)
    max_cost: Decimal | None = Field(default=None, gt=0, le=1_000_000, description="US dollars")
    on_budget: OnBudget = Field(default=OnBudget.DEGRADE, description="when a budget has too little left")
    preferred_provider: PreferredProvider = PreferredProvider.AUTO
    platforms: tuple[str, ...] = ("onlyfans",)
    priority: Priority = Priority.MEDIUM
    brief: str = Field(default="", max_length=2_000, description="what the campaign is to say")
    text: str = Field(default="", max_length=4 * MAX_TEXT_CHARACTERS, description="the text to validate")
    delivery: DeliveryPolicy = Field(default_factory=DeliveryPolicy, description="when it may be sent, and deadlines")
    review: ReviewPolicy = Field(default_factory=ReviewPolicy, description="how long drafts wait for a person")
    audience: tuple[AudienceMember, ...] = ()

    @field_validator("platforms")
    @classmethod
    def _known_platforms(cls, platforms: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(platforms) - PLATFORMS)
        if unknown or not platforms:
            raise ValueError(f"supported platforms: {', '.join(sorted(PLATFORMS))}")
        return platforms

    @model_validator(mode="after")
    def _complete_for_its_type(self) -> Self:
        needs_audience = {IntentType.CAMPAIGN_EXECUTION, IntentType.MESSAGE_GENERATION}
        if self.type in needs_audience and not self.audience:
            raise ValueError(f"audience: {self.type} needs at least one recipient")
        if self.type is IntentType.MESSAGE_GENERATION and len(self.audience) != 1:
            raise ValueError(
                "audience: message_generation writes to exactly one recipient; use campaign_execution for more"
            )
        if self.type not in needs_audience and self.audience:
            raise ValueError(f"audience: {self.type} takes no audience")
        if self.type is IntentType.CONTENT_VALIDATION and not self.text.strip():
            raise ValueError("text: content_validation needs the text to validate")
        if self.type is not IntentType.CONTENT_VALIDATION and not self.brief.strip():
            raise ValueError(f"brief: {self.type} needs a brief that says what it is about")
        if self.type is not IntentType.CAMPAIGN_EXECUTION and self.delivery != DeliveryPolicy():
            raise ValueError(f"delivery: {self.type} sends nothing; only campaign_execution does")
        if self.type is not IntentType.CAMPAIGN_EXECUTION and self.review != ReviewPolicy():
            raise ValueError(f"review: {self.type} leaves no drafts behind; only campaign_execution does")
        return self

    @property
    def max_cost_micros(self) -> int | None:
        """The caller's limit in µ$."""
        return None if self.max_cost is None else micros_from_dollars(self.max_cost)

    def accounts(self) -> tuple[str, ...]:
        """Every account that would speak, sorted."""
        home = self.only_fans_context.account_id
        return tuple(sorted({member.account_id or home for member in self.audience} | {home}))


class CampaignStatus(StrEnum):
    """Where a request stands."""

    PLANNING = "planning"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing changes any more."""
        return self in {CampaignStatus.COMPLETED, CampaignStatus.CANCELLED, CampaignStatus.FAILED}


class Steered(Model):
    """Where a request stands by its workflow's word, and what was asked for since: a pause must not wait for a worker.

    ``wish`` counts what was asked for through the API, ``wanted`` is the last of it, and ``settled`` the last that the
    workflow has answered with a ``status``.
    """

    status: CampaignStatus = CampaignStatus.PLANNING
    wanted: CampaignStatus | None = None
    wish: int = 0
    settled: int = 0
    recalled_at: datetime | None = Field(default=None, description="when its first recall began")
    part_of: str = Field(default="", description="the campaign whose dead letter this sends once more; empty: of none")

    @property
    def in_force(self) -> CampaignStatus:
        """What sending obeys. To stop holds as soon as it is asked for, to go on when the workflow has said so.

        A cancellation that was asked for can't be taken back, a pause is over when the workflow has answered it.
        """
        if self.status.is_final or self.status is CampaignStatus.CANCELLING:
            return self.status
        holds = self.wanted is CampaignStatus.PAUSED and self.wish > self.settled
        if self.wanted is not None and (holds or self.wanted is CampaignStatus.CANCELLING):
            return self.wanted
        return self.status

    @property
    def stop(self) -> CampaignStatus | None:
        """What keeps a message of it that failed from being sent once more; a campaign that ran to its end does not."""
        if self.recalled_at is not None:
            return CampaignStatus.CANCELLED
        stopping = {CampaignStatus.PAUSED, CampaignStatus.CANCELLING, CampaignStatus.CANCELLED}
        return self.in_force if self.in_force in stopping else None


class AudiencePage(Model):
    """The recipients of one page of one account."""

    account_id: AccountId
    page: int = Field(ge=0)
    recipients: tuple[RecipientProfile, ...]


class Lane(Model):
    """One account's part of a campaign: how many recipients on how many pages."""

    account_id: AccountId
    audience: int = Field(ge=1)
    pages: int = Field(ge=1)


class CampaignRecord(Steered):
    """A request as stored: everything that activities need to know and no workflow has to carry."""

    campaign_id: str
    request_id: str
    owner: str
    type: IntentType
    message_type: MessageType
    compliance_level: ComplianceLevel
    priority: Priority
    preferred_provider: PreferredProvider
    max_cost_micros: int | None = None
    on_budget: OnBudget = OnBudget.DEGRADE
    languages: tuple[str, ...] = Field(default=(), description="of the audience, the most frequent first")
    brief: str
    named: tuple[str, ...] = Field(default=(), description="names of recipients that the brief holds")
    text: str = ""
    account_id: AccountId
    lanes: tuple[Lane, ...]
    audience_size: int
    page_size: int = Field(ge=1)
    fingerprint: str
    created_at: datetime
    status_reason: str = ""
    client_version: str = ""
    delivery: DeliveryTerms = DeliveryTerms()
    review_expires_after_hours: int = REVIEW_HOURS
    routed_by: str = Field(default="", description="the flag that led a legacy client here; empty: it asked us itself")
    arm: str = Field(default="", description="the arm of that flag's rollout that a failure counts for; empty: of none")
    routed_as: IntentType | None = Field(default=None, description="the type that the legacy API's answer names")


class CampaignStanding(Steered):
    """As much of a record as the last look before a send needs; what the gate answers has as ``status`` what holds."""

    campaign_id: str
    compliance_level: ComplianceLevel

    def under(self, whole: Steered) -> Self:
        """As a part of a campaign: what stops the whole stops a message that is sent once more, too."""
        ended = self.status.is_final or self.status is CampaignStatus.CANCELLING
        return self if ended or whole.stop is None else self.model_copy(update={"status": whole.stop})


class CampaignInput(Model):
    """What ``CampaignWorkflow`` is started with: ids, numbers and times only."""

    campaign_id: str
    request_id: str
    owner: str
    trace_id: str
    compliance_level: ComplianceLevel
    priority: Priority
    page_size: int = Field(ge=1)
    lanes: tuple[Lane, ...]
    pages_per_run: int = Field(default=500, ge=1, description="actions of lanes before continue-as-new")
    delivery: DeliveryTimes = DeliveryTimes()
    review_expires_after_hours: int = REVIEW_HOURS

    @classmethod
    def of(cls, record: CampaignRecord, trace_id: str) -> Self:
        """For a stored request."""
        return cls(
            campaign_id=record.campaign_id,
            request_id=record.request_id,
            owner=record.owner,
            trace_id=trace_id,
            compliance_level=record.compliance_level,
            priority=record.priority,
            page_size=record.page_size,
            lanes=record.lanes,
            delivery=record.delivery.times,
            review_expires_after_hours=record.review_expires_after_hours,
        )

    @property
    def audience_size(self) -> int:
        """Recipients over all accounts."""
        return sum(lane.audience for lane in self.lanes)


class ControlRequest(Model):
    """The optional argument of the signals ``pause``, ``resume`` and ``cancel``."""

    requested_by: str = "temporal-signal"
    reason: str = Field(default="", max_length=500)
    wish: int | None = Field(default=None, description="its number in the record; null: it is not from the API")


class GenerationInput(Model):
    """What ``GenerationWorkflow`` is started with."""

    campaign_id: str
    request_id: str
    owner: str
    trace_id: str
    type: IntentType


def campaign_id(owner: str, request_key: str) -> str:
    """The id of a request: the same caller with the same key means the same request, always."""
    return str(uuid5(_CAMPAIGNS, json.dumps([owner, request_key])))


def mass_message_key(campaign: str, account_id: str) -> UUID:
    """The idempotency key of the one call that reaches an account's late recipients."""
    return uuid5(_CAMPAIGNS, f"{campaign}/{account_id}/mass")


def campaign_workflow_id(campaign: str) -> str:
    """The workflow id of a campaign."""
    return f"campaign-{campaign}"


def generation_workflow_id(campaign: str) -> str:
    """The workflow id of a single-shot request."""
    return f"generation-{campaign}"


def workflow_id_for(intent: IntentType, campaign: str) -> str:
    """The workflow id of a request of this type."""
    if intent is IntentType.CAMPAIGN_EXECUTION:
        return campaign_workflow_id(campaign)
    return generation_workflow_id(campaign)


def campaign_of(workflow_id: str) -> str | None:
    """The request that a workflow id belongs to; ``None`` when it is no such id."""
    for kind in ("campaign-", "generation-"):
        if workflow_id.startswith(kind):
            return workflow_id.removeprefix(kind)
    return None


def fingerprint(intent: WorkflowIntent) -> str:
    """A digest of what was asked for; the key itself is no part of it. Tells a repetition from a conflict."""
    body = intent.model_dump(mode="json", exclude={"request_id", "timestamp"})
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def duplicate_recipients(intent: WorkflowIntent) -> tuple[tuple[int, int], ...]:
    """Positions of recipients that occur again on the same account, as (repetition, first occurrence)."""
    home = intent.only_fans_context.account_id
    seen: dict[tuple[str, str], int] = {}
    repeated: list[tuple[int, int]] = []
    for index, member in enumerate(intent.audience):
        first = seen.setdefault((member.account_id or home, member.recipient_id), index)
        if first != index:
            repeated.append((index, first))
    return tuple(repeated)


def paginate(intent: WorkflowIntent, page_size: int) -> tuple[AudiencePage, ...]:
    """The audience by account, in the caller's order, cut into pages of at most ``page_size`` recipients."""
    home = intent.only_fans_context.account_id
    by_account = sorted(intent.audience, key=lambda member: member.account_id or home)
    pages: list[AudiencePage] = []
    for account_id, members in groupby(by_account, key=lambda member: member.account_id or home):
        profiles = [RecipientProfile.model_construct(**member.model_dump(exclude={"account_id"})) for member in members]
        pages.extend(
            AudiencePage(account_id=account_id, page=number, recipients=tuple(profiles[start : start + page_size]))
            for number, start in enumerate(range(0, len(profiles), page_size))
        )
    return tuple(pages)


def languages_of(intent: WorkflowIntent, most: int = MAX_LANGUAGES) -> tuple[str, ...]:
    """The languages that most recipients have, without regions; English when nobody is named."""
    spoken = Counter(member.language.partition("-")[0] for member in intent.audience)
    return tuple(language for language, _ in spoken.most_common(most)) or ("en",)


def lanes_of(pages: Iterable[AudiencePage]) -> tuple[Lane, ...]:
    """How many recipients and pages each account has."""
    sizes: dict[str, list[int]] = {}
    for page in pages:
        sizes.setdefault(page.account_id, []).append(len(page.recipients))
    return tuple(
        Lane(account_id=account_id, audience=sum(counts), pages=len(counts)) for account_id, counts in sizes.items()
    )
