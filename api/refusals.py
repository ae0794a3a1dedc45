"""Refusals that only the HTTP layer knows; ``api.problems`` says which status each becomes."""

from collections.abc import Mapping

from pydantic import ValidationError

from api.fields import FieldError, field_errors
from domain.errors import ErrorType, HuntazeError, InvalidRequest


class MalformedRequest(InvalidRequest):
    """The request can't even be read: broken JSON, an unusable header."""


class PreconditionFailed(InvalidRequest):
    """What the caller made its request conditional on (``If-Match``) does not hold any more."""


class Unsigned(HuntazeError):
    """An event without a signature, or with one that does not belong to it."""


class NotConfigured(HuntazeError):
    """This installation lacks a setting without which the endpoint can't do its work."""

    error_type = ErrorType.PROVIDER_UNAVAILABLE


class QueueFull(HuntazeError):
    """An account's send queue has no room for a message that its caller would let wait."""

    error_type = ErrorType.RATE_LIMIT_EXCEEDED
    retryable = True


class Refusal(Exception):
    """A domain error with more to say: several fields, or headers. ``cause`` decides the class and the summary."""

    def __init__(
        self, cause: HuntazeError, fields: tuple[FieldError, ...] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(cause.message)
        self.cause = cause
        self.fields = fields
        self.headers = headers or {}


class InvalidBody(Exception):
    """A body that is JSON, but not what was expected."""

    def __init__(self, error: ValidationError) -> None:
        super().__init__("the body is not valid")
        self.errors = field_errors(error.errors(include_input=False, include_url=False))
