"""A message's states, its identity, and what follows a failure."""

from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.delivery import (
    ACCOUNT_HOLD_MS,
    CLOCK_TOLERANCE,
    DAY_HOLD_MS,
    KEY_IS_ASKED_WITHIN,
    MAX_ATTEMPTS,
    OPEN_PAUSE_MS,
    READ_BACK_AFTER_MS,
    RETRY_BASE_MS,
    RETRY_CAP_MS,
    TERMINAL,
    TRANSITIONS,
    Delivered,
    Message,
    MessageStatus,
    NextStep,
    Priority,
    after_failure,
    backoff_ms,
    given_up,
    goes_first,
    is_expired,
    is_rival,
    may_have_brought,
    message_id,
    needs_read_back,
    platform_hold_ms,
    sources_of,
)
from domain.errors import GatewayFault
from domain.rate_limit import MessageType
from tests.domain.builders import NOW

S = MessageStatus
attempts = st.integers(min_value=1, max_value=10_000)
jitters = st.floats(min_value=0, max_value=1, exclude_max=True)
waits = st.none() | st.floats(min_value=0, max_value=86_400)
faults = st.sampled_from(GatewayFault)

PERMANENT = {GatewayFault.BANNED_WORDS, GatewayFault.RECIPIENT_NOT_FOUND, GatewayFault.INVALID_REQUEST}
OF_THE_ACCOUNT = {GatewayFault.THROTTLED, GatewayFault.SESSION_EXPIRED, GatewayFault.AUTH}
ON_THE_WAY = {GatewayFault.TRANSIENT, GatewayFault.UNKNOWN_OUTCOME, GatewayFault.SERVER_ERROR}


def attempted(**changes: object) -> Message:
    """A message in the state that a test needs."""
    message = Message(
        message_id=message_id("c", "acct_a", "1"),
        campaign_id="c",
        account_id="acct_a",
        recipient_id="1",
        page=0,
        message_type=MessageType.CUSTOM,
        status=S.SENDING,
        updated_at=NOW,
    )
    return message.model_copy(update=changes)


class TestTransitions:
    @pytest.mark.parametrize("status", S)
    def test_an_end_is_final_but_for_a_recall(self, status: S) -> None:
        onward = TRANSITIONS[status] - {S.RECALLED}
        assert (onward == frozenset()) is (status in TERMINAL) is status.is_terminal

    def test_only_what_was_sent_can_be_recalled(self) -> None:
        assert sources_of(S.RECALLED) == (S.SENT,)

    @pytest.mark.parametrize("status", sorted(set(S) - TERMINAL))
    def test_every_open_state_leads_to_an_end(self, status: S) -> None:
        reached = {status}
        while more := {target for state in reached for target in TRANSITIONS[state]} - reached:
            reached |= more
        assert reached & TERMINAL

    def test_only_a_message_on_its_way_can_be_sent_or_fail(self) -> None:
        assert sources_of(S.SENT) == sources_of(S.FAILED) == (S.SENDING,)

    def test_a_message_on_its_way_can_not_be_cancelled(self) -> None:
        assert S.SENDING not in sources_of(S.CANCELLED)

    def test_nothing_becomes_queued_that_nobody_approved(self) -> None:
        assert S.DRAFTED not in sources_of(S.QUEUED)


class TestSourcesOf:
    @given(st.sampled_from(S), st.sampled_from(S))
    def test_it_is_the_inverse_of_the_table(self, source: S, target: S) -> None:
        assert (source in sources_of(target)) == (target in TRANSITIONS[source])


class TestMessageId:
    @given(st.tuples(*[st.text("abc123_-", min_size=1, max_size=3)] * 3), st.integers(min_value=0, max_value=3))
    def test_the_same_message_has_the_same_id(self, names: tuple[str, str, str], step: int) -> None:
        assert message_id(*names, step=step) == message_id(*names, step=step)

    @given(
        st.lists(
            st.tuples(*[st.text("ab1", min_size=1, max_size=2)] * 3, st.integers(min_value=0, max_value=2)),
            unique=True,
        )
    )
    def test_different_messages_have_different_ids(self, keys: list[tuple[str, str, str, int]]) -> None:
        assert len({message_id(*key) for key in keys}) == len(keys)


class TestPriority:
    def test_critical_goes_first_and_low_last(self) -> None:
        order = sorted(Priority, key=lambda priority: priority.rank)
        assert order == [Priority.CRITICAL, Priority.HIGH, Priority.MEDIUM, Priority.LOW]


