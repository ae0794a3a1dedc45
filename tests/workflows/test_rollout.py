"""Rollouts on the time-skipping server: hours of traffic pass in seconds, through the real stores."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.client import (
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from adapters.bootstrap import Ports
from adapters.observation import RedisObservations
from adapters.settings import Settings
from api.rollout_release import release
from domain.alert import Alert, AlertKind, Severity
from domain.audit import AuditEntry
from domain.errors import DependencyUnavailable
from domain.flag import Flag, FlagConfig, changed
from domain.observation import Arm, Observation, Observed
from domain.recall import RecallReport, recall_workflow_id
from domain.rollout import RolloutPhase, rollout_workflow_id
from domain.rollout_report import RolloutReport, subject
from domain.rollout_request import RollbackRequest, RolloutRequest
from tests.local import Simulator
from tests.workflows.launcher import Launcher, intent, launching
from workflows.policies import ORCHESTRATION
from workflows.recall import RecallWorkflow
from workflows.rollout import RolloutRun, RolloutWorkflow

Handle = WorkflowHandle[RolloutWorkflow, RolloutReport]

ACTOR = "olga"
SHORT: dict[str, Any] = {"steps": [50, 100], "bake_seconds": 60}
COMPLETED, ROLLED_BACK, PAUSED = RolloutPhase.COMPLETED, RolloutPhase.ROLLED_BACK, RolloutPhase.PAUSED


@dataclass
class Traffic:
    """``domain.ports.Observations``: requests come in the server's time, and go through the real counters.

    ``failing``: whether a canary request fails, by the flag's percentage. ``per_s``: 0 is a silent night.
    """

    ports: Ports
    per_s: float = 20
    failing: Callable[[Decimal], bool] = lambda _: False
    away: bool = False
    afterwards: Callable[[Observed], Awaitable[None]] | None = None
    seen_until: dict[str, datetime] = field(default_factory=dict)

    def record(self, observation: Observation) -> None:
        self.ports.observations.record(observation)

    async def observed(self, flag: str, since: datetime) -> Observed:
        """What passed since the last look comes first."""
        if self.away:
            raise DependencyUnavailable("the counters can't be reached")
        assert isinstance(self.ports.observations, RedisObservations)
        stored = await self.ports.flag_store.get(flag)
        assert stored is not None
        now = activity.info().started_time
        before = self.seen_until.get(flag, now)
        self.seen_until[flag] = now
        requests = int((now - before).total_seconds() * self.per_s)
        canaries = int(requests * stored.rollout_percentage / 100) if stored.enabled else 0
        for number in range(requests):
            arm = Arm.CANARY if number < canaries else Arm.BASELINE
            fails = arm is Arm.CANARY and self.failing(stored.rollout_percentage)
            self.record(
                Observation(
                    flag=flag,
                    arm=arm,
                    at=now - timedelta(milliseconds=1),
                    latency_ms=100 + number % 50,
                    error="timeout" if fails or number % 100 == 99 else "",
                )
            )
        await self.ports.observations.write()
        seen = await self.ports.observations.observed(flag, since)
        if self.afterwards is not None:
            await self.afterwards(seen)
        return seen


@dataclass(frozen=True)
class Rollouts:
    """One flag of a test, its traffic, and rollouts of it."""

    launcher: Launcher
    traffic: Traffic
    flag: str

    @property
    def ports(self) -> Ports:
        return self.launcher.ports

    async def start(self, *, looks_per_run: int = 400, signal: dict[str, Any] | None = None, **wanted: Any) -> Handle:
        """A rollout, as the API starts it; ``signal``: of a rollback that is there before its first moment."""
        request = RolloutRequest(
            flag=self.flag, reason="the new system", **{"bake_seconds": 120, "min_samples": 50, **wanted}
        )
        return await self.launcher.env.client.start_workflow(
            RolloutWorkflow.run,
            RolloutRun(request=request, started_by=ACTOR, looks_per_run=looks_per_run),
            id=rollout_workflow_id(self.flag),
            task_queue=ORCHESTRATION,
            start_signal=None if signal is None else "rollback",
            start_signal_args=[] if signal is None else [signal],
        )

    async def at_50(self) -> Handle:
        """A rollout that people have brought to 50 %; without waiting, which takes its time."""
        handle = await self.start(bake_seconds=60, look_seconds=60)
        await self.update(handle, "begun")
        for expected in (25, 50):
            assert (await self.update(handle, "promote")).percentage == expected
        return handle

    async def routed(self) -> str:
        """A campaign that the flag has led here."""
        ours = await self.launcher.store(intent(2))
        changes = {
            "campaign_id": str(uuid4()),
            "request_id": str(uuid4()),
            "created_at": datetime.now(UTC) + timedelta(days=1),
            "routed_by": self.flag,
        }
        routed = ours.model_copy(update=changes)
        await self.ports.campaigns.create(routed, [])
        return routed.campaign_id

    async def recall_of(self, campaign_id: str) -> RecallReport:
        """What came of a campaign's recall; raises ``RPCError`` when there was none."""
        client = self.launcher.env.client
        handle = client.get_workflow_handle_for(RecallWorkflow.run, recall_workflow_id(campaign_id))
        while True:
            try:
                await handle.describe()
                return await handle.result()
            except RPCError:
                rollout = client.get_workflow_handle(rollout_workflow_id(self.flag))
                if (await rollout.describe()).close_time is not None:
                    raise
            await asyncio.sleep(0.02)

    async def update(self, handle: Handle, name: str, control: dict[str, Any] | None = None) -> RolloutReport:
        """The outcome of an update."""
        given = [] if control is None else [control]
        report: RolloutReport = await handle.execute_update(name, args=given, result_type=RolloutReport)
        return report

    async def stored(self) -> Flag:
        """The flag as it is."""
        flag = await self.ports.flag_store.get(self.flag)
        assert flag is not None
        return flag

    async def change(self, **changes: Any) -> Flag:
        """What an administrator does."""
        present = await self.ports.flag_store.get(self.flag)
        config = FlagConfig(name=self.flag, enabled=True) if present is None else _config(present)
        change = changed(
            present, config.model_copy(update=changes), actor=ACTOR, at=datetime.now(UTC), reason="by hand"
        )
        assert await self.ports.flag_store.put(change.flag, change.entry)
        return change.flag

    async def audit(self) -> Sequence[AuditEntry]:
        """Of the flag's rollouts, oldest first."""
        return (await self.ports.audit.entries(subject(self.flag), limit=100, cursor=None)).entries[::-1]

    async def alerts(self) -> list[Alert]:
        """Of this flag, oldest first; on the server's clock they may be hours ahead."""
        found = await self.ports.alerts.since(datetime.now(UTC) - timedelta(days=1))
        return [alert for alert in found if alert.detail.startswith(f"{self.flag}:")][::-1]

    async def until(
        self, handle: Handle, reached: Callable[[RolloutReport], bool], *, skips: bool = True
    ) -> RolloutReport:
        """The first state for which ``reached`` holds; the test's time-out ends the wait.

        ``skips``: between two questions half a look passes on the server's clock.
        """
        while True:
            try:
                state = await handle.query(RolloutWorkflow.state)
            except WorkflowQueryFailedError:
                state = None
            if state is not None and reached(state):
                return state
            if skips:
                await self.launcher.env.sleep(15)
            else:
                await asyncio.sleep(0.02)


