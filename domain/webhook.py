"""What the gateway's webhooks mean for an account: pure, so that disorder and repetition can be tested as values.

Events may come twice, late and in any order. The one who consumes them tells repetitions apart by the body;
here the time that an event carries decides: what is older than the last word about the session changes nothing.
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from domain.alert import Alert, AlertKind, Severity
from domain.delivery import AccountControl, AccountState
from domain.model import AccountId, Model

SESSION_EXPIRED = "accounts.session_expired"
RECONNECTED = "accounts.reconnected"
CHANGED_BY = "webhook"
"""Who changed an account's state, as its control and its history say."""

_TIMES = ("createdAt", "created_at", "timestamp")
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
    for name in _TIMES:
        if (moment := _moment(event.payload.get(name))) is not None:
            return min(moment, received)
    return received


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
    if control.session_changed_at is not None and moment < control.session_changed_at:
        return None
    expired = event.event == SESSION_EXPIRED
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
