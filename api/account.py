"""Changing what is set for an account, each change with its audit entry: pause, drain, resume, and its limits."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from adapters.bootstrap import Ports
from domain.access import Principal
from domain.account_audit import control_entry, limits_entry
from domain.delivery import AccountControl, AccountState
from domain.errors import Conflict, Forbidden
from domain.rate_limit import AccountLimits

ATTEMPTS = 5
"""How often a change is tried again when somebody else was faster."""

_SET_BY_PERSONS = frozenset({AccountState.PAUSED, AccountState.DRAINING})

Change = Callable[[AccountControl], AccountControl | None]
LimitsChange = Callable[[AccountLimits], AccountLimits | None]

_Setting = TypeVar("_Setting", AccountControl, AccountLimits)


async def change_control(account_id: str, change: Change, ports: Ports) -> AccountControl:
    """Store what ``change`` makes of the present control, or leave it alone when that is nothing.

    Raises ``Conflict`` when others keep changing it meanwhile.
    """

    async def write(present: AccountControl, changed: AccountControl) -> bool:
        return await ports.accounts.put_control(changed, control_entry(present, changed))

    return await _change("state", lambda: ports.accounts.control(account_id), change, write)


async def change_limits(account_id: str, change: LimitsChange, ports: Ports) -> AccountLimits:
    """Likewise for what is set of the account's limits."""

    async def write(present: AccountLimits, changed: AccountLimits) -> bool:
        return await ports.accounts.put_limits(changed, limits_entry(present, changed))

    return await _change("limits", lambda: ports.accounts.limits(account_id), change, write)


def set_by(caller: Principal, state: AccountState, reason: str) -> Change:
    """The change that brings an account into ``state`` for a person's reason, whatever it was in before.

    The change raises ``Forbidden`` when staff has paused or drained the account and the caller is its owner.
    """

    def change(control: AccountControl) -> AccountControl:
        if control.by_staff and control.state in _SET_BY_PERSONS and not caller.is_staff:
            raise Forbidden(
                f"Staff ({control.changed_by}) has set {control.account_id} to {control.state}"
                f"{f': {control.reason}' if control.reason else ''}. Only an operator or an administrator can change "
                "that; ask one of them.",
                field="accountId",
            )
        now = datetime.now(UTC)
        # Whoever ends the standstill of an expired session knows better than an event that comes late.
        ends_expiry = control.state is AccountState.SESSION_EXPIRED and state is AccountState.ACTIVE
        return control.model_copy(
            update={
                "state": state,
                "reason": reason,
                "changed_by": caller.user_id,
                "by_staff": caller.is_staff,
                "changed_at": now,
                "session_changed_at": now if ends_expiry else control.session_changed_at,
                "revision": control.revision + 1,
            }
        )

    return change


async def _change(
    what: str,
    read: Callable[[], Awaitable[_Setting]],
    change: Callable[[_Setting], _Setting | None],
    write: Callable[[_Setting, _Setting], Awaitable[bool]],
) -> _Setting:
    for _ in range(ATTEMPTS):
        present = await read()
        changed = change(present)
        if changed is None:
            return present
        if await write(present, changed):
            return changed
    raise Conflict(f"Others change the {what} of this account at this moment; look at it and try again.")
