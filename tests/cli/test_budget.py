"""Budgets as people write them."""

import pytest

from api.routes.budget import ChangeView
from cli.budget import address, dollars_of, set_caps
from cli.console import Complaint
from domain.budget import BudgetChange, BudgetSettings


def test_amounts_are_what_the_api_takes() -> None:
    given = {"userDay": dollars_of("2.50"), "userMonth": dollars_of(" none "), "campaign": dollars_of("0")}
    change = BudgetChange.model_validate({**given, "reason": "test"})
    assert change.set_fields() == ("campaign", "user_day", "user_month")
    assert [change.campaign, change.user_day, change.user_month] == [0, 2.5, None]


@pytest.mark.parametrize("text", ["", "$5", "-1", "1,000", "5e3", "0.0000001", "NaN", "12345678"])
def test_anything_else_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(Complaint) as refused:
        dollars_of(text)
    assert "2.50" in refused.value.remedy


def test_what_was_set_is_kept_and_defaults_are_not_made_settings() -> None:
    stored = BudgetSettings.model_validate(
        {
            "subject": "luna",
            "caps": {"userDay": "5", "globalDay": "9"},
            "setFields": ["user_day", "user_month"],
        }
    )
    assert set_caps(ChangeView.of(stored).model_dump(mode="json")) == {"userDay": "5", "userMonth": None}


def test_a_user_may_be_called_anything() -> None:
    assert address("global", is_user=False) == ("/api/v2/budgets/global", {})
    assert address("global", is_user=True) == ("/api/v2/user-budgets", {"user": "global"})
    assert address("team/luna", is_user=False) == ("/api/v2/user-budgets", {"user": "team/luna"})
