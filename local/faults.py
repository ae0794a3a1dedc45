"""Faults on request, and a server that can break its own connections.

A simulator holds a `FaultBook` of rules. Each request asks it for a `Strike`: how long to wait, and which
rule, if any, decides how the request ends. Rules are tried in the order in which they were added; latency
adds up, the first rule of any other kind ends the search.
"""

import argparse
import asyncio
import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from uvicorn.protocols.http.h11_impl import H11Protocol

LATENCY = "latency"


class FaultRule(BaseModel):
    """What goes wrong, how often and for how long; each simulator adds its kinds and its scope."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    kind: str
    count: int | None = Field(default=None, ge=1, description="fires at most so often; null is for ever")
    probability: float = Field(default=1.0, ge=0, le=1)
    seed: int = Field(default=0, description="the same seed makes the same draws")
    latency_ms: float = Field(default=0, ge=0, description="wait before anything else, whatever the kind")
    retry_after_s: float | None = Field(default=None, ge=0, description="null sends no Retry-After header")
    hang_s: float = Field(default=30, ge=0, description="how long a hanging answer is held back at most")


RuleT = TypeVar("RuleT", bound=FaultRule)


@dataclass(frozen=True)
class Strike(Generic[RuleT]):
    """What the faults do to one request."""

    delay_s: float = 0.0
    rule: RuleT | None = None


@dataclass
class _Armed(Generic[RuleT]):
    id: int
    rule: RuleT
    dice: random.Random
    met: int = 0
    fired: int = 0

    @property
    def spent(self) -> bool:
        return self.rule.count is not None and self.fired >= self.rule.count

    def listing(self) -> dict[str, Any]:
        return {"id": self.id, "met": self.met, "fired": self.fired, **self.rule.model_dump(mode="json", by_alias=True)}


@dataclass
class FaultBook(Generic[RuleT]):
    """The rules of one simulator, how many requests each could have struck, and how often it has fired."""

    _rules: list[_Armed[RuleT]] = field(default_factory=list)
    _next_id: int = 1

    def add(self, rule: RuleT) -> dict[str, Any]:
        """Arms a rule; answers its listing."""
        # Seeding by rule and position keeps every run of a test the same, and two equal rules independent.
        armed = _Armed(self._next_id, rule, random.Random(f"{rule.seed}:{self._next_id}"))
        self._next_id += 1
        self._rules.append(armed)
        return armed.listing()

    def strike(self, covers: Callable[[RuleT], bool]) -> Strike[RuleT]:
        """Draws the faults of one request; `covers` says which rules are meant for it."""
        delay_s = 0.0
        for armed in self._rules:
            if armed.spent or not covers(armed.rule):
                continue
            armed.met += 1
            if armed.dice.random() >= armed.rule.probability:
                continue
            armed.fired += 1
            delay_s += armed.rule.latency_ms / 1000
            if armed.rule.kind != LATENCY:
                return Strike(delay_s, armed.rule)
        return Strike(delay_s)

    def listing(self) -> list[dict[str, Any]]:
        """Every rule with the number of requests that it met and the number of times it fired."""
        return [armed.listing() for armed in self._rules]

    def clear(self) -> int:
        """Disarms everything; answers how many rules there were."""
        cleared = len(self._rules)
        self._rules.clear()
        return cleared


def fault_routes(rule_type: type[RuleT], book_of: Callable[[Request], FaultBook[RuleT]]) -> APIRouter:
    """`POST`, `GET` and `DELETE /_control/faults` for a simulator whose rules are of `rule_type`."""
    routes = APIRouter()

    @routes.post("/_control/faults", status_code=201)
    async def add(request: Request) -> dict[str, Any]:
        try:
            rule = rule_type.model_validate_json(await request.body())
        except ValidationError as error:
            raise HTTPException(422, error.errors(include_url=False, include_context=False)) from error
        return book_of(request).add(rule)

    @routes.get("/_control/faults")
    async def listing(request: Request) -> dict[str, Any]:
        return {"faults": book_of(request).listing()}

    @routes.delete("/_control/faults")
    async def clear(request: Request) -> dict[str, Any]:
        return {"cleared": book_of(request).clear()}

    return routes


async def client_left(request: Request) -> None:
    """Returns when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def hang(request: Request, seconds: float) -> None:
    """Holds the answer back until the client gives up, `seconds` at most."""
    try:
        async with asyncio.timeout(seconds):
            await client_left(request)
    except TimeoutError:
        return


async def reset_connection(request: Request) -> Response:
    """Breaks the TCP connection with a RST; the response is a formality that nobody receives."""
    transport: asyncio.Transport = request.scope["state"]["transport"]
    # Lingering for zero seconds makes close() send a reset instead of an orderly end.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await client_left(request)
    return Response(status_code=500)


class ResettableProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol that lets a request reach its own transport, in `scope["state"]`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def serve(create_app: Callable[[], FastAPI], description: str) -> None:
    """Runs a simulator in this process: `--host`, `--port`."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, required=True)
    options = arguments.parse_args()
    uvicorn.run(
        create_app(),
        host=options.host,
        port=options.port,
        http=ResettableProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        # Longer than the clients' pools keep a connection: an idle one must never be closed under a request.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