def _config(flag: Flag) -> FlagConfig:
    return FlagConfig.model_validate(flag.model_dump(include=set(FlagConfig.model_fields)))


@pytest.fixture
async def rollouts(ports: Ports, settings: Settings, onlyfans: Simulator, ai: Simulator) -> AsyncIterator[Rollouts]:
    """Workers on a time-skipping server, and a flag that is enabled for nobody yet."""
    traffic = Traffic(ports)
    async with launching(replace(ports, observations=traffic), settings, onlyfans, ai) as launcher:
        each = Rollouts(launcher, traffic, f"flag-{uuid4().hex[:12]}")
        await each.change()
        yield each


def percentages(history: Sequence[Flag]) -> list[int]:
    """The percentages of a flag's revisions, oldest first."""
    return [int(flag.rollout_percentage) for flag in history[::-1]]


async def test_healthy_traffic_goes_to_everybody(rollouts: Rollouts) -> None:
    report = await (await rollouts.start()).result()
    assert (report.phase, int(report.percentage)) == (COMPLETED, 100)
    flag = await rollouts.stored()
    assert (int(flag.rollout_percentage), flag.rollout_id, flag.enabled) == (100, "", True)
    history = await rollouts.ports.flag_store.history(rollouts.flag, limit=100)
    assert percentages(history) == [0, 5, 25, 50, 100, 100]
    entries = await rollouts.audit()
    assert [entry.action for entry in entries] == ["started", *3 * ["promoted"], "completed"]
    assert entries[0].actor == ACTOR
    for entry in entries[1:]:
        assert entry.evidence is not None
        assert entry.evidence["verdict"] == "pass"
        assert entry.evidence["figures"]["canary"]["requests"] >= 50
    assert [alert.kind for alert in await rollouts.alerts()] == [AlertKind.ROLLOUT_COMPLETED]


