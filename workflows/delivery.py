"""The only sender of one account: order, priority and waiting have one owner."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType
from temporalio.exceptions import TimeoutError as ActivityTimeout

with workflow.unsafe.imports_passed_through():
    from activities.delivery import DeliveryActivities
    from activities.failure import application_error
    from domain import round as rounds
    from domain import send_queue as queues
    from domain import turn
    from domain.campaign import campaign_workflow_id
    from domain.errors import RateLimitExceeded
    from domain.send_queue import Candidate, DeliveryRound, EnqueueBatch, Enqueued, Receipts, SendQueue
    from workflows import policies

ROUNDS_PER_RUN = 1_000
SHORTEST_SLEEP = timedelta(milliseconds=1)


@workflow.defn(name=queues.WORKFLOW)
class SendQueueWorkflow:
    """Lives for ever: takes batches by update, sends in rounds, sleeps on durable timers in between."""

    @workflow.init
    def __init__(self, queue: SendQueue) -> None:
        self._queue = queue
        self._rounds = 0

    @workflow.run
    async def run(self, _queue: SendQueue) -> None:
        """Round after round, until the history is long enough to start a fresh one."""
        while not self._history_is_long():
            chosen = turn.candidates(self._queue, workflow.now())
            if chosen:
                await self._deliver(chosen)
            else:
                await self._sleep()
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(self._queue)

    @workflow.update(name=queues.ENQUEUE)
    async def enqueue(self, request: EnqueueBatch) -> Enqueued:
        """Take a batch; the answer is its place in the queue."""
        now = workflow.now()
        self._queue = queues.enqueue(self._queue, request, now)
        return Enqueued(position=turn.position(self._queue, request, now))

    @enqueue.validator
    def _has_room(self, request: EnqueueBatch) -> None:
        try:
            queues.ensure_room(self._queue, request)
        except RateLimitExceeded as error:
            raise application_error(error) from error

    @workflow.signal
    def drop(self, campaign_id: str) -> None:
        """A campaign was cancelled: end its messages now, before anything else and whatever the limits say."""
        self._queue = queues.drop(self._queue, campaign_id)

    @workflow.signal(name=queues.DROP_MESSAGE)
    def drop_message(self, message_id: UUID) -> None:
        """A message was ended outside of the queue: settle it now."""
        self._queue = queues.drop_message(self._queue, message_id)

    @workflow.signal
    def recheck(self, campaign_id: str) -> None:
        """A campaign was resumed: look at it again."""
        self._queue = queues.recheck(self._queue, campaign_id)

    @workflow.signal(name=queues.WAKE)
    def wake(self) -> None:
        """The account or its limits changed: look at everything again now."""
        self._queue = queues.wake(self._queue)

    @workflow.query(name=queues.STATE)
    def state(self) -> SendQueue:
        """What waits and why. ``domain.turn.outlook`` makes the order of service of it."""
        return self._queue

    async def _sleep(self) -> None:
        """Until there is something to do, or less or more of it than was known."""
        now = workflow.now()
        due = turn.next_wake(self._queue, now)
        seen = self._queue

        def disturbed() -> bool:
            # A timer that has become too early does no harm; a new one costs an action.
            nonlocal seen
            if self._queue is seen:
                return self._history_is_long()
            seen = self._queue
            wake = turn.next_wake(seen, workflow.now())
            return self._history_is_long() or (wake is not None and (due is None or wake < due))

        with suppress(TimeoutError):
            await workflow.wait_condition(disturbed, timeout=None if due is None else max(due - now, SHORTEST_SLEEP))

    async def _deliver(self, chosen: tuple[Candidate, ...]) -> None:
        self._queue = rounds.start_round(self._queue)
        self._rounds += 1
        account_id = self._queue.account_id
        try:
            report = await workflow.execute_activity_method(
                DeliveryActivities.deliver,
                DeliveryRound(account_id=account_id, candidates=chosen),
                **policies.sending(account_id, turn.urgency(self._queue, chosen)),
            )
        except ActivityError as error:
            if not _was_untaken(error):
                raise
            self._queue = rounds.untaken(self._queue)
            return
        self._queue, receipts = rounds.apply(self._queue, report, workflow.now(), chosen)
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


def _was_untaken(error: ActivityError) -> bool:
    """Whether no worker took the round, or took it up again, in time."""
    cause = error.cause
    return isinstance(cause, ActivityTimeout) and cause.type is TimeoutType.SCHEDULE_TO_START
