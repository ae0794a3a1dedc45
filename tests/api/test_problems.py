"""Every refusal as the problem that it becomes."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from api.engine import EngineUnavailable
from api.middleware import LastResortMiddleware
from api.problems import install
from api.refusals import MalformedRequest, NotConfigured, PreconditionFailed, Refusal, Unsigned
from api.trace import TraceMiddleware
from domain.errors import (
    ComplianceViolation,
    Conflict,
    CostLimitExceeded,
    Forbidden,
    GatewayError,
    GatewayFault,
    InvalidRequest,
    NotFound,
    ProviderError,
    ProviderFault,
    RateLimitExceeded,
    TooLarge,
)

CASES: dict[str, tuple[Exception, int, str | None]] = {
    "invalid": (InvalidRequest("mend it", field="brief"), 422, "invalid_request"),
    "malformed": (MalformedRequest("not JSON"), 400, "invalid_request"),
    "conflict": (Conflict("not now"), 409, "invalid_request"),
    "absent": (NotFound("nothing"), 404, "invalid_request"),
    "large": (TooLarge("less", field="audience"), 413, "invalid_request"),
    "forbidden": (Forbidden("no", field="accountId"), 403, "invalid_request"),
    "changed": (PreconditionFailed("read it again", field="If-Match"), 412, "invalid_request"),
    "unsigned": (Unsigned("who are you"), 401, "invalid_request"),
    "unset": (NotConfigured("set it"), 503, "provider_unavailable"),
    "limited": (RateLimitExceeded("later", retry_after_s=2.1), 429, "rate_limit_exceeded"),
    "full": (
        Refusal(RateLimitExceeded("later", retry_after_s=6.5), headers={"X-RateLimit-Remaining": "0"}),
        429,
        "rate_limit_exceeded",
    ),
    "spent": (CostLimitExceeded("spent", scope="user_day"), 402, "cost_limit_exceeded"),
    "rules": (ComplianceViolation("no", rules=("minors",)), 422, "compliance_violation"),
    "busy": (ProviderError("busy", fault=ProviderFault.THROTTLED), 503, "provider_unavailable"),
    "refused": (ProviderError("no", fault=ProviderFault.INVALID_REQUEST), 502, "provider_unavailable"),
    "gateway-busy": (GatewayError("busy", fault=GatewayFault.TRANSIENT), 503, "onlyfans_api_error"),
    "gateway": (GatewayError("no", fault=GatewayFault.AUTH), 502, "onlyfans_api_error"),
    "engine": (EngineUnavailable(), 503, None),
    "bug": (RuntimeError("secret of Maya"), 500, None),
}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.add_middleware(LastResortMiddleware)
    app.add_middleware(TraceMiddleware)
    install(app)

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise CASES[name][0]

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize("name", CASES)
async def test_an_error_has_one_status_and_says_its_class(client: httpx.AsyncClient, name: str) -> None:
    error, status, error_type = CASES[name]
    answer = await client.get(f"/raise/{name}")
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.get("errorType") == error_type
    assert problem["instance"] == f"/raise/{name}"
    assert {"type", "title", "detail", "requestId", "traceId"} <= problem.keys()
    assert problem["traceId"] in answer.headers["traceparent"]
    if field := getattr(error, "field", None):
        assert [entry["field"] for entry in problem["errors"]] == [field]
    if status in {429, 503}:
        assert int(answer.headers["retry-after"]) >= 1


async def test_retry_after_is_rounded_up(client: httpx.AsyncClient) -> None:
    assert (await client.get("/raise/limited")).headers["retry-after"] == "3"


async def test_a_refusal_may_bring_headers_along(client: httpx.AsyncClient) -> None:
    answer = await client.get("/raise/full")
    assert (answer.status_code, answer.headers["x-ratelimit-remaining"], answer.headers["retry-after"]) == (
        429,
        "0",
        "7",
    )


async def test_what_went_wrong_inside_stays_inside(client: httpx.AsyncClient) -> None:
    body = (await client.get("/raise/bug")).text
    assert "Maya" not in body
    assert "Traceback" not in body
    assert "RuntimeError" not in body


async def test_unknown_paths_and_methods_are_problems(offline: httpx.AsyncClient) -> None:
    absent = await offline.get("/api/v2/nothing")
    assert (absent.status_code, absent.headers["content-type"]) == (404, "application/problem+json")
    wrong = await offline.delete("/api/v2/campaigns/hybrid")
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")
    assert wrong.headers["allow"] == "POST"