async def test_errors_at_25_roll_it_back(rollouts: Rollouts) -> None:
    rollouts.traffic.failing = lambda percentage: percentage >= 25
    report = await (await rollouts.start()).result()
    assert (report.phase, int(report.percentage)) == (ROLLED_BACK, 0)
    assert "canary" in report.note
    flag = await rollouts.stored()
    assert (int(flag.rollout_percentage), flag.rollout_id, flag.enabled) == (0, "", True)
    assert flag.reason == report.note
    assert percentages(await rollouts.ports.flag_store.history(rollouts.flag, limit=100)) == [0, 5, 25, 0]
    [*_, entry] = await rollouts.audit()
    assert (entry.action, entry.actor, entry.reason) == ("rolled_back", "rollout", report.note)
    assert entry.evidence is not None
    assert entry.evidence["verdict"] == "fail"
    [alert] = await rollouts.alerts()
    assert (alert.kind, alert.severity) == (AlertKind.ROLLOUT_ROLLED_BACK, Severity.CRITICAL)
    assert report.note in alert.detail


async def test_guardrails_stay_live_while_paused(rollouts: Rollouts) -> None:
    handle = await rollouts.start()
    await rollouts.until(handle, lambda state: state.phase is RolloutPhase.BAKING)
    await handle.signal("pause")
    paused = await rollouts.until(handle, lambda state: state.phase is PAUSED)
    assert paused.percentage < 100
    rollouts.traffic.failing = lambda _: True
    report = await handle.result()
    assert (report.phase, int((await rollouts.stored()).rollout_percentage)) == (ROLLED_BACK, 0)
    kinds = [alert.kind for alert in await rollouts.alerts()]
    assert kinds == [AlertKind.ROLLOUT_PAUSED, AlertKind.ROLLOUT_ROLLED_BACK]


async def test_too_little_to_judge_by_pauses_it(rollouts: Rollouts) -> None:
    rollouts.traffic.per_s = 0
    handle = await rollouts.start(**SHORT, max_wait_seconds=120)
    paused = await rollouts.until(handle, lambda state: state.phase is PAUSED)
    assert paused.percentage == 50
    assert "0 of 50 requests of the canary" in paused.note
    [alert] = await rollouts.alerts()
    assert (alert.kind, alert.severity) == (AlertKind.ROLLOUT_PAUSED, Severity.WARNING)
    rollouts.traffic.per_s = 20
    resumed = await rollouts.update(handle, "resume")
    assert (resumed.phase, resumed.note) == (RolloutPhase.BAKING, "")
    assert (await handle.result()).phase is COMPLETED


async def test_what_cannot_be_read_is_no_pass(rollouts: Rollouts) -> None:
    handle = await rollouts.start(**SHORT, max_wait_seconds=120)
    await rollouts.until(handle, lambda state: state.judgement is not None)
    rollouts.traffic.away = True
    paused = await rollouts.until(handle, lambda state: state.phase is PAUSED)
    assert "could not be read" in paused.note
    rollouts.traffic.away = False
    await handle.signal("resume", {"requestedBy": "olga", "reason": "they are back"})
    assert (await handle.result()).phase is COMPLETED


async def test_updates_answer_with_the_outcome_or_the_refusal(rollouts: Rollouts) -> None:
    with rollouts.launcher.env.auto_time_skipping_disabled():
        handle = await rollouts.start(bake_seconds=3600)
        begun = await rollouts.update(handle, "begun")
        assert (begun.phase, int(begun.percentage), begun.started_by) == (RolloutPhase.BAKING, 5, ACTOR)
        for control, refused in (("resume", "not paused"), ("pause", ""), ("pause", "paused already")):
            if refused:
                with pytest.raises(WorkflowUpdateFailedError) as failed:
                    await rollouts.update(handle, control)
                assert refused in str(failed.value.cause)
            else:
                await rollouts.update(handle, control, {"requestedBy": "olga", "reason": "lunch"})
        promoted = await rollouts.update(handle, "promote")
        assert (promoted.phase, int(promoted.percentage)) == (RolloutPhase.BAKING, 25)
        assert (await rollouts.stored()).rollout_percentage == 25
        await handle.signal("promote")
        await rollouts.until(handle, lambda state: state.percentage == 50, skips=False)
        rolled_back = await rollouts.update(handle, "rollback")
        assert (rolled_back.phase, int(rolled_back.percentage)) == (ROLLED_BACK, 0)
        flag = await rollouts.stored()
        assert (int(flag.rollout_percentage), flag.rollout_id) == (0, "")
    assert (await handle.result()).phase is ROLLED_BACK
    assert [entry.action for entry in await rollouts.audit()] == [
        "started",
        "paused",
        "promoted",
        "promoted",
        "rolled_back",
    ]


