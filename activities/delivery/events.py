"""What the platform's answers mean for an account beyond the message at hand: sessions, violations, dead letters."""

from datetime import UTC, datetime
from uuid import uuid4

from temporalio import activity

from domain.alert import Alert, AlertKind, Severity
from domain.delivery import AccountControl, AccountState, Message
from domain.errors import DependencyUnavailable
from domain.ports import AccountStore, Alerts

_BY = "platform"
_RECONNECT = "connect the account again at the gateway"


class PlatformEvents:
    """Keeps the account's control and the alerts; an alert that can't be stored never stops a delivery."""

    def __init__(self, accounts: AccountStore, alerts: Alerts, account_id: str) -> None:
        self._accounts = accounts
        self._alerts = alerts
        self._account_id = account_id

    async def violation(self, detail: str) -> None:
        """The platform throttled what our limiter had admitted."""
        await self._alert(AlertKind.RATE_LIMIT_VIOLATION, Severity.WARNING, detail)

    async def auth_failed(self) -> None:
        """The gateway does not accept our key for this account."""
        await self._alert(AlertKind.GATEWAY_AUTH, Severity.CRITICAL, "the gateway refuses our key")

    async def dead_letter(self, message: Message, reason: str) -> None:
        """A message was given up."""
        await self._alert(
            AlertKind.DEAD_LETTER,
            Severity.WARNING,
            f"message {message.message_id}: {reason}",
            alert_id=f"dead-letter-{message.message_id}",
        )

    async def session_expired(self) -> bool:
        """The account stands still until it is reconnected. False: an operator's word about it stays in force."""
        control = await self._accounts.control(self._account_id)
        if control.state in {AccountState.PAUSED, AccountState.DRAINING}:
            hour = datetime.now(UTC).isoformat(timespec="hours")
            alert_id = f"session-expired-{self._account_id}-{hour}"
            await self._alert(AlertKind.SESSION_EXPIRED, Severity.CRITICAL, _RECONNECT, alert_id)
            return False
        first = control.state is not AccountState.SESSION_EXPIRED
        await self._accounts.put_control(_changed(control, AccountState.SESSION_EXPIRED, "session expired"))
        if first:
            await self._alert(AlertKind.SESSION_EXPIRED, Severity.CRITICAL, _RECONNECT)
        return True

    async def session_works(self) -> None:
        """A message got through: a session that was taken for expired is back."""
        control = await self._accounts.control(self._account_id)
        if control.state is AccountState.SESSION_EXPIRED and await self._accounts.put_control(
            _changed(control, AccountState.ACTIVE, "a message got through")
        ):
            await self._alert(AlertKind.SESSION_RECONNECTED, Severity.INFO, "a message got through")

    async def _alert(self, kind: AlertKind, severity: Severity, detail: str, alert_id: str | None = None) -> None:
        alert = Alert(
            alert_id=alert_id or str(uuid4()),
            kind=kind,
            severity=severity,
            at=datetime.now(UTC),
            account_id=self._account_id,
            detail=detail,
        )
        try:
            await self._alerts.raise_alert(alert)
        except DependencyUnavailable:
            activity.logger.warning("an alert could not be stored", extra={"kind": kind})


def _changed(control: AccountControl, state: AccountState, reason: str) -> AccountControl:
    return control.model_copy(
        update={
            "state": state,
            "reason": reason,
            "changed_by": _BY,
            "changed_at": datetime.now(UTC),
            "revision": control.revision + 1,
        }
    )
