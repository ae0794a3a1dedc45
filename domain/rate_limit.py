"""Sending limits: layers of sliding windows, what a grant is, and what a denial says.

A grant is a lease. Its slot counts from the latest moment at which the message can still arrive
(grant time + lease), until ``confirm`` moves it to the time at which the call completed, or ``release``
gives it back because nothing was sent. A slot can only count too late, never too early, so no window at
the platform ever holds more than its limit, however slow the network.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from domain.model import AccountId, Model, Moment, RecipientId, Request

LONGEST_WINDOW_S = 86_400
NEW_FOR = timedelta(days=30)
"""An account younger than this has the limits of a new one."""


class MessageType(StrEnum):
    """What kind of message a recipient gets."""

    WELCOME = "welcome"
    FOLLOW_UP = "follow_up"
    PROMOTIONAL = "promotional"
    CUSTOM = "custom"


class Layer(StrEnum):
    """Whose limit it is. ``platform``: the gateway itself asked the account to wait."""

    # That of an enumeration is written in Python; every reservation counts by layer.
    __hash__ = str.__hash__

    ACCOUNT = "account"
    PACING = "pacing"
    MESSAGE_TYPE = "message_type"
    RECIPIENT = "recipient"
    SYSTEM = "system"
    PLATFORM = "platform"

    @property
    def holds_account(self) -> bool:
        """Whether every message of the account has to wait; otherwise others may go meanwhile."""
        return self not in {Layer.MESSAGE_TYPE, Layer.RECIPIENT}


class AccountTier(StrEnum):
    """How much an account is trusted by the platform."""

    NEW = "new"
    ESTABLISHED = "established"
    POWER = "power"
    AGENCY = "agency"


class Cap(Request):
    """At most ``limit`` messages in ANY interval of ``seconds``; ``null``: no limit, ``0``: nothing."""

    limit: int | None = Field(ge=0, le=10_000_000, description="null: no limit, 0: nothing may be sent")
    seconds: float = Field(gt=0, le=LONGEST_WINDOW_S)


Caps = tuple[Cap, ...]


def _caps(*pairs: tuple[int, int]) -> Caps:
    return tuple(Cap(limit=limit, seconds=seconds) for limit, seconds in pairs)


ACCOUNT_CEILING = Cap(limit=10, seconds=60)
"""The hard ceiling of the business: a maximum of 10 messages in any 60 seconds per account."""

_TIERS = {
    AccountTier.NEW: _caps((5, 60), (30, 3_600), (100, 86_400)),
    AccountTier.ESTABLISHED: _caps((10, 60), (80, 3_600), (250, 86_400)),
    AccountTier.POWER: _caps((10, 60), (100, 3_600), (400, 86_400)),
    AccountTier.AGENCY: _caps((10, 60), (150, 3_600), (600, 86_400)),
}
_TYPES = {
    MessageType.WELCOME: _caps((20, 3_600)),
    MessageType.FOLLOW_UP: _caps((30, 3_600)),
    MessageType.PROMOTIONAL: _caps((50, 86_400)),
    MessageType.CUSTOM: _caps((5, 60)),
}


class LimitPolicy(Request):
    """The limits of an installation. Defaults: those of the service that this product replaces."""

    tiers: dict[AccountTier, Caps] = Field(default_factory=lambda: dict(_TIERS))
    message_types: dict[MessageType, Caps] = Field(default_factory=lambda: dict(_TYPES))
    recipient: Caps = _caps((2, 60), (10, 3_600))
    system: Caps = _caps((1_000, 60), (50_000, 86_400))
    ceiling: Cap = Field(default=ACCOUNT_CEILING, description="over every account, whatever its own limits say")
    pacing_ms: int | None = Field(
        default=None, ge=1, le=LONGEST_WINDOW_S * 1_000, description="least gap between two messages of an account"
    )

    @field_validator("tiers")
    @classmethod
    def _every_tier(cls, tiers: dict[AccountTier, Caps]) -> dict[AccountTier, Caps]:
        return _TIERS | tiers

    @field_validator("message_types")
    @classmethod
    def _every_type(cls, types: dict[MessageType, Caps]) -> dict[MessageType, Caps]:
        return _TYPES | types

    def scaled(self, factor: float) -> Self:
        """The same limits with every window ``factor`` times as long: for tests that can't wait for an hour."""
        return self.model_copy(
            update={
                "tiers": {tier: _scaled(caps, factor) for tier, caps in self.tiers.items()},
                "message_types": {kind: _scaled(caps, factor) for kind, caps in self.message_types.items()},
                "recipient": _scaled(self.recipient, factor),
                "system": _scaled(self.system, factor),
                "ceiling": _scaled((self.ceiling,), factor)[0],
                "pacing_ms": None if self.pacing_ms is None else max(1, round(self.pacing_ms * factor)),
            }
        )