async def test_a_signal_that_is_refused_changes_nothing(rollouts: Rollouts) -> None:
    handle = await rollouts.start()
    await rollouts.until(handle, lambda state: state.phase is RolloutPhase.BAKING)
    await handle.signal("resume")
    assert (await handle.result()).phase is COMPLETED
    assert "resumed" not in [entry.action for entry in await rollouts.audit()]


async def test_a_gradual_rollback_goes_down_the_steps(rollouts: Rollouts) -> None:
    with rollouts.launcher.env.auto_time_skipping_disabled():
        handle = await rollouts.at_50()
        await handle.signal("rollback", {"gradual": True, "reason": "support calls"})
    report = await handle.result()
    assert (report.phase, report.note) == (ROLLED_BACK, "support calls")
    history = await rollouts.ports.flag_store.history(rollouts.flag, limit=100)
    assert percentages(history) == [0, 5, 25, 50, 25, 5, 0]


async def test_a_gradual_rollback_recalls_from_the_first_step_down_on(rollouts: Rollouts) -> None:
    with rollouts.launcher.env.auto_time_skipping_disabled():
        handle = await rollouts.at_50()
        campaign_id = await rollouts.routed()
        state = await rollouts.update(handle, "rollback", {"gradual": True, "recall": True})
        assert (state.phase, int(state.percentage)) == (RolloutPhase.ROLLING_BACK, 25)
        assert (await rollouts.recall_of(campaign_id)).complete
        assert (await rollouts.until(handle, lambda _: True, skips=False)).phase is RolloutPhase.ROLLING_BACK
        await handle.signal("rollback")
    assert (await handle.result()).phase is ROLLED_BACK


async def test_a_failure_during_a_gradual_rollback_ends_it_at_once(rollouts: Rollouts) -> None:
    with rollouts.launcher.env.auto_time_skipping_disabled():
        handle = await rollouts.at_50()
        rollouts.traffic.failing = lambda percentage: percentage == 25
        await handle.signal("rollback", {"gradual": True})
    assert (await handle.result()).phase is ROLLED_BACK
    history = await rollouts.ports.flag_store.history(rollouts.flag, limit=100)
    assert percentages(history) == [0, 5, 25, 50, 25, 0]


async def test_a_gate_waits_for_a_person(rollouts: Rollouts) -> None:
    handle = await rollouts.start(steps=[5, 100], manual_gates=[5])
    gate = await rollouts.until(handle, lambda state: state.phase is RolloutPhase.GATE)
    assert gate.percentage == 5
    await rollouts.update(handle, "promote", {"requestedBy": "olga"})
    assert (await handle.result()).phase is COMPLETED
    assert [entry.actor for entry in await rollouts.audit()] == ["olga", "rollout", "olga", "rollout"]


async def test_a_flag_that_is_disabled_pauses_the_rollout(rollouts: Rollouts) -> None:
    handle = await rollouts.start()
    await rollouts.until(handle, lambda state: state.judgement is not None)
    await rollouts.change(enabled=False)
    paused = await rollouts.until(handle, lambda state: state.phase is PAUSED)
    assert "disabled by olga: by hand" in paused.note
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await rollouts.update(handle, "resume")
    assert "enable it first" in str(failed.value.cause)
    await rollouts.change(enabled=True)
    resumed = await rollouts.update(handle, "resume")
    assert resumed.step_since == resumed.decisions[-1].at > paused.step_since
    assert (await handle.result()).phase is COMPLETED


async def test_a_rollback_wins_over_whatever_people_changed(rollouts: Rollouts) -> None:
    handle = await rollouts.start()
    await rollouts.until(handle, lambda state: state.judgement is not None)
    await rollouts.change(enabled=False)
    await rollouts.change(user_blacklist=("u1",))
    await rollouts.update(handle, "rollback", {"reason": "enough"})
    flag = await rollouts.stored()
    assert (int(flag.rollout_percentage), flag.rollout_id, flag.enabled) == (0, "", False)
    assert flag.user_blacklist == ("u1",)
    assert (await handle.result()).note == "enough"


