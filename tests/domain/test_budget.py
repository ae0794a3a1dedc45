"""Budgets: which ones pay for a call, what is in force, and what is told when one is spent."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.alert import AlertKind, Severity
from domain.budget import (
    EVERYBODY,
    USER_FIELDS,
    Budget,
    BudgetCaps,
    BudgetChange,
    BudgetScope,
    BudgetSettings,
    BudgetStanding,
    budgets,
    denial,
    exhausted_alert,
    in_force,
    unknown_price_alert,
)

NOW = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
caps = st.builds(
    BudgetCaps,
    **{name: st.none() | st.decimals(min_value=0, max_value=100, places=2) for name in BudgetCaps.model_fields},
)
fields = st.lists(st.sampled_from(list(BudgetCaps.model_fields)), unique=True).map(tuple)


def charged(**given_caps: Decimal) -> dict[BudgetScope, Budget]:
    found = budgets(BudgetCaps(**given_caps), owner="luna", campaign_id="c-1", max_cost_micros=7, now=NOW)
    return {budget.scope: budget for budget in found}


class TestBudgets:
    def test_six_pay_for_every_call(self) -> None:
        found = charged(user_day=Decimal("0.5"))
        assert set(found) == set(BudgetScope)
        assert found[BudgetScope.REQUEST].cap_micros == 7
        assert found[BudgetScope.USER_DAY] == Budget(
            scope=BudgetScope.USER_DAY, subject="luna", period="2026-11-22", cap_micros=500_000
        )
        assert found[BudgetScope.GLOBAL_MONTH].cap_micros is None

    def test_days_and_months_are_those_of_utc(self) -> None:
        elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))
        found = budgets(BudgetCaps(), owner="luna", campaign_id="c-1", max_cost_micros=None, now=elsewhere)
        assert {budget.period for budget in found} == {"", "2026-11-22", "2026-11"}

    def test_request_and_campaign_are_caps_on_the_same_money_and_nothing_else_is(self) -> None:
        accounts = {scope: budget.account for scope, budget in charged().items()}
        assert accounts[BudgetScope.REQUEST] == accounts[BudgetScope.CAMPAIGN]
        assert len(set(accounts.values())) == len(BudgetScope) - 1

    def test_a_month_is_all_of_its_days(self) -> None:
        found = charged()
        first, last = found[BudgetScope.USER_MONTH].days
        assert first == "2026-11-01"
        assert first <= "2026-11-30" <= last < "2026-12-01"
        assert found[BudgetScope.USER_DAY].days == ("2026-11-22", "2026-11-22")


class TestStanding:
    @given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
    def test_what_remains_is_never_negative(self, cap: int, committed: int, reserved: int) -> None:
        budget = Budget(scope=BudgetScope.CAMPAIGN, cap_micros=cap)
        standing = BudgetStanding(budget=budget, committed_micros=committed, reserved_micros=reserved)
        assert standing.remaining_micros == max(0, cap - committed - reserved)

    def test_without_a_cap_there_is_no_end(self) -> None:
        assert BudgetStanding(budget=Budget(scope=BudgetScope.CAMPAIGN)).remaining_micros is None


class TestInForce:
    @given(caps, caps, fields, caps, fields)
    def test_field_by_field_the_users_then_everybodys_then_the_default(
        self,
        defaults: BudgetCaps,
        for_all: BudgetCaps,
        set_for_all: tuple[str, ...],
        own: BudgetCaps,
        set_for_user: tuple[str, ...],
    ) -> None:
        found = in_force(
            defaults,
            BudgetSettings(subject=EVERYBODY, caps=for_all, set_fields=set_for_all),
            BudgetSettings(subject="luna", caps=own, set_fields=set_for_user),
        )
        for name in BudgetCaps.model_fields:
            source = (
                own if name in set_for_user and name in USER_FIELDS else for_all if name in set_for_all else defaults
            )
            assert getattr(found, name) == getattr(source, name)


class TestChange:
    def test_null_is_set_and_what_is_left_out_is_not(self) -> None:
        change = BudgetChange.model_validate({"userMonth": None, "userDay": "2.5", "reason": "test"})
        assert change.set_fields() == ("user_day", "user_month")
        assert change.caps() == BudgetCaps(user_day=Decimal("2.5"))

    @pytest.mark.parametrize(
        "wrong", [{"userDay": -1}, {"userDay": 1_000_001}, {"userDay": "NaN"}, {"reason": ""}, {"userDays": 1}]
    )
    def test_what_is_no_budget_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            BudgetChange.model_validate({"reason": "test", **wrong})


class TestAlerts:
    def test_a_budget_is_told_of_once_in_its_period(self) -> None:
        found = charged(user_day=Decimal(5))
        refusal = denial(found[BudgetScope.USER_DAY], remaining_micros=3, needed_micros=10)
        first = exhausted_alert(tuple(found.values()), refusal, NOW)
        later = exhausted_alert(tuple(found.values()), refusal, NOW + timedelta(minutes=5))
        assert first is not None
        assert later is not None
        assert first.alert_id == later.alert_id
        assert (first.kind, first.severity) == (AlertKind.BUDGET_EXHAUSTED, Severity.WARNING)
        assert "2026-11-22" in first.detail
        assert "$5.00" in first.detail

    def test_what_stops_everybody_is_critical(self) -> None:
        found = charged(global_month=Decimal(5))
        refusal = denial(found[BudgetScope.GLOBAL_MONTH], remaining_micros=0, needed_micros=10)
        alert = exhausted_alert(tuple(found.values()), refusal, NOW)
        assert alert is not None
        assert alert.severity is Severity.CRITICAL

    def test_a_callers_own_limit_is_no_event(self) -> None:
        found = charged()
        refusal = denial(found[BudgetScope.REQUEST], remaining_micros=0, needed_micros=10)
        assert exhausted_alert(tuple(found.values()), refusal, NOW) is None

    def test_a_refusal_says_which_budget_how_much_it_has_left_and_how_much_was_needed(self) -> None:
        refusal = denial(charged(user_day=Decimal(5))[BudgetScope.USER_DAY], remaining_micros=3, needed_micros=10)
        assert (refusal.scope, refusal.remaining_micros) == ("user_day", 3)
        assert all(part in refusal.message for part in ("user_day", "2026-11-22", "$0.000003", "$5.0", "$0.000010"))

    def test_an_unknown_model_is_told_of_once_a_day(self) -> None:
        first, second, next_day = (
            unknown_price_alert("azure", "x-1", moment)
            for moment in (NOW, NOW + timedelta(minutes=29), NOW + timedelta(minutes=31))
        )
        assert first.alert_id == second.alert_id != next_day.alert_id
        assert first.kind is AlertKind.UNKNOWN_PRICE