class AccountLimitsRequest(Request):
    """What an operator may set for one account; what is left out or ``null`` follows the installation's policy."""

    tier: AccountTier | None = Field(default=None, description="null: by age, see connectedAt")
    connected_at: Moment | None = Field(default=None, description="an account younger than 30 days counts as new")
    account: Caps | None = Field(default=None, max_length=8)
    recipient: Caps | None = Field(default=None, max_length=8)
    message_types: dict[MessageType, Caps] = Field(default_factory=dict)
    pacing_ms: int | None = Field(default=None, ge=1, le=LONGEST_WINDOW_S * 1_000)

    @model_validator(mode="after")
    def _under_the_ceiling(self) -> Self:
        ceiling = ACCOUNT_CEILING
        for index, cap in enumerate(self.account or ()):
            if cap.limit is not None and cap.seconds <= ceiling.seconds and cap.limit > (ceiling.limit or 0):
                raise ValueError(
                    f"account: entry {index} allows {cap.limit} in {cap.seconds:g} s, but no account may send more "
                    f"than {ceiling.limit} in {ceiling.seconds:g} s"
                )
        return self


class AccountLimits(Model):
    """The limits that are in force for one account beside the policy; ``revision`` counts changes."""

    account_id: AccountId
    tier: AccountTier | None = None
    connected_at: datetime | None = None
    account: Caps | None = None
    recipient: Caps | None = None
    message_types: dict[MessageType, Caps] = Field(default_factory=dict)
    pacing_ms: int | None = None
    revision: int = Field(default=0, ge=0)
    changed_by: str = ""
    changed_at: datetime | None = None
    reason: str = ""


class Window(NamedTuple):
    """One sliding window as the limiter decides it: ``subject`` names the log of grants that it looks at.

    One that is ``UNLIMITED`` binds nothing, but its log is kept: a limit that is set later knows what was sent before.
    A tuple, because each message has about eight, which live no longer than its decision.
    """

    layer: Layer
    subject: str
    limit: int
    seconds: float


UNLIMITED = 2**53
"""The limit of a window without one: more than can ever be sent."""

SYSTEM_SUBJECT = "system"
ACCOUNT_SUBJECT = "account"


def tier_of(limits: AccountLimits, now: datetime) -> AccountTier:
    """The tier in force: the one that was set, else by age."""
    if limits.tier is not None:
        return limits.tier
    young = limits.connected_at is not None and now - limits.connected_at < NEW_FOR
    return AccountTier.NEW if young else AccountTier.ESTABLISHED


def account_windows(policy: LimitPolicy, limits: AccountLimits, now: datetime) -> tuple[Window, ...]:
    """The windows that all messages of an account share, pacing included."""
    own = limits.account if limits.account is not None else policy.tiers[tier_of(limits, now)]
    pacing = limits.pacing_ms if limits.pacing_ms is not None else policy.pacing_ms
    gap: Caps = () if pacing is None else (Cap(limit=1, seconds=pacing / 1_000),)
    # A window that another one of the same length makes superfluous is not looked at twice.
    shortest = {cap.seconds: cap for cap in sorted((*own, policy.ceiling), key=_loosest_first)}
    return (
        *_windows(Layer.ACCOUNT, ACCOUNT_SUBJECT, sorted(shortest.values(), key=lambda cap: cap.seconds)),
        *(_windows(Layer.PACING, ACCOUNT_SUBJECT, gap) if gap else ()),
    )


def type_windows(policy: LimitPolicy, limits: AccountLimits, message_type: MessageType) -> tuple[Window, ...]:
    """The windows of one type of message on one account."""
    caps = limits.message_types.get(message_type, policy.message_types[message_type])
    return tuple(_windows(Layer.MESSAGE_TYPE, f"type:{message_type}", caps))


def recipient_caps(policy: LimitPolicy, limits: AccountLimits) -> Caps:
    """What every fan of one account is limited by, each by itself."""
    return limits.recipient if limits.recipient is not None else policy.recipient


def fan_windows(caps: Caps, recipient_id: str) -> tuple[Window, ...]:
    """The windows of one fan, from the caps of its account."""
    return tuple(_windows(Layer.RECIPIENT, recipient_subject(recipient_id), caps))


def recipient_windows(policy: LimitPolicy, limits: AccountLimits, recipient_id: str) -> tuple[Window, ...]:
    """The windows of one fan of one account."""
    return fan_windows(recipient_caps(policy, limits), recipient_id)


