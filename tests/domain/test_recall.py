"""What can still be taken back, in which order, and what a report says about the rest."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.alternative import MASS_MESSAGE, SAVED
from domain.delivery import Message, MessageStatus
from domain.recall import MOST_LISTED, SAVED_AT_PLATFORM, SENT_TO_MANY, WINDOW_OVER, in_time, recallable_until, report
from tests.domain.builders import NOW, a_message


def a_sent_message(recipient: str = "1", *, age_s: float = 0, seconds: int | None = 119, **changes: Any) -> Message:
    fields: dict[str, Any] = {
        "status": MessageStatus.SENT,
        "platform_message_id": "77",
        "sent_at": NOW - timedelta(seconds=age_s),
        "cancel_seconds": seconds,
    }
    return a_message("c-1", recipient, **fields | changes)


sent = st.lists(
    st.tuples(st.integers(min_value=-10, max_value=200), st.none() | st.integers(min_value=0, max_value=180)),
    max_size=12,
).map(
    lambda ages: [a_sent_message(str(number), age_s=age, seconds=seconds) for number, (age, seconds) in enumerate(ages)]
)


class TestInTime:
    @given(sent)
    def test_exactly_those_whose_window_is_open_the_soonest_to_close_first(self, messages: list[Message]) -> None:
        found = in_time(messages, NOW)
        closing = [recallable_until(message) for message in found]
        assert {message.message_id for message in found} == {
            message.message_id
            for message in messages
            if message.sent_at is not None
            and message.cancel_seconds != 0
            and message.sent_at + timedelta(seconds=message.cancel_seconds or 119) > NOW
        }
        assert closing == sorted(moment for moment in closing if moment is not None)

    @pytest.mark.parametrize(("age_s", "open_now"), [(0, True), (118.9, True), (119, False), (500, False)])
    def test_the_window_ends_with_its_last_second(self, age_s: float, open_now: bool) -> None:
        assert bool(in_time([a_sent_message(age_s=age_s)], NOW)) is open_now

    @pytest.mark.parametrize("missing", ["platform_message_id", "sent_at"])
    def test_what_the_platform_can_not_know_is_not_tried(self, missing: str) -> None:
        assert in_time([a_sent_message().model_copy(update={missing: None})], NOW) == []

    @pytest.mark.parametrize(("age_s", "open_now"), [(118.9, True), (119, False)])
    def test_a_message_without_a_window_of_its_own_has_the_usual_one(self, age_s: float, open_now: bool) -> None:
        assert bool(in_time([a_sent_message(age_s=age_s, seconds=None)], NOW)) is open_now

    @pytest.mark.parametrize("reason", [MASS_MESSAGE, SAVED])
    def test_one_that_went_to_many_has_none(self, reason: str) -> None:
        assert in_time([a_sent_message(seconds=None, reason=reason)], NOW) == []


class TestReport:
    def told(self, kept: list[Message], refusals: dict[UUID, str] | None = None) -> tuple[list[str], list[str]]:
        found = report("c-1", recalled=1, cancelled=2, kept=kept, refusals=refusals or {}, complete=True)
        assert (found.recalled, found.cancelled, found.complete) == (1, 2, True)
        return [entry.reason for entry in found.late], [entry.reason for entry in found.failed]

    def test_each_message_that_stays_is_named_with_its_reason(self) -> None:
        refused, old, mass = a_sent_message("1"), a_sent_message("2"), a_sent_message("3", reason=MASS_MESSAGE)
        saved = a_sent_message("4", reason=SAVED)
        told = self.told([refused, old, mass, saved], {refused.message_id: "auth"})
        assert told == ([WINDOW_OVER, SENT_TO_MANY, SAVED_AT_PLATFORM], ["auth"])

    def test_a_refusal_that_was_mended_is_forgotten(self) -> None:
        assert self.told([], {a_sent_message().message_id: "auth"}) == ([], [])

    def test_lists_are_bounded_and_counts_are_not(self) -> None:
        kept = [a_sent_message(str(number)) for number in range(MOST_LISTED + 5)]
        found = report("c-1", recalled=0, cancelled=0, kept=kept, refusals={}, complete=True)
        assert (len(found.late), found.late_count, found.failed_count) == (MOST_LISTED, MOST_LISTED + 5, 0)
