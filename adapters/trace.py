"""The request's ids on their way: API → workflow → activities, in Temporal headers, and into every log line."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import structlog
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.client import OutboundInterceptor as ClientOutbound
from temporalio.client import StartWorkflowInput, WorkflowHandle
from temporalio.worker import (
    ActivityInboundInterceptor,
    ContinueAsNewInput,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    Interceptor,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

KEYS = ("requestId", "traceId")
_HEADER = "huntaze-trace"

Headers = Mapping[str, Payload]


class TraceInterceptor(ClientInterceptor, Interceptor):
    """One interceptor for client and worker; ids come from structlog's context at the start of a workflow."""

    def intercept_client(self, next: ClientOutbound) -> ClientOutbound:
        """Add the header to every workflow that is started."""
        return _Client(next)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Bind the ids and the activity's own coordinates to the logs."""
        return _Activity(next)

    def workflow_interceptor_class(self, _input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        """Pass the header on to activities and to the next run."""
        return _Workflow


class _Client(ClientOutbound):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        context = structlog.contextvars.get_contextvars()
        ids = {key: str(context[key]) for key in KEYS if key in context}
        if ids:
            input.headers = {**input.headers, _HEADER: _payload(ids)}
        return await super().start_workflow(input)


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        with ExitStack() as stack:
            bound = structlog.contextvars.bound_contextvars(
                workflowId=info.workflow_id,
                activity=info.activity_type,
                attempt=info.attempt,
                **_ids(input.headers),
            )
            stack.enter_context(bound)
            return await super().execute_activity(input)


class _Workflow(WorkflowInboundInterceptor):
    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        super().__init__(next)
        self._headers: Headers = {}

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound, self))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        self._headers = {name: value for name, value in input.headers.items() if name == _HEADER}
        return await super().execute_workflow(input)

    @property
    def headers(self) -> Headers:
        return self._headers


class _Outbound(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, inbound: _Workflow) -> None:
        super().__init__(next)
        self._inbound = inbound

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = {**input.headers, **self._inbound.headers}
        return super().start_activity(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> Any:
        input.headers = {**input.headers, **self._inbound.headers}
        return super().continue_as_new(input)


def _payload(ids: Mapping[str, str]) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(ids).encode())


def _ids(headers: Headers) -> dict[str, str]:
    payload = headers.get(_HEADER)
    return {} if payload is None else {key: str(value) for key, value in json.loads(payload.data).items()}
