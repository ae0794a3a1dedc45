"""Refusals that only the HTTP layer knows; ``api.problems`` says which status each becomes."""

from pydantic import ValidationError

from api.fields import FieldError, field_errors
from domain.errors import HuntazeError, InvalidRequest


class MalformedRequest(InvalidRequest):
    """The request can't even be read: broken JSON, an unusable header."""


class Refusal(Exception):
    """A domain error that concerns several fields at once; ``cause`` decides the class and says the summary."""

    def __init__(self, cause: HuntazeError, fields: tuple[FieldError, ...]) -> None:
        super().__init__(cause.message)
        self.cause = cause
        self.fields = fields


class InvalidBody(Exception):
    """A body that is JSON, but not what was expected."""

    def __init__(self, error: ValidationError) -> None:
        super().__init__("the body is not valid")
        self.errors = field_errors(error.errors(include_input=False, include_url=False))
