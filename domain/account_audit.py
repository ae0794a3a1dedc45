"""What the audit log keeps of an account: who changed its state or its limits, when, why, and from what to what."""

from typing import Any

from domain.audit import AuditEntry
from domain.delivery import AccountControl, AccountState
from domain.rate_limit import AccountLimits

_STATE_ACTIONS = {
    AccountState.ACTIVE: "resumed",
    AccountState.PAUSED: "paused",
    AccountState.DRAINING: "drained",
    AccountState.SESSION_EXPIRED: "stopped",
}

_TOLD_BY_THE_ENTRY = {"account_id", "changed_by", "changed_at", "reason"}


def subject_of(account_id: str) -> str:
    """What entries call an account: its state and its limits are one list."""
    return f"account/{account_id}"


def control_entry(before: AccountControl, after: AccountControl) -> AuditEntry | None:
    """The entry of a change of an account's control; ``None``: something was only noted, and nobody changed a thing."""
    if after.changed_at == before.changed_at:
        return None
    return _entry(before, after, of="control", action=_STATE_ACTIONS[after.state])


def limits_entry(before: AccountLimits, after: AccountLimits) -> AuditEntry:
    """The entry of a change of an account's own limits."""
    return _entry(before, after, of="limits", action="limits_changed")


def _entry(
    before: AccountControl | AccountLimits, after: AccountControl | AccountLimits, *, of: str, action: str
) -> AuditEntry:
    """Before and after: the revision and what differs. Revision 0 is an account that nobody touched."""
    if after.changed_at is None:
        raise ValueError("a change without its time can't be audited")
    old, new = _audited(before), _audited(after)
    differing = [field for field in new if old[field] != new[field]]
    return AuditEntry(
        entry_id=f"{subject_of(after.account_id)}/{of}/{after.revision}",
        subject=subject_of(after.account_id),
        action=action,
        actor=after.changed_by,
        at=after.changed_at,
        reason=after.reason,
        before={field: old[field] for field in differing},
        after={field: new[field] for field in differing},
    )


def _audited(setting: AccountControl | AccountLimits) -> dict[str, Any]:
    return setting.model_dump(mode="json", by_alias=True, exclude=_TOLD_BY_THE_ENTRY)
