"""The endpoints of both dialects, as the SDK calls them.

Azure's paths come in two generations: `/openai/…?api-version=…`, and `/openai/v1/…` without a version.
"""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from local.ai import dialect, envelope
from local.ai.exchange import Exchange
from local.ai.model import (
    BaseLatency,
    ChatBody,
    Dialect,
    Endpoint,
    ModelCall,
    ModerationBody,
    ProviderFault,
    ResponsesBody,
    UsageDetails,
)
from local.ai.moderation import moderate
from local.ai.provider import Provider
from local.ai.stored import MOST_LISTED, Wanted, metadata_filter
from local.faults import fault_routes

MODELS = ("gpt-5", "gpt-5-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "omni-moderation-latest")

routes = APIRouter()


def provider_of(request: Request) -> Provider:
    """The providers that this app simulates."""
    provider: Provider = request.app.state.provider
    return provider


State = Annotated[Provider, Depends(provider_of)]


@routes.post("/v1/chat/completions")
@routes.post("/openai/v1/chat/completions")
@routes.post("/openai/deployments/{deployment}/chat/completions")
async def chat_completions(body: ChatBody, request: Request, provider: State, deployment: str = "") -> Response:
    """A chat completion; Azure names the model by the deployment in the path."""
    call = ModelCall(_dialect(request), "chat", deployment or body.model)
    exchange = Exchange(provider, request, call, provider.next_request_id())
    return _unsupported(exchange, body.stream) or await exchange.write(
        body.prompt(), envelope.chat_completion, body.label
    )


@routes.get("/v1/chat/completions")
@routes.get("/openai/chat/completions")
@routes.get("/openai/v1/chat/completions")
@routes.get("/openai/deployments/{deployment}/chat/completions")
async def stored_completions(
    request: Request,
    provider: State,
    deployment: str = "",
    model: str = "",
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 20,
    order: Literal["asc", "desc"] = "asc",
) -> Response:
    """Answers that were to be stored, by their metadata, a page at a time."""
    call = ModelCall(_dialect(request), "stored", deployment or model)
    exchange = Exchange(provider, request, call, provider.next_request_id())
    wanted = Wanted(call.dialect, call.model, metadata_filter(request.query_params), descending=order == "desc")
    return _unsupported(exchange, None) or await exchange.tell(lambda: provider.stored.page(wanted, after, limit))


@routes.post("/v1/responses")
@routes.post("/openai/responses")
@routes.post("/openai/v1/responses")
async def responses(body: ResponsesBody, request: Request, provider: State) -> Response:
    """A response."""
    call = ModelCall(_dialect(request), "responses", body.model)
    exchange = Exchange(provider, request, call, provider.next_request_id())
    return _unsupported(exchange, body.stream) or await exchange.write(body.prompt(), envelope.response)


@routes.post("/v1/moderations")
async def moderations(body: ModerationBody, request: Request, provider: State) -> Response:
    """Judges texts; free of charge, and OpenAI's alone."""
    call = ModelCall("openai", "moderations", body.model)
    exchange = Exchange(provider, request, call, provider.next_request_id())
    results = [moderate(text) for text in body.texts()]
    return await exchange.tell(
        lambda: {"id": f"modr-{exchange.request_id}", "model": body.model, "results": results}, "\n".join(body.texts())
    )


@routes.get("/v1/models")
@routes.get("/openai/models")
@routes.get("/openai/v1/models")
async def models(request: Request, provider: State) -> Response:
    """The models on offer; any other name is answered for as well."""
    call = ModelCall(_dialect(request), "models", "")
    exchange = Exchange(provider, request, call, provider.next_request_id())
    listed = [{"id": name, "object": "model", "created": 1735689600, "owned_by": "local"} for name in MODELS]
    return _unsupported(exchange, None) or await exchange.tell(lambda: {"object": "list", "data": listed})


@routes.get("/_control/health")
async def health() -> dict[str, str]:
    """Answers as soon as the simulator serves."""
    return {"status": "ok"}


@routes.post("/_control/reset")
async def reset(request: Request) -> dict[str, str]:
    """Forgets everything: usage, calls, faults, latency."""
    request.app.state.provider = Provider()
    return {"status": "reset"}


@routes.get("/_control/usage")
async def usage(provider: State) -> dict[str, Any]:
    """Every billed request and the totals."""
    return provider.usage()


@routes.get("/_control/calls")
async def calls(provider: State) -> dict[str, Any]:
    """Attempts by dialect and endpoint, failed ones included."""
    return provider.call_counts()


@routes.get("/_control/arrivals")
async def arrivals(provider: State, dialect: Dialect | None = None, endpoint: Endpoint | None = None) -> dict[str, Any]:
    """When calls came in, failed ones included, in their order."""
    listed = [
        asdict(arrival)
        for arrival in provider.arrivals
        if dialect in (None, arrival.dialect) and endpoint in (None, arrival.endpoint)
    ]
    return {"arrivals": listed}


@routes.post("/_control/usage-details")
async def set_usage_details(provider: State, body: UsageDetails) -> UsageDetails:
    """Sets the cached and reasoning tokens that every answer is billed with."""
    provider.usage_details = body
    return body


@routes.post("/_control/latency")
async def set_latency(provider: State, body: BaseLatency) -> BaseLatency:
    """Sets the time that every answer takes at least."""
    provider.base_latency_s = body.ms / 1000
    return body


def _dialect(request: Request) -> Dialect:
    return "azure" if request.url.path.startswith("/openai/") else "openai"


def _unsupported(exchange: Exchange, stream: bool | None) -> Response | None:
    path, query = exchange.request.url.path, exchange.request.query_params
    if exchange.call.dialect == "azure" and not path.startswith("/openai/v1/") and "api-version" not in query:
        return exchange.refuse(404, dialect.not_found())
    if stream:
        return exchange.refuse(400, dialect.invalid_request("Streaming is not simulated.", "stream"))
    return None


async def refuse_malformed(_request: Request, error: Exception) -> Response:
    """400 in the providers' shape for a body that does not parse."""
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    message = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in problems)
    return JSONResponse(dialect.invalid_request(message), 400)


def create_app() -> FastAPI:
    """Providers that were never called."""
    app = FastAPI(title="OpenAI and Azure OpenAI simulator", openapi_url=None)
    app.state.provider = Provider()
    app.include_router(routes)
    app.include_router(fault_routes(ProviderFault, lambda request: provider_of(request).faults))
    app.add_exception_handler(RequestValidationError, refuse_malformed)
    return app
