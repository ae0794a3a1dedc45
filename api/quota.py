"""What an account's limits say about one message now: the dry run, the headers, and when its turn comes."""

import asyncio
from datetime import datetime, timedelta
from math import ceil

from pydantic import Field

from adapters.bootstrap import Ports
from domain.delivery import AccountControl, AccountState
from domain.errors import DependencyUnavailable
from domain.model import AccountId, Model
from domain.rate_limit import (
    AccountLimits,
    AccountTier,
    AccountUsage,
    Layer,
    LimitPolicy,
    MessageType,
    Reservation,
    WindowUsage,
    tier_of,
    windows,
)

LIMITER_AWAY_S = 5
"""What is told as the time to come back while nothing can be granted: queues look again that often, too."""

_MICROSECONDS = 1_000_000


class Quota(Model):
    """An account's limits as one message meets them; without ``reservation`` the limiter does not answer."""

    limits: AccountLimits
    reservation: Reservation | None
    usage: AccountUsage | None

    @property
    def admits(self) -> bool:
        """Whether a message would be granted a slot now."""
        return self.reservation is not None and self.reservation.would_grant

    @property
    def never(self) -> bool:
        """Whether no waiting helps: a limit is 0."""
        return self.reservation is not None and not self.admits and self.reservation.retry_after_ms is None

    def headers(self) -> dict[str, str]:
        """``X-RateLimit-Remaining`` and ``X-RateLimit-Reset``.

        Remaining: how many more messages like this one fit now. Reset: seconds until the tightest window admits one
        more than now. Reset is left out where it would be a lie: no limit applies, or a limit is 0.
        """
        if self.usage is None:
            return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(LIMITER_AWAY_S)}
        tightest = min(self.usage.windows, key=lambda window: (window.remaining, -window.seconds), default=None)
        held_s = self.usage.held_ms / 1000
        if held_s > 0:
            return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(ceil(held_s))}
        if tightest is None:
            return {}
        headers = {"X-RateLimit-Remaining": str(tightest.remaining)}
        if (reset_s := _reset_s(self.usage, tightest)) is not None:
            headers["X-RateLimit-Reset"] = str(ceil(reset_s))
        return headers


async def quota(
    ports: Ports,
    policy: LimitPolicy,
    account_id: str,
    message_type: MessageType,
    recipient_id: str | None,
    now: datetime,
) -> Quota:
    """Ask the limiter, taking nothing; survives its absence."""
    limits = await ports.accounts.limits(account_id)
    asked = windows(policy, limits, now, message_type=message_type, recipient_id=recipient_id)
    try:
        reservation, usage = await asyncio.gather(
            ports.limiter.check(account_id, asked), ports.limiter.usage(account_id, asked)
        )
    except DependencyUnavailable:
        return Quota(limits=limits, reservation=None, usage=None)
    return Quota(limits=limits, reservation=reservation, usage=usage)


class WindowView(Model):
    """One window of the limits in force. ``freesAt``: full windows, when it admits one more (UTC)."""

    layer: Layer
    subject: str = Field(description="whose messages it counts", examples=["account", "type:custom"])
    limit: int
    seconds: float
    used: int
    remaining: int
    frees_at: datetime | None


class Hold(Model):
    """The platform asked the account to wait."""

    until: datetime
    reason: str


class RateLimitView(Model):
    """What would become of a message now, without sending one."""

    account_id: AccountId
    message_type: MessageType
    recipient_id: str | None
    would_send: bool = Field(description="the limits admit it and the account sends")
    account_state: AccountState
    retry_at: datetime | None = Field(description="the first moment at which the limits admit it; null: now, or never")
    binding_layer: Layer | None = Field(description="the layer that decides retryAt")
    window_seconds: float | None = Field(description="length of the window that decides retryAt")
    remaining: dict[Layer, int] = Field(description="by layer, how many more messages like this one fit now")
    windows: tuple[WindowView, ...]
    hold: Hold | None
    tier: AccountTier
    revision: int = Field(description="of the account's own limits; send it as If-Match with PUT")
    limits: AccountLimits = Field(description="what is set for this account; null follows the installation")


def rate_limit_view(
    asked: Quota, control: AccountControl, message_type: MessageType, recipient_id: str | None, now: datetime
) -> RateLimitView:
    """The dry run as it is answered. Raises ``DependencyUnavailable`` when the limiter is away."""
    reservation, usage = asked.reservation, asked.usage
    if reservation is None or usage is None:
        raise DependencyUnavailable("The limiter does not answer at the moment, so nothing can be said or sent.")
    retry_ms = None if reservation.would_grant else reservation.retry_after_ms
    return RateLimitView(
        account_id=control.account_id,
        message_type=message_type,
        recipient_id=recipient_id,
        would_send=reservation.would_grant and control.state is AccountState.ACTIVE,
        account_state=control.state,
        retry_at=_after(now, retry_ms),
        binding_layer=reservation.binding_layer,
        window_seconds=reservation.window_seconds,
        remaining=remaining_by_layer(usage),
        windows=tuple(
            WindowView(
                **window.model_dump(exclude={"frees_in_ms"}, by_alias=False), frees_at=_after(now, window.frees_in_ms)
            )
            for window in usage.windows
        ),
        hold=Hold(until=now + timedelta(milliseconds=usage.held_ms), reason=usage.held_reason)
        if usage.held_ms
        else None,
        tier=tier_of(asked.limits, now),
        revision=asked.limits.revision,
        limits=asked.limits,
    )


def remaining_by_layer(usage: AccountUsage) -> dict[Layer, int]:
    """How many more messages each layer admits now: what its fullest window has left."""
    left: dict[Layer, int] = {}
    for window in usage.windows:
        left[window.layer] = min(window.remaining, left.get(window.layer, window.remaining))
    return left


def _reset_s(usage: AccountUsage, tightest: WindowUsage) -> float | None:
    """Seconds until ``tightest`` has one more to give; 0 when nobody uses it, ``None`` when it never has."""
    if tightest.limit == 0:
        return None
    if tightest.remaining == 0:
        full = [window.frees_in_ms for window in usage.windows if window.remaining == 0]
        return None if None in full else max(ms for ms in full if ms is not None) / 1000
    if tightest.used == 0:
        return 0.0
    since = usage.now_us - tightest.seconds * _MICROSECONDS
    oldest = next((moment for moment in usage.grants_us.get(tightest.subject, ()) if moment > since), None)
    # Nothing is known of the grants of some subjects; a whole window is then the most that it can take.
    return tightest.seconds if oldest is None else max(0.0, (oldest - since) / _MICROSECONDS)


def _after(now: datetime, ms: int | None) -> datetime | None:
    return None if ms is None else now + timedelta(milliseconds=ms)
