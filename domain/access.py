"""Who is calling and what they may touch."""

from collections.abc import Iterable
from enum import StrEnum

from domain.model import Model


class Role(StrEnum):
    """``creator`` and ``agency`` act on their own; ``operator`` and ``admin`` on everybody's."""

    CREATOR = "creator"
    AGENCY = "agency"
    OPERATOR = "operator"
    ADMIN = "admin"


ALL_ROLES = frozenset(Role)
STAFF = frozenset({Role.OPERATOR, Role.ADMIN})


class Principal(Model):
    """The authenticated caller. ``accounts``: the OnlyFans accounts it may send from (staff: all of them)."""

    user_id: str
    role: Role
    accounts: frozenset[str] = frozenset()

    @property
    def is_staff(self) -> bool:
        """Operators and administrators."""
        return self.role in STAFF

    def may_see(self, owner: str) -> bool:
        """Whether something that belongs to ``owner`` is visible to the caller."""
        return self.is_staff or self.user_id == owner

    def foreign_accounts(self, accounts: Iterable[str]) -> tuple[str, ...]:
        """Those of ``accounts`` that the caller may not send from, sorted."""
        if self.is_staff:
            return ()
        return tuple(sorted(set(accounts) - self.accounts))
