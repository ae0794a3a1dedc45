"""The legacy API: ``/api/campaigns`` and everything below it, with any method, and what this process has routed."""

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.dependencies import SettingsNow, allow
from api.legacy import LegacyApi
from api.legacy_exchange import LegacyExchange
from api.openapi import problems
from api.trace import trace_of
from domain.access import STAFF
from domain.legacy import PATH, AnsweredBy, has_dot_segments
from domain.legacy_answer import failure
from domain.model import Model

router = APIRouter(prefix="/api/admin/legacy", tags=["legacy"], dependencies=[Depends(allow(STAFF))])


class RoutedCount(Model):
    """Requests that were routed alike."""

    method: str
    provider: str = Field(description="who answered: `legacy` or `hybrid`")
    version: str = Field(description="`X-API-Version` of the answers")
    reason: str = Field(description="why they went there: the flag's reason, or why they could not be ours")
    error: str = Field(description="class of what went wrong; empty: nothing")
    requests: int


class RoutingView(Model):
    """What one process has routed since it started; the most frequent first."""

    configured: bool = Field(description="whether there is a legacy system to route to")
    routed: tuple[RoutedCount, ...]


@router.get("", summary="How legacy requests were routed", responses=problems(401, 403))
async def routing(request: Request, settings: SettingsNow) -> RoutingView:
    """Counts of this process only; the log has a line `legacy.routed` for each request."""
    api: LegacyApi = request.app.state.legacy
    counts = [RoutedCount(**kind._asdict(), requests=number) for kind, number in api.counts.most_common()]
    return RoutingView(configured=bool(settings.legacy_base_url), routed=tuple(counts))


class LegacyEndpoint:
    """Below the framework's own request and response, which would read, check and change what is passed on."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        api: LegacyApi = scope["app"].state.legacy
        # For the log line of the request, which names routes rather than paths.
        scope["route"] = legacy_routes[scope["path"] != PATH]
        exchange = LegacyExchange(scope, receive, send, scope["app"].state.settings.legacy_idle_timeout_s)
        if has_dot_segments(scope["path"]):
            # The legacy system may resolve them to a path that was never meant to be reachable from here.
            await exchange.answer(400, failure("The path must not contain . or .. as a segment."), AnsweredBy.HYBRID)
        elif scope["path"] != PATH:
            await api.pass_on(exchange)
        elif exchange.method == "POST":
            await api.create(exchange, trace_of(scope).trace_id)
        elif exchange.method == "GET":
            await api.listing(exchange)
        else:
            await api.pass_on(exchange)


_endpoint = LegacyEndpoint()
legacy_routes = (
    Route(PATH, _endpoint, include_in_schema=False),
    Route(f"{PATH}/{{path:path}}", _endpoint, include_in_schema=False),
)