def recipient_subject(recipient_id: str) -> str:
    """The log of one fan of an account."""
    return f"recipient:{recipient_id}"


def system_windows(policy: LimitPolicy) -> tuple[Window, ...]:
    """The windows of the gateway plan, which all accounts share."""
    return tuple(_windows(Layer.SYSTEM, SYSTEM_SUBJECT, policy.system))


def windows(
    policy: LimitPolicy,
    limits: AccountLimits,
    now: datetime,
    *,
    message_type: MessageType,
    recipient_id: str | None,
) -> tuple[Window, ...]:
    """Every window that one message has to fit into; a layer without a limit has one that binds nothing."""
    return (
        *account_windows(policy, limits, now),
        *type_windows(policy, limits, message_type),
        *(recipient_windows(policy, limits, recipient_id) if recipient_id is not None else ()),
        *system_windows(policy),
    )


class Slot(Model):
    """A grant as the message store remembers it. ``counts_at_us``: the end of its lease on Redis's clock, in µs.

    With ``hold`` it is no grant and counts nowhere: the platform wants nothing of the account until ``counts_at_us``.
    """

    lease_id: str
    account_id: AccountId
    message_type: MessageType | None = Field(default=None, description="null: it counts for fans at most")
    recipient_id: RecipientId | None = None
    also_for: tuple[RecipientId, ...] = Field(default=(), description="more fans that the same call reaches")
    counts_at_us: int
    hold: str = Field(default="", description="why the platform asked to wait")

    @property
    def subjects(self) -> tuple[str, ...]:
        """The logs that it counts in."""
        shared = () if self.message_type is None else (ACCOUNT_SUBJECT, f"type:{self.message_type}", SYSTEM_SUBJECT)
        fans = self.also_for if self.recipient_id is None else (self.recipient_id, *self.also_for)
        return (*shared, *map(recipient_subject, fans))


class Lease(Model):
    """A granted slot. ``subjects``: the logs that it was entered in; ``expires_at_us``: on Redis's clock, in µs."""

    lease_id: str
    account_id: AccountId
    subjects: tuple[str, ...]
    expires_at_us: int


class FanGrants(Model):
    """Which fans of an account one call may reach, each by its own limits: ``leases`` count for all of the others.

    ``denied``: by fan, how long (ms) until its windows have room again; ``None``: not before a limit is changed.
    """

    leases: tuple[Lease, ...]
    denied: dict[RecipientId, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """The limiter's answer: a lease, or a denial that says what binds and when to come back.

    ``remaining``: by layer, what its fullest window still admits after this. ``retry_after_ms`` is relative to the
    limiter's own clock, so that the clocks of workers do not matter, and the first moment at which the same call can
    succeed; ``None`` on a denial: not before a limit is changed.
    """

    lease: Lease | None = None
    would_grant: bool
    remaining: Mapping[Layer, int] = field(default_factory=dict)
    retry_after_ms: int | None = None
    binding_layer: Layer | None = None
    window_seconds: float | None = None
    now_us: int

    @property
    def granted(self) -> bool:
        """Whether a slot was taken."""
        return self.lease is not None


class WindowUsage(Model):
    """How full a window is."""

    layer: Layer
    subject: str
    limit: int
    seconds: float
    used: int
    remaining: int
    frees_in_ms: int | None = Field(default=None, description="full windows: when it admits one more")


class AccountUsage(Model):
    """An account's windows now. ``grants_us``: by subject, the moments (Redis's clock, µs, ascending) that count."""

    account_id: AccountId
    now_us: int
    windows: tuple[WindowUsage, ...]
    held_ms: int = Field(default=0, description="the platform asked to wait that much longer")
    held_reason: str = ""
    grants_us: dict[str, tuple[int, ...]] = Field(default_factory=dict)


class RateLimitStatus(Model):
    """What callers see of an account's limits."""

    remaining: int = Field(ge=0)
    reset_time: datetime | None = None
    throttled: bool = False


def _windows(layer: Layer, subject: str, caps: Iterable[Cap]) -> Iterable[Window]:
    binding = [Window(layer, subject, cap.limit, cap.seconds) for cap in caps if cap.limit is not None]
    return binding or [Window(layer, subject, UNLIMITED, LONGEST_WINDOW_S)]


def _scaled(caps: Caps, factor: float) -> Caps:
    return tuple(cap.model_copy(update={"seconds": cap.seconds * factor}) for cap in caps)


def _loosest_first(cap: Cap) -> float:
    return float("-inf") if cap.limit is None else -cap.limit
