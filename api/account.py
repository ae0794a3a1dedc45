"""Changing what operators say about an account: pause, drain, resume."""

from collections.abc import Callable
from datetime import UTC, datetime

from adapters.bootstrap import Ports
from domain.delivery import AccountControl, AccountState
from domain.errors import Conflict

ATTEMPTS = 5
"""How often a change is tried again when somebody else was faster."""

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


def set_by(user_id: str, state: AccountState, reason: str) -> Change:
    """The change that brings an account into ``state`` for a person's reason, whatever it was in before."""

    def change(control: AccountControl) -> AccountControl:
        now = datetime.now(UTC)
        # Whoever ends the standstill of an expired session knows better than an event that comes late.
        ends_expiry = control.state is AccountState.SESSION_EXPIRED and state is AccountState.ACTIVE
        return control.model_copy(
            update={
                "state": state,
                "reason": reason,
                "changed_by": user_id,
                "changed_at": now,
                "session_changed_at": now if ends_expiry else control.session_changed_at,
                "revision": control.revision + 1,
            }
        )

    return change
