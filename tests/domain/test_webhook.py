"""What an event changes: whatever the order and the repetitions, the latest word about a session counts."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.alert import AlertKind
from domain.delivery import AccountControl, AccountState
from domain.rate_limit import AccountLimits, AccountTier, tier_of
from domain.webhook import (
    CONNECTED,
    RECONNECTED,
    SESSION_EXPIRED,
    WebhookEvent,
    connection,
    happened_at,
    session_change,
)
from local.onlyfans.webhooks import account_payload

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
S = AccountState


def event(name: str, at: datetime | None = None, **payload: Any) -> WebhookEvent:
    """An event about an account as the gateway's docs show it; ``at``: its sign-in began then."""
    return WebhookEvent(
        event=name, account_id="acct_luna", payload={**({} if at is None else account_payload(at)), **payload}
    )


def control(state: AccountState = S.ACTIVE, **changes: Any) -> AccountControl:
    return AccountControl(account_id="acct_luna", state=state, revision=3, **changes)


def after(present: AccountControl, *events: WebhookEvent) -> AccountControl:
    for each in events:
        change = session_change(present, each, NOW, "digest")
        present = present if change is None else change.control
    return present


class TestHappenedAt:
    @pytest.mark.parametrize("name", ["createdAt", "created_at", "timestamp"])
    @pytest.mark.parametrize(
        "written",
        [
            "2026-11-22T04:00:00Z",
            "2026-11-22T05:00:00+01:00",
            "2026-11-22T04:00:00",
            1795320000,
            1795320000000,
            "1795320000",
        ],
    )
    def test_every_way_to_write_a_time(self, name: str, written: object) -> None:
        said = WebhookEvent(event="x", account_id="acct_luna", payload={name: written})
        assert happened_at(said, NOW) == NOW - timedelta(hours=1)

    @pytest.mark.parametrize(
        "written", [None, "yesterday", "", True, {}, [], float("nan"), float("inf"), 1e300, "9" * 40]
    )
    def test_what_is_no_time_happened_when_it_came(self, written: object) -> None:
        assert happened_at(event("x", createdAt=written), NOW) == NOW

    def test_an_event_about_an_account_is_as_old_as_its_sign_in(self) -> None:
        begun, completed = NOW - timedelta(minutes=9), NOW - timedelta(minutes=8)
        assert happened_at(event(SESSION_EXPIRED, begun), NOW) == begun
        done = WebhookEvent(event=RECONNECTED, account_id="acct_luna", payload=account_payload(begun, completed))
        assert happened_at(done, NOW) == completed

    @pytest.mark.parametrize("sign_in", [None, "2026-11-22T04:00:00Z", [], {}, {"completed_at": None}, 7])
    def test_a_sign_in_without_a_time_dates_nothing(self, sign_in: object) -> None:
        assert happened_at(event("x", latestAuthAttempt=sign_in), NOW) == NOW

    def test_nothing_happens_in_the_future(self) -> None:
        assert happened_at(event("x", NOW + timedelta(days=400)), NOW) == NOW

    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=3))
    def test_no_payload_breaks_it(self, written: object) -> None:
        assert happened_at(event("x", timestamp=written), NOW) <= NOW


class TestSessionChange:
    def test_an_expired_session_stops_the_account_and_alerts(self) -> None:
        change = session_change(control(), event(SESSION_EXPIRED), NOW, "digest")
        assert change is not None
        assert (change.control.state, change.control.revision) == (S.SESSION_EXPIRED, 4)
        assert (change.alert.kind, change.alert.alert_id) == (AlertKind.SESSION_EXPIRED, "webhook:digest")
        assert change.wake is False

    def test_a_reconnection_ends_only_that(self) -> None:
        change = session_change(control(S.SESSION_EXPIRED), event(RECONNECTED), NOW, "digest")
        assert change is not None
        assert (change.control.state, change.wake) == (S.ACTIVE, True)

    @pytest.mark.parametrize("state", [S.PAUSED, S.DRAINING])
    @pytest.mark.parametrize("name", [SESSION_EXPIRED, RECONNECTED])
    def test_an_operators_word_holds_and_the_platforms_is_noted(self, state: AccountState, name: str) -> None:
        before = control(state, reason="holiday", changed_by="maya")
        found = after(before, event(name))
        assert (found.state, found.reason, found.changed_by) == (state, "holiday", "maya")
        assert found.session_changed_at == NOW

    def test_other_events_change_nothing(self) -> None:
        assert session_change(control(), event("messages.received"), NOW, "digest") is None

    def test_the_last_word_counts_whatever_the_order(self) -> None:
        story = [
            event(name, NOW - timedelta(minutes=minutes))
            for minutes, name in ((30, SESSION_EXPIRED), (20, RECONNECTED), (10, SESSION_EXPIRED), (5, RECONNECTED))
        ]
        for size in range(1, len(story) + 1):
            wanted = S.SESSION_EXPIRED if story[size - 1].event == SESSION_EXPIRED else S.ACTIVE
            for order in permutations(story[:size]):
                assert after(control(), *order).state is wanted
                assert after(control(), *order, *order).state is wanted

    def test_of_one_sign_in_that_failed_and_then_worked_the_reconnection_counts(self) -> None:
        story = (event(SESSION_EXPIRED, NOW), event(RECONNECTED, NOW))
        for order in permutations(story * 2):
            assert after(control(), *order).state is S.ACTIVE

    def test_an_expiry_whose_alert_failed_is_acted_on_again(self) -> None:
        expired = event(SESSION_EXPIRED, NOW)
        again = session_change(after(control(), expired), expired, NOW, "digest")
        assert again is not None
        assert (again.control.state, again.alert.kind) == (S.SESSION_EXPIRED, AlertKind.SESSION_EXPIRED)

    def test_an_old_event_raises_no_alert(self) -> None:
        known = control(session_changed_at=NOW)
        assert session_change(known, event(SESSION_EXPIRED, NOW - timedelta(seconds=1)), NOW, "digest") is None


class TestConnection:
    def test_an_account_is_as_old_as_its_connection(self) -> None:
        connected_at = NOW - timedelta(days=3)
        limits = connection(AccountLimits(account_id="acct_luna", revision=2), event(CONNECTED, connected_at), NOW)
        assert limits is not None
        assert (limits.connected_at, limits.revision, limits.changed_by, limits.changed_at) == (
            connected_at,
            3,
            "webhook",
            NOW,
        )
        assert tier_of(limits, NOW) is AccountTier.NEW
        assert tier_of(limits, connected_at + timedelta(days=30)) is AccountTier.ESTABLISHED

    def test_what_is_set_besides_stays(self) -> None:
        staffs = AccountLimits(account_id="acct_luna", tier=AccountTier.POWER, pacing_ms=7, revision=1)
        limits = connection(staffs, event(CONNECTED, NOW), NOW)
        assert limits is not None
        assert (limits.tier, limits.pacing_ms, limits.connected_at) == (AccountTier.POWER, 7, NOW)

    def test_what_is_known_already_stays(self) -> None:
        known = AccountLimits(account_id="acct_luna", connected_at=NOW - timedelta(days=400), revision=1)
        assert connection(known, event(CONNECTED, NOW), NOW) is None

    @pytest.mark.parametrize("name", [RECONNECTED, SESSION_EXPIRED, "messages.received"])
    def test_other_events_change_nothing(self, name: str) -> None:
        assert connection(AccountLimits(account_id="acct_luna"), event(name, NOW), NOW) is None
