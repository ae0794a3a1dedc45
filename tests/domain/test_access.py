"""Who may see and send what."""

import pytest

from domain.access import ALL_ROLES, STAFF, Principal, Role

OWNED = frozenset({"acct_a", "acct_b"})


def caller(role: Role) -> Principal:
    return Principal(user_id="user-1", role=role, accounts=OWNED)


class TestMaySee:
    @pytest.mark.parametrize("role", sorted(ALL_ROLES))
    def test_everybody_sees_their_own(self, role: Role) -> None:
        assert caller(role).may_see("user-1")

    @pytest.mark.parametrize("role", sorted(ALL_ROLES))
    def test_only_staff_sees_what_belongs_to_others(self, role: Role) -> None:
        assert caller(role).may_see("user-2") is (role in {Role.OPERATOR, Role.ADMIN})


class TestForeignAccounts:
    @pytest.mark.parametrize("role", sorted(ALL_ROLES - STAFF))
    def test_accounts_of_others_are_named_once_and_sorted(self, role: Role) -> None:
        asked = ["acct_z", "acct_a", "acct_c", "acct_z"]
        assert caller(role).foreign_accounts(asked) == ("acct_c", "acct_z")

    @pytest.mark.parametrize("role", sorted(ALL_ROLES - STAFF))
    def test_none_of_ones_own_is_foreign(self, role: Role) -> None:
        assert caller(role).foreign_accounts(OWNED) == ()

    @pytest.mark.parametrize("role", sorted(STAFF))
    def test_nothing_is_foreign_to_staff(self, role: Role) -> None:
        assert caller(role).foreign_accounts(["acct_z"]) == ()
