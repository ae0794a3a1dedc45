"""The legacy endpoints: the campaign API, byte for byte in shape, and other routes that a proxy must not disturb."""

import asyncio
import gzip
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.routing import APIRoute

from local.faults import fault_routes, hang, reset_connection
from local.legacy.model import CampaignBody, LegacyFault, LegacySystem

API_VERSION = "v1-legacy-compatible"
EXPORT_PATTERN = bytes(range(256)) * 256


def system_of(request: Request) -> LegacySystem:
    """The system that this app is."""
    system: LegacySystem = request.app.state.system
    return system


State = Annotated[LegacySystem, Depends(system_of)]
UserId = Annotated[str | None, Query()]


class LegacyRoute(APIRoute):
    """Every route is recorded, may fail on request, and carries the legacy headers."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            started = time.perf_counter()
            system = system_of(request)
            path = request.url.path
            system.requests.append({"method": request.method, "path": path, "query": request.url.query})
            strike = system.faults.strike(lambda rule: path.startswith(rule.path))
            await asyncio.sleep(strike.delay_s)
            response = None if strike.rule is None else await _outage(request, strike.rule, system)
            if response is None:
                try:
                    response = await handler(request)
                except RequestValidationError as error:
                    response = _bad_request(error)
            duration_ms = round((time.perf_counter() - started) * 1000)
            response.headers["X-API-Version"] = API_VERSION
            response.headers["X-Provider"] = "legacy"
            response.headers["X-Duration"] = f"{duration_ms}ms"
            return response

        return handle


routes = APIRouter(prefix="/api/campaigns", route_class=LegacyRoute)
control = APIRouter(prefix="/_control")


@routes.post("")
async def create_campaign(body: CampaignBody, system: State) -> dict[str, Any]:
    """Processes a campaign; `result` and `data` are the same."""
    data = system.process(body).result()
    return {"status": "success", "result": data, "data": data}


@routes.get("", response_model=None)
async def list_campaigns(
    system: State, user_id: UserId = None, other: Annotated[str | None, Query(alias="userId")] = None
) -> dict[str, Any] | Response:
    """The campaigns of a user."""
    owner = user_id or other
    if not owner:
        return _failure(400, "user_id is required")
    data = [campaign.summary() for campaign in system.campaigns.values() if campaign.user_id == owner]
    return {"status": "success", "message": "Campaigns retrieved successfully", "data": data}


@routes.get("/export")
async def export(size: Annotated[int, Query(ge=0)] = 1_048_576) -> Response:
    """A download of `size` bytes, streamed: the bytes 0 to 255 again and again."""
    headers = {"Content-Disposition": 'attachment; filename="campaigns.bin"'}
    return StreamingResponse(_export(size), media_type="application/octet-stream", headers=headers)


@routes.post("/upload")
@routes.put("/upload")
async def upload(request: Request) -> Response:
    """Answers with the very bytes that were sent, in the same content type, and their SHA-256."""
    body = await request.body()
    headers = {"X-Body-SHA256": hashlib.sha256(body).hexdigest()}
    return Response(body, media_type=request.headers.get("content-type"), headers=headers)


@routes.api_route("/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def echo(request: Request, status: Annotated[int, Query(ge=200, le=599)] = 200) -> Response:
    """What arrived, as JSON, with the status asked for and two cookies, as a proxy must pass them."""
    body = await request.body()
    arrived = {
        "method": request.method,
        "path": request.url.path,
        "query": request.url.query,
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers.raw],
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    response = JSONResponse(arrived, status)
    response.headers.append("Set-Cookie", "legacy_session=1; Path=/")
    response.headers.append("Set-Cookie", "legacy_theme=dark; Path=/")
    return response


@routes.post("/digest")
async def digest(request: Request) -> dict[str, Any]:
    """Reads a body of any size piece by piece; answers its size and SHA-256."""
    found, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        found.update(chunk)
        size += len(chunk)
    return {"bytes": size, "sha256": found.hexdigest()}


@routes.get("/bare")
async def bare(status: Annotated[int, Query(ge=200, le=399)] = 204) -> Response:
    """An answer without a body."""
    return Response(status_code=status, headers={"ETag": '"legacy"'})


@routes.get("/packed")
async def packed() -> Response:
    """A body that is packed, whatever the client accepts."""
    content = gzip.compress(b'{"status":"success","data":[]}', mtime=0)
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(content, media_type="application/json", headers=headers)


@routes.get("/broken")
async def broken(request: Request) -> Response:
    """A body that breaks off after its first bytes."""

    async def beginning() -> AsyncIterator[bytes]:
        yield b"the beginning"
        await reset_connection(request)

    return StreamingResponse(beginning(), headers={"Content-Length": "1000"})


@routes.get("/{campaign_id}", response_model=None)
async def read_campaign(campaign_id: str, system: State) -> dict[str, Any] | Response:
    """One campaign."""
    campaign = system.campaigns.get(campaign_id)
    if campaign is None:
        return _failure(404, "Campaign not found")
    return {"status": "success", "data": campaign.result()}


@routes.post("/{campaign_id}/duplicate", status_code=201, response_model=None)
async def duplicate_campaign(campaign_id: str, system: State) -> dict[str, Any] | Response:
    """Copies a campaign."""
    campaign = system.campaigns.get(campaign_id)
    if campaign is None:
        return _failure(404, "Campaign not found")
    return {"status": "success", "data": system.duplicate(campaign).result()}


@control.get("/health")
async def health() -> dict[str, str]:
    """Answers as soon as the system serves."""
    return {"status": "ok"}


@control.get("/requests")
async def requests(system: State) -> dict[str, Any]:
    """Every request to `/api/campaigns` that arrived, in order."""
    return {"requests": system.requests, "total": len(system.requests)}


@control.get("/waiting")
async def waiting(system: State) -> dict[str, int]:
    """How many requests hang at this moment: their clients have not given up yet."""
    return {"waiting": system.waiting}


@control.post("/reset")
async def reset(request: Request) -> dict[str, str]:
    """Forgets campaigns, requests and faults."""
    request.app.state.system = LegacySystem()
    return {"status": "reset"}


async def _outage(request: Request, rule: LegacyFault, system: LegacySystem) -> Response:
    if rule.kind == "hang":
        system.waiting += 1
        try:
            await hang(request, rule.hang_s)
        finally:
            system.waiting -= 1
        return _failure(504, "Gateway Timeout")
    if rule.kind == "connection_reset":
        return await reset_connection(request)
    return _failure(rule.status, "Internal server error")


async def _export(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, len(EXPORT_PATTERN)):
        yield EXPORT_PATTERN[: size - start]


def _failure(status: int, message: str) -> Response:
    return JSONResponse({"status": "error", "message": message, "data": None}, status)


def _bad_request(error: RequestValidationError) -> Response:
    errors = [
        {"field": ".".join(str(part) for part in problem["loc"][1:]), "message": problem["msg"]}
        for problem in error.errors()
    ]
    body = {"status": "error", "message": "Invalid request format", "data": None, "errors": errors}
    return JSONResponse(body, 400)


def create_app() -> FastAPI:
    """A legacy system without campaigns."""
    app = FastAPI(title="Legacy campaign processor", openapi_url=None)
    app.state.system = LegacySystem()
    app.include_router(routes)
    app.include_router(control)
    app.include_router(fault_routes(LegacyFault, lambda request: system_of(request).faults))
    return app