class TestBackoff:
    @given(attempts, jitters)
    def test_it_stays_below_the_doubled_base_and_the_cap(self, attempt: int, jitter: float) -> None:
        assert 0 <= backoff_ms(attempt, jitter) <= min(RETRY_CAP_MS, RETRY_BASE_MS * 2**attempt)

    @given(attempts, jitters)
    def test_a_later_attempt_never_waits_less(self, attempt: int, jitter: float) -> None:
        assert backoff_ms(attempt, jitter) <= backoff_ms(attempt + 1, jitter)

    def test_the_whole_range_is_used(self) -> None:
        assert (backoff_ms(3, 0), backoff_ms(3, 0.5), backoff_ms(20, 0.5)) == (0, 4_000, RETRY_CAP_MS // 2)


class TestNeedsReadBack:
    @pytest.mark.parametrize(
        ("status", "age_hours", "expected"),
        [
            (S.SENDING, 0, False),
            (S.SENDING, 22.9, False),
            (S.SENDING, 23, True),
            (S.SENDING, 100, True),
            (S.QUEUED, 100, False),
            (S.SENT, 100, False),
        ],
    )
    def test_only_an_open_attempt_that_outlived_its_key(self, status: S, age_hours: float, expected: bool) -> None:
        message = attempted(status=status, first_attempt_at=NOW - timedelta(hours=age_hours))
        assert needs_read_back(message, NOW) is expected

    def test_a_message_that_was_never_attempted_has_nothing_to_read(self) -> None:
        assert not needs_read_back(attempted(status=S.SENDING), NOW)

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [("server_error", True), ("invalid_request", True), ("unknown_outcome", False), ("", False)],
    )
    def test_an_error_that_the_gateway_does_not_keep_under_the_key_is_looked_up(
        self, reason: str, expected: bool
    ) -> None:
        assert needs_read_back(attempted(status=S.SENDING, reason=reason, first_attempt_at=NOW), NOW) is expected
        assert not needs_read_back(attempted(status=S.QUEUED, reason=reason, first_attempt_at=NOW), NOW)


texts = st.sampled_from(["Hello Maya", "Hello  Maya", "Hello Mia"])
open_messages = st.builds(
    lambda step, text, reason, minutes, idle: attempted(
        message_id=message_id("c", "acct_a", "1", step),
        text=text,
        reason=reason,
        first_attempt_at=NOW - timedelta(minutes=minutes),
        updated_at=NOW - idle,
    ),
    st.integers(min_value=0, max_value=5),
    texts,
    st.sampled_from(["", "unknown_outcome", "server_error", "invalid_request"]),
    st.sampled_from([0, 1, 2, 24 * 60]),
    st.sampled_from([timedelta(0), timedelta(hours=1), KEY_IS_ASKED_WITHIN]),
)


def key_is_used(message: Message) -> bool:
    return not needs_read_back(message, NOW) and NOW - message.updated_at < KEY_IS_ASKED_WITHIN


class TestGoesFirst:
    @given(open_messages, open_messages)
    def test_of_two_rivals_exactly_one_goes_first_once_no_key_is_used(self, one: Message, other: Message) -> None:
        assume(one.message_id != other.message_id)
        assume(not (key_is_used(one) and key_is_used(other)))
        assert (goes_first(one, other, NOW) + goes_first(other, one, NOW)) == is_rival(one, other)

    @given(open_messages, open_messages)
    def test_what_a_key_can_tell_is_known_before_anything_is_read_back(self, one: Message, other: Message) -> None:
        if key_is_used(other):
            assert goes_first(other, one, NOW) is is_rival(one, other)

    @given(open_messages, open_messages, st.sampled_from(sorted(set(S) - {S.SENDING})))
    def test_what_is_not_open_is_waited_for_by_nobody(self, one: Message, other: Message, status: S) -> None:
        assert not goes_first(other.model_copy(update={"status": status}), one, NOW)


class TestMayHaveBrought:
    def test_what_is_older_than_the_first_attempt_is_another_messages(self) -> None:
        message = attempted(first_attempt_at=NOW)
        old, new = (
            Delivered(platform_message_id="1", created_at=NOW - age)
            for age in (CLOCK_TOLERANCE + timedelta(seconds=1), CLOCK_TOLERANCE)
        )
        assert (may_have_brought(message, old), may_have_brought(message, new)) == (False, True)
        assert may_have_brought(message, Delivered(platform_message_id="1"))


class TestGivenUp:
    @pytest.mark.parametrize(
        ("reason", "failures", "expected"),
        [
            ("server_error", MAX_ATTEMPTS - 1, ""),
            ("server_error", MAX_ATTEMPTS, "server_error_after_8_attempts"),
            ("unknown_outcome", MAX_ATTEMPTS, "no_answer_after_8_attempts"),
            ("", MAX_ATTEMPTS, "no_answer_after_8_attempts"),
            ("invalid_request", 1, "invalid_request"),
        ],
    )
    def test_the_reason_says_what_happened(self, reason: str, failures: int, expected: str) -> None:
        assert given_up(attempted(reason=reason, failures=failures)) == expected


class TestIsExpired:
    @given(st.none() | st.timedeltas(min_value=timedelta(days=-1), max_value=timedelta(days=1)))
    def test_from_its_moment_on_it_is_too_late(self, until: timedelta | None) -> None:
        expires_at = None if until is None else NOW + until
        expected = until is not None and until <= timedelta(0)
        assert is_expired(attempted(expires_at=expires_at), NOW) is expected


