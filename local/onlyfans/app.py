"""The gateway's endpoints, as the SDK calls them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from local.faults import fault_routes
from local.onlyfans import control
from local.onlyfans.exchange import Exchange, unauthorized
from local.onlyfans.fans import PAGE_MAX
from local.onlyfans.gateway import Gateway
from local.onlyfans.model import Call, GatewayFault, MassMessageBody, MessageBody, Reply

routes = APIRouter()

State = Annotated[Gateway, Depends(control.gateway_of)]


@routes.post("/api/{account}/chats/{chat_id}/messages")
async def send_message(account: str, chat_id: str, body: MessageBody, request: Request, gateway: State) -> Response:
    """Sends a message; safe to repeat with an `Idempotency-Key`."""
    exchange = Exchange(gateway, request, Call("send", account, chat_id))
    return await exchange.run_once(lambda key: gateway.send(account, chat_id, body, key))


@routes.get("/api/{account}/chats/{chat_id}/messages")
async def list_messages(
    account: str,
    chat_id: str,
    request: Request,
    gateway: State,
    *,
    order: Literal["asc", "desc"] = "desc",
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    first_id: int | None = None,
    last_id: int | None = None,
) -> Response:
    """A chat, newest first; `first_id` continues behind that message, `last_id` starts an ascending page."""
    cursor = first_id if order == "desc" else last_id
    exchange = Exchange(gateway, request, Call("list", account, chat_id))
    return await exchange.run(lambda: gateway.list_messages(account, chat_id, order=order, limit=limit, cursor=cursor))


@routes.delete("/api/{account}/chats/{chat_id}/messages/{message_id}")
async def unsend_message(account: str, chat_id: str, message_id: int, request: Request, gateway: State) -> Response:
    """Takes back a message that is younger than 24 hours."""
    exchange = Exchange(gateway, request, Call("unsend", account, chat_id))
    return await exchange.run(lambda: gateway.unsend(account, chat_id, message_id))


@routes.post("/api/{account}/mass-messaging")
async def send_mass_message(account: str, body: MassMessageBody, request: Request, gateway: State) -> Response:
    """One message for many fans."""
    exchange = Exchange(gateway, request, Call("mass", account))
    return await exchange.run_once(lambda key: gateway.send_mass(account, body, key))


@routes.get("/api/{account}/fans/active")
async def list_active_fans(
    account: str,
    request: Request,
    gateway: State,
    *,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 10,
    offset: Annotated[int, Query(ge=0)] = 0,
    query: str | None = None,
    at_least: Annotated[float | None, Query(alias="filter[total_spent]", ge=0)] = None,
    at_most: Annotated[float | None, Query(alias="filter[max_total_spent]", ge=0)] = None,
) -> Response:
    """The seeded fans of an account, a page at a time."""
    exchange = Exchange(gateway, request, Call("fans", account))
    return await exchange.run(
        lambda: gateway.list_fans(account, limit=limit, offset=offset, query=query, at_least=at_least, at_most=at_most)
    )


@routes.get("/api/whoami")
async def whoami(request: Request, gateway: State) -> Response:
    """Which key and team is calling: a health check that costs nothing."""
    body = {
        "api_key": {"name": "local", "created_at": "2025-01-01T00:00:00+00:00", "last_used_at": None},
        "team": {"name": "Local team", "slug": "local-team"},
    }
    return await Exchange(gateway, request, Call("whoami")).run(lambda: Reply(200, body))


async def refuse_malformed(request: Request, error: Exception) -> Response:
    """422 in the gateway's own shape for what does not even parse; an unknown key learns nothing about it."""
    denied = None if request.url.path.startswith("/_control") else unauthorized(request)
    if denied is not None or not isinstance(error, RequestValidationError):
        return denied or Response(status_code=500)
    errors: dict[str, list[Any]] = {}
    for problem in error.errors():
        errors.setdefault(str(problem["loc"][-1]), []).append(problem["msg"])
    reply = Reply.refused(422, "VALIDATION_FAILED", "The given data was invalid.", errors=errors)
    return JSONResponse(reply.body, reply.status)


def create_app() -> FastAPI:
    """A gateway with an empty book."""
    app = FastAPI(title="OnlyFans gateway simulator", openapi_url=None)
    app.state.gateway = Gateway()
    app.include_router(routes)
    app.include_router(control.routes)
    app.include_router(fault_routes(GatewayFault, lambda request: control.gateway_of(request).faults))
    app.add_exception_handler(RequestValidationError, refuse_malformed)
    return app
