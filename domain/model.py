"""The two base classes of every model: camelCase on the wire, snake_case in Python, frozen."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """A value that travels: workflow payloads, stored items, API answers.

    Unknown fields are ignored, so that a process of the previous release can read what the next one writes.
    """

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        # A validation error must not carry a name or a text into a log or a history.
        hide_input_in_errors=True,
    )


class Request(Model):
    """A value that a caller wrote: an unknown field is refused by name, because it is usually a misspelling."""

    model_config = ConfigDict(extra="forbid")


AccountId = Annotated[str, Field(pattern=r"^acct_[A-Za-z0-9]{1,64}$", examples=["acct_luna"])]
"""The gateway's name of one OnlyFans account: ``acct_…``."""

RecipientId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["1002003"])]
"""A fan's user id, which is also the chat id at the gateway."""


_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Outside of this a moment is a mistake, and arithmetic with it may leave the calendar."""


def _in_utc(value: object) -> object:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError("must be a moment with its time zone, such as 2026-11-22T18:00:00Z")
    # Compared before it is converted: the conversion itself may leave the calendar.
    if not _FIRST <= moment < _LAST:
        raise ValueError("must be a moment between 2000 and 2100")
    return moment.astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(_in_utc), Field(examples=["2026-11-22T18:00:00Z"])]
"""A moment that a caller names: with its time zone, kept in UTC."""
