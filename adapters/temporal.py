"""The one connection to Temporal, and the way into an account's send queue."""

from collections.abc import Mapping

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig

from adapters.trace import TraceInterceptor
from domain import send_queue
from domain.delivery import send_queue_id
from domain.send_queue import EnqueueBatch, Enqueued, SendQueue

DEFAULT_ADDRESS = "127.0.0.1:7233"
"""Where a Temporal server listens when nothing says otherwise."""


async def connect() -> Client:
    """Connect as ``TEMPORAL_ADDRESS``, ``TEMPORAL_NAMESPACE``, ``TEMPORAL_API_KEY`` and the TLS variables say."""
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", DEFAULT_ADDRESS)
    return await Client.connect(**config, data_converter=pydantic_data_converter, interceptors=[TraceInterceptor()])


class TemporalSendQueues:
    """``domain.ports.SendQueues``: update-with-start, so that the first batch also starts the queue."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def enqueue(self, account_id: str, request: EnqueueBatch) -> Enqueued:
        """Waits until the queue has taken the batch; the update's id makes a repetition harmless."""
        start: WithStartWorkflowOperation[object, object] = WithStartWorkflowOperation(
            send_queue.WORKFLOW,
            SendQueue(account_id=account_id),
            id=send_queue_id(account_id),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary="messages of one account, in order and within its limits",
        )
        answer: Enqueued = await self._client.execute_update_with_start_workflow(
            send_queue.ENQUEUE,
            request,
            start_workflow_operation=start,
            id=f"{request.campaign_id}-{request.batch}",
            result_type=Enqueued,
        )
        return answer


class TemporalDependency:
    """Temporal as seen by the health check."""

    name = "temporal"

    def __init__(self, client: Client) -> None:
        self._client = client

    async def check(self) -> Mapping[str, str]:
        """Whether the service answers; raises when it does not."""
        healthy = await self._client.service_client.check_health()
        return {"namespace": self._client.namespace, "serving": str(healthy).lower()}
