"""Canary rollouts of flags: start one, follow it, and take part in its decisions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from api.body import JsonBody
from api.dependencies import EngineNow, PortsNow, Staff, allow
from api.examples import ROLLBACK, ROLLOUT, ROLLOUT_CONTROL
from api.openapi import body as documented
from api.openapi import problems
from api.rollout import Rollouts, RolloutView
from domain.access import STAFF
from domain.flag import FlagName
from domain.model import Model, Request
from domain.rollout import Control, RollbackRequest, RolloutControl, RolloutRequest

router = APIRouter(prefix="/api/admin/rollouts", tags=["rollouts"], dependencies=[Depends(allow(STAFF))])

Name = Annotated[FlagName, Path(alias="flag", description="the flag's name")]


class RolloutControlBody(Request):
    """Why; kept in the audit log."""

    reason: str = Field(default="", max_length=500)


class RollbackBody(RolloutControlBody):
    """How to go back."""

    gradual: bool = Field(default=False, description="down the steps that were climbed, one each bake time")
    recall: bool = Field(default=False, description="take back the canary's messages that may still be unsent")


class RolloutList(Model):
    """The latest rollout of each flag, by flag; what they decided before is in the audit log."""

    rollouts: tuple[RolloutView, ...]


def _rollouts(engine: EngineNow, ports: PortsNow) -> Rollouts:
    return Rollouts(engine, ports)


RolloutsNow = Annotated[Rollouts, Depends(_rollouts)]
ControlNow = Annotated[RolloutControlBody, Depends(JsonBody(RolloutControlBody, optional=True))]
_CONTROL = documented(RolloutControlBody, ROLLOUT_CONTROL, required=False)
_PROBLEMS = problems(400, 401, 403, 404, 409, 413, 422, 503)


@router.post(
    "",
    status_code=201,
    summary="Start a rollout",
    responses=_PROBLEMS,
    openapi_extra=documented(RolloutRequest, ROLLOUT),
)
async def start(
    caller: Staff,
    rollouts: RolloutsNow,
    body: Annotated[RolloutRequest, Depends(JsonBody(RolloutRequest))],
    response: Response,
) -> RolloutView:
    """The flag must exist and be enabled. Answers when it stands on the first step; 409 while another rollout of it
    runs. From then on the rollout steers the percentage, and people can only turn the flag off."""
    view = await rollouts.start(body, caller.user_id)
    response.headers["Location"] = f"{router.prefix}/{body.flag}"
    return view


@router.get("", summary="The rollouts of all flags", responses=problems(401, 403, 503))
async def listed(rollouts: RolloutsNow) -> RolloutList:
    """Those that run, and how the last ones ended."""
    return RolloutList(rollouts=await rollouts.all())


@router.get("/{flag}", summary="Where a rollout stands", responses=problems(401, 403, 404, 422, 503))
async def one(name: Name, rollouts: RolloutsNow) -> RolloutView:
    """With its last judgement in words and figures, and its latest decisions."""
    return await rollouts.one(name)


@router.post("/{flag}/pause", summary="Stay on this step", responses=_PROBLEMS, openapi_extra=_CONTROL)
async def pause(name: Name, caller: Staff, rollouts: RolloutsNow, body: ControlNow) -> RolloutView:
    """Until ``resume``. Guardrails go on: what fails meanwhile is rolled back."""
    return await rollouts.control(name, Control.PAUSE, _asked(caller.user_id, body))


@router.post("/{flag}/resume", summary="Go on after a pause", responses=_PROBLEMS, openapi_extra=_CONTROL)
async def resume(name: Name, caller: Staff, rollouts: RolloutsNow, body: ControlNow) -> RolloutView:
    """Where it was, with a fresh wait."""
    return await rollouts.control(name, Control.RESUME, _asked(caller.user_id, body))


@router.post("/{flag}/promote", summary="To the next step now", responses=_PROBLEMS, openapi_extra=_CONTROL)
async def promote(name: Name, caller: Staff, rollouts: RolloutsNow, body: ControlNow) -> RolloutView:
    """Also without a verdict; never over a failure."""
    return await rollouts.control(name, Control.PROMOTE, _asked(caller.user_id, body))


@router.post(
    "/{flag}/rollback",
    summary="Back to 0 %",
    responses=_PROBLEMS,
    openapi_extra=documented(RollbackBody, ROLLBACK, required=False),
)
async def rollback(
    name: Name,
    caller: Staff,
    rollouts: RolloutsNow,
    body: Annotated[RollbackBody, Depends(JsonBody(RollbackBody, optional=True))],
) -> RolloutView:
    """In force in every process within seconds, also while Temporal or its workers are away."""
    given = RollbackRequest(requested_by=caller.user_id, reason=body.reason, gradual=body.gradual, recall=body.recall)
    return await rollouts.roll_back(name, given)


def _asked(by: str, body: RolloutControlBody) -> RolloutControl:
    return RolloutControl(requested_by=by, reason=body.reason)
