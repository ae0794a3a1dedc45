"""The queue's workflow by itself: what ends its sleep and what does not, and how it is reached from outside.

A scripted activity stands for the delivery round, so that a round reports what the test wants to see handled.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from adapters.temporal import TemporalSendQueues
from domain.delivery import MessageStatus, Priority, send_queue_id
from domain.errors import RateLimitExceeded
from domain.send_queue import MAX_DEPTH, DeliveryReport, DeliveryRound, EnqueueBatch, SendQueue, Settled
from local.time_skipping import time_skipping
from tests.domain.builders import an_account
from workflows import policies
from workflows.delivery import SendQueueWorkflow
from workflows.policies import DELIVERY, ORCHESTRATION

TOMORROW = timedelta(days=1)


def a_batch(size: int = 1, priority: Priority = Priority.MEDIUM, **more: object) -> EnqueueBatch:
    ids = [uuid4() for _ in range(size)]
    fields = {"campaign_id": str(uuid4()), "batch": 0, "priority": priority, "message_ids": ids, "reports": False}
    return EnqueueBatch.model_validate(fields | more)


def all_sent(asked: DeliveryRound) -> DeliveryReport:
    return DeliveryReport(settled=tuple(_sent(candidate.message_id) for candidate in asked.candidates))


def _sent(message_id: UUID) -> Settled:
    return Settled(message_id=message_id, status=MessageStatus.SENT)


@dataclass
class Scene:
    """One account's queue on a server where waiting costs nothing."""

    env: WorkflowEnvironment
    account: str
    script: list[DeliveryReport | Callable[[DeliveryRound], DeliveryReport]] = field(default_factory=list)
    rounds: list[tuple[datetime, list[UUID]]] = field(default_factory=list)

    @property
    def queues(self) -> TemporalSendQueues:
        return TemporalSendQueues(self.env.client, ORCHESTRATION)

    @activity.defn(name="delivery.deliver")
    async def deliver(self, asked: DeliveryRound) -> DeliveryReport:
        ids = [candidate.message_id for candidate in asked.candidates]
        self.rounds.append((activity.info().started_time, ids))
        step = self.script.pop(0) if self.script else all_sent
        return step if isinstance(step, DeliveryReport) else step(asked)

    async def state(self) -> SendQueue:
        return await self.env.client.get_workflow_handle(send_queue_id(self.account)).query(SendQueueWorkflow.state)

    async def until(self, reached: Callable[[SendQueue], bool]) -> SendQueue:
        while not reached(state := await self.state()):
            await asyncio.sleep(0.02)
        return state

    async def until_empty(self) -> None:
        """Let the time skip until everything was delivered."""
        while (await self.state()).depth:
            await self.env.sleep(timedelta(minutes=1))

    async def events(self) -> list[EventType.ValueType]:
        handle = self.env.client.get_workflow_handle(send_queue_id(self.account))
        return [event.event_type async for event in handle.fetch_history_events()]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with time_skipping() as env:
        scene = Scene(env, an_account())
        queue = Worker(env.client, task_queue=ORCHESTRATION, workflows=[SendQueueWorkflow], max_cached_workflows=0)
        async with queue, Worker(env.client, task_queue=DELIVERY, activities=[scene.deliver]):
            yield scene


