"""Limits as values: layers, tiers, what an operator may set, and the windows that follow."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.rate_limit import (
    AccountLimits,
    AccountLimitsRequest,
    AccountTier,
    Cap,
    Layer,
    LimitPolicy,
    MessageType,
    Slot,
    account_windows,
    tier_of,
    type_windows,
    windows,
)
from tests.domain.builders import NOW

POLICY = LimitPolicy()
ACCOUNT = AccountLimits(account_id="acct_a")


def caps(found: object) -> list[tuple[Layer, int, float]]:
    return [(window.layer, window.limit, window.seconds) for window in found]  # type: ignore[attr-defined]


class TestTiers:
    @pytest.mark.parametrize(
        ("tier", "limits"),
        [
            (AccountTier.NEW, [5, 30, 100]),
            (AccountTier.ESTABLISHED, [10, 80, 250]),
            (AccountTier.POWER, [10, 100, 400]),
            (AccountTier.AGENCY, [10, 150, 600]),
        ],
    )
    def test_each_has_its_windows_of_a_minute_an_hour_and_a_day(self, tier: AccountTier, limits: list[int]) -> None:
        found = account_windows(POLICY, ACCOUNT.model_copy(update={"tier": tier}), NOW)
        expected = [(Layer.ACCOUNT, limit, span) for limit, span in zip(limits, (60, 3_600, 86_400), strict=True)]
        assert caps(found) == expected

    @given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=90)))
    def test_an_account_is_new_for_thirty_days(self, age: timedelta) -> None:
        limits = ACCOUNT.model_copy(update={"connected_at": NOW - age})
        expected = AccountTier.NEW if age < timedelta(days=30) else AccountTier.ESTABLISHED
        assert tier_of(limits, NOW) is expected
        assert tier_of(limits.model_copy(update={"tier": AccountTier.POWER}), NOW) is AccountTier.POWER


class TestWindows:
    def test_a_message_has_to_fit_into_every_layer(self) -> None:
        found = windows(POLICY, ACCOUNT, NOW, message_type=MessageType.CUSTOM, recipient_id="7")
        assert [(window.layer, window.subject) for window in found] == [
            *[(Layer.ACCOUNT, "account")] * 3,
            (Layer.MESSAGE_TYPE, "type:custom"),
            *[(Layer.RECIPIENT, "recipient:7")] * 2,
            *[(Layer.SYSTEM, "system")] * 2,
        ]

    def test_what_has_no_recipient_has_no_window_of_one(self) -> None:
        found = windows(POLICY, ACCOUNT, NOW, message_type=MessageType.CUSTOM, recipient_id=None)
        assert Layer.RECIPIENT not in {window.layer for window in found}

    def test_null_is_no_window_and_zero_is_one_that_is_always_full(self) -> None:
        own = (Cap(limit=None, seconds=3_600), Cap(limit=0, seconds=86_400))
        found = account_windows(POLICY, ACCOUNT.model_copy(update={"account": own}), NOW)
        assert caps(found) == [(Layer.ACCOUNT, 10, 60), (Layer.ACCOUNT, 0, 86_400)]

    @given(st.none() | st.integers(min_value=0, max_value=1_000))
    def test_the_ceiling_holds_whatever_an_account_says(self, limit: int | None) -> None:
        own = ACCOUNT.model_copy(update={"account": (Cap(limit=limit, seconds=60),)})
        [minute] = account_windows(POLICY, own, NOW)
        assert minute.limit == (10 if limit is None else min(limit, 10))

    def test_pacing_is_one_message_in_each_gap(self) -> None:
        found = account_windows(POLICY, ACCOUNT.model_copy(update={"pacing_ms": 1_500}), NOW)
        assert caps(found)[-1] == (Layer.PACING, 1, 1.5)

    def test_an_account_may_have_its_own_limit_of_one_type_alone(self) -> None:
        own = ACCOUNT.model_copy(update={"message_types": {MessageType.WELCOME: (Cap(limit=3, seconds=10),)}})
        assert caps(type_windows(POLICY, own, MessageType.WELCOME)) == [(Layer.MESSAGE_TYPE, 3, 10)]
        assert caps(type_windows(POLICY, own, MessageType.CUSTOM)) == [(Layer.MESSAGE_TYPE, 5, 60)]


class TestPolicy:
    def test_what_is_left_out_keeps_its_default(self) -> None:
        policy = LimitPolicy.model_validate({"messageTypes": {"promotional": []}})
        assert policy.message_types[MessageType.PROMOTIONAL] == ()
        assert policy.message_types[MessageType.CUSTOM] == POLICY.message_types[MessageType.CUSTOM]
        assert policy.tiers == POLICY.tiers

    @given(st.sampled_from([0.5, 1 / 60, 2.0]))
    def test_scaled_in_time_only_lengths_change(self, factor: float) -> None:
        ask = {"message_type": MessageType.CUSTOM, "recipient_id": "7"}
        plain = windows(POLICY, ACCOUNT, NOW, **ask)  # type: ignore[arg-type]
        scaled = windows(POLICY.scaled(factor), ACCOUNT, NOW, **ask)  # type: ignore[arg-type]
        assert [window.limit for window in scaled] == [window.limit for window in plain]
        assert [window.seconds for window in scaled] == pytest.approx([window.seconds * factor for window in plain])


class TestRequest:
    @pytest.mark.parametrize(("limit", "seconds"), [(11, 60), (11, 30), (600, 1)])
    def test_more_than_the_ceiling_is_refused_and_says_what_is_allowed(self, limit: int, seconds: int) -> None:
        with pytest.raises(ValidationError, match="no account may send more than 10 in 60 s"):
            AccountLimitsRequest.model_validate({"account": [{"limit": limit, "seconds": seconds}]})

    @pytest.mark.parametrize(("limit", "seconds"), [(-1, 60), (1, 0), (1, 86_401), ("many", 60)])
    def test_nonsense_is_refused(self, limit: object, seconds: object) -> None:
        with pytest.raises(ValidationError):
            AccountLimitsRequest.model_validate({"account": [{"limit": limit, "seconds": seconds}]})


class TestSlot:
    def test_it_counts_for_account_type_fan_and_everybody(self) -> None:
        slot = Slot(
            lease_id="l", account_id="acct_a", message_type=MessageType.CUSTOM, recipient_id="7", counts_at_us=1
        )
        assert set(slot.subjects) == {"account", "type:custom", "recipient:7", "system"}
        assert "recipient:7" not in slot.model_copy(update={"recipient_id": None}).subjects


@pytest.mark.parametrize("layer", Layer)
def test_a_fan_or_a_type_that_is_limited_holds_up_nobody_else(layer: Layer) -> None:
    assert layer.holds_account is (layer not in {Layer.MESSAGE_TYPE, Layer.RECIPIENT})
