"""What a caller may say about the delivery, and when a page is too late for its deadline."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.alternative import AlternativeAction, DeliveryTimes, Page, page_eta, too_late
from domain.delivery import Priority
from domain.rate_limit import ACCOUNT_SUBJECT, AccountUsage, Layer, MessageType, WindowUsage
from domain.send_queue import QueuedMessage, QueueOutlook
from tests.domain.builders import NOW, an_intent

EARLY, LATE = "2026-12-01T08:00:00Z", "2026-12-01T09:00:00Z"
NOW_US = int(NOW.timestamp() * 1_000_000)
LIMIT, SPAN_S = 2, 60


class TestDeliveryPolicy:
    @pytest.mark.parametrize(
        ("delivery", "field", "message"),
        [
            ({"notBefore": LATE, "expiresAt": EARLY}, "expiresAt", "must be later than notBefore"),
            ({"notBefore": EARLY, "expiresAt": EARLY}, "expiresAt", "must be later than notBefore"),
            ({"deadline": EARLY}, "deadline", "needs onDeadline, one of mass_message, save_for_later, skip"),
            ({"onDeadline": "skip"}, "deadline", "onDeadline skip needs the deadline"),
            ({"deadline": EARLY, "onDeadline": "wait"}, "onDeadline", "'mass_message', 'save_for_later' or 'skip'"),
            ({"deadline": EARLY, "onDeadline": "mass_message"}, "onDeadline", "needs alternativeText"),
            ({"deadline": EARLY, "onDeadline": "save_for_later"}, "onDeadline", "needs alternativeText"),
            ({"deadline": EARLY, "onDeadline": "skip", "alternativeText": "Hi"}, "onDeadline", "leave alternativeText"),
            ({"alternativeText": "Hi"}, "deadline", "alternativeText is only used with a deadline"),
            ({"alternativeText": "write to me on telegram"}, "alternativeText", "breaks the rule contact-messenger"),
            ({"alternativeText": "x" * 1_001}, "alternativeText", "at most 1000 characters"),
            ({"deadline": "2026-12-01T08:00:00", "onDeadline": "skip"}, "deadline", "time zone"),
            ({"deadlin": EARLY}, "deadlin", "Extra inputs"),
        ],
    )
    def test_a_refusal_names_the_field_and_the_remedy(self, delivery: dict[str, Any], field: str, message: str) -> None:
        with pytest.raises(ValidationError) as refused:
            an_intent(delivery=delivery)
        [error] = refused.value.errors()
        assert error["loc"] == ("delivery", field)
        assert message in error["msg"]

    @pytest.mark.parametrize(
        "delivery",
        [
            {},
            {"notBefore": EARLY},
            {"expiresAt": LATE},
            {"notBefore": EARLY, "expiresAt": LATE},
            {"alternativeText": ""},
            {"deadline": EARLY, "onDeadline": "skip"},
            {"deadline": EARLY, "onDeadline": "skip", "alternativeText": ""},
            {"deadline": EARLY, "onDeadline": "mass_message", "alternativeText": "Hello everybody"},
            {"deadline": EARLY, "onDeadline": "save_for_later", "alternativeText": "Hello everybody"},
        ],
    )
    def test_what_is_stored_is_what_was_said(self, delivery: dict[str, Any]) -> None:
        terms = an_intent(delivery=delivery).delivery.terms
        stored = terms.times.model_dump(mode="json", exclude_none=True) | {"alternativeText": terms.alternative_text}
        assert stored == {"alternativeText": ""} | delivery


def usage(*grants_s_ago: float) -> AccountUsage:
    window = WindowUsage(
        layer=Layer.ACCOUNT, subject=ACCOUNT_SUBJECT, limit=LIMIT, seconds=SPAN_S, used=0, remaining=LIMIT
    )
    grants = tuple(sorted(NOW_US - int(ago * 1_000_000) for ago in grants_s_ago))
    return AccountUsage(account_id="acct_a", now_us=NOW_US, windows=(window,), grants_us={ACCOUNT_SUBJECT: grants})


def queued(campaign: str, count: int, priority: Priority = Priority.MEDIUM, **changes: Any) -> list[QueuedMessage]:
    return [
        QueuedMessage(
            campaign_id=campaign,
            message_id=uuid4(),
            priority=priority,
            message_type=MessageType.CUSTOM,
            arrived_at=NOW,
            **changes,
        )
        for _ in range(count)
    ]


def page(messages: int = 1, **changes: Any) -> Page:
    fields = {"campaign_id": "ours", "priority": Priority.MEDIUM, "message_type": MessageType.CUSTOM}
    return Page(messages=messages, **fields | changes)


def wait_s(*waiting: list[QueuedMessage], of: Page, seen: AccountUsage | None = None) -> float:
    queue = QueueOutlook(account_id="acct_a", messages=tuple(message for some in waiting for message in some))
    at = page_eta(seen or usage(), queue, of, NOW, send_ms=0)
    assert at is not None
    return (at - NOW).total_seconds()


class TestPageEta:
    @given(st.integers(min_value=0, max_value=9), st.integers(min_value=1, max_value=9))
    def test_behind_a_queue_the_last_message_goes_when_the_windows_have_let_all_pass(
        self, ahead: int, messages: int
    ) -> None:
        rounds = (ahead + messages - 1) // LIMIT
        assert wait_s(queued("ours", ahead), of=page(messages)) == rounds * SPAN_S

    def test_what_was_sent_before_counts(self) -> None:
        assert wait_s(of=page(1), seen=usage(10, 20)) == SPAN_S - 20

    def test_a_higher_priority_goes_before_the_page_and_a_lower_one_after_it(self) -> None:
        assert wait_s(queued("theirs", 4, Priority.HIGH), of=page(1)) == 2 * SPAN_S
        assert wait_s(queued("theirs", 4, Priority.LOW), of=page(1)) == 0

    def test_an_equal_campaign_takes_turns_and_does_not_hold_the_page_up_with_all_it_has(self) -> None:
        assert wait_s(queued("theirs", 1_000), of=page(2)) == SPAN_S
        assert wait_s(queued("theirs", 1_000), queued("ours", 2), of=page(2)) == 3 * SPAN_S

    def test_a_paused_campaign_holds_nobody_up(self) -> None:
        assert wait_s(queued("theirs", 4, parked=True), of=page(4)) == SPAN_S

    def test_it_does_not_begin_before_its_time(self) -> None:
        assert wait_s(of=page(3, not_before=NOW + timedelta(hours=1))) == 3_600 + SPAN_S

    def test_a_limit_of_zero_means_never(self) -> None:
        closed = usage()
        closed = closed.model_copy(update={"windows": (closed.windows[0].model_copy(update={"limit": 0}),)})
        assert page_eta(closed, QueueOutlook(account_id="acct_a", messages=()), page(), NOW, send_ms=0) is None

    def test_a_queue_that_waits_holds_the_page_up(self) -> None:
        later = NOW + timedelta(hours=2)
        queue = QueueOutlook(account_id="acct_a", messages=(), throttled_until=later)
        assert page_eta(usage(), queue, page(), NOW, send_ms=0) == later


class TestTooLate:
    TIMES = DeliveryTimes(deadline=NOW, on_deadline=AlternativeAction.SKIP)

    def test_the_deadline_itself_is_in_time(self) -> None:
        assert too_late(self.TIMES, NOW) == ""
        assert too_late(self.TIMES, NOW + timedelta(seconds=1)) == (
            "deadline: eta 2026-11-22T05:00:01Z after deadline 2026-11-22T05:00:00Z"
        )

    def test_never_is_too_late(self) -> None:
        assert too_late(self.TIMES, None) == "deadline: eta never after deadline 2026-11-22T05:00:00Z"

    def test_without_a_deadline_nothing_is(self) -> None:
        assert too_late(DeliveryTimes(), None) == ""
