"""The one connection to Temporal, and the way into an account's send queue."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID
from weakref import WeakValueDictionary

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import Priority, QueryRejectCondition, WorkflowIDConflictPolicy
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import ApplicationError
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from adapters.payload import DATA_CONVERTER
from adapters.trace import TraceInterceptor
from domain import send_queue, turn
from domain.delivery import send_queue_id
from domain.errors import DependencyUnavailable, ErrorType, HuntazeError, RateLimitExceeded
from domain.send_queue import EnqueueBatch, Enqueued, QueueOutlook, SendQueue

ENQUEUE_TIMEOUT = timedelta(seconds=20)
"""How long a batch is offered to a queue: less than an activity has for it."""

UPDATES_AT_ONCE = 5
"""Batches that one process offers to one queue at a time. Temporal takes ten of all processes, refusing the others."""

BUSY_PAUSE_S = 0.5
"""A refused batch is offered again after up to this long."""

_AGAIN = frozenset({RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.UNAVAILABLE})

QUERY_TIMEOUT = timedelta(seconds=2)
SIGNAL_TIMEOUT = timedelta(seconds=10)

DEFAULT_ADDRESS = "127.0.0.1:7233"
"""Where a Temporal server listens when nothing says otherwise."""


async def connect(*, runtime: Runtime | None = None) -> Client:
    """Connect as ``TEMPORAL_ADDRESS``, ``TEMPORAL_NAMESPACE``, ``TEMPORAL_API_KEY`` and the TLS variables say.

    ``runtime``: the one that serves this process's metrics (``adapters.metrics.serving``).
    """
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", DEFAULT_ADDRESS)
    return await Client.connect(
        **config, data_converter=DATA_CONVERTER, interceptors=[TraceInterceptor()], runtime=runtime
    )


class TemporalSendQueues:
    """``domain.ports.SendQueues``: update-with-start, so that the first batch also starts the queue."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def enqueue(self, account_id: str, request: EnqueueBatch, *, again: str = "") -> Enqueued:
        """Waits until the queue has taken the batch; the update's id makes a repetition harmless.

        Temporal answers a known id from its record, without asking the queue. ``again`` makes an id of its own.

        Raises ``RateLimitExceeded`` when the queue is full, ``DependencyUnavailable`` when it does not answer.
        """
        give_up_at = monotonic() + ENQUEUE_TIMEOUT.total_seconds()
        while True:
            try:
                async with self._turn(account_id):
                    return await self._enqueue(account_id, request, again, give_up_at - monotonic())
            except WorkflowUpdateFailedError as error:
                raise _refusal(error) from error
            except WorkflowUpdateRPCTimeoutOrCancelledError as error:
                raise DependencyUnavailable("the send queue of the account does not answer") from error
            except RPCError as error:
                if error.status not in _AGAIN:
                    raise
                pause = random.uniform(0, BUSY_PAUSE_S)
                if monotonic() + pause >= give_up_at:
                    raise DependencyUnavailable("the send queue of the account is too busy to take more") from error
                await asyncio.sleep(pause)

    async def outlook(self, account_id: str) -> QueueOutlook | None:
        """What waits, in the order of service; ``None``: no queue yet, or nobody answered in time.

        The queue is asked for its state, which has a bounded size, and the order is made of it here.
        """
        queue = self._client.get_workflow_handle(send_queue_id(account_id))
        try:
            state: SendQueue = await queue.query(
                send_queue.STATE,
                result_type=SendQueue,
                reject_condition=QueryRejectCondition.NOT_OPEN,
                rpc_timeout=QUERY_TIMEOUT,
            )
        except (WorkflowQueryFailedError, WorkflowQueryRejectedError, RPCError):
            return None
        outlook = turn.outlook(state, datetime.now(UTC))
        return outlook.model_copy(update={"depth": state.depth, "batches": len(state.batches)})

    async def wake(self, account_id: str) -> None:
        """Something about the account changed: look again now. Harmless when there is no queue."""
        await self._signal(account_id, send_queue.WAKE)

    async def drop_message(self, account_id: str, message_id: UUID) -> None:
        """A message was ended outside of the queue: settle it now. Harmless when there is no queue."""
        await self._signal(account_id, send_queue.DROP_MESSAGE, message_id)

    async def _enqueue(self, account_id: str, request: EnqueueBatch, again: str, left_s: float) -> Enqueued:
        start: WithStartWorkflowOperation[object, object] = WithStartWorkflowOperation(
            send_queue.WORKFLOW,
            SendQueue(account_id=account_id),
            id=send_queue_id(account_id),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary="messages of one account, in order and within its limits",
            priority=Priority(fairness_key=send_queue.fairness_key(account_id)),
        )
        # Its error is the call's own; nobody else asks for it.
        started = asyncio.ensure_future(start.workflow_handle())
        started.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            answer: Enqueued = await self._client.execute_update_with_start_workflow(
                send_queue.ENQUEUE,
                request,
                start_workflow_operation=start,
                id="-".join(filter(None, (request.campaign_id, str(request.batch), again))),
                result_type=Enqueued,
                rpc_timeout=timedelta(seconds=max(left_s, 0.001)),
            )
        finally:
            started.cancel()
        return answer

    def _turn(self, account_id: str) -> asyncio.Semaphore:
        return self._turns.setdefault(account_id, asyncio.Semaphore(UPDATES_AT_ONCE))

    async def _signal(self, account_id: str, name: str, *arguments: object) -> None:
        queue = self._client.get_workflow_handle(send_queue_id(account_id))
        try:
            await queue.signal(name, args=arguments, rpc_timeout=SIGNAL_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise


def _refusal(error: WorkflowUpdateFailedError) -> HuntazeError:
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type == ErrorType.RATE_LIMIT_EXCEEDED:
        pause = cause.next_retry_delay
        return RateLimitExceeded(cause.message, retry_after_s=None if pause is None else pause.total_seconds())
    return DependencyUnavailable("the send queue of the account could not take the batch")


class TemporalDependency:
    """Temporal as seen by the health check."""

    name = "temporal"

    def __init__(self, client: Client) -> None:
        self._client = client

    async def check(self) -> Mapping[str, str]:
        """Whether the service answers; raises when it does not."""
        healthy = await self._client.service_client.check_health()
        return {"namespace": self._client.namespace, "serving": str(healthy).lower()}
