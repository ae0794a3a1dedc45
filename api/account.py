"""Changing what operators say about an account: pause, drain, resume."""

from collections.abc import Callable
from datetime import UTC, datetime

from adapters.bootstrap import Ports
from domain.access import Principal
from domain.delivery import AccountControl, AccountState
from domain.errors import Conflict, Forbidden

ATTEMPTS = 5
"""How often a change is tried again when somebody else was faster."""

_SET_BY_PERSONS = frozenset({AccountState.PAUSED, AccountState.DRAINING})

Change = Callable[[AccountControl], AccountControl | None]


async def change_control(account_id: str, change: Change, ports: Ports) -> AccountControl:
    """Store what ``change`` makes of the present control, or leave it alone when that is nothing.

    Raises ``Conflict`` when others keep changing it meanwhile.
    """
    for _ in range(ATTEMPTS):
        present = await ports.accounts.control(account_id)
        changed = change(present)
        if changed is None:
            return present
        if await ports.accounts.put_control(changed):
            return changed
    raise Conflict("Others change the state of this account at this moment; look at it and try again.")


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
