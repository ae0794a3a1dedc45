"""A person's decisions: list what waits, approve, reject, edit, in bulk; and how much an owner wants to see at all."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field

from adapters.bootstrap import Ports
from api.body import JsonBody
from api.dependencies import BackgroundNow, Caller, EngineNow, OwnAccount, PortsNow, VisibleCampaign, find_visible
from api.engine import Engine, EngineUnavailable
from api.examples import AUTONOMY, BULK_REVIEW, EDIT, REVIEW
from api.fields import FieldError
from api.openapi import body as documented
from api.openapi import problems
from api.problems import Problem, from_domain
from api.refusals import Refusal
from api.review import decide, edit, tell_changed
from api.views import CampaignView, view
from domain import model
from domain.access import Principal
from domain.campaign import CampaignRecord
from domain.compliance import ComplianceReport
from domain.delivery import Message, MessageOrigin
from domain.errors import DependencyUnavailable, Forbidden, HuntazeError, NotFound
from domain.model import AccountId, Model, RecipientId
from domain.ports import ReviewFilter, WaitingDraft
from domain.review import (
    AutonomyOptIn,
    AutonomyRequest,
    BulkDecision,
    BulkReviewRequest,
    EditRequest,
    ReviewRequest,
    Verdict,
)

router = APIRouter(prefix="/api/v2", tags=["review"])

Review = Annotated[ReviewRequest, Depends(JsonBody(ReviewRequest, optional=True))]
Account = Annotated[AccountId, Path(alias="accountId")]
MessageId = Annotated[UUID, Path(alias="messageId")]
_REVIEW = documented(ReviewRequest, REVIEW, required=False)
_REVIEW_PROBLEMS = problems(400, 401, 403, 404, 409, 413, 422, 503)


class ReviewQuery(model.Request):
    """Which drafts."""

    account_id: AccountId | None = None
    campaign_id: str | None = Field(default=None, max_length=100)
    limit: int = Field(default=50, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=1_000)


class Draft(Model):
    """A draft that waits for a person; ``expiresAt``: about when it is skipped if nobody decides."""

    campaign_id: str
    message_id: UUID
    account_id: AccountId
    page: int
    recipient_id: RecipientId
    text: str = Field(description="empty: nobody could write it; edit it or reject it")
    reason: str
    compliance: ComplianceReport | None
    quality: float
    revision: int
    origin: MessageOrigin | None
    waiting_since: datetime
    expires_at: datetime

    @classmethod
    def of(cls, waiting: WaitingDraft, record: CampaignRecord) -> "Draft":
        """For a stored draft of a campaign."""
        same = {name: getattr(waiting.message, name) for name in cls.model_fields if name in Message.model_fields}
        expires_at = waiting.since + timedelta(hours=record.review_expires_after_hours)
        return cls.model_validate({**same, "waiting_since": waiting.since, "expires_at": expires_at})


class ReviewPage(Model):
    """A part of what waits, oldest first; ``nextCursor`` continues it, null ends it."""

    drafts: tuple[Draft, ...]
    next_cursor: str | None


class BulkOutcome(Model):
    """What became of one decision of many: accepted, or why not."""

    campaign_id: str
    accepted: bool
    problem: Problem | None = None


class BulkReview(Model):
    """One outcome for each item, in their order."""

    results: tuple[BulkOutcome, ...]


@router.get("/reviews", summary="Drafts that wait for a person", responses=problems(401, 403, 404, 422))
async def reviews(query: Annotated[ReviewQuery, Query()], caller: Caller, ports: PortsNow) -> ReviewPage:
    """Across the caller's campaigns (staff: everybody's), those that have waited longest first.

    A part may hold fewer than `limit` drafts although more follow; a draft appears here, and leaves, about a second
    late.
    """
    owner = None if caller.is_staff else caller.user_id
    campaign_id = None
    if query.campaign_id is not None:
        record = await find_visible(ports, caller, query.campaign_id)
        owner, campaign_id = record.owner, record.campaign_id
    filters = ReviewFilter(owner=owner, account_id=query.account_id, campaign_id=campaign_id)
    listing = await ports.messages.waiting(filters, limit=query.limit, cursor=query.cursor)
    ids = {draft.message.campaign_id for draft in listing.drafts}
    found = await asyncio.gather(*(ports.campaigns.get(each) for each in ids))
    # A campaign whose workflow was ended from outside leaves drafts behind that nobody can decide any more.
    records = {record.campaign_id: record for record in found if record is not None and not record.status.is_final}
    drafts = (draft for draft in listing.drafts if draft.message.campaign_id in records)
    return ReviewPage(
        drafts=tuple(Draft.of(draft, records[draft.message.campaign_id]) for draft in drafts),
        next_cursor=listing.cursor,
    )


@router.post(
    "/reviews/decisions",
    summary="Decide about many drafts in one call",
    responses=problems(400, 401, 403, 413, 422),
    openapi_extra=documented(BulkReviewRequest, BULK_REVIEW),
)
async def decide_many(
    request: Request,
    caller: Caller,
    ports: PortsNow,
    engine: EngineNow,
    body: Annotated[BulkReviewRequest, Depends(JsonBody(BulkReviewRequest))],
) -> BulkReview:
    """Each item stands for itself: one that is refused, with its problem, does not stop the others."""
    by_campaign: dict[str, list[int]] = {}
    for index, item in enumerate(body.items):
        by_campaign.setdefault(item.campaign_id, []).append(index)
    outcomes: dict[int, BulkOutcome] = {}

    async def in_order(indexes: list[int]) -> None:
        for index in indexes:
            outcomes[index] = await _outcome(request, index, body.items[index], caller, ports, engine)

    await asyncio.gather(*(in_order(indexes) for indexes in by_campaign.values()))
    return BulkReview(results=tuple(outcomes[index] for index in range(len(body.items))))


@router.post(
    "/campaigns/{campaignId}/approve",
    status_code=202,
    summary="Let drafts be sent",
    responses=_REVIEW_PROBLEMS,
    openapi_extra=_REVIEW,
)
async def approve(
    record: VisibleCampaign, caller: Caller, ports: PortsNow, engine: EngineNow, body: Review
) -> CampaignView:
    """Without a body: every page that waits now.

    A draft without a text, or with one that a rule blocks, goes on waiting: edit it or reject it. So does one that
    somebody edits before this is carried out. `revisions`, if given, are those that you read: 409 when a message has
    been edited since.
    """
    await decide(record, Verdict.APPROVE, body, caller.user_id, ports, engine)
    return await view(record, ports, engine)


@router.post(
    "/campaigns/{campaignId}/reject",
    status_code=202,
    summary="Never send drafts",
    responses=_REVIEW_PROBLEMS,
    openapi_extra=_REVIEW,
)
async def reject(
    record: VisibleCampaign, caller: Caller, ports: PortsNow, engine: EngineNow, body: Review
) -> CampaignView:
    """Without a body: every page that waits now."""
    await decide(record, Verdict.REJECT, body, caller.user_id, ports, engine)
    return await view(record, ports, engine)


@router.get(
    "/campaigns/{campaignId}/messages/{messageId}",
    summary="One message of a campaign",
    responses=problems(401, 403, 404, 422),
)
async def message(record: VisibleCampaign, message_id: MessageId, ports: PortsNow) -> Message:
    """With its text, the texts before it, and who decided what about it."""
    found = await ports.messages.get_many(record.campaign_id, [message_id])
    if message_id not in found:
        raise NotFound("The campaign has no such message; see its messages.")
    return found[message_id]


@router.put(
    "/campaigns/{campaignId}/messages/{messageId}/text",
    summary="Give a draft another text",
    responses=problems(400, 401, 403, 404, 409, 413, 422),
    openapi_extra=documented(EditRequest, EDIT),
)
async def edit_text(
    record: VisibleCampaign,
    message_id: MessageId,
    caller: Caller,
    ports: PortsNow,
    engine: EngineNow,
    background: BackgroundNow,
    body: Annotated[EditRequest, Depends(JsonBody(EditRequest))],
) -> Message:
    """Only while it waits for review (else 409), and only with a text that no rule blocks (else 422).

    Where the recipient's region demands it, the sentence that says that AI helped is added. The text before it stays in
    `earlier`. `approve` lets it be sent as well. `revision`, if given, is the one that you read: 409 when somebody has
    edited since.
    """
    changed = await edit(record, message_id, body, caller.user_id, ports)
    await tell_changed(record, changed, engine, background)
    return changed


@router.get("/accounts/{accountId}/autonomy", summary="The opt-in on record", responses=problems(401, 403, 422))
async def autonomy(account_id: OwnAccount, ports: PortsNow) -> AutonomyOptIn:
    """``strict``, which lets a person see everything, unless the owner chose otherwise."""
    return await ports.autonomy.get(account_id)


@router.put(
    "/accounts/{accountId}/autonomy",
    summary="Allow campaigns with less review, or take it back",
    responses=problems(400, 401, 403, 413, 422),
    openapi_extra=documented(AutonomyRequest, AUTONOMY),
)
async def opt_in(
    account_id: Account,
    caller: Caller,
    ports: PortsNow,
    body: Annotated[AutonomyRequest, Depends(JsonBody(AutonomyRequest))],
) -> AutonomyOptIn:
    """Only for whoever owns the account, staff not excepted: this is consent. Recorded with who, when and why."""
    if account_id not in caller.accounts:
        raise Forbidden("The account is not among the token's claim accounts.", field="accountId")
    granted = AutonomyOptIn(
        account_id=account_id,
        level=body.level,
        reason=body.reason,
        granted_by=caller.user_id,
        granted_at=datetime.now(UTC),
    )
    await ports.autonomy.put(granted)
    return granted


async def _outcome(
    request: Request, index: int, item: BulkDecision, caller: Principal, ports: Ports, engine: Engine
) -> BulkOutcome:
    """A decision like a single one, and its refusal as a value."""
    try:
        record = await find_visible(ports, caller, item.campaign_id)
        await decide(record, Verdict(item.verdict), item, caller.user_id, ports, engine)
    except Refusal as refusal:
        return _refused(request, index, item, refusal.cause, refusal.fields)
    except HuntazeError as error:
        field = "campaignId" if isinstance(error, NotFound) else getattr(error, "field", None) or "verdict"
        return _refused(request, index, item, error, (FieldError(field=field, message=error.message),))
    except EngineUnavailable as error:
        return _refused(request, index, item, DependencyUnavailable(str(error)), ())
    return BulkOutcome(campaign_id=item.campaign_id, accepted=True)


def _refused(
    request: Request, index: int, item: BulkDecision, error: HuntazeError, fields: tuple[FieldError, ...]
) -> BulkOutcome:
    placed = tuple(FieldError(field=f"items[{index}].{each.field}", message=each.message) for each in fields)
    problem = Problem.model_validate_json(bytes(from_domain(request, error, placed).body))
    return BulkOutcome(campaign_id=item.campaign_id, accepted=False, problem=problem)
