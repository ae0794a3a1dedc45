"""What an event changes: whatever the order and the repetitions, the latest word about a session counts."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.alert import AlertKind
from domain.delivery import AccountControl, AccountState
from domain.webhook import RECONNECTED, SESSION_EXPIRED, WebhookEvent, happened_at, session_change

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
S = AccountState


def event(name: str, at: datetime | None = None, **payload: Any) -> WebhookEvent:
    times = {} if at is None else {"createdAt": at.isoformat()}
    return WebhookEvent(event=name, account_id="acct_luna", payload={**times, **payload})


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
            wanted = after(control(), *story[:size]).state
            for order in permutations(story[:size]):
                assert after(control(), *order).state is wanted
                assert after(control(), *order, *order).state is wanted

    def test_an_old_event_raises_no_alert(self) -> None:
        known = control(session_changed_at=NOW)
        assert session_change(known, event(SESSION_EXPIRED, NOW - timedelta(seconds=1)), NOW, "digest") is None