async def test_a_rollback_recalls_what_the_flag_led_here(rollouts: Rollouts) -> None:
    handle = await rollouts.start()
    await rollouts.until(handle, lambda state: state.judgement is not None)
    other = await rollouts.launcher.store(intent(2))
    campaign_id = await rollouts.routed()
    await handle.signal("rollback", {"recall": True})
    assert (await handle.result()).phase is ROLLED_BACK
    assert (await rollouts.recall_of(campaign_id)).complete
    with pytest.raises(RPCError):
        await rollouts.recall_of(other.campaign_id)


async def test_a_failure_recalls_when_that_was_asked_for(rollouts: Rollouts) -> None:
    rollouts.traffic.failing = lambda _: True
    campaign_id = await rollouts.routed()
    handle = await rollouts.start(recall_on_rollback=True)
    assert (await handle.result()).phase is ROLLED_BACK
    assert (await rollouts.recall_of(campaign_id)).complete


async def test_a_rollback_before_the_beginning_leaves_the_flag_alone(rollouts: Rollouts) -> None:
    handle = await rollouts.start(signal={"requestedBy": "olga", "reason": "not today"})
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert "rolled back before it began, by olga: not today" in str(failed.value.cause)
    assert percentages(await rollouts.ports.flag_store.history(rollouts.flag, limit=100)) == [0]
    assert not await rollouts.alerts()


async def test_an_emergency_wins_over_the_completion(rollouts: Rollouts) -> None:
    """The flag is taken between the look that passes and the write that follows from it."""
    handle = await rollouts.start(steps=[100])

    async def taken(seen: Observed) -> None:
        flag = await rollouts.stored()
        if flag.rollout_id and seen.canary.requests >= 20 * 120:
            await release(rollouts.ports, rollouts.flag, flag.rollout_id, RollbackRequest(requested_by="oncall"))

    rollouts.traffic.afterwards = taken
    report = await handle.result()
    assert report.phase is ROLLED_BACK
    assert "taken from the rollout by oncall" in report.note
    assert int((await rollouts.stored()).rollout_percentage) == 0
    # The API and the workflow tell of the same rollback.
    assert [entry.action for entry in await rollouts.audit()] == ["started", "rolled_back"]
    assert [alert.kind for alert in await rollouts.alerts()] == [AlertKind.ROLLOUT_ROLLED_BACK]


async def test_a_flag_that_was_taken_from_it_ends_the_rollout(rollouts: Rollouts) -> None:
    """An emergency rollback that was written while Temporal was away."""
    handle = await rollouts.start()
    await rollouts.until(handle, lambda state: state.judgement is not None)
    present = await rollouts.stored()
    freed = present.model_copy(
        update={"rollout_id": "", "rollout_percentage": Decimal(0), "revision": present.revision + 1, "changed_by": "x"}
    )
    entry = AuditEntry(
        entry_id=f"test/{uuid4()}", subject="flag/test", action="changed", actor="x", at=datetime.now(UTC)
    )
    assert await rollouts.ports.flag_store.put(freed, entry)
    report = await handle.result()
    assert report.phase is ROLLED_BACK
    assert "taken from the rollout by x" in report.note
    assert (await rollouts.stored()).revision == freed.revision


async def test_it_goes_on_in_new_runs(rollouts: Rollouts) -> None:
    handle = await rollouts.start(looks_per_run=2)
    report = await handle.result()
    assert report.phase is COMPLETED
    described = await handle.describe()
    assert described.run_id != handle.first_execution_run_id
    assert report.rollout_id == handle.first_execution_run_id
    assert [entry.action for entry in await rollouts.audit()] == ["started", *3 * ["promoted"], "completed"]


async def test_one_rollout_a_flag_at_a_time(rollouts: Rollouts) -> None:
    with rollouts.launcher.env.auto_time_skipping_disabled():
        handle = await rollouts.start(bake_seconds=3600)
        await rollouts.update(handle, "begun")
        with pytest.raises(WorkflowAlreadyStartedError):
            await rollouts.start()
        await rollouts.update(handle, "rollback")
        await handle.result()
    assert (await (await rollouts.start(steps=[10, 20])).result()).percentage == 20
    assert (await rollouts.stored()).rollout_percentage == 20


@pytest.mark.parametrize("missing", [True, False])
async def test_what_cannot_begin_says_why(rollouts: Rollouts, missing: bool) -> None:
    if missing:
        rollouts = replace(rollouts, flag=f"flag-{uuid4().hex[:12]}")
    else:
        await rollouts.change(enabled=False)
    with pytest.raises(WorkflowFailureError) as failed:
        await (await rollouts.start()).result()
    assert ("there is no flag" if missing else "enable it first") in str(failed.value.cause)
