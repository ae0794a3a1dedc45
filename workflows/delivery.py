"""The only sender of one account: order, priority and waiting have one owner."""

import asyncio
from functools import partial

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.delivery import DeliveryActivities
    from domain import send_queue as queues
    from domain.campaign import campaign_workflow_id
    from domain.send_queue import DeliveryRound, EnqueueBatch, Enqueued, Receipts, SendQueue
    from workflows import policies

ROUNDS_PER_RUN = 1_000


@workflow.defn(name=queues.WORKFLOW)
class SendQueueWorkflow:
    """Lives for ever: takes batches by update, sends in rounds, sleeps on durable timers in between."""

    @workflow.init
    def __init__(self, queue: SendQueue) -> None:
        self._queue = queue
        self._woken = False
        self._rounds = 0

    @workflow.run
    async def run(self, _queue: SendQueue) -> None:
        """Round after round, until the history is long enough to start a fresh one."""
        while not self._history_is_long():
            await self._wait_until_due()
            self._woken = False
            await self._deliver()
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(self._queue)

    @workflow.update(name=queues.ENQUEUE)
    async def enqueue(self, request: EnqueueBatch) -> Enqueued:
        """Take a batch; the answer is its place in the queue."""
        self._queue, answer = queues.enqueue(self._queue, request)
        return answer

    @workflow.signal
    def drop(self, campaign_id: str) -> None:
        """A campaign was cancelled: end its messages now, before anything else and whatever the limits say."""
        self._queue = queues.drop(self._queue, campaign_id)
        self._woken = True

    @workflow.signal
    def recheck(self, campaign_id: str) -> None:
        """A campaign was resumed: look at it again now."""
        self._queue = queues.recheck(self._queue, campaign_id)
        self._woken = True

    @workflow.query
    def state(self) -> SendQueue:
        """What waits and why."""
        return self._queue

    async def _wait_until_due(self) -> None:
        while not self._woken and not self._history_is_long():
            now = workflow.now()
            due = queues.next_wake(self._queue, now)
            if due is not None and due <= now:
                return
            depth = self._queue.depth
            try:
                await workflow.wait_condition(
                    partial(self._changed_since, depth), timeout=None if due is None else due - now
                )
            except TimeoutError:
                continue

    def _changed_since(self, depth: int) -> bool:
        """Woken, or something arrived that may go before what the queue is waiting for."""
        return self._woken or (self._queue.depth != depth and self._queue.throttled_until is None)

    async def _deliver(self) -> None:
        self._queue = queues.start_round(self._queue)
        now = workflow.now()
        chosen = queues.dropped(self._queue, now) or queues.candidates(self._queue, now)
        if not chosen:
            return
        self._rounds += 1
        report = await workflow.execute_activity_method(
            DeliveryActivities.deliver,
            DeliveryRound(account_id=self._queue.account_id, candidates=chosen),
            **policies.SEND,
        )
        self._queue, receipts = queues.apply(self._queue, report, workflow.now())
        await asyncio.gather(*(self._report(campaign, receipt) for campaign, receipt in receipts.items()))

    async def _report(self, campaign_id: str, receipts: Receipts) -> None:
        campaign = workflow.get_external_workflow_handle(campaign_workflow_id(campaign_id))
        try:
            await campaign.signal("receipts", receipts)
        except ApplicationError:
            # The campaign was terminated; its messages are in the store all the same.
            workflow.logger.warning("a campaign could not be told of its messages")

    def _history_is_long(self) -> bool:
        return self._rounds >= ROUNDS_PER_RUN or workflow.info().is_continue_as_new_suggested()
