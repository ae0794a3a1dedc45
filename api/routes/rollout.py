"""Canary rollouts of flags: start one, follow it, and take part in its decisions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from api.body import JsonBody
from api.dependencies import Administrator, EngineNow, PortsNow, SettingsNow, Staff, allow
from api.examples import ROLLBACK, ROLLOUT, ROLLOUT_CONTROL
from api.openapi import body as documented
from api.openapi import problems
from api.rollout import Rollouts, RolloutView
from domain.access import STAFF
from domain.flag import FlagName, Percentage
from domain.model import Model, Request
from domain.rollout_request import Control, RollbackRequest, RolloutControl, RolloutRequest

router = APIRouter(prefix="/api/admin/rollouts", tags=["rollouts"], dependencies=[Depends(allow(STAFF))])

Name = Annotated[FlagName, Path(alias="flag", description="the flag's name")]


class RolloutControlBody(Request):
    """Why; kept in the audit log."""

    reason: str = Field(default="", max_length=500)


class PromoteBody(RolloutControlBody):
    """Why, and from where."""

    from_percentage: Percentage | None = Field(
        default=None,
        alias="from",
        description="where the caller believes the rollout to stand: 409 when it does not. A repetition after a "
        "time-out can't go up two steps then",
    )


class RollbackBody(RolloutControlBody):
    """How to go back."""

    gradual: bool = Field(default=False, description="down the steps that were climbed, one each bake time")
    recall: bool = Field(default=False, description="take back the canary's messages that may still be unsent")


class RolloutList(Model):
    """The latest rollout of each flag, by flag; what they decided before is in the audit log."""

    rollouts: tuple[RolloutView, ...]


def _rollouts(engine: EngineNow, ports: PortsNow, settings: SettingsNow) -> Rollouts:
    return Rollouts(engine, ports, settings)


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
    caller: Administrator,
    rollouts: RolloutsNow,
    body: Annotated[RolloutRequest, Depends(JsonBody(RolloutRequest))],
    response: Response,
) -> RolloutView:
    """Administrators only. The flag must exist, be enabled and observed, and the environment must not override it.
    Answers when it stands on the first step; 409 while another rollout of it runs. From then on the rollout steers the
    percentage, and people can only turn the flag off."""
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
async def resume(name: Name, caller: Administrator, rollouts: RolloutsNow, body: ControlNow) -> RolloutView:
    """Administrators only. Where it was, with a fresh wait; when the flag was off meanwhile, the step begins anew."""
    return await rollouts.control(name, Control.RESUME, _asked(caller.user_id, body))


@router.post(
    "/{flag}/promote",
    summary="To the next step now",
    responses=_PROBLEMS,
    openapi_extra=documented(PromoteBody, ROLLOUT_CONTROL | {"from": 5}, required=False),
)
async def promote(
    name: Name,
    caller: Administrator,
    rollouts: RolloutsNow,
    body: Annotated[PromoteBody, Depends(JsonBody(PromoteBody, optional=True))],
) -> RolloutView:
    """Administrators only. Also without a verdict; never over a failure."""
    given = RolloutControl(requested_by=caller.user_id, reason=body.reason, from_percentage=body.from_percentage)
    return await rollouts.control(name, Control.PROMOTE, given)


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
    """In force in every process within seconds, also while Temporal or its workers are away; 503 when it is not certain
    that the flag stays down, with what to do. With ``recall`` also after a rollback, for its campaigns."""
    given = RollbackRequest(requested_by=caller.user_id, reason=body.reason, gradual=body.gradual, recall=body.recall)
    return await rollouts.roll_back(name, given)


def _asked(by: str, body: RolloutControlBody) -> RolloutControl:
    return RolloutControl(requested_by=by, reason=body.reason)
