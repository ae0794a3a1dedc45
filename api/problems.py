"""Problem details (RFC 9457): the one place where refusals and failures become HTTP statuses."""

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.exceptions import HTTPException

from api.authentication import KeysUnavailable, Unauthenticated
from api.engine import EngineUnavailable
from api.fields import FieldError, field_errors
from api.refusals import InvalidBody, MalformedRequest, NotConfigured, PreconditionFailed, QueueFull, Refusal, Unsigned
from api.trace import trace_of
from domain.errors import (
    ComplianceViolation,
    Conflict,
    CostLimitExceeded,
    DependencyUnavailable,
    ErrorType,
    Forbidden,
    GatewayError,
    HuntazeError,
    InvalidRequest,
    NotFound,
    ProviderError,
    RateLimitExceeded,
    TooLarge,
)
from domain.model import Model

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
"""What a caller is told to wait when nothing better is known."""

_KINDS: tuple[tuple[type[HuntazeError], int, str, str], ...] = (
    (MalformedRequest, 400, "malformed-request", "The request can't be read"),
    (TooLarge, 413, "too-large", "The request is too large"),
    (Unsigned, 401, "unsigned", "The sender is not known"),
    (NotFound, 404, "not-found", "There is no such thing"),
    (Conflict, 409, "conflict", "The present state does not allow this"),
    (PreconditionFailed, 412, "precondition-failed", "It was changed meanwhile"),
    (InvalidRequest, 422, "invalid-request", "The request is not valid"),
    (Forbidden, 403, "forbidden", "The caller is not allowed to do this"),
    (RateLimitExceeded, 429, "rate-limit-exceeded", "A limit is reached"),
    (QueueFull, 503, "queue-full", "The send queue is full"),
    (CostLimitExceeded, 402, "cost-limit-exceeded", "A budget is spent"),
    (ComplianceViolation, 422, "compliance-violation", "A rule forbids this text"),
    (ProviderError, 502, "provider-unavailable", "An AI provider failed"),
    (DependencyUnavailable, 503, "dependency-unavailable", "A part of the system does not answer"),
    (NotConfigured, 503, "not-configured", "This installation is not set up for this"),
    (GatewayError, 502, "onlyfans-api-error", "The OnlyFans gateway failed"),
)
"""Error class, status, last part of the problem's type, title; the first that fits counts."""

_OUTSIDE = (Unauthenticated, EngineUnavailable, KeysUnavailable)


class Problem(Model):
    """The body of every answer that is not a success."""

    type: str = Field(examples=["urn:huntaze:problem:invalid-request"])
    title: str
    status: int
    detail: str
    instance: str = Field(description="path of the request")
    error_type: ErrorType | None = Field(default=None, description="the class to branch on")
    errors: tuple[FieldError, ...] = Field(default=(), description="what to mend, field by field")
    request_id: str
    trace_id: str


def problem_response(
    request: Request,
    status: int,
    kind: str,
    title: str,
    detail: str,
    *,
    error_type: ErrorType | None = None,
    errors: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem as an answer; ``errorType`` and ``errors`` are left out where they say nothing."""
    trace = trace_of(request.scope)
    problem = Problem(
        type=f"urn:huntaze:problem:{kind}",
        title=title,
        status=status,
        detail=detail,
        instance=request.url.path,
        error_type=error_type,
        errors=errors,
        request_id=trace.request_id,
        trace_id=trace.trace_id,
    )
    content: dict[str, Any] = problem.model_dump(mode="json", exclude_none=True)
    if not errors:
        del content["errors"]
    return JSONResponse(content, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def from_domain(
    request: Request,
    error: HuntazeError,
    fields: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Any error of the domain as a problem."""
    status, kind, title = next(
        ((status, kind, title) for cls, status, kind, title in _KINDS if isinstance(error, cls)),
        (500, "internal-error", "Something went wrong on our side"),
    )
    if status == 502 and error.retryable:
        status = 503
    field = getattr(error, "field", None)
    if field and not fields:
        fields = (FieldError(field=field, message=error.message),)
    return problem_response(
        request,
        status,
        kind,
        title,
        error.message,
        error_type=error.error_type,
        errors=fields,
        headers={**(headers or {}), **_retry_after(status, error.retry_after_s)},
    )


def internal_error(request: Request) -> JSONResponse:
    """The answer to everything unforeseen: what happened is in the log, under the same trace id."""
    return problem_response(
        request,
        500,
        "internal-error",
        "Something went wrong on our side",
        "The request was not completed. Repeat it with the same Idempotency-Key; report the traceId if it persists.",
    )


def install(app: FastAPI) -> None:
    """Answer every refusal and every known failure with a problem."""
    for kind in (HuntazeError, Refusal, RequestValidationError, InvalidBody, HTTPException, *_OUTSIDE):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    match error:
        case Refusal():
            return from_domain(request, error.cause, error.fields, error.headers)
        case HuntazeError():
            return from_domain(request, error)
        case RequestValidationError():
            return _invalid(request, field_errors(error.errors(), skip=1))
        case InvalidBody():
            return _invalid(request, error.errors)
        case Unauthenticated():
            return _unauthenticated(request, error)
        case HTTPException():
            return _refused_by_framework(request, error)
        case EngineUnavailable() | KeysUnavailable():
            return _unavailable(request, str(error))
    return internal_error(request)


def _invalid(request: Request, errors: tuple[FieldError, ...]) -> JSONResponse:
    detail = "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in errors[:3])
    more = len(errors) - 3
    return problem_response(
        request,
        422,
        "invalid-request",
        "The request is not valid",
        f"{detail}; and {more} more" if more > 0 else detail,
        error_type=ErrorType.INVALID_REQUEST,
        errors=errors,
    )


def _refused_by_framework(request: Request, error: HTTPException) -> JSONResponse:
    """Unknown paths and methods."""
    phrase = HTTPStatus(error.status_code).phrase
    detail = {
        404: "There is nothing at this path; see /docs for what there is.",
        405: f"This path does not take {request.method}; see the Allow header.",
    }.get(error.status_code, str(error.detail))
    return problem_response(
        request,
        error.status_code,
        phrase.lower().replace(" ", "-"),
        phrase,
        detail,
        error_type=ErrorType.INVALID_REQUEST if error.status_code < 500 else None,
        headers=error.headers,
    )


def _unauthenticated(request: Request, error: Unauthenticated) -> JSONResponse:
    return problem_response(
        request,
        401,
        "unauthenticated",
        "The caller is not known",
        f"{error}. Send a valid token as: Authorization: Bearer <token>.",
        error_type=ErrorType.INVALID_REQUEST,
        headers={"WWW-Authenticate": error.challenge},
    )


def _unavailable(request: Request, detail: str) -> JSONResponse:
    return problem_response(
        request,
        503,
        "temporarily-unavailable",
        "A part that this needs does not answer",
        detail,
        headers=_retry_after(503, None),
    )


def _retry_after(status: int, seconds: float | None) -> dict[str, str]:
    if status not in {429, 503}:
        return {}
    return {"Retry-After": str(max(1, ceil(RETRY_AFTER_S if seconds is None else seconds)))}
