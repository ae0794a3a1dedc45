"""Rollouts as the API sees them: their workflows, and the flag itself when no workflow answers."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import Field
from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from adapters.bootstrap import Ports
from api.engine import CALL_TIMEOUT, Engine, EngineUnavailable, NotRunning, answering
from domain.errors import Conflict, DependencyUnavailable, NotFound
from domain.flag import Flag, Percentage, steered
from domain.model import Model
from domain.rollout import (
    Control,
    RollbackRequest,
    RolloutControl,
    RolloutRequest,
    refusal_to_start,
    rollout_workflow_id,
)
from domain.rollout_report import RolloutReport
from workflows.policies import ORCHESTRATION, QUERY_TIMEOUT
from workflows.rollout import RolloutRun, RolloutWorkflow

UPDATE_TIMEOUT = timedelta(seconds=10)
ROLLBACK_TIMEOUT = timedelta(seconds=2)
"""How long a rollback is asked of the workflow before the flag is written without it."""

_WRITES = 8

Handle = WorkflowHandle[RolloutWorkflow, RolloutReport]


class RolloutStatus(StrEnum):
    """Of the workflow. ``ended``: from outside, or by a failure; the flag stays where it was."""

    RUNNING = "running"
    FINISHED = "finished"
    ENDED = "ended"


class RolloutView(Model):
    """The latest rollout of a flag. ``percentage`` and ``enabled`` are the flag's own, as stored."""

    flag: str
    workflow_id: str
    status: RolloutStatus
    percentage: Percentage
    enabled: bool
    report: RolloutReport | None = Field(description="null: no worker can tell now, or the workflow was ended")
    message: str = Field(default="", description="what else there is to know")