class TestSleep:
    async def test_a_batch_that_arrives_does_not_end_the_wait_of_the_account_nor_cost_a_timer(
        self, scene: Scene
    ) -> None:
        first, second = a_batch(), a_batch(priority=Priority.CRITICAL)
        scene.script = [DeliveryReport(wait_ms=60_000, reason="rate_limit:account")]
        await scene.queues.enqueue(scene.account, first)
        await scene.until(lambda state: state.throttled_until is not None)
        await scene.queues.enqueue(scene.account, second)
        await scene.until_empty()
        (throttled, _), (after, ids) = scene.rounds
        assert ids == [*second.message_ids, *first.message_ids]
        assert after - throttled >= timedelta(seconds=60)
        assert (await scene.events()).count(EventType.EVENT_TYPE_TIMER_STARTED) == 1

    async def test_one_that_expires_earlier_is_ended_in_time(self, scene: Scene) -> None:
        first = a_batch()
        scene.script = [DeliveryReport(wait_ms=3_600_000, reason="rate_limit:account")]
        await scene.queues.enqueue(scene.account, first)
        await scene.until(lambda state: state.throttled_until is not None)
        now = await scene.env.get_current_time()
        second = a_batch(expires_at=now + timedelta(minutes=10))
        await scene.queues.enqueue(scene.account, second)
        await scene.until_empty()
        assert [ids for _, ids in scene.rounds[1:]] == [list(second.message_ids), list(first.message_ids)]

    async def test_a_queue_that_sleeps_until_it_is_woken_wakes_then(self, scene: Scene) -> None:
        batch = a_batch(3)
        scene.script = [DeliveryReport(until_woken=True, reason="account:paused")]
        await scene.queues.enqueue(scene.account, batch)
        await scene.until(lambda state: state.asleep)
        await scene.queues.wake(scene.account)
        await scene.until_empty()
        assert [ids for _, ids in scene.rounds] == [list(batch.message_ids)] * 2

    async def test_a_message_that_was_ended_elsewhere_is_settled_while_the_others_sleep(self, scene: Scene) -> None:
        batch = a_batch(3)
        scene.script = [DeliveryReport(until_woken=True, reason="account:paused")]
        await scene.queues.enqueue(scene.account, batch)
        await scene.until(lambda state: state.asleep)
        await scene.queues.drop_message(scene.account, batch.message_ids[1])
        state = await scene.until(lambda state: state.depth == 2)
        assert state.asleep
        assert [ids for _, ids in scene.rounds] == [list(batch.message_ids), [batch.message_ids[1]]]

    async def test_a_cancelled_campaign_is_ended_while_the_account_waits(self, scene: Scene) -> None:
        batch = a_batch(2)
        scene.script = [DeliveryReport(wait_ms=3_600_000, reason="rate_limit:account")]
        await scene.queues.enqueue(scene.account, batch)
        await scene.until(lambda state: state.throttled_until is not None)
        handle = scene.env.client.get_workflow_handle(send_queue_id(scene.account))
        await handle.signal(SendQueueWorkflow.drop, batch.campaign_id)
        await scene.until(lambda state: state.depth == 0)
        (throttled, _), (after, _) = scene.rounds
        assert after - throttled < timedelta(hours=1)


class TestReach:
    async def test_an_account_without_a_queue_has_no_outlook_and_is_woken_in_vain(self, scene: Scene) -> None:
        assert await scene.queues.outlook(scene.account) is None
        await scene.queues.wake(scene.account)
        await scene.queues.drop_message(scene.account, uuid4())

    async def test_a_full_queue_says_when_to_come_back(self, scene: Scene) -> None:
        later = await scene.env.get_current_time() + TOMORROW
        await scene.queues.enqueue(scene.account, a_batch(MAX_DEPTH, Priority.CRITICAL, not_before=later))
        with pytest.raises(RateLimitExceeded, match="full") as refused:
            await scene.queues.enqueue(scene.account, a_batch(not_before=later))
        assert refused.value.retry_after_s == 60


@asynccontextmanager
async def queue_worker(client: Client) -> AsyncIterator[str]:
    """A task queue of the real server where queues run and nothing is delivered."""
    task_queue = f"send-queues-{uuid4()}"
    async with Worker(client, task_queue=task_queue, workflows=[SendQueueWorkflow]):
        yield task_queue


