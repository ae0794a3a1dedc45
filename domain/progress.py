"""What a campaign shows while it runs and after it ended, and the identity that must hold at the end."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from pydantic import Field, computed_field

from domain.alternative import Alternative
from domain.campaign import CampaignInput, CampaignStatus
from domain.compliance import ComplianceReport
from domain.cost import CostTotals, dollars_from_micros
from domain.delivery import TERMINAL, MessageOrigin, MessageStatus
from domain.errors import ErrorType
from domain.lane import LaneState
from domain.model import AccountId, Model
from domain.plan import PlanAwaited
from domain.provider import ContentPlan, FallbackStep, Provider, ProviderUsed, provider_used
from domain.rate_limit import RateLimitStatus
from domain.review import Decision, WaitingPage
from domain.routing import RouteTaken, add_routes

FALLBACKS_KEPT = 100
"""Fallback steps that a result lists; the cost entries and logs hold them all."""


class Tally(Model):
    """Who answered, who did not, and the sums of the scores of drafted messages."""

    providers: tuple[Provider, ...] = ()
    fallbacks: tuple[FallbackStep, ...] = ()
    fallback_count: int = 0
    scored: int = 0
    quality_sum: float = 0.0
    compliance_sum: float = 0.0
    routes: tuple[RouteTaken, ...] = ()
    cached: int = Field(
        default=0, description="plans and messages that came from the cache or the plan, which cost nothing"
    )
    unresolved: int = Field(default=0, description="calls that may have been charged without an entry in the ledger")

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            providers=tuple(sorted(set(self.providers) | set(other.providers))),
            fallbacks=(*self.fallbacks, *other.fallbacks)[:FALLBACKS_KEPT],
            fallback_count=self.fallback_count + other.fallback_count,
            scored=self.scored + other.scored,
            quality_sum=self.quality_sum + other.quality_sum,
            compliance_sum=self.compliance_sum + other.compliance_sum,
            routes=add_routes(*self.routes, *other.routes),
            cached=self.cached + other.cached,
            unresolved=self.unresolved + other.unresolved,
        )


class CampaignState(Model):
    """All that ``CampaignWorkflow`` carries through continue-as-new.

    ``wanted`` is what signals asked for, ``status`` what the store already knows; they differ for a moment.
    ``revision`` is that of the last status: the store takes none that is not newer than what it has.
    ``heard`` is the number of the API's wish that ``wanted`` answers; ``None``: of all that the store has by now.
    ``untold``: the store has to be told of ``wanted``, even if the status stays what it is.
    """

    status: CampaignStatus = CampaignStatus.PLANNING
    wanted: CampaignStatus = CampaignStatus.RUNNING
    heard: int | None = 0
    untold: bool = False
    revision: int = 0
    reason: str = ""
    stopped: str = ""
    planned: bool = False
    plan_awaited: PlanAwaited | None = None
    standing_decision: Decision | None = None
    lanes: dict[str, LaneState] = Field(default_factory=dict)
    tally: Tally = Tally()
    cost_micros: int = 0
    started_at: datetime


class CampaignRun(Model):
    """The argument of ``CampaignWorkflow``: what to do, and, after continue-as-new, how far it has come."""

    input: CampaignInput
    state: CampaignState | None = None


class AccountProgress(Model):
    """One account's share."""

    account_id: AccountId
    audience: int
    drafted: int
    awaiting_review: int
    unwritten: int = Field(default=0, description="of those awaiting review: only an edit lets them be sent")
    queued: int
    sent: int
    failed: int
    skipped: int
    cancelled: int
    rejected: int
    recalled: int = 0
    throttled_until: datetime | None = None
    reason: str = ""
    alternative: Alternative | None = None
    review_expires_at: datetime | None = Field(
        default=None, description="when the drafts that have waited longest are skipped"
    )


class CampaignProgress(Model):
    """The answer of the ``progress`` query and the body of a progress event."""

    campaign_id: str
    status: CampaignStatus
    reason: str = ""
    audience: int
    drafted: int
    awaiting_review: int
    unwritten: int = Field(default=0, description="of those awaiting review: only an edit lets them be sent")
    queued: int
    sent: int
    failed: int
    skipped: int
    cancelled: int
    rejected: int
    recalled: int = 0
    accounts: tuple[AccountProgress, ...]
    pending_reviews: tuple[WaitingPage, ...]
    review_expires_at: datetime | None = None
    plan_awaited: PlanAwaited | None = Field(
        default=None, description="no model planned the campaign: a person can, until then, with PUT …/plan"
    )
    cost_micros: int
    provider: ProviderUsed | None = None
    fallback_history: tuple[FallbackStep, ...] = ()
    fallback_count: int = 0

    @computed_field(alias="totalCost", description="US dollars so far")  # type: ignore[prop-decorator]
    @property
    def total_cost(self) -> float:
        """The cost so far in US dollars."""
        return dollars_from_micros(self.cost_micros)


