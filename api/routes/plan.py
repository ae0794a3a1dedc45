"""What a campaign says before it is said to anyone: reading its plan, and writing one where no model did."""

from typing import Annotated

from fastapi import APIRouter, Depends

from api.body import JsonBody
from api.dependencies import BackgroundNow, Caller, EngineNow, PortsNow, VisibleCampaign
from api.examples import PLAN
from api.openapi import body as documented
from api.openapi import problems
from api.plan import write_plan
from domain.errors import NotFound
from domain.plan import PlanRequest
from domain.provider import ContentPlan

router = APIRouter(prefix="/api/v2/campaigns/{campaignId}/plan", tags=["review"])


@router.get("", summary="The plan of a request", responses=problems(401, 403, 404, 422))
async def plan(record: VisibleCampaign, ports: PortsNow) -> ContentPlan:
    """404 as long as nobody has planned it; `progress.planAwaited` says whether a person is waited for."""
    found = await ports.campaigns.plan(record.campaign_id)
    if found is None:
        raise NotFound("The request has no plan yet. Give a campaign one with PUT, or wait for a model.")
    return found


@router.put(
    "",
    summary="Plan a campaign yourself",
    responses=problems(400, 401, 403, 404, 409, 413, 422),
    openapi_extra=documented(PlanRequest, PLAN),
)
async def put_plan(
    record: VisibleCampaign,
    caller: Caller,
    ports: PortsNow,
    engine: EngineNow,
    background: BackgroundNow,
    body: Annotated[PlanRequest, Depends(JsonBody(PlanRequest))],
) -> ContentPlan:
    """Where a provider refuses to plan the brief, no budget is left for it, or no provider can be reached.

    Only as long as there is no plan (else 409). The messages are then written after it; where they can't be either,
    fans get its general texts, and without those a person writes to each. A general text that a rule blocks is 422.
    """
    return await write_plan(record, body, caller.user_id, ports, engine, background)
