"""One trace for each request: W3C trace context in, out, in every log line and in every problem."""

import re
import secrets
import time
from dataclasses import dataclass
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.legacy import is_legacy

_log = structlog.get_logger()
_TRACEPARENT = re.compile(r"^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$")


@dataclass
class Trace:
    """``request_id`` is the caller's own once the body has been read, ours until then."""

    trace_id: str
    span_id: str
    flags: str
    request_id: str

    @property
    def traceparent(self) -> str:
        """The header that tells the caller, or a callee, where this request belongs."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def belongs_to(self, request_id: str) -> None:
        """From now on, logs and problems speak of the caller's request."""
        self.request_id = request_id
        structlog.contextvars.bind_contextvars(requestId=request_id)


def continue_trace(traceparent: str | None) -> Trace:
    """The caller's trace with a span of ours, or a new trace when there is none or it is not valid."""
    trace_id, flags = secrets.token_hex(16), "00"
    if match := _TRACEPARENT.match((traceparent or "").strip()):
        version, caller_trace, caller_span, caller_flags, rest = match.groups()
        known = version != "ff" and (version != "00" or rest is None)
        if known and caller_trace != "0" * 32 and caller_span != "0" * 16:
            trace_id, flags = caller_trace, caller_flags
    return Trace(trace_id=trace_id, span_id=secrets.token_hex(8), flags=flags, request_id=str(uuid4()))


def trace_of(scope: Scope) -> Trace:
    """The trace of the request that is being served."""
    trace: Trace = scope["state"]["trace"]
    return trace


class TraceMiddleware:
    """Outermost: binds the trace to the logs, answers ``traceparent``, writes the request's one log line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = continue_trace(Headers(scope=scope).get("traceparent"))
        # The scope's state is shared by all requests of a lifespan unless it is copied.
        scope["state"] = {**scope.get("state", {}), "trace": trace}
        started, status = time.perf_counter(), 499

        async def traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if not is_legacy(scope["path"]):
                    MutableHeaders(scope=message)["traceparent"] = trace.traceparent
            await send(message)

        with structlog.contextvars.bound_contextvars(traceId=trace.trace_id, requestId=trace.request_id):
            try:
                await self._app(scope, receive, traced)
            finally:
                _log.info(
                    "http.request",
                    method=scope["method"],
                    route=route_template(scope),
                    status=status,
                    durationMs=round((time.perf_counter() - started) * 1000, 1),
                )


def route_template(scope: Scope) -> str:
    """The path as declared, such as ``/api/v2/campaigns/{id}/events``: ids stay out of the logs."""
    return str(getattr(scope.get("route"), "path", "unmatched"))
