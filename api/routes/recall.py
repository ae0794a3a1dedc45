"""Taking a campaign back: what waits is cancelled, what is young enough is unsent, the rest is named."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Path, Response

from api.dependencies import BackgroundNow, Caller, EngineNow, PortsNow, find_message, find_visible
from api.engine import Engine, EngineUnavailable
from api.openapi import Responses, problems
from api.routes.campaign import wait_of
from api.views import CAMPAIGNS
from domain.campaign import CampaignRecord, CampaignStatus
from domain.errors import Conflict, NotFound
from domain.model import Model
from domain.provider import IntentType
from domain.recall import RecallReport

router = APIRouter(prefix="/api/v2/campaigns", tags=["campaigns"])

WAIT_S = 10
"""How long a caller who says nothing about waiting waits for the report."""


class RecallAccepted(Model):
    """A recall that is under way, and what it has reached so far."""

    campaign_id: str
    status: Literal["running"] = "running"
    report_url: str
    report: RecallReport


async def _recallable(
    ports: PortsNow,
    caller: Caller,
    campaign_id: Annotated[
        str, Path(alias="campaignId", description="campaign id, workflow id, or id of a single message", max_length=100)
    ],
) -> CampaignRecord:
    try:
        record = await find_visible(ports, caller, campaign_id)
    except NotFound as absent:
        try:
            return await find_message(ports, caller, campaign_id)
        except NotFound:
            raise absent from None
    if record.type is not IntentType.CAMPAIGN_EXECUTION:
        raise Conflict(f"This is a {record.type}, which sends nothing; there is nothing to recall.")
    return record


Recallable = Annotated[CampaignRecord, Depends(_recallable)]
_RUNNING: Responses = {202: {"model": RecallAccepted, "description": "Under way; see Location"}}


@router.post(
    "/{campaignId}/recall",
    response_model=RecallReport,
    summary="Take back what can be taken back",
    responses=_RUNNING | problems(401, 403, 404, 409, 422, 503),
)
async def recall(
    record: Recallable,
    ports: PortsNow,
    engine: EngineNow,
    background: BackgroundNow,
    prefer: Annotated[str | None, Header(description=f"`wait=<s>`: wait up to 60 s; default {WAIT_S} s")] = None,
) -> RecallReport | Response:
    """Cancels the campaign, unsends what the platform still lets go, and lists what it could not. Harmless again."""
    # From here on nothing more is sent, whoever carries out the rest, and when.
    await ports.campaigns.want(record.campaign_id, CampaignStatus.CANCELLING)
    await ports.campaigns.mark_recalled(record.campaign_id, datetime.now(UTC))
    try:
        await engine.recall(record)
    except EngineUnavailable:
        background.repeat(f"{record.campaign_id}/recall", lambda: engine.recall(record))
        raise
    return await _answer(record, engine, wait_of(prefer, WAIT_S))


@router.get(
    "/{campaignId}/recall",
    response_model=RecallReport,
    summary="What a recall came to",
    responses=_RUNNING | problems(401, 403, 404, 409, 422, 503),
)
async def report(
    record: Recallable,
    engine: EngineNow,
    prefer: Annotated[str | None, Header(description="`wait=<s>`: wait up to 60 s for the end")] = None,
) -> RecallReport | Response:
    """404 when nothing was recalled."""
    return await _answer(record, engine, wait_of(prefer))


async def _answer(record: CampaignRecord, engine: Engine, wait_s: float) -> RecallReport | Response:
    found, ended = await engine.recall_report(record, wait_s)
    if ended:
        return found
    accepted = RecallAccepted(
        campaign_id=record.campaign_id, report_url=f"{CAMPAIGNS}/{record.campaign_id}/recall", report=found
    )
    return Response(
        accepted.model_dump_json(),
        status_code=202,
        media_type="application/json",
        headers={"Location": accepted.report_url},
    )
