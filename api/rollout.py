"""Rollouts as the API sees them: their workflows, and the flag itself when no workflow answers."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
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
from adapters.flag_snapshot import flag_overrides
from adapters.settings import Settings
from api.engine import CALL_TIMEOUT, Engine, EngineUnavailable, NotRunning, answering
from api.rollout_release import recall, release, rolled_back_since
from domain.errors import Conflict, DependencyUnavailable, NotFound
from domain.flag import Flag, FlagOverride, Percentage
from domain.model import Model
from domain.rollout import RolloutPhase, rollout_workflow_id
from domain.rollout_report import RolloutReport
from domain.rollout_request import (
    OBSERVED_FLAGS,
    Control,
    RollbackRequest,
    RolloutControl,
    RolloutRequest,
    refusal_by_environment,
    refusal_to_start,
)
from workflows.policies import ORCHESTRATION, QUERY_TIMEOUT
from workflows.rollout import RolloutRun, RolloutWorkflow

UPDATE_TIMEOUT = timedelta(seconds=10)
ROLLBACK_TIMEOUT = timedelta(seconds=1.5)
"""How long a rollback waits for the workflow before the flag is written without it, and then for that."""

OBSERVED_WITHIN = timedelta(hours=1)
"""A flag that the product does not observe itself has to have been observed so shortly before a rollout of it."""

_ASKED_AT_ONCE = 8
"""Workflows that one list asks for their states at a time."""

_NOT_RUNNING = "No rollout of this flag runs; start one with POST /api/admin/rollouts, or see how the last one ended."

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
    override: FlagOverride | None = Field(
        description="what the environment of this process forces, whatever the rollout does; null: nothing"
    )
    report: RolloutReport | None = Field(description="null: no worker can tell now, or the workflow was ended")
    message: str = Field(default="", description="what else there is to know")


class Rollouts:
    """Raises ``EngineUnavailable`` rather than hang."""

    def __init__(self, engine: Engine, ports: Ports, settings: Settings) -> None:
        self._engine = engine
        self._ports = ports
        self._overrides = flag_overrides(settings)

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
        if refused := refusal_by_environment(request.flag, self._overrides.get(request.flag)):
            raise Conflict(refused, field="flag")
        await self._require_observed(request.flag)
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
        return self._view(await self._flag(request.flag), RolloutStatus.RUNNING, report)

    async def all(self) -> tuple[RolloutView, ...]:
        """The latest rollout of each flag that Temporal remembers, by flag."""
        room = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def of(flag: Flag) -> RolloutView | None:
            async with room:
                return await self._of(flag)

        found = await asyncio.gather(*map(of, await self._ports.flag_store.all()))
        return tuple(view for view in found if view is not None)

    async def one(self, name: str) -> RolloutView:
        """The latest rollout of a flag."""
        view = await self._of(await self._flag(name))
        if view is None:
            raise NotFound(f"There was no rollout of {name}; start one with POST /api/admin/rollouts.")
        return view

    async def control(self, name: str, control: Control, given: RolloutControl) -> RolloutView:
        """Answers when it took effect; raises ``Conflict`` with the refusal. A repetition that finds the first one
        still under way waits for the same outcome."""
        handle = await self._handle(name)
        update_id = _update_id(control, await self._flag(name), await _queried(handle))
        report = await self._update(handle, str(control), given, UPDATE_TIMEOUT, update_id)
        return self._view(await self._flag(name), _status(report), report)

    async def roll_back(self, name: str, given: RollbackRequest) -> RolloutView:
        """Through the workflow; when that does not answer, the flag is written without it, at once.

        Temporal keeps what is asked of the workflow until there is a worker. A gradual rollback needs it at once.
        Raises ``DependencyUnavailable`` when the flag may go up again, with what helps against that.
        """
        asked = False
        try:
            async with answering(ROLLBACK_TIMEOUT):
                handle = await self._handle(name)
                if given.gradual:
                    report = await self._update(handle, str(Control.ROLLBACK), given, ROLLBACK_TIMEOUT)
                    return self._view(await self._flag(name), _status(report), report)
                await _signal(handle, given)
                asked = True
                return await self._outcome(name, handle)
        except NotRunning as absent:
            return await self._without_workflow(name, given, absent)
        except EngineUnavailable:
            if given.gradual:
                raise
        try:
            async with asyncio.timeout(ROLLBACK_TIMEOUT.total_seconds()):
                return await self._released(name, given, asked=asked)
        except TimeoutError as error:
            raise DependencyUnavailable(
                f"The flag {name} can't be written now: try again, or turn it off by the environment.", retry_after_s=1
            ) from error

    async def _outcome(self, name: str, handle: Handle) -> RolloutView:
        """Of a workflow that was asked to roll back."""
        try:
            report = await handle.result()
        except WorkflowFailureError as failed:
            return self._view(await self._flag(name), RolloutStatus.ENDED, None, _sentence(failed.cause))
        if report.phase is not RolloutPhase.ROLLED_BACK:
            raise Conflict(f"the rollout is over: {report.summary}")
        return self._view(await self._flag(name), RolloutStatus.FINISHED, report)

    async def _released(self, name: str, given: RollbackRequest, *, asked: bool) -> RolloutView:
        """The flag taken from a rollout whose workflow is silent, also from one that has not begun yet."""
        present = flag = await self._flag(name)
        if flag.rollout_id:
            flag = await release(self._ports, name, flag.rollout_id, given) or flag
        running = await self._running_id(name) if asked else ""
        if running not in {"", present.rollout_id}:
            flag = await release(self._ports, name, running, given) or flag
        if not running and not present.rollout_id:
            raise DependencyUnavailable(
                f"Temporal does not answer. No rollout steers the flag {name} now, which stands at "
                f"{present.rollout_percentage} %, but one may be about to begin. To be safe, disable the flag: "
                f"PUT /api/admin/feature-flags/{name} with enabled false, or huntaze flags set {name} --disable.",
                retry_after_s=1,
            )
        told = "The flag was set to 0 % without the rollout's workflow, which does not answer."
        if given.recall:
            told += (
                " Messages are recalled as soon as a worker is there."
                if asked
                else " Nothing is recalled: repeat the call when Temporal is back."
            )
        return self._view(flag, RolloutStatus.RUNNING if asked else RolloutStatus.ENDED, None, told)

    async def _without_workflow(self, name: str, given: RollbackRequest, absent: NotRunning) -> RolloutView:
        """What is left to do when no workflow runs: the flag of one that was ended from outside, and recalls."""
        flag, told = await self._flag(name), "The rollout was rolled back before."
        if flag.rollout_id:
            flag = await release(self._ports, name, flag.rollout_id, given) or flag
            told = "The flag was set to 0 % without the rollout's workflow, which does not run."
        elif not given.recall or flag.rollout_percentage > 0:
            raise absent
        if given.recall:
            since = await rolled_back_since(self._ports, name)
            if since is None:
                raise absent
            number = await recall(self._engine, self._ports, name, since)
            told += f" Campaigns that are recalled: {number:,}."
        view = await self._of(flag)
        return self._view(flag, RolloutStatus.ENDED, None, told) if view is None else _told(view, told)

    async def _running_id(self, name: str) -> str:
        """The rollout of a running workflow; empty: none runs, or nobody can tell."""
        try:
            async with answering(ROLLBACK_TIMEOUT / 3):
                description = await _described(await self._handle(name))
        except (EngineUnavailable, RPCError):
            return ""
        if description is None or description.status is not WorkflowExecutionStatus.RUNNING:
            return ""
        return description.raw_info.first_run_id or description.run_id

    async def _require_observed(self, name: str) -> None:
        if name in OBSERVED_FLAGS:
            return
        seen = await self._ports.observations.observed(name, datetime.now(UTC) - OBSERVED_WITHIN)
        if not seen.requests:
            raise Conflict(
                f"nobody observes requests under the flag {name}, so a rollout could not judge them: the product "
                f"observes {', '.join(OBSERVED_FLAGS)}",
                field="flag",
            )

    async def _of(self, flag: Flag) -> RolloutView | None:
        handle = await self._handle(flag.name)
        description = await _described(handle)
        if description is None:
            return None
        match description.status:
            case WorkflowExecutionStatus.RUNNING:
                return self._view(flag, RolloutStatus.RUNNING, await _queried(handle))
            case WorkflowExecutionStatus.COMPLETED:
                async with answering(CALL_TIMEOUT):
                    return self._view(flag, RolloutStatus.FINISHED, await handle.result())
            case _:
                return self._view(flag, RolloutStatus.ENDED, None, await _failure(handle))

    async def _update(
        self, handle: Handle, name: str, given: RolloutControl | None, timeout: timedelta, update_id: str | None = None
    ) -> RolloutReport:
        arguments = [] if given is None else [given]
        try:
            async with answering(timeout):
                found: RolloutReport = await handle.execute_update(
                    name, args=arguments, id=update_id, result_type=RolloutReport
                )
                return found
        except WorkflowUpdateFailedError as failed:
            raise Conflict(_sentence(failed.cause)) from failed
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise EngineUnavailable from error
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise NotRunning(_NOT_RUNNING) from error

    async def _flag(self, name: str) -> Flag:
        flag = await self._ports.flag_store.get(name)
        if flag is None:
            raise NotFound(
                f"There is no flag {name}; create it with PUT /api/admin/feature-flags/{name}.", field="flag"
            )
        return flag

    def _view(self, flag: Flag, status: RolloutStatus, report: RolloutReport | None, message: str = "") -> RolloutView:
        return RolloutView(
            flag=flag.name,
            workflow_id=rollout_workflow_id(flag.name),
            status=status,
            percentage=flag.rollout_percentage,
            enabled=flag.enabled,
            override=self._overrides.get(flag.name),
            report=report,
            message=message,
        )

    async def _handle(self, name: str) -> Handle:
        client = await self._engine.client()
        return client.get_workflow_handle_for(RolloutWorkflow.run, rollout_workflow_id(name))


def _told(view: RolloutView, message: str) -> RolloutView:
    return view.model_copy(update={"message": message})


def _status(report: RolloutReport) -> RolloutStatus:
    return RolloutStatus.FINISHED if report.phase.is_final else RolloutStatus.RUNNING


def _update_id(control: Control, flag: Flag, report: RolloutReport | None) -> str:
    """The same until the rollout has decided something, or the flag has changed."""
    decided = report.decisions[-1].at.isoformat() if report is not None and report.decisions else "begun"
    return f"{control}/{decided}/{flag.revision}"


async def _signal(handle: Handle, given: RollbackRequest) -> None:
    try:
        await handle.signal(RolloutWorkflow.rollback, given)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise NotRunning(_NOT_RUNNING) from error


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