class TestPlatformHold:
    @pytest.mark.parametrize(
        ("minute", "day", "hold"),
        [
            (None, None, None),
            (3, 40, None),
            (0, 40, ACCOUNT_HOLD_MS),
            (3, 0, DAY_HOLD_MS),
            (0, 0, DAY_HOLD_MS),
            (0, None, ACCOUNT_HOLD_MS),
        ],
    )
    def test_a_spent_allowance_holds_the_account(self, minute: int | None, day: int | None, hold: int | None) -> None:
        receipt = Delivered(platform_message_id="1", remaining_minute=minute, remaining_day=day)
        assert platform_hold_ms(receipt) == hold


class TestAfterFailure:
    @given(faults, attempts, waits, jitters)
    def test_a_message_whose_outcome_is_open_never_fails_by_an_answer_alone(
        self, fault: GatewayFault, made: int, wait: float | None, jitter: float
    ) -> None:
        decision = after_failure(fault, attempts=made, outcome_open=True, retry_after_s=wait, jitter=jitter)
        assert decision.step is not NextStep.FAIL
        if fault in PERMANENT:
            assert needs_read_back(attempted(reason=decision.reason), NOW)

    @given(attempts, st.booleans(), jitters)
    def test_what_is_never_answered_is_tried_about_once_an_hour_in_the_end(
        self, made: int, outcome_open: bool, jitter: float
    ) -> None:
        decision = after_failure(
            GatewayFault.UNKNOWN_OUTCOME, attempts=made, outcome_open=outcome_open, retry_after_s=None, jitter=jitter
        )
        if made >= MAX_ATTEMPTS:
            assert OPEN_PAUSE_MS / 2 <= decision.delay_ms <= OPEN_PAUSE_MS * 1.5
        else:
            assert decision.delay_ms <= RETRY_CAP_MS

    @given(attempts, waits, jitters)
    def test_an_unknown_outcome_is_open_however_many_attempts_were_made(
        self, made: int, wait: float | None, jitter: float
    ) -> None:
        for fault in (GatewayFault.UNKNOWN_OUTCOME, GatewayFault.SERVER_ERROR):
            decision = after_failure(fault, attempts=made, outcome_open=False, retry_after_s=wait, jitter=jitter)
            assert decision.step is NextStep.RETRY

    @given(attempts, jitters)
    def test_a_chat_is_not_read_at_once_after_an_error(self, made: int, jitter: float) -> None:
        decision = after_failure(
            GatewayFault.SERVER_ERROR, attempts=made, outcome_open=False, retry_after_s=None, jitter=jitter
        )
        assert decision.delay_ms >= READ_BACK_AFTER_MS

    @given(st.sampled_from(sorted(OF_THE_ACCOUNT)), attempts, st.booleans(), jitters)
    def test_trouble_of_the_account_holds_the_account_and_ends_nothing(
        self, fault: GatewayFault, made: int, outcome_open: bool, jitter: float
    ) -> None:
        decision = after_failure(fault, attempts=made, outcome_open=outcome_open, retry_after_s=None, jitter=jitter)
        assert (decision.step, decision.delay_ms) == (NextStep.HOLD_ACCOUNT, ACCOUNT_HOLD_MS)

    @given(st.sampled_from(sorted(OF_THE_ACCOUNT | ON_THE_WAY)), attempts, st.booleans(), waits, jitters)
    def test_nothing_comes_back_before_the_gateway_asked_for(
        self, fault: GatewayFault, made: int, outcome_open: bool, wait: float | None, jitter: float
    ) -> None:
        decision = after_failure(fault, attempts=made, outcome_open=outcome_open, retry_after_s=wait, jitter=jitter)
        if wait is not None and decision.step is not NextStep.FAIL:
            assert decision.delay_ms >= wait * 1000

    @pytest.mark.parametrize(
        ("made", "step"), [(1, NextStep.RETRY), (MAX_ATTEMPTS - 1, NextStep.RETRY), (MAX_ATTEMPTS, NextStep.FAIL)]
    )
    def test_a_message_that_surely_was_not_sent_fails_after_the_last_attempt(self, made: int, step: NextStep) -> None:
        decision = after_failure(
            GatewayFault.TRANSIENT, attempts=made, outcome_open=False, retry_after_s=None, jitter=0.5
        )
        assert decision.step is step

    @given(st.sampled_from(sorted(PERMANENT)))
    def test_a_permanent_fault_of_the_only_attempt_fails_at_once_and_says_why(self, fault: GatewayFault) -> None:
        decision = after_failure(fault, attempts=1, outcome_open=False, retry_after_s=None, jitter=0.5)
        assert (decision.step, decision.reason) == (NextStep.FAIL, fault)

    @given(faults, attempts, st.booleans(), waits, jitters)
    def test_every_decision_gives_a_reason(
        self, fault: GatewayFault, made: int, outcome_open: bool, wait: float | None, jitter: float
    ) -> None:
        decision = after_failure(fault, attempts=made, outcome_open=outcome_open, retry_after_s=wait, jitter=jitter)
        assert decision.reason.startswith(fault)
