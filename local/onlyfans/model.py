"""What goes over the wire: request bodies, replies, and the bodies of the control endpoints."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from local.faults import FaultRule

BannedTier = Literal["strict_ban", "risky", "replace_soften"]
Endpoint = Literal["send", "mass", "list", "unsend", "fans", "whoami"]

CANCEL_SECONDS = 119
DAY_S = 86_400


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class MessageBody(_Wire):
    """A message to one chat; `price` is in USD."""

    text: str | None = None
    price: float | None = None
    media_files: tuple[Any, ...] = ()
    previews: tuple[Any, ...] = ()
    giphy_id: str | None = None
    locked_text: bool = False
    reply_to_message_id: int | None = None
    block_banned_words: BannedTier | None = None


class MassMessageBody(MessageBody):
    """One message for many fans, now, later, or saved for later."""

    user_ids: tuple[str, ...] = ()
    user_lists: tuple[str, ...] = ()
    excluded_lists: tuple[str, ...] = ()
    scheduled_date: str | None = None
    save_for_later: bool = False
    subscribed_within_last_days: int | None = Field(default=None, ge=1, le=30)


@dataclass(frozen=True)
class Reply:
    """An answer that can be stored under an idempotency key and given again."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def refused(cls, status: int, code: str, message: str, **details: Any) -> "Reply":
        """An error body: `message` for people, `code` for programs, and the details of this code."""
        return cls(status, {"message": message, "code": code, **details})

    @classmethod
    def limited(cls, message: str, retry_after_s: float | None) -> "Reply":
        """429, with `Retry-After` unless it is None."""
        headers = {} if retry_after_s is None else {"Retry-After": f"{retry_after_s:g}"}
        return cls(429, {"message": message, "code": "RATE_LIMITED"}, headers)


@dataclass(frozen=True)
class Call:
    """Which endpoint is called for whom: what fault rules and idempotency keys are scoped by."""

    endpoint: Endpoint
    account: str | None = None
    chat_id: str | None = None


class GatewayFault(FaultRule):
    """A fault of the gateway. It concerns sends unless `endpoint` says otherwise."""

    kind: Literal[
        "latency",
        "rate_limited",
        "server_error",
        "timeout_before_accept",
        "accept_then_timeout",
        "connection_reset",
        "session_expired",
        "banned_words",
    ]
    endpoint: Endpoint | Literal["any"] = "send"
    account: str | None = None
    chat_id: str | None = None
    status: int = Field(default=503, ge=500, le=599, description="of a server_error")
    after_accept: bool = Field(
        default=False, description="a connection_reset or server_error that comes after the acceptance"
    )
    arrives_after_s: float = Field(
        default=0, ge=0, description="how long after a server_error its message is accepted, given after_accept"
    )
    words: tuple[str, ...] = Field(default=("forbidden",), description="the words that banned_words names")

    def covers(self, call: Call) -> bool:
        """Whether this rule is meant for the call."""
        return (
            self.endpoint in ("any", call.endpoint)
            and self.account in (None, call.account)
            and self.chat_id in (None, call.chat_id)
        )


class Limits(BaseModel):
    """Limits that the platform itself enforces on each account's accepted messages; null enforces nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_minute: int | None = Field(default=None, ge=0)
    per_day: int | None = Field(default=None, ge=0)


class FanSeed(BaseModel):
    """An account's active fans: given one by one (`id` is required, the rest is free) or invented."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str
    fans: tuple[dict[str, Any], ...] = ()
    count: int = Field(default=0, ge=0)
    seed: int = 0

    @model_validator(mode="after")
    def every_fan_has_an_id(self) -> "FanSeed":
        """A fan without an id could not be written to."""
        if any(not isinstance(fan.get("id"), int) for fan in self.fans):
            raise ValueError("every fan needs an integer id")
        return self


class IncomingMessage(BaseModel):
    """A message that a fan writes to the account."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str
    chat_id: str
    text: str


class TimeShift(BaseModel):
    """Moves the simulator's clock forward, so that a day can pass in a test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    advance_s: float = Field(ge=0)
