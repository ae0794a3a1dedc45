"""What the gateway's webhooks mean for an account: pure, so that disorder and repetition can be tested as values.

Events may come twice, late and in any order. The one who consumes them tells repetitions apart by the body;
here the time that an event carries decides: what is older than the last word about the session changes nothing.

Events about an account carry no time of their own, only those of its latest sign-in, and the gateway tells of an
expired session once a sign-in of its own has failed (docs.onlyfansapi.com/webhooks/available-events). So that
sign-in dates them.
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from domain.alert import Alert, AlertKind, Severity
from domain.delivery import AccountControl, AccountState
from domain.model import AccountId, Model
from domain.rate_limit import AccountLimits

CONNECTED = "accounts.connected"
SESSION_EXPIRED = "accounts.session_expired"
RECONNECTED = "accounts.reconnected"
CHANGED_BY = "webhook"
"""Who changed an account's state or limits, as these and their history say."""

_TIMES = ("createdAt", "created_at", "timestamp")
_SIGN_IN = "latestAuthAttempt"
_SIGN_IN_TIMES = ("completed_at", "started_at")
_MILLISECONDS_FROM = 100_000_000_000
"""An epoch as large as this is in ms: in seconds it would be the year 5138."""


class WebhookEvent(Model):
    """One event as the gateway sends it."""

    event: str = Field(min_length=1, max_length=100, examples=[SESSION_EXPIRED])
    account_id: AccountId = Field(alias="account_id")
    payload: dict[str, Any] = Field(default_factory=dict)


class SessionChange(Model):
    """What an event about a session asks for. ``wake``: the queue should look again; it may well send now."""

    control: AccountControl
    alert: Alert
    wake: bool


def happened_at(event: WebhookEvent, received: datetime) -> datetime:
    """When the event happened by its own word, never later than ``received``; without a word, when it came."""
    sign_in = event.payload.get(_SIGN_IN)
    said = [
        *(event.payload.get(name) for name in _TIMES),
        *(sign_in.get(name) for name in _SIGN_IN_TIMES if isinstance(sign_in, dict)),
    ]
    moments = (moment for each in said if (moment := _moment(each)) is not None)
    return min(next(moments, received), received)


def connection(limits: AccountLimits, event: WebhookEvent, received: datetime) -> AccountLimits | None:
    """The limits of an account after ``event``: it is as old as its connection. ``None``: the event is about something
    else, or it is known already since when the account exists."""
    if event.event != CONNECTED or limits.connected_at is not None:
        return None
    changes: dict[str, object] = {
        "connected_at": happened_at(event, received),
        "revision": limits.revision + 1,
        "changed_by": CHANGED_BY,
        "changed_at": received,
        "reason": "the account was connected at the gateway",
    }
    return limits.model_copy(update=changes)


def session_change(
    control: AccountControl, event: WebhookEvent, received: datetime, digest: str
) -> SessionChange | None:
    """The account after ``event``; ``None``: it is about something else, or older than what is known already.

    An operator's word (paused, draining) holds: only the platform's last word about the session is noted then.
    ``digest`` names the alert, so that repeating this raises it once.
    """
    if event.event not in {SESSION_EXPIRED, RECONNECTED}:
        return None
    moment = happened_at(event, received)
    expired = event.event == SESSION_EXPIRED
    if control.session_changed_at is not None and _is_old(control, control.session_changed_at, moment, expired):
        return None
    changes: dict[str, object] = {"session_changed_at": moment, "revision": control.revision + 1}
    if control.state is (AccountState.ACTIVE if expired else AccountState.SESSION_EXPIRED):
        changes |= {
            "state": AccountState.SESSION_EXPIRED if expired else AccountState.ACTIVE,
            "reason": "session_expired" if expired else "",
            "changed_by": CHANGED_BY,
            "changed_at": received,
        }
    alert = Alert(
        alert_id=f"webhook:{digest}",
        kind=AlertKind.SESSION_EXPIRED if expired else AlertKind.SESSION_RECONNECTED,
        severity=Severity.CRITICAL if expired else Severity.INFO,
        at=received,
        account_id=event.account_id,
        detail="connect the account again at the gateway" if expired else "the account is connected again",
    )
    return SessionChange(control=control.model_copy(update=changes), alert=alert, wake=not expired)


def _is_old(control: AccountControl, last: datetime, moment: datetime, expired: bool) -> bool:
    """Whether the ``last`` word about the session is a later one than that of ``moment``."""
    # A sign-in that failed may work in the end, so of two words about one sign-in the reconnection is the later one.
    reconnected = expired and control.state is AccountState.ACTIVE
    return moment < last or (moment == last and reconnected)


def _moment(value: object) -> datetime | None:
    """An ISO 8601 time (UTC where no offset is given) or an epoch in seconds or ms."""
    try:
        if isinstance(value, str) and not value.strip().isdecimal():
            moment = datetime.fromisoformat(value.strip())
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            epoch = float(value)
            return datetime.fromtimestamp(epoch / 1000 if epoch >= _MILLISECONDS_FROM else epoch, UTC)
    except (ValueError, OverflowError, OSError):
        # A time that can't be read is no time.
        return None
    return None
