"""Every stored history replays on today's code: a worker of this release can take over running workflows."""

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from adapters.payload import DATA_CONVERTER
from adapters.trace import TraceInterceptor
from tests.record_histories import HISTORIES
from worker import WORKFLOWS

STORED = [WorkflowHistory.from_json(path.stem, path.read_text()) for path in sorted(HISTORIES.glob("*.json"))]


@pytest.mark.parametrize("history", STORED, ids=lambda history: history.workflow_id)
async def test_a_stored_history_replays(history: WorkflowHistory) -> None:
    replayer = Replayer(workflows=WORKFLOWS, data_converter=DATA_CONVERTER, interceptors=[TraceInterceptor()])
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    assert result.replay_failure is None


def test_every_workflow_has_a_stored_history() -> None:
    started = [history.events[0].workflow_execution_started_event_attributes for history in STORED]
    assert {start.workflow_type.name for start in started} == {
        "CampaignWorkflow",
        "SendQueueWorkflow",
        "GenerationWorkflow",
        "RecallWorkflow",
        "RolloutWorkflow",
    }
