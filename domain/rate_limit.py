"""Sending limits: sliding windows, what a grant is, and what a denial says.

A grant is a lease. Its slot counts from the latest moment at which the message can still arrive
(grant time + lease), until ``confirm`` moves it to the time at which the call completed, or ``release``
gives it back because nothing was sent. A slot can only count too late, never too early, so no window at
the platform ever holds more than its limit, however slow the network.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from domain.model import Model


class MessageType(StrEnum):
    """What kind of message a recipient gets."""

    WELCOME = "welcome"
    FOLLOW_UP = "follow_up"
    PROMOTIONAL = "promotional"
    CUSTOM = "custom"


class Window(Model):
    """At most ``limit`` messages in ANY interval of ``seconds``; ``None``: no limit, ``0``: nothing."""

    layer: str
    limit: int | None = Field(ge=0)
    seconds: float = Field(gt=0)


ACCOUNT_CEILING = Window(layer="account", limit=10, seconds=60)
"""The hard ceiling of the business: a maximum of 10 messages in any 60 seconds per account."""


class Reservation(Model):
    """The limiter's answer: a lease, or a denial that says what binds and when to come back.

    Durations are in ms and relative to the limiter's own clock, so that the clocks of workers do not matter.
    """

    lease_id: str | None
    remaining: int = Field(ge=0, description="messages that the binding window still admits now")
    retry_after_ms: int = Field(default=0, ge=0, description="denied: the first moment that can succeed")
    binding_layer: str | None = None
    window_seconds: float | None = None

    @property
    def granted(self) -> bool:
        """Whether a slot was taken."""
        return self.lease_id is not None


class RateLimitStatus(Model):
    """What callers see of an account's limits."""

    remaining: int = Field(ge=0)
    reset_time: datetime | None = None
    throttled: bool = False
