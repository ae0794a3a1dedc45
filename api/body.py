"""JSON bodies, read only after the caller is known and parsed in one step.

The framework would read a body before it authenticates, and a large audience would be decoded on the event
loop. ``JsonBody(Model)`` is a dependency that does neither; ``api.openapi.body`` documents it.
"""

import asyncio
from typing import Generic, TypeVar

from fastapi import Request
from pydantic import ValidationError

from api.dependencies import Caller
from api.refusals import InvalidBody, MalformedRequest
from domain.model import Model

B = TypeVar("B", bound=Model)
_THREAD_FROM_BYTES = 64 * 1024


class JsonBody(Generic[B]):
    """A dependency that answers the body as ``model``; ``optional``: an empty body means all defaults."""

    def __init__(self, model: type[B], *, optional: bool = False) -> None:
        self._model = model
        self._optional = optional

    async def __call__(self, request: Request, _caller: Caller) -> B:
        body = await request.body()
        if not body and self._optional:
            return self._model()
        _require_json(request)
        try:
            if len(body) < _THREAD_FROM_BYTES:
                return self._model.model_validate_json(body)
            return await asyncio.to_thread(self._model.model_validate_json, body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            if first["type"] == "json_invalid":
                raise MalformedRequest(f"The body is not JSON ({first['msg']}).") from None
            # Without its cause: the original shows the values, which are personal data.
            raise InvalidBody(error) from None


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise MalformedRequest("The body must be JSON: send Content-Type: application/json.", field="Content-Type")
