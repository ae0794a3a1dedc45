"""Validation errors as fields and remedies: JSON paths as the caller wrote them, never the values."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from domain.model import Model

MOST_ERRORS = 50
"""Errors that one answer lists; a body of 100,000 wrong recipients needs no more to be mended."""

_FORMS = {
    r"^acct_[A-Za-z0-9]{1,64}$": "must be an account of the gateway: acct_ and letters or digits, such as acct_luna",
    r"^[A-Za-z0-9_-]{1,64}$": "must be a fan's user id: up to 64 letters, digits, _ or -, such as 1002003",
    r"^[a-z]{2}(-[A-Z]{2})?$": "must be a language such as en or pt-BR",
    r"^[\x21-\x7e]{1,255}$": "must have between 1 and 255 printable ASCII characters and no spaces",
}
"""What to write instead of a pattern that only a programmer can read."""

_PATH_CHARACTERS = 200
_NAMED = re.compile(r"^([a-z][A-Za-z]*): (.+)$", re.DOTALL)


class FieldError(Model):
    """One field and what to do about it."""

    field: str = Field(description="JSON path, empty for the whole body", examples=["audience[3].recipientId"])
    message: str


def json_path(location: Iterable[int | str]) -> str:
    """``("audience", 3, "recipientId")`` as ``audience[3].recipientId``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path[:_PATH_CHARACTERS]


def field_errors(errors: Iterable[Mapping[str, Any]], *, skip: int = 0) -> tuple[FieldError, ...]:
    """Pydantic's errors; ``skip`` leading parts of each location name the place (query, header), not the field."""
    return tuple(_field_error(error, skip) for error, _ in zip(errors, range(MOST_ERRORS), strict=False))


def _field_error(error: Mapping[str, Any], skip: int) -> FieldError:
    path = json_path(error["loc"][skip:])
    match error["type"]:
        case "missing":
            message = "this field is required"
        case "extra_forbidden":
            message = "there is no such field; remove it or correct its spelling"
        case "string_pattern_mismatch":
            message = _FORMS.get(str(error["ctx"]["pattern"]), str(error["msg"]))
        case "value_error":
            message = str(error["msg"]).removeprefix("Value error, ")
        case _:
            message = str(error["msg"])
    # An error about the whole model names the field that would mend it: "audience: …".
    if not path and (named := _NAMED.match(message)):
        return FieldError(field=named[1], message=named[2])
    return FieldError(field=path, message=message)
