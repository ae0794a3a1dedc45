"""The description is whole: every reference leads somewhere, every example is accepted."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api import examples
from api.direct import DirectMessageRequest
from api.middleware import PRIVATE
from api.routes.dead_letter import DiscardBody, RetryBody
from api.routes.flag import FlagBody
from api.routes.ofrep import EvaluationRequest
from api.routes.queue import AccountControlBody
from api.routes.rate_limit import LimitsBody
from domain.campaign import WorkflowIntent
from domain.model import Model
from domain.review import AutonomyRequest, BulkReviewRequest, EditRequest, ReviewRequest
from domain.webhook import WebhookEvent

EXPECTED = {
    ("post", "/api/v2/campaigns/hybrid"),
    ("get", "/api/v2/campaigns/status"),
    ("get", "/api/v2/campaigns/costs"),
    ("get", "/api/v2/campaigns/{campaignId}/events"),
    ("get", "/api/v2/campaigns/{campaignId}/messages"),
    *(("post", f"/api/v2/campaigns/{{campaignId}}/{name}") for name in ("pause", "resume", "cancel")),
    *(("post", f"/api/v2/campaigns/{{campaignId}}/{name}") for name in ("approve", "reject")),
    ("get", "/api/v2/campaigns/{campaignId}/messages/{messageId}"),
    ("put", "/api/v2/campaigns/{campaignId}/messages/{messageId}/text"),
    ("get", "/api/v2/campaigns/{campaignId}/plan"),
    ("put", "/api/v2/campaigns/{campaignId}/plan"),
    ("get", "/api/v2/reviews"),
    ("post", "/api/v2/reviews/decisions"),
    ("get", "/api/v2/accounts/{accountId}/autonomy"),
    ("put", "/api/v2/accounts/{accountId}/autonomy"),
    ("post", "/api/v2/campaigns/{campaignId}/recall"),
    ("get", "/api/v2/campaigns/{campaignId}/recall"),
    ("post", "/api/v2/campaigns/{campaignId}/messages/{messageId}/cancel"),
    ("post", "/api/v2/onlyfans/messages"),
    ("get", "/api/v2/onlyfans/messages/{messageId}"),
    ("post", "/api/v2/onlyfans/messages/{messageId}/cancel"),
    ("get", "/api/v2/onlyfans/stats"),
    ("get", "/api/v2/rate-limits/{accountId}"),
    ("put", "/api/v2/rate-limits/{accountId}"),
    ("get", "/api/v2/rate-limits/{accountId}/history"),
    ("get", "/api/v2/queues/{accountId}"),
    *(("post", f"/api/v2/queues/{{accountId}}/{name}") for name in ("pause", "resume", "drain")),
    ("get", "/api/v2/queues/{accountId}/dead-letters"),
    ("get", "/api/v2/queues/{accountId}/dead-letters/{messageId}"),
    *(("post", f"/api/v2/queues/{{accountId}}/dead-letters/{{messageId}}/{name}") for name in ("retry", "discard")),
    ("get", "/api/v2/providers"),
    ("get", "/api/v2/experiments"),
    ("get", "/api/v2/experiments/{name}"),
    ("get", "/api/v2/budgets"),
    ("get", "/api/v2/budgets/{subject}"),
    ("put", "/api/v2/budgets/{subject}"),
    ("get", "/api/v2/budgets/{subject}/history"),
    ("get", "/api/v2/user-budgets"),
    ("put", "/api/v2/user-budgets"),
    ("get", "/api/v2/user-budgets/history"),
    ("get", "/api/v2/alerts"),
    ("get", "/api/admin/feature-flags"),
    ("get", "/api/admin/feature-flags/{name}"),
    ("put", "/api/admin/feature-flags/{name}"),
    ("get", "/api/admin/feature-flags/{name}/history"),
    ("get", "/api/admin/feature-flags/{name}/evaluate"),
    ("get", "/api/admin/rollouts"),
    ("post", "/api/admin/rollouts"),
    ("get", "/api/admin/rollouts/{flag}"),
    *(("post", f"/api/admin/rollouts/{{flag}}/{name}") for name in ("pause", "resume", "promote", "rollback")),
    ("get", "/api/admin/audit"),
    ("get", "/api/admin/legacy"),
    ("get", "/api/admin/shadow"),
    ("post", "/ofrep/v1/evaluate/flags"),
    ("post", "/ofrep/v1/evaluate/flags/{key}"),
    ("post", "/api/v2/webhooks/onlyfans"),
    ("get", "/api/health/hybrid-orchestrator"),
    ("get", "/api/health/hybrid-orchestrator/live"),
    ("get", "/api/health/hybrid-orchestrator/ready"),
}


@pytest.fixture
async def description(offline: httpx.AsyncClient) -> dict[str, Any]:
    answer: dict[str, Any] = (await offline.get("/openapi.json")).json()
    return answer


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_every_endpoint_is_described(description: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(description)} == EXPECTED


def test_every_reference_leads_somewhere(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    found = set(references(description))
    assert found
    assert {reference.removeprefix("#/components/schemas/") for reference in found} <= schemas.keys()


def test_private_endpoints_need_a_token_and_say_how_they_refuse(description: dict[str, Any]) -> None:
    for _, path, operation in operations(description):
        if path == "/api/v2/webhooks/onlyfans":
            # Signed instead.
            assert "security" not in operation
            assert "application/problem+json" in operation["responses"]["401"]["content"]
        elif path.startswith(PRIVATE):
            assert operation["security"] == [{"HTTPBearer": []}]
            assert "application/problem+json" in operation["responses"]["401"]["content"]
        else:
            assert "security" not in operation


def test_the_frameworks_own_error_format_is_nowhere(description: dict[str, Any]) -> None:
    assert not any("ValidationError" in reference for reference in references(description))


def test_names_are_the_clients(description: dict[str, Any]) -> None:
    assert {"onlyFansContext", "requestId", "maxCost"} <= description["components"]["schemas"]["WorkflowIntent"][
        "properties"
    ].keys()


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (WorkflowIntent, examples.INTENT),
        (ReviewRequest, examples.REVIEW),
        (EditRequest, examples.EDIT),
        (BulkReviewRequest, examples.BULK_REVIEW),
        (AutonomyRequest, examples.AUTONOMY),
        (DirectMessageRequest, examples.DIRECT_MESSAGE),
        (LimitsBody, examples.LIMITS),
        (AccountControlBody, examples.ACCOUNT_CONTROL),
        (RetryBody, examples.DEAD_LETTER_RETRY),
        (DiscardBody, examples.DEAD_LETTER_DISCARD),
        (FlagBody, examples.FLAG),
        (EvaluationRequest, examples.EVALUATION),
        (WebhookEvent, examples.WEBHOOK),
    ],
)
def test_the_examples_are_accepted(model: type[Model], example: dict[str, Any]) -> None:
    model.model_validate(example)


async def test_the_documentation_page_is_served(offline: httpx.AsyncClient) -> None:
    assert (await offline.get("/docs")).status_code == 200
