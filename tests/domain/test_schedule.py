"""The schedule against a simulator that tries every moment, and its answers in plain cases."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.delivery import Priority
from domain.rate_limit import (
    AccountLimits,
    AccountUsage,
    Layer,
    LimitPolicy,
    MessageType,
    WindowUsage,
)
from domain.schedule import LONGEST_CALL_MS, TYPICAL_CALL_MS, arrivals, call_ms, relevant_windows
from domain.send_queue import QueuedMessage, SendQueue, enqueue
from domain.turn import next_wake, order, outlook
from tests.domain.builders import NOW
from tests.domain.queues import ACCOUNT, a_batch, send

SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START_US = int(NOW.timestamp()) * SECOND
KINDS = (MessageType.CUSTOM, MessageType.WELCOME)


def a_window(
    limit: int, seconds: float = 60, kind: MessageType | None = None, layer: Layer | None = None
) -> WindowUsage:
    of_account, of_type = (Layer.ACCOUNT, "account"), (Layer.MESSAGE_TYPE, f"type:{kind}")
    default, subject = of_account if kind is None else of_type
    return WindowUsage(layer=layer or default, subject=subject, limit=limit, seconds=seconds, used=0, remaining=limit)


def a_usage(*windows: WindowUsage, held_ms: int = 0, **seconds_ago: Sequence[float]) -> AccountUsage:
    """``account``, ``custom`` and ``welcome``: when grants were made, in seconds before now."""
    grants = {
        "account" if name == "account" else f"type:{name}": tuple(
            sorted(START_US - round(ago * SECOND) for ago in agos)
        )
        for name, agos in seconds_ago.items()
    }
    return AccountUsage(account_id=ACCOUNT, now_us=START_US, windows=windows, held_ms=held_ms, grants_us=grants)


def a_message(kind: MessageType = MessageType.CUSTOM, **more: object) -> QueuedMessage:
    fields = {"campaign_id": "spring", "message_id": UUID(int=0), "priority": Priority.MEDIUM, "arrived_at": NOW}
    return QueuedMessage.model_validate(fields | {"message_type": kind} | more)


def after(
    usage: AccountUsage,
    messages: Sequence[QueuedMessage],
    send_ms: int = 0,
    throttled_until: datetime | None = None,
) -> list[float | None]:
    """When messages are sent, in seconds from now."""
    found = arrivals(usage, messages, send_ms=send_ms, throttled_until=throttled_until)
    return [None if at is None else (at - NOW).total_seconds() for at in found]


def in_seconds(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


class TestArrivals:
    def test_a_window_that_has_room_lets_messages_go_at_once(self) -> None:
        assert after(a_usage(a_window(3)), [a_message()] * 3) == [0, 0, 0]

    def test_each_grant_admits_another_message_when_it_leaves_the_window(self) -> None:
        usage = a_usage(a_window(3), account=[50, 20, 10])
        assert after(usage, [a_message()] * 7) == [10, 40, 50, 70, 100, 110, 130]

    def test_the_window_that_is_full_longest_decides(self) -> None:
        assert after(a_usage(a_window(2), a_window(3, 3_600)), [a_message()] * 5) == [0, 0, 60, 3_600, 3_600]

    def test_a_type_that_is_full_lets_the_others_go_first(self) -> None:
        usage = a_usage(a_window(3), a_window(1, 90, MessageType.CUSTOM))
        messages = [a_message(), a_message(), a_message(MessageType.WELCOME), a_message(MessageType.WELCOME)]
        assert after(usage, messages) == [0, 90, 0, 0]

    def test_a_grant_whose_outcome_is_not_known_yet_counts_from_the_end_of_its_lease(self) -> None:
        assert after(a_usage(a_window(1), account=[-15]), [a_message()]) == [75]

    def test_the_gap_between_two_messages_is_a_window_too(self) -> None:
        assert after(a_usage(a_window(1, 2.5, layer=Layer.PACING)), [a_message()] * 3) == [0, 2.5, 5]

    def test_nothing_goes_while_the_platform_asks_to_wait(self) -> None:
        assert after(a_usage(a_window(9), held_ms=1_500), [a_message()]) == [1.5]

    @pytest.mark.parametrize(("until", "first"), [(-1, 1.5), (1, 1.5), (7_200, 7_200)])
    def test_nothing_goes_before_the_queues_own_timer(self, until: int, first: float) -> None:
        usage = a_usage(a_window(1), held_ms=1_500)
        assert after(usage, [a_message()] * 2, throttled_until=in_seconds(until)) == [first, first + 60]

    def test_a_call_takes_its_time(self) -> None:
        assert after(a_usage(a_window(2)), [a_message()] * 3, send_ms=500) == [0, 0.5, 60.5]

    def test_a_message_does_not_go_before_its_moment_and_then_keeps_its_place(self) -> None:
        usage = a_usage(a_window(1))
        messages = [a_message(not_before=in_seconds(30)), a_message(), a_message()]
        assert after(usage, messages) == [60, 0, 120]

    def test_a_message_that_would_be_too_late_takes_no_slot(self) -> None:
        messages = [a_message(), a_message(expires_at=in_seconds(60)), a_message()]
        assert after(a_usage(a_window(1)), messages) == [0, None, 60]

    def test_nobody_knows_when_a_parked_message_goes(self) -> None:
        assert after(a_usage(a_window(1)), [a_message(parked=True), a_message()]) == [None, 0]

    @pytest.mark.parametrize("window", [a_window(0), a_window(0, kind=MessageType.CUSTOM)])
    def test_a_limit_of_zero_is_never_over(self, window: WindowUsage) -> None:
        messages = [a_message(), a_message(MessageType.WELCOME)]
        assert after(a_usage(window), messages) == [None, None if window.layer is Layer.ACCOUNT else 0]

    def test_single_recipients_and_the_system_are_left_out(self) -> None:
        usage = a_usage(
            a_window(0, layer=Layer.SYSTEM).model_copy(update={"subject": "system"}),
            a_window(0, layer=Layer.RECIPIENT).model_copy(update={"subject": "recipient:1"}),
        )
        assert after(usage, [a_message()]) == [0]

    def test_an_empty_queue_has_no_moments(self) -> None:
        assert arrivals(a_usage(a_window(1)), [], send_ms=0) == ()


class TestCallTime:
    BURST = (4.0, 3.2, 2.4, 1.6, 0.8)

    def test_is_the_gap_of_messages_that_followed_each_other(self) -> None:
        assert call_ms(a_usage(a_window(5), account=self.BURST)) == 800

    def test_is_what_a_gap_has_beyond_the_one_that_was_demanded(self) -> None:
        usage = a_usage(a_window(10), a_window(1, 6, layer=Layer.PACING), account=[28, 21, 14, 7, 0])
        assert call_ms(usage) == 1_000

    def test_pauses_between_bursts_tell_nothing(self) -> None:
        bursts = [start + ago for start in (0, 60, 120) for ago in self.BURST]
        assert call_ms(a_usage(a_window(5), account=bursts)) == 800

    @pytest.mark.parametrize(
        "account",
        [
            (),
            (2, 1),
            [number * (LONGEST_CALL_MS / 1_000 + 1) for number in range(9)],
            # Calls that are still on their way count from the end of their leases.
            [-20.0 - number / 1_000 for number in range(9)],
        ],
    )
    def test_is_the_typical_one_where_the_log_tells_nothing(self, account: Sequence[float]) -> None:
        assert call_ms(a_usage(a_window(10), account=account)) == TYPICAL_CALL_MS

    def test_a_gap_that_is_shorter_than_demanded_was_made_under_other_limits(self) -> None:
        assert call_ms(a_usage(a_window(1, 6, layer=Layer.PACING), account=self.BURST)) == TYPICAL_CALL_MS


class TestRelevantWindows:
    def test_those_of_the_account_and_of_each_type_once(self) -> None:
        limits = AccountLimits(account_id=ACCOUNT)
        found = relevant_windows(LimitPolicy(), limits, NOW, [MessageType.CUSTOM, MessageType.CUSTOM])
        subjects = [(window.subject, window.limit) for window in found]
        assert subjects == [("account", 10), ("account", 80), ("account", 250), ("type:custom", 5)]


OFFSETS = st.integers(min_value=0, max_value=12)


@st.composite
def situations(draw: st.DrawFn) -> tuple[AccountUsage, list[QueuedMessage]]:
    """Small figures in seconds, so that moments coincide."""
    windows = [a_window(draw(st.integers(1, 4)), draw(st.integers(1, 9))) for _ in range(draw(st.integers(1, 2)))]
    for kind in KINDS:
        for _ in range(draw(st.integers(0, 1))):
            windows.append(a_window(draw(st.integers(0, 3)), draw(st.integers(1, 9)), kind))
    grants = {name: draw(st.lists(st.integers(-3, 9), max_size=5)) for name in ("account", "custom", "welcome")}
    messages = [
        a_message(
            draw(st.sampled_from(KINDS)),
            not_before=draw(st.one_of(st.none(), OFFSETS.map(in_seconds))),
            expires_at=draw(st.one_of(st.none(), OFFSETS.map(in_seconds))),
            parked=draw(st.sampled_from([False, False, False, True])),
        )
        for _ in range(draw(st.integers(0, 9)))
    ]
    return a_usage(*windows, held_ms=draw(st.integers(0, 3)) * 1_000, **grants), messages


def try_every_second(usage: AccountUsage, messages: Sequence[QueuedMessage]) -> list[float | None]:
    """At each second, the first message in order that every window admits goes, again and again."""
    logs = {subject: list(grants) for subject, grants in usage.grants_us.items()}
    found: list[float | None] = [None] * len(messages)
    waiting = {place for place, message in enumerate(messages) if not message.parked}

    def admits(window: WindowUsage, now_us: int) -> bool:
        since = now_us - window.seconds * SECOND
        return sum(at > since for at in logs.get(window.subject, ())) < window.limit

    for second in range(usage.held_ms // 1_000, 200):
        now, now_us = in_seconds(second), START_US + second * SECOND
        gone = True
        while gone:
            gone = False
            for place in sorted(waiting):
                message = messages[place]
                subjects = ("account", f"type:{message.message_type}")
                if message.not_before is not None and message.not_before > now:
                    continue
                if message.expires_at is not None and message.expires_at <= now:
                    continue
                if all(admits(window, now_us) for window in usage.windows if window.subject in subjects):
                    for subject in subjects:
                        logs.setdefault(subject, []).append(now_us)
                    found[place] = second
                    waiting.remove(place)
                    gone = True
                    break
    return found


@given(situations())
def test_it_agrees_with_trying_every_moment(situation: tuple[AccountUsage, list[QueuedMessage]]) -> None:
    usage, messages = situation
    assert after(usage, messages) == try_every_second(usage, messages)


@st.composite
def queues(draw: st.DrawFn) -> SendQueue:
    """Campaigns of several priorities, types and beginnings, some of which have aged or will."""
    queue = SendQueue(account_id=ACCOUNT)
    for number in range(draw(st.integers(1, 6))):
        request = a_batch(
            draw(st.sampled_from("abc")),
            number,
            draw(st.integers(1, 6)),
            draw(st.sampled_from(Priority)),
            message_type=draw(st.sampled_from(KINDS)),
            not_before=draw(st.one_of(st.none(), st.integers(1, 3_000).map(in_seconds))),
        )
        queue = enqueue(queue, request, NOW - timedelta(minutes=40 - number))
    return queue


def serve(queue: SendQueue, usage: AccountUsage) -> dict[UUID, float]:
    """Send the queue message by message, whenever the windows admit one; when each went, in seconds from now."""
    logs: dict[str, list[float]] = {}
    found: dict[UUID, float] = {}
    now = 0.0

    def free_at(subject: str) -> float:
        full = [
            logs[subject][-window.limit] + window.seconds
            for window in usage.windows
            if window.subject == subject and len(logs.get(subject, ())) >= window.limit
        ]
        return max(full, default=0)

    while queue.depth:
        limits = {kind: in_seconds(max(free_at("account"), free_at(f"type:{kind}"))) for kind in KINDS}
        limited = queue.model_copy(update={"type_not_before": limits})
        due = next_wake(limited, in_seconds(now))
        assert due is not None
        now = (due - NOW).total_seconds()
        ((batch, key),) = islice(order(limited, due, due_only=True), 1)
        found[key] = now
        for subject in ("account", f"type:{batch.message_type}"):
            logs.setdefault(subject, []).append(now)
        queue = send(queue, due, key)
    return found


@given(queues(), st.integers(1, 3), st.integers(1, 3))
def test_it_foresees_what_the_queue_does(queue: SendQueue, limit: int, of_type: int) -> None:
    usage = a_usage(a_window(limit, 600), a_window(of_type, 900, MessageType.WELCOME))
    messages = outlook(queue, NOW).messages
    foreseen = dict(zip((each.message_id for each in messages), after(usage, messages), strict=True))
    assert foreseen == serve(queue, usage)
