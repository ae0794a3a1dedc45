"""The API's description: problems for each status, bodies that are read by hand, the event stream."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.examples import ERROR_FIELDS
from api.problems import MEDIA_TYPE, Problem
from domain.errors import ErrorType
from domain.model import Model

Responses = dict[int | str, dict[str, Any]]

_REFERENCE = "#/components/schemas/{model}"

EVENT_STREAM: Responses = {
    200: {
        "description": "`progress` events with CampaignProgress, then one `done` event with WorkflowResult",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": "event: progress\ndata: {…}\n\n"}},
    }
}

RATE_LIMIT_HEADERS: dict[str, Any] = {
    "X-RateLimit-Remaining": {
        "description": "How many more messages like this one fit into the account's limits now",
        "schema": {"type": "integer"},
    },
    "X-RateLimit-Reset": {
        "description": "Seconds until the tightest window admits one more than now; absent when it never does",
        "schema": {"type": "integer"},
    },
}
"""What a sending endpoint's answers say about the limits."""

TAGS: list[dict[str, Any]] = [
    {"name": "campaigns", "description": "Ask for campaigns, follow them, steer them."},
    {"name": "review", "description": "Human approval is the default; an account's owner may ask for less of it."},
    {"name": "costs", "description": "Every call to an AI provider, in US dollars and exact micro-dollars."},
    {"name": "messages", "description": "Single messages: sent now, queued, or refused."},
    {"name": "limits", "description": "How much an account may send, and what it has sent."},
    {"name": "queues", "description": "What waits for each account, pausing it, and what could not be delivered."},
    {"name": "alerts", "description": "What a person should know of."},
    {
        "name": "legacy",
        "description": "Clients of the legacy API: how they were routed, and whether both systems agree.",
    },
    {"name": "webhooks", "description": "Events from the OnlyFans gateway, signed instead of authorised."},
    {"name": "flags", "description": "Who gets the new system: feature flags, why they decide as they do, OFREP."},
    {"name": "rollouts", "description": "A flag for more and more users, judged on the way, back at once if need be."},
    {"name": "audit", "description": "Who changed or decided what, when and why."},
    {"name": "health", "description": "Without a token."},
]


def body(model: type[Model], example: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """The ``openapi_extra`` of an endpoint that takes ``JsonBody(model)``."""
    content = {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}, "example": example}
    return {"requestBody": {"required": required, "content": {"application/json": content}}}


def problems(*statuses: int) -> Responses:
    """The problem answers of an endpoint."""
    return {status: _problem(status) for status in statuses}


def describe(app: FastAPI, bodies: Iterable[type[Model]]) -> None:
    """Let ``/openapi.json`` also define the problem and the ``bodies`` that the framework does not see."""
    models: list[type[Model]] = [Problem, *bodies]

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes, tags=TAGS
            )
            wanted: list[tuple[type[Model], Literal["validation"]]] = [(model, "validation") for model in models]
            _, definitions = models_json_schema(wanted, ref_template=_REFERENCE)
            known = schema.setdefault("components", {}).setdefault("schemas", {})
            for name, definition in definitions["$defs"].items():
                known.setdefault(name, definition)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _problem(status: int) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    example: dict[str, Any] = {
        "type": f"urn:huntaze:problem:{phrase.lower().replace(' ', '-')}",
        "title": phrase,
        "status": status,
        "detail": "What is wrong, and what to do about it.",
        "instance": "/api/v2/campaigns/hybrid",
        "requestId": "spring-sale-1",
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
    }
    if status < 500:
        example["errorType"] = ErrorType.INVALID_REQUEST.value
    if status in ERROR_FIELDS:
        example["errors"] = ERROR_FIELDS[status]
    schema = {"$ref": _REFERENCE.format(model=Problem.__name__)}
    return {"description": phrase, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}