class Rollouts:
    """Raises ``EngineUnavailable`` rather than hang."""

    def __init__(self, engine: Engine, ports: Ports) -> None:
        self._engine = engine
        self._ports = ports

    async def start(self, request: RolloutRequest, started_by: str) -> RolloutView:
        """Answers when the flag is on the first step; raises ``Conflict`` when another rollout of it runs."""
        flag = await self._flag(request.flag)
        handle = await self._handle(request.flag)
        description = await _described(handle)
        if description is not None and description.status is WorkflowExecutionStatus.RUNNING:
            raise await _running(handle)
        # One that still stands in the flag, but does not run, was ended from outside: the new one replaces it.
        if refused := refusal_to_start(flag.model_copy(update={"rollout_id": ""}), request):
            raise Conflict(refused, field="flag")
        client = await self._engine.client()
        async with answering(CALL_TIMEOUT):
            try:
                await client.start_workflow(
                    RolloutWorkflow.run,
                    RolloutRun(request=request, started_by=started_by),
                    id=handle.id,
                    task_queue=ORCHESTRATION,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    static_summary=f"{request.flag}: " + " → ".join(f"{step:f} %" for step in request.steps),
                    rpc_timeout=CALL_TIMEOUT,
                )
            except WorkflowAlreadyStartedError:
                raise await _running(handle) from None
        report: RolloutReport | None = None
        # It is started all the same: its first step is written when a worker is there.
        with suppress(EngineUnavailable):
            report = await self._update(handle, "begun", None, UPDATE_TIMEOUT)
        return _view(await self._flag(request.flag), RolloutStatus.RUNNING, report)

    async def all(self) -> tuple[RolloutView, ...]:
        """The latest rollout of each flag that Temporal remembers, by flag."""
        found = [await self._of(flag) for flag in await self._ports.flag_store.all()]
        return tuple(view for view in found if view is not None)

    async def one(self, name: str) -> RolloutView:
        """The latest rollout of a flag."""
        view = await self._of(await self._flag(name))
        if view is None:
            raise NotFound(f"There was no rollout of {name}; start one with POST /api/admin/rollouts.")
        return view

    async def control(self, name: str, control: Control, given: RolloutControl) -> RolloutView:
        """Answers when it took effect; raises ``Conflict`` with the refusal."""
        handle = await self._handle(name)
        report = await self._update(handle, str(control), given, UPDATE_TIMEOUT)
        status = RolloutStatus.FINISHED if report.phase.is_final else RolloutStatus.RUNNING
        return _view(await self._flag(name), status, report)

    async def roll_back(self, name: str, given: RollbackRequest) -> RolloutView:
        """Through the workflow; when that does not answer, the flag is written without it, at once.

        The workflow finds that out and ends. A gradual rollback needs it.
        """
        try:
            handle = await self._handle(name)
            report = await self._update(handle, str(Control.ROLLBACK), given, ROLLBACK_TIMEOUT)
        except (EngineUnavailable, NotRunning) as silence:
            if given.gradual and isinstance(silence, EngineUnavailable):
                raise
            flag = await self._release(name, given, silence)
            told = "The flag was set to 0 % without the rollout's workflow, which does not answer."
            unheard = " Nothing is recalled: recall the campaigns by themselves." if given.recall else ""
            return _view(flag, RolloutStatus.ENDED, None, told + unheard)
        status = RolloutStatus.FINISHED if report.phase.is_final else RolloutStatus.RUNNING
        return _view(await self._flag(name), status, report)

    async def _release(self, name: str, given: RollbackRequest, silence: Exception) -> Flag:
        for _ in range(_WRITES):
            present = await self._flag(name)
            if not present.rollout_id:
                # It may just have been rolled back, by what did not answer in time.
                if isinstance(silence, EngineUnavailable) and present.rollout_percentage == 0:
                    return present
                raise silence
            change = steered(
                present,
                Decimal(0),
                rollout_id=present.rollout_id,
                actor=given.requested_by,
                at=datetime.now(UTC),
                reason=given.reason or "rolled back without its workflow",
                action="rolled_back",
                releases=True,
            )
            if await self._ports.flag_store.put(change.flag, change.entry):
                return change.flag
        raise DependencyUnavailable(f"Others change the flag {name} at this moment; try again.", retry_after_s=1)

    async def _of(self, flag: Flag) -> RolloutView | None:
        handle = await self._handle(flag.name)
        description = await _described(handle)
        if description is None:
            return None
        match description.status:
            case WorkflowExecutionStatus.RUNNING:
                return _view(flag, RolloutStatus.RUNNING, await _queried(handle))
            case WorkflowExecutionStatus.COMPLETED:
                async with answering(CALL_TIMEOUT):
                    return _view(flag, RolloutStatus.FINISHED, await handle.result())
            case _:
                return _view(flag, RolloutStatus.ENDED, None, await _failure(handle))

    async def _update(
        self, handle: Handle, name: str, given: RolloutControl | None, timeout: timedelta
    ) -> RolloutReport:
        arguments = [] if given is None else [given]
        try:
            async with answering(timeout):
                found: RolloutReport = await handle.execute_update(name, args=arguments, result_type=RolloutReport)
                return found
        except WorkflowUpdateFailedError as failed:
            raise Conflict(_sentence(failed.cause)) from failed
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise EngineUnavailable from error
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise NotRunning(
                "No rollout of this flag runs; start one with POST /api/admin/rollouts, or see how the last one ended."
            ) from error

    async def _flag(self, name: str) -> Flag:
        flag = await self._ports.flag_store.get(name)
        if flag is None:
            raise NotFound(
                f"There is no flag {name}; create it with PUT /api/admin/feature-flags/{name}.", field="flag"
            )
        return flag

    async def _handle(self, name: str) -> Handle:
        client = await self._engine.client()
        return client.get_workflow_handle_for(RolloutWorkflow.run, rollout_workflow_id(name))


def _view(flag: Flag, status: RolloutStatus, report: RolloutReport | None, message: str = "") -> RolloutView:
    return RolloutView(
        flag=flag.name,
        workflow_id=rollout_workflow_id(flag.name),
        status=status,
        percentage=flag.rollout_percentage,
        enabled=flag.enabled,
        report=report,
        message=message,
    )


async def _described(handle: Handle) -> WorkflowExecutionDescription | None:
    try:
        async with answering(CALL_TIMEOUT):
            return await handle.describe(rpc_timeout=CALL_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None


async def _queried(handle: Handle) -> RolloutReport | None:
    try:
        async with answering(QUERY_TIMEOUT):
            return await handle.query(RolloutWorkflow.state, rpc_timeout=QUERY_TIMEOUT)
    except (EngineUnavailable, WorkflowQueryFailedError, RPCError):
        return None


async def _running(handle: Handle) -> Conflict:
    report = await _queried(handle)
    told = f" ({report.summary}; started by {report.started_by})" if report is not None else ""
    return Conflict(
        f"The rollout {handle.id} of this flag runs already{told}: wait for its end, or roll it back.", field="flag"
    )


async def _failure(handle: Handle) -> str:
    """Why a workflow came to no result."""
    try:
        async with answering(CALL_TIMEOUT):
            await handle.result()
    except WorkflowFailureError as failed:
        return _sentence(failed.cause)
    return ""


def _sentence(cause: Any) -> str:
    return cause.message if isinstance(cause, ApplicationError) else str(cause)
