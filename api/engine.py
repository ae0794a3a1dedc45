"""The API's view of Temporal: start, signal, ask for progress, wait. Connects at the first need, not at startup."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypedDict, TypeVar
from uuid import UUID

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import (
    QueryRejectCondition,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from adapters.temporal import TemporalSendQueues
from domain.campaign import CampaignInput, CampaignRecord, GenerationInput, campaign_workflow_id, workflow_id_for
from domain.errors import Conflict, DependencyUnavailable, NotFound
from domain.progress import CampaignProgress, CampaignRun, WorkflowResult
from domain.provider import IntentType
from domain.recall import RecallInput, RecallReport, recall_workflow_id
from domain.send_queue import EnqueueBatch, Enqueued, QueueOutlook
from workflows.campaign import CampaignWorkflow
from workflows.policies import ORCHESTRATION, QUERY_TIMEOUT
from workflows.provider import GenerationWorkflow
from workflows.recall import RecallWorkflow

A = TypeVar("A")

CALL_TIMEOUT = timedelta(seconds=5)
"""How long connecting, starting or signalling may take before the caller is told to come back."""

_ABSENT = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.CANCELLED,
    }
)


class EngineUnavailable(Exception):
    """Temporal does not answer. What was stored is kept, so the same request can simply be repeated."""

    def __init__(self) -> None:
        super().__init__(
            "The workflow engine does not answer at the moment. Nothing is lost: repeat the request, "
            "with the same Idempotency-Key or requestId if it has one."
        )


class NotRunning(Conflict):
    """There is no running workflow behind a campaign that has not ended."""


class Engine:
    """One lazily opened connection; every method raises ``EngineUnavailable`` rather than hang."""

    def __init__(self, connect: Callable[[], Awaitable[Client]]) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._queues: TemporalSendQueues | None = None
        self._connecting = asyncio.Lock()

    async def client(self) -> Client:
        """The connection, opened now if it is not yet."""
        if self._client is None:
            # Waiting for somebody else's attempt counts, too: attempts that hang would add up.
            async with answering(CALL_TIMEOUT), self._connecting:
                if self._client is None:
                    self._client = await self._connect()
        return self._client

    async def queues(self) -> TemporalSendQueues:
        """The way into send queues: one for all requests, since it bounds how many of them a queue gets at once."""
        client = await self.client()
        if self._queues is None:
            self._queues = TemporalSendQueues(client, ORCHESTRATION)
        return self._queues

    async def check(self) -> None:
        """Raises when Temporal does not serve."""
        client = await self.client()
        async with answering(CALL_TIMEOUT):
            if not await client.service_client.check_health():
                raise EngineUnavailable

    async def start(self, record: CampaignRecord, trace_id: str) -> None:
        """Start the workflow of a request; one that runs already, or ran before, is left alone."""
        client = await self.client()
        options: _StartOptions = {
            "id": workflow_id_for(record.type, record.campaign_id),
            "task_queue": ORCHESTRATION,
            "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
            "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
            "search_attributes": _search_attributes(record),
            "static_summary": f"{record.type}: {record.audience_size} recipients, {len(record.lanes)} accounts",
            "rpc_timeout": CALL_TIMEOUT,
        }
        async with answering(CALL_TIMEOUT):
            try:
                if record.type is IntentType.CAMPAIGN_EXECUTION:
                    run = CampaignRun(input=CampaignInput.of(record, trace_id))
                    await client.start_workflow(CampaignWorkflow.run, run, **options)
                else:
                    await client.start_workflow(GenerationWorkflow.run, _generation(record, trace_id), **options)
            except WorkflowAlreadyStartedError:
                return

    async def signal(self, record: CampaignRecord, signal: Callable[[CampaignWorkflow, A], None], argument: A) -> None:
        """Send a campaign a signal; raises ``Conflict`` when its workflow is not running."""
        handle = await self._campaign(record)
        async with answering(CALL_TIMEOUT):
            try:
                await handle.signal(signal, argument, rpc_timeout=CALL_TIMEOUT)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                raise NotRunning(
                    "The workflow of this campaign is not running: it was ended from outside, or never started. "
                    "Cancel the campaign to make sure that nothing more is sent; if it was never started, repeat "
                    "the request that created it with the same Idempotency-Key."
                ) from error

    async def progress(self, record: CampaignRecord) -> CampaignProgress | None:
        """The live progress of a campaign; ``None`` when nobody can tell it now (worker away, history gone)."""
        if record.type is not IntentType.CAMPAIGN_EXECUTION:
            return None
        try:
            handle = await self._campaign(record)
            async with answering(QUERY_TIMEOUT):
                # A closed workflow would answer with what it knew when it was ended; the store knows better.
                return await handle.query(
                    CampaignWorkflow.progress,
                    reject_condition=QueryRejectCondition.NOT_OPEN,
                    rpc_timeout=QUERY_TIMEOUT,
                )
        except (EngineUnavailable, WorkflowQueryFailedError, WorkflowQueryRejectedError, RPCError):
            return None

    async def wait_for_end(self, record: CampaignRecord, timeout_s: float) -> None:
        """Return when the workflow has ended, however it did, or when the time is over."""
        client = await self.client()
        handle = client.get_workflow_handle(workflow_id_for(record.type, record.campaign_id))
        try:
            async with asyncio.timeout(timeout_s):
                await handle.result()
        except (TimeoutError, WorkflowFailureError, RPCError):
            return

    async def recall(self, record: CampaignRecord) -> None:
        """Start taking a request's messages back; one that runs, or has succeeded, is left alone."""
        client = await self.client()
        async with answering(CALL_TIMEOUT):
            try:
                await client.start_workflow(
                    RecallWorkflow.run,
                    RecallInput(campaign_id=record.campaign_id),
                    id=recall_workflow_id(record.campaign_id),
                    task_queue=ORCHESTRATION,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                    static_summary="takes messages back",
                    rpc_timeout=CALL_TIMEOUT,
                )
            except WorkflowAlreadyStartedError:
                return

    async def recall_report(self, record: CampaignRecord, timeout_s: float) -> tuple[RecallReport, bool]:
        """What a recall has reached, and whether that is the end; waits for the end at most ``timeout_s``.

        Raises ``NotFound`` when there was none, and ``Conflict`` when it did not get to its end.
        """
        client = await self.client()
        handle = client.get_workflow_handle_for(RecallWorkflow.run, recall_workflow_id(record.campaign_id))
        try:
            async with answering(CALL_TIMEOUT):
                description = await handle.describe(rpc_timeout=CALL_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise NotFound("Nothing was recalled here; POST to this path to do so.") from error
        runs = description.status is WorkflowExecutionStatus.RUNNING
        try:
            async with asyncio.timeout(timeout_s if runs else CALL_TIMEOUT.total_seconds()):
                return await handle.result(), True
        except TimeoutError:
            pass
        except WorkflowFailureError as error:
            raise Conflict("The recall was ended before it was done; POST to this path to start it again.") from error
        try:
            async with answering(QUERY_TIMEOUT):
                return await handle.query(RecallWorkflow.report, rpc_timeout=QUERY_TIMEOUT), False
        except (EngineUnavailable, WorkflowQueryFailedError, RPCError):
            # It goes on, but no worker can tell how far it is.
            return RecallReport(campaign_id=record.campaign_id), False

    async def _campaign(self, record: CampaignRecord) -> WorkflowHandle[CampaignWorkflow, WorkflowResult]:
        client = await self.client()
        return client.get_workflow_handle_for(CampaignWorkflow.run, campaign_workflow_id(record.campaign_id))


class EngineQueues:
    """``domain.ports.SendQueues`` over the engine's connection: silence is ``EngineUnavailable``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def enqueue(self, account_id: str, request: EnqueueBatch, *, again: str = "") -> Enqueued:
        """Waits until the queue has taken the batch; raises ``RateLimitExceeded`` when it is full."""
        queues = await self._engine.queues()
        async with answering(CALL_TIMEOUT):
            try:
                return await queues.enqueue(account_id, request, again=again)
            except DependencyUnavailable as error:
                raise EngineUnavailable from error

    async def outlook(self, account_id: str) -> QueueOutlook | None:
        """What waits; ``None`` when there is no queue or nobody can tell now."""
        try:
            queues = await self._engine.queues()
            async with answering(CALL_TIMEOUT):
                return await queues.outlook(account_id)
        except EngineUnavailable:
            return None

    async def wake(self, account_id: str) -> None:
        """Let the queue look again now."""
        queues = await self._engine.queues()
        async with answering(CALL_TIMEOUT):
            await queues.wake(account_id)

    async def drop_message(self, account_id: str, message_id: UUID) -> None:
        """Let the queue settle a message that was ended outside of it."""
        queues = await self._engine.queues()
        async with answering(CALL_TIMEOUT):
            await queues.drop_message(account_id, message_id)


class _StartOptions(TypedDict):
    id: str
    task_queue: str
    id_conflict_policy: WorkflowIDConflictPolicy
    id_reuse_policy: WorkflowIDReusePolicy
    search_attributes: TypedSearchAttributes
    static_summary: str
    rpc_timeout: timedelta


@asynccontextmanager
async def answering(timeout: timedelta) -> AsyncIterator[None]:
    """Silence and refused connections become ``EngineUnavailable``."""
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            yield
    except TimeoutError as error:
        raise EngineUnavailable from error
    except RPCError as error:
        if error.status in _ABSENT:
            raise EngineUnavailable from error
        raise
    except RuntimeError as error:
        # The SDK's way to say that it could not connect.
        raise EngineUnavailable from error


def _generation(record: CampaignRecord, trace_id: str) -> GenerationInput:
    return GenerationInput(
        campaign_id=record.campaign_id,
        request_id=record.request_id,
        owner=record.owner,
        trace_id=trace_id,
        type=record.type,
    )


def _search_attributes(record: CampaignRecord) -> TypedSearchAttributes:
    values = {
        "HuntazeIntentType": record.type,
        "HuntazeMessageType": record.message_type,
        "HuntazeComplianceLevel": record.compliance_level,
        "HuntazePriority": record.priority,
        "HuntazeStatus": record.status,
    }
    return TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(name), str(value)) for name, value in values.items()]
    )
