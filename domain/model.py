"""The two base classes of every model: camelCase on the wire, snake_case in Python, frozen."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
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