class TestRealServer:
    async def test_any_number_of_batches_may_come_at_once_from_any_number_of_processes(self, temporal: Client) -> None:
        account, later = an_account(), datetime.now(UTC) + TOMORROW
        async with queue_worker(temporal) as task_queue:
            processes = [TemporalSendQueues(temporal, task_queue) for _ in range(6)]
            answers = await asyncio.gather(
                *(
                    queues.enqueue(account, a_batch(2, group="direct", not_before=later))
                    for queues in processes
                    for _ in range(10)
                )
            )
            outlook = await processes[0].outlook(account)
            await temporal.get_workflow_handle(send_queue_id(account)).terminate()
        assert sorted(answer.position for answer in answers) == [2 * number for number in range(1, 61)]
        assert outlook is not None
        assert len(outlook.messages) == 120

    @pytest.mark.usefixtures("worker")
    async def test_a_batch_that_was_lost_is_there_again_only_by_a_submission_of_its_own(self, temporal: Client) -> None:
        account, batch = an_account(), a_batch()
        queues = TemporalSendQueues(temporal, ORCHESTRATION)
        handle = temporal.get_workflow_handle_for(SendQueueWorkflow.run, send_queue_id(account))

        async def arrived() -> int:
            """Batches that came so far; the store does not know their messages, so the queue ends them at once."""
            while (state := await handle.query(SendQueueWorkflow.state)).depth:
                await asyncio.sleep(0.02)
            return state.next_sequence

        counts = []
        for again in ("", "", "again", "again", "once more"):
            await queues.enqueue(account, batch, again=again)
            counts.append(await arrived())
        await handle.terminate()
        assert counts == [1, 1, 2, 2, 3]

    async def test_what_takes_up_room_is_told_with_the_outlook(self, temporal: Client) -> None:
        account, later = an_account(), datetime.now(UTC) + TOMORROW
        async with queue_worker(temporal) as task_queue:
            queues = TemporalSendQueues(temporal, task_queue)
            for size in (2, 3):
                await queues.enqueue(account, a_batch(size, not_before=later))
            outlook = await queues.outlook(account)
            await temporal.get_workflow_handle(send_queue_id(account)).terminate()
        assert outlook is not None
        assert (outlook.depth, outlook.batches) == (5, 2)

    async def test_a_round_carries_the_account_and_its_priority(self, temporal: Client) -> None:
        account = an_account()
        async with queue_worker(temporal) as task_queue:
            await TemporalSendQueues(temporal, task_queue).enqueue(account, a_batch(priority=Priority.HIGH))
            handle = temporal.get_workflow_handle(send_queue_id(account))
            events = [event async for event in handle.fetch_history_events()]
            await handle.terminate()
        started = events[0].workflow_execution_started_event_attributes.priority
        (scheduled,) = (
            event.activity_task_scheduled_event_attributes.priority
            for event in events
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        )
        key = account.removeprefix("acct_")
        assert (started.fairness_key, scheduled.fairness_key, scheduled.priority_key) == (key, key, 2)

    async def test_a_round_that_no_worker_takes_becomes_more_urgent(
        self, temporal: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is half an hour takes three seconds here, which a sandbox would not know of."""
        second, deliveries = timedelta(seconds=1), f"deliveries-{uuid4()}"
        monkeypatch.setattr(policies, "UNTAKEN_AFTER", second)
        monkeypatch.setitem(policies.SEND, "task_queue", deliveries)
        scene = Scene(WorkflowEnvironment.from_client(temporal), an_account())
        queues = Worker(
            temporal,
            task_queue=f"send-queues-{uuid4()}",
            workflows=[SendQueueWorkflow],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        async with queues:
            await TemporalSendQueues(temporal, queues.task_queue).enqueue(scene.account, a_batch(priority=Priority.LOW))
            async with asyncio.timeout(60):
                await scene.until(lambda state: state.untaken == 3)
                async with Worker(temporal, task_queue=deliveries, activities=[scene.deliver]):
                    after = await scene.until(lambda state: state.depth == 0)
            handle = temporal.get_workflow_handle(send_queue_id(scene.account))
            asked = [
                event.activity_task_scheduled_event_attributes
                async for event in handle.fetch_history_events()
                if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
            ]
            await handle.terminate()
        assert after.untaken == 0
        assert [each.priority.priority_key for each in asked] == [4, 3, 2, 1]
        # At the top it keeps its place among the others that are there.
        patience = [each.schedule_to_start_timeout.ToTimedelta() == second for each in asked]
        assert patience == [True, True, True, False]
