"""A person's decisions: approve or reject drafts, and how much an account's owner wants to see at all."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from api.body import JsonBody
from api.dependencies import Caller, EngineNow, OwnAccount, PortsNow, VisibleCampaign
from api.engine import Engine
from api.examples import AUTONOMY, REVIEW
from api.fields import FieldError
from api.openapi import body as documented
from api.openapi import problems
from api.refusals import Refusal
from api.routes.campaign import require_steerable
from api.views import CampaignView, view
from domain.campaign import CampaignRecord
from domain.errors import Conflict, Forbidden
from domain.model import AccountId
from domain.review import AutonomyOptIn, AutonomyRequest, ReviewDecision, ReviewRequest
from workflows.campaign import CampaignWorkflow

router = APIRouter(prefix="/api/v2", tags=["review"])

Verdict = Callable[[CampaignWorkflow, ReviewDecision | None], None]
Review = Annotated[ReviewRequest, Depends(JsonBody(ReviewRequest, optional=True))]
Account = Annotated[AccountId, Path(alias="accountId")]
_REVIEW = documented(ReviewRequest, REVIEW, required=False)
_REVIEW_PROBLEMS = problems(400, 401, 403, 404, 409, 413, 422, 503)


@router.post(
    "/campaigns/{campaignId}/approve",
    status_code=202,
    summary="Let drafted pages be sent",
    responses=_REVIEW_PROBLEMS,
    openapi_extra=_REVIEW,
)
async def approve(
    record: VisibleCampaign, caller: Caller, ports: PortsNow, engine: EngineNow, body: Review
) -> CampaignView:
    """Without a body: every page that waits now."""
    await _decide(record, CampaignWorkflow.approve, caller.user_id, body, engine)
    return await view(record, ports, engine)


@router.post(
    "/campaigns/{campaignId}/reject",
    status_code=202,
    summary="Never send drafted pages",
    responses=_REVIEW_PROBLEMS,
    openapi_extra=_REVIEW,
)
async def reject(
    record: VisibleCampaign, caller: Caller, ports: PortsNow, engine: EngineNow, body: Review
) -> CampaignView:
    """Without a body: every page that waits now."""
    await _decide(record, CampaignWorkflow.reject, caller.user_id, body, engine)
    return await view(record, ports, engine)


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


async def _decide(record: CampaignRecord, verdict: Verdict, user_id: str, body: ReviewRequest, engine: Engine) -> None:
    require_steerable(record)
    progress = await engine.progress(record)
    nothing_waits = progress is not None and not progress.pending_reviews
    if nothing_waits and not body.pages and body.scope == "pages":
        raise Conflict(
            'Nothing waits for a decision now. Decide when progress.pendingReviews names pages, or send "scope": '
            '"campaign" to decide about all pages to come as well.'
        )
    if body.pages and progress is not None:
        not_waiting = [index for index, page in enumerate(body.pages) if page not in progress.pending_reviews]
        if not_waiting:
            raise Refusal(
                Conflict(f"{len(not_waiting)} of the pages do not wait for a decision; see progress.pendingReviews."),
                tuple(
                    FieldError(
                        field=f"pages[{index}]",
                        message=f"page {body.pages[index].page} of {body.pages[index].account_id} does not wait",
                    )
                    for index in not_waiting
                ),
            )
    decision = ReviewDecision(pages=body.pages, scope=body.scope, decided_by=user_id, comment=body.comment)
    await engine.signal(record, verdict, decision)
