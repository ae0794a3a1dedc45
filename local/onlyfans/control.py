"""The control endpoints: what a test or an operator may ask the simulator, and do to it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from pydantic import Field

from local.onlyfans.chats import ChatMessage
from local.onlyfans.fans import invented_fans
from local.onlyfans.gateway import Gateway
from local.onlyfans.model import FanSeed, IncomingMessage, Limits, TimeShift
from local.onlyfans.webhooks import Emission, WebhookTarget, emit

routes = APIRouter(prefix="/_control")


def gateway_of(request: Request) -> Gateway:
    """The gateway that this app simulates."""
    gateway: Gateway = request.app.state.gateway
    return gateway


State = Annotated[Gateway, Depends(gateway_of)]
Window = Annotated[float, Field(gt=0)]


@routes.get("/health")
async def health() -> dict[str, str]:
    """Answers as soon as the simulator serves."""
    return {"status": "ok"}


@routes.post("/reset")
async def reset(request: Request) -> dict[str, str]:
    """Forgets everything: book, chats, keys, faults, fans, limits, webhooks, the clock's shift."""
    request.app.state.gateway = Gateway()
    return {"status": "reset"}


@routes.get("/report")
async def report(gateway: State, window: Annotated[list[Window], Query(min_length=1)] = [60]) -> dict[str, Any]:  # noqa: B006
    """Counts, duplicates and the busiest sliding window of each asked length in seconds, from the book."""
    return gateway.book.report(window)


@routes.get("/accepted")
async def accepted(gateway: State) -> dict[str, int]:
    """How many messages were accepted so far: cheap enough to be asked all the time."""
    return {"accepted": gateway.book.count_since(0)}


@routes.get("/messages")
async def messages(gateway: State, account: str | None = None) -> dict[str, Any]:
    """The raw book; mass messages come with their recipients."""
    return {"messages": gateway.book.messages(account), "mass_messages": gateway.book.mass_messages(account)}


@routes.get("/received")
async def received(gateway: State, account: str | None = None) -> dict[str, Any]:
    """Who got what: by account and chat, what arrived there and whether it was taken back."""
    return {"received": gateway.book.received(account)}


@routes.get("/limits")
async def limits(gateway: State) -> Limits:
    """The limits that the platform enforces."""
    return gateway.limits


@routes.post("/limits")
async def set_limits(gateway: State, body: Limits) -> Limits:
    """Makes the platform enforce limits for each account; it enforces none by default."""
    gateway.limits = body
    return body


@routes.post("/fans", status_code=201)
async def seed_fans(gateway: State, body: FanSeed) -> dict[str, Any]:
    """Replaces the active fans of an account."""
    gateway.fans[body.account] = [*body.fans, *invented_fans(body, gateway.clock.now_ns())]
    return {"account": body.account, "fans": len(gateway.fans[body.account])}


@routes.post("/incoming", status_code=201)
async def receive_message(gateway: State, body: IncomingMessage) -> dict[str, Any]:
    """Lets a fan write; it shows in the chat with `isSentByMe: false` and is no part of the book."""
    now_ns = gateway.clock.now_ns()
    message = ChatMessage(gateway.next_id(), body.account, body.chat_id, body.text, now_ns, sent_by_me=False)
    gateway.chats.add(message)
    return message.wire(now_ns)


@routes.post("/clock")
async def advance_clock(gateway: State, body: TimeShift) -> dict[str, int]:
    """Moves the simulator's clock forward."""
    gateway.clock.advance(body.advance_s)
    return {"now_ns": gateway.clock.now_ns()}


@routes.post("/webhooks", status_code=201)
async def set_webhook(gateway: State, body: WebhookTarget) -> dict[str, str]:
    """Says where events go and what they are signed with."""
    gateway.webhook = body
    return {"url": body.url}


@routes.post("/webhooks/emit")
async def emit_webhooks(gateway: State, body: Emission) -> dict[str, Any]:
    """Sends events now; answers when each has been delivered or has failed."""
    if gateway.webhook is None:
        raise HTTPException(409, "no webhook is configured")
    return {"deliveries": await emit(gateway.webhook, body)}