class DetailedCosts(Model):
    """What a request cost; ``totalCost`` in US dollars, ``totalCostMicros`` exact in µ$."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_cost: float = 0.0
    total_cost_micros: int = 0
    provider: ProviderUsed | None = None

    @classmethod
    def of(cls, totals: CostTotals) -> "DetailedCosts":
        """From stored totals."""
        return cls(
            input_tokens=totals.input_tokens,
            output_tokens=totals.output_tokens,
            total_cost=dollars_from_micros(totals.cost_micros),
            total_cost_micros=totals.cost_micros,
            provider=provider_used([Provider(name) for name in totals.micros_by_provider]),
        )


class GeneratedText(Model):
    """A text for one recipient. ``cached``: a general one, because nobody could write in person."""

    recipient_id: str
    text: str
    cached: bool = False
    origin: MessageOrigin | None = Field(default=None, description="null in results from before this was kept")


class WorkflowResult(Model):
    """What a finished request answers, for every type of intent."""

    request_id: str
    status: CampaignStatus
    processing_time: int = Field(ge=0, description="ms from start to end")
    provider: ProviderUsed | None = None
    detailed_costs: DetailedCosts
    rate_limit_status: RateLimitStatus | None = None
    quality_score: float | None = None
    compliance_score: float | None = None
    fallback_history: tuple[FallbackStep, ...] = ()
    fallback_count: int = 0
    routes: tuple[RouteTaken, ...] = Field(default=(), description="who answered how often, and why it was asked")
    cached: int = Field(
        default=0, description="plans and messages that came from the cache or the plan, which cost nothing"
    )
    unresolved: int = Field(default=0, description="calls that may have been charged without being in the costs yet")
    audience: int = 0
    outcomes: dict[MessageStatus, int] = Field(default_factory=dict)
    alternatives: tuple[Alternative, ...] = Field(
        default=(), description="by account: what late recipients got instead, and why"
    )
    plan: ContentPlan | None = None
    message: GeneratedText | None = None
    compliance: ComplianceReport | None = None
    error_type: ErrorType | None = None
    reason: str = ""


class ClosingCheck(Model):
    """Whether every recipient ended in exactly one terminal state, as the message store has it."""

    audience: int
    outcomes: dict[MessageStatus, int]

    @property
    def accounted(self) -> int:
        """Messages in a terminal state."""
        return sum(number for status, number in self.outcomes.items() if status in TERMINAL)

    @property
    def balanced(self) -> bool:
        """sent + skipped + failed + cancelled + rejected + recalled = audience, and nothing is left open."""
        return self.accounted == self.audience == sum(self.outcomes.values())


class CampaignOutcome(Model):
    """What the workflow knows at the end and the stores do not: the basis of the final result."""

    campaign_id: str
    status: CampaignStatus
    reason: str = ""
    tally: Tally
    started_at: datetime
    finished_at: datetime = Field(description="by the same clock as startedAt, which is not a worker's")
    audience: int
    alternatives: tuple[Alternative, ...] = ()


def initial_lanes(campaign: CampaignInput) -> dict[str, LaneState]:
    """A lane for each account, with nothing done yet."""
    return {lane.account_id: LaneState(lane=lane) for lane in campaign.lanes}


def progress(campaign: CampaignInput, state: CampaignState) -> CampaignProgress:
    """The public view of a campaign's state."""
    accounts = tuple(_account_progress(lane) for lane in state.lanes.values())
    return CampaignProgress(
        campaign_id=campaign.campaign_id,
        status=state.status,
        reason=state.reason or state.stopped,
        audience=campaign.audience_size,
        drafted=_sum(account.drafted for account in accounts),
        awaiting_review=_sum(account.awaiting_review for account in accounts),
        unwritten=_sum(account.unwritten for account in accounts),
        queued=_sum(account.queued for account in accounts),
        sent=_sum(account.sent for account in accounts),
        failed=_sum(account.failed for account in accounts),
        skipped=_sum(account.skipped for account in accounts),
        cancelled=_sum(account.cancelled for account in accounts),
        rejected=_sum(account.rejected for account in accounts),
        recalled=_sum(account.recalled for account in accounts),
        accounts=accounts,
        pending_reviews=tuple(page for lane in state.lanes.values() for page in _waiting_pages(lane)),
        review_expires_at=next_review_expiry(state.lanes.values()),
        plan_awaited=state.plan_awaited,
        cost_micros=state.cost_micros,
        provider=provider_used(state.tally.providers),
        fallback_history=state.tally.fallbacks,
        fallback_count=state.tally.fallback_count,
    )


def next_review_expiry(lanes: Iterable[LaneState]) -> datetime | None:
    """When the first drafts of any lane are skipped, if nobody decides."""
    return min((lane.review_expires_at for lane in lanes if lane.review_expires_at is not None), default=None)


def _account_progress(lane: LaneState) -> AccountProgress:
    count: Mapping[MessageStatus, int] = lane.counts
    return AccountProgress(
        account_id=lane.lane.account_id,
        audience=lane.lane.audience,
        drafted=lane.drafted,
        awaiting_review=lane.waiting,
        unwritten=lane.unwritten,
        queued=lane.queued,
        sent=count.get(MessageStatus.SENT, 0),
        failed=count.get(MessageStatus.FAILED, 0),
        skipped=count.get(MessageStatus.SKIPPED, 0),
        cancelled=count.get(MessageStatus.CANCELLED, 0),
        rejected=count.get(MessageStatus.REJECTED, 0),
        recalled=count.get(MessageStatus.RECALLED, 0),
        throttled_until=lane.throttled_until,
        reason=lane.reason,
        alternative=lane.alternative,
        review_expires_at=lane.review_expires_at,
    )


def _waiting_pages(lane: LaneState) -> Iterator[WaitingPage]:
    """The pages that wait for a word about them as a whole."""
    for number, page in sorted(lane.open_pages.items()):
        if page.waiting and all(decision.messages for decision in lane.decisions.get(number, ())):
            yield WaitingPage(
                account_id=lane.lane.account_id,
                page=number,
                awaiting=page.awaiting,
                unwritten=page.unwritten,
                expires_at=page.expires_at,
            )


def _sum(numbers: Iterable[int]) -> int:
    return sum(numbers)
