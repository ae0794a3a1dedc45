"""OFREP, the OpenFeature Remote Evaluation Protocol: flags for clients that speak the standard over HTTP.

https://github.com/open-feature/protocol: evaluations and their errors have the protocol's shapes, whereas refusals
that it leaves open (401, 403, 413) are problem details as everywhere.
"""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.responses import JSONResponse
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, InvalidContextError, OpenFeatureError, ParseError, ProviderNotReadyError
from openfeature.flag_evaluation import Reason
from pydantic import Field
from pydantic_core import from_json

from adapters.openfeature import FlagsProvider, subject_of
from api.dependencies import Caller, PortsNow
from api.examples import EVALUATION
from api.openapi import Responses, problems
from api.openapi import body as documented
from api.problems import RETRY_AFTER_S
from domain.errors import Forbidden
from domain.model import Model

router = APIRouter(prefix="/ofrep/v1/evaluate/flags", tags=["flags"])

_STATUSES = {ErrorCode.FLAG_NOT_FOUND: 404, ErrorCode.PROVIDER_NOT_READY: 503}
"""Of the errors that are not the context's or the body's fault, which are 400."""


class EvaluationRequest(Model):
    """``context``: ``targetingKey`` is the user's id; flags look at ``userTier``, ``accountAge`` (days), ``region`` and
    ``platform`` or ``platforms``, and ignore everything else."""

    context: dict[str, Any] = Field(default_factory=dict)


class Evaluation(Model):
    """A flag's value. ``metadata``: our own ``reason``, the flag's ``revision`` and, where one was drawn, the user's
    ``bucket`` (0 to 9,999)."""

    key: str
    value: bool
    reason: Reason
    variant: str = Field(description="`on` or `off`")
    metadata: dict[str, bool | int | float | str]


class EvaluationFailure(Model):
    """Why there is no value; ``key`` is missing where no flag was named."""

    key: str | None = None
    error_code: ErrorCode
    error_details: str


class BulkEvaluation(Model):
    """Every flag, by name."""

    flags: tuple[Evaluation, ...]


async def _context(request: Request, caller: Caller) -> EvaluationContext:
    """The request's context, read only after the caller is known."""
    context = _parsed(await request.body())
    user = context.targeting_key
    if user and not caller.may_see(user):
        raise Forbidden(
            "Only staff may evaluate flags for others; send the token's sub as targetingKey.",
            field="context.targetingKey",
        )
    return context


Context = Annotated[EvaluationContext, Depends(_context)]

_FAILURES: Responses = {400: {"model": EvaluationFailure}, 503: {"model": EvaluationFailure}}
_BODY = documented(EvaluationRequest, EVALUATION)


@router.post(
    "/{key}",
    summary="Evaluate one flag (OFREP)",
    responses={**problems(401, 403, 413, 422), **_FAILURES, 404: {"model": EvaluationFailure}},
    openapi_extra=_BODY,
)
async def evaluate(
    key: Annotated[str, Path(max_length=255, description="the flag's name")], context: Context, ports: PortsNow
) -> Evaluation:
    """From this process's snapshot. Creators and agencies evaluate for themselves (`targetingKey` is the token's
    `sub`), staff for anybody."""
    return _evaluation(FlagsProvider(ports.flags), key, context)


@router.post(
    "",
    summary="Evaluate every flag (OFREP)",
    response_model=BulkEvaluation,
    responses={
        **problems(401, 403, 413, 422),
        **_FAILURES,
        304: {"description": "Nothing has changed for this context"},
    },
    openapi_extra=_BODY,
)
async def evaluate_all(
    context: Context,
    ports: PortsNow,
    if_none_match: Annotated[str | None, Header(description="the ETag of an earlier answer")] = None,
) -> Response:
    """The ETag stands for the flags and the context; with `If-None-Match` the answer is 304 while neither changes."""
    subject = subject_of(context)
    if not ports.flags.standing().loaded:
        # An empty list would say that there are no flags.
        raise ProviderNotReadyError("this process has not been able to read the flags yet; try again in a moment")
    provider = FlagsProvider(ports.flags)
    found = BulkEvaluation(flags=tuple(_evaluation(provider, flag.name, context) for flag in ports.flags.all()))
    body = found.model_dump_json()
    etag = f'"{hashlib.sha256(f"{subject.model_dump_json()}{body}".encode()).hexdigest()[:32]}"'
    if _matches(if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag})
    return Response(body, headers={"ETag": etag}, media_type="application/json")


async def failure(request: Request, error: Exception) -> JSONResponse:
    """An error of OpenFeature in the protocol's shape; the application's handler for them."""
    if not isinstance(error, OpenFeatureError):
        raise error
    status = _STATUSES.get(error.error_code, 400)
    answer = EvaluationFailure(
        key=request.path_params.get("key"), error_code=error.error_code, error_details=error.error_message or ""
    )
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return JSONResponse(answer.model_dump(mode="json", exclude_none=True), status_code=status, headers=headers)


def _parsed(body: bytes) -> EvaluationContext:
    try:
        # Unlike the standard library's parser, this one takes no lone surrogates, which nothing could write again.
        request = from_json(body, allow_inf_nan=False) if body else {}
    except ValueError as error:
        raise ParseError(f"the body is not JSON ({error})") from None
    if not isinstance(request, dict):
        raise ParseError('the body must be an object such as {"context": {"targetingKey": "user-1"}}')
    context = request.get("context", {})
    if not isinstance(context, dict):
        raise InvalidContextError("context: must be an object")
    key = context.get("targetingKey")
    if not isinstance(key, str | None):
        raise InvalidContextError("targetingKey: must be a string, the user's id")
    return EvaluationContext(key, {name: value for name, value in context.items() if name != "targetingKey"})


def _evaluation(provider: FlagsProvider, key: str, context: EvaluationContext) -> Evaluation:
    found = provider.resolve_boolean_details(key, False, context)
    return Evaluation(
        key=key,
        value=found.value,
        reason=Reason(found.reason or Reason.UNKNOWN),
        variant=found.variant or "",
        metadata=dict(found.flag_metadata),
    )


def _matches(if_none_match: str | None, etag: str) -> bool:
    """RFC 9110, section 13.1.2: a list of entity tags, compared weakly, or ``*``."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or tags == ["*"]
