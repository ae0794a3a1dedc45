"""Asking for a campaign, and pausing, resuming or cancelling it."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from pydantic import Field

from api.body import JsonBody
from api.dependencies import BackgroundNow, Caller, EngineNow, PortsNow, SettingsNow, TraceNow, VisibleCampaign
from api.examples import INTENT
from api.intake import accept, request_key
from api.openapi import Responses, problems
from api.openapi import body as documented
from api.steering import steer
from api.views import Accepted, CampaignView, final_result, view
from domain.campaign import CampaignStatus, WorkflowIntent
from domain.model import Request
from domain.progress import WorkflowResult

router = APIRouter(prefix="/api/v2/campaigns", tags=["campaigns"])

LONGEST_WAIT_S = 60
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)


FINISHED: Responses = {200: {"model": WorkflowResult, "description": "Finished within `Prefer: wait`"}}


class ControlBody(Request):
    """Why; shown to whoever asks later."""

    reason: str = Field(default="", max_length=500, examples=["The offer has changed."])


Control = Annotated[ControlBody, Depends(JsonBody(ControlBody, optional=True))]
_CONTROL = documented(ControlBody, {"reason": "The offer has changed."}, required=False)
_CONTROL_PROBLEMS = problems(400, 401, 403, 404, 409, 413, 422, 503)


@router.post(
    "/hybrid",
    status_code=202,
    response_model=Accepted,
    summary="Ask for a campaign, a plan, a message or a validation",
    responses=FINISHED | problems(400, 401, 403, 409, 413, 422, 503),
    openapi_extra=documented(WorkflowIntent, INTENT),
)
async def create(
    intent: Annotated[WorkflowIntent, Depends(JsonBody(WorkflowIntent))],
    caller: Caller,
    ports: PortsNow,
    engine: EngineNow,
    settings: SettingsNow,
    trace: TraceNow,
    response: Response,
    idempotency_key: Annotated[str | None, Header(description="Repeating a request with its key is harmless")] = None,
    prefer: Annotated[str | None, Header(description="`wait=<s>`: wait up to 60 s for the result")] = None,
) -> Accepted | Response:
    """Check, store and start a request. The same caller with the same key always means the same request."""
    key = request_key(idempotency_key, intent)
    trace.belongs_to(intent.request_id or key)
    record, replayed = await accept(intent, key, caller, ports, settings, datetime.now(UTC))
    headers = {"Idempotency-Replayed": "true"} if replayed else {}
    wait_s = wait_of(prefer)
    if not record.status.is_final:
        # Also on a repetition: if Temporal was away the first time, this one starts what was stored.
        await engine.start(record, trace.trace_id)
        if wait_s:
            await engine.wait_for_end(record, wait_s)
    if wait_s:
        headers["Preference-Applied"] = f"wait={wait_s}"
        if result := await final_result(record.campaign_id, ports):
            return Response(result.model_dump_json(), media_type="application/json", headers=headers)
    accepted = Accepted.of(record)
    response.headers.update({**headers, "Location": accepted.status_url})
    return accepted


@router.post(
    "/{campaignId}/pause",
    status_code=202,
    summary="Send nothing more for now",
    responses=_CONTROL_PROBLEMS,
    openapi_extra=_CONTROL,
)
async def pause(
    record: VisibleCampaign,
    caller: Caller,
    ports: PortsNow,
    engine: EngineNow,
    background: BackgroundNow,
    body: Control,
) -> CampaignView:
    """What is being sent at this moment completes; everything else waits for ``resume``."""
    steered = await steer(record, CampaignStatus.PAUSED, caller.user_id, body.reason, ports, engine, background)
    return await view(steered, ports, engine)


@router.post(
    "/{campaignId}/resume",
    status_code=202,
    summary="Go on after a pause",
    responses=_CONTROL_PROBLEMS,
    openapi_extra=_CONTROL,
)
async def resume(
    record: VisibleCampaign,
    caller: Caller,
    ports: PortsNow,
    engine: EngineNow,
    background: BackgroundNow,
    body: Control,
) -> CampaignView:
    """Continue exactly where the pause began."""
    steered = await steer(record, CampaignStatus.RUNNING, caller.user_id, body.reason, ports, engine, background)
    return await view(steered, ports, engine)


@router.post(
    "/{campaignId}/cancel",
    status_code=202,
    summary="Stop for good",
    responses=_CONTROL_PROBLEMS,
    openapi_extra=_CONTROL,
)
async def cancel(
    record: VisibleCampaign,
    caller: Caller,
    ports: PortsNow,
    engine: EngineNow,
    background: BackgroundNow,
    body: Control,
) -> CampaignView:
    """Whatever has not been sent never will be; the result says who got what."""
    steered = await steer(record, CampaignStatus.CANCELLING, caller.user_id, body.reason, ports, engine, background)
    return await view(steered, ports, engine)


def wait_of(prefer: str | None, default_s: int = 0) -> int:
    """The seconds of ``Prefer: wait=<s>`` (RFC 7240), at most ``LONGEST_WAIT_S``; ``default_s`` without one."""
    found = _WAIT.search(prefer or "")
    return min(int(found[1]), LONGEST_WAIT_S) if found else default_s
