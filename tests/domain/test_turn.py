"""The order of service: what it promises, whoever arrives meanwhile."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.delivery import Priority
from domain.rate_limit import MessageType
from domain.round import apply, start_round, untaken
from domain.send_queue import (
    AGE_AFTER,
    AGED_SHARE,
    ROUND_SIZE,
    UNTAKEN_AFTER,
    Deferred,
    DeliveryReport,
    SendQueue,
    enqueue,
)
from domain.turn import candidates, next_wake, order, outlook, urgency
from tests.domain.builders import NOW
from tests.domain.queues import LONG_AGO, a_batch, a_queue, ids_of, limited, message, send, settled

AGED = NOW + AGE_AFTER + timedelta(seconds=1)
ARRIVALS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(min_value=1, max_value=4), st.sampled_from(Priority)), max_size=12
)


def campaigns_in_order(queue: SendQueue, now: datetime = NOW) -> str:
    return "".join(batch.campaign_id[0] for batch, _ in order(queue, now))


def of_arrivals(arrivals: list[tuple[str, int, Priority]]) -> SendQueue:
    return a_queue(*(a_batch(name, number, size, rank) for number, (name, size, rank) in enumerate(arrivals)))


def serve_one(queue: SendQueue, now: datetime) -> tuple[SendQueue, UUID]:
    (chosen,) = ids_of(candidates(queue, now, 1))
    return send(queue, now, chosen), chosen


class TestOrder:
    def test_higher_priorities_go_first(self) -> None:
        queue = a_queue(
            a_batch("low", 0, 1, Priority.LOW),
            a_batch("high", 0, 1, Priority.HIGH),
            a_batch("medium", 0, 1, Priority.MEDIUM),
            a_batch("critical", 0, 1, Priority.CRITICAL),
        )
        assert campaigns_in_order(queue) == "chml"

    def test_a_group_is_served_in_order_of_arrival(self) -> None:
        queue = a_queue(a_batch("spring", 0, 2), a_batch("spring", 1, 2))
        expected = [message("spring", batch, number) for batch in (0, 1) for number in (0, 1)]
        assert [key for _, key in order(queue, NOW)] == expected

    def test_campaigns_of_one_priority_take_turns(self) -> None:
        queue = a_queue(a_batch("spring", size=4), a_batch("autumn", size=2))
        assert campaigns_in_order(queue) == "sasass"

    def test_who_was_served_longest_ago_is_next(self) -> None:
        queue = send(a_queue(a_batch("spring"), a_batch("autumn")), NOW, message("spring", 0, 0))
        assert campaigns_in_order(queue) == "asasa"

    def test_campaigns_of_one_group_share_its_turns(self) -> None:
        queue = a_queue(a_batch("x1", size=2, group="x"), a_batch("x2", size=2, group="x"), a_batch("y", size=2))
        assert campaigns_in_order(queue) == "xyxyxx"

    def test_who_comes_back_at_once_does_not_jump_the_queue(self) -> None:
        queue = a_queue(a_batch("direct", 0, 1), a_batch("spring", 0, 3))
        queue, first = serve_one(queue, NOW)
        queue, second = serve_one(enqueue(queue, a_batch("direct", 1, 1), NOW), NOW)
        assert (first, second) == (message("direct", 0, 0), message("spring", 0, 0))

    @given(ARRIVALS, st.integers(min_value=0, max_value=9))
    def test_it_says_now_what_serving_one_by_one_would_do(
        self, arrivals: list[tuple[str, int, Priority]], served: int
    ) -> None:
        for now in (NOW, AGED):
            queue = of_arrivals(arrivals).model_copy(update={"served": served})
            foreseen = [key for _, key in order(queue, now)]
            done: list[UUID] = []
            while queue.depth:
                queue, key = serve_one(queue, now)
                done.append(key)
            assert done == foreseen

    @given(ARRIVALS)
    def test_before_anything_has_aged_nothing_goes_before_a_higher_priority(
        self, arrivals: list[tuple[str, int, Priority]]
    ) -> None:
        ranks = [batch.priority.rank for batch, _ in order(of_arrivals(arrivals), NOW)]
        assert ranks == sorted(ranks)


class TestFairness:
    @given(
        sizes=st.lists(st.integers(min_value=1, max_value=12), min_size=2, max_size=5),
        late=st.integers(min_value=0, max_value=20),
    )
    def test_two_groups_that_both_wait_never_differ_by_more_than_one_message(self, sizes: list[int], late: int) -> None:
        queue = a_queue(*(a_batch(f"group-{number}", 0, size) for number, size in enumerate(sizes)))
        for _ in range(min(late, queue.depth - 1)):
            queue, _ = serve_one(queue, NOW)
        queue = enqueue(queue, a_batch("late", 0, 6), NOW)
        counts: Counter[str] = Counter()
        waiting = {batch.flow for batch in queue.batches}
        while len(waiting) > 1:
            owner = {key: batch.flow for batch in queue.batches for key in batch.message_ids}
            queue, key = serve_one(queue, NOW)
            counts[owner[key]] += 1
            waiting &= {batch.flow for batch in queue.batches}
            numbers = [counts[flow] for flow in waiting]
            assert not numbers or max(numbers) - min(numbers) <= 1

    def test_what_goes_for_its_age_takes_no_turn(self) -> None:
        queue = a_queue(a_batch("old", size=9), at=LONG_AGO)
        queue = enqueue(queue, a_batch("new", size=9), NOW)
        assert campaigns_in_order(queue)[:10] == "ononoononoo"[:10]


class TestAgeing:
    def test_every_fifth_message_is_the_one_that_waits_longest(self) -> None:
        queue = a_queue(a_batch("low", size=3, priority=Priority.LOW), at=LONG_AGO)
        queue = enqueue(queue, a_batch("high", size=12, priority=Priority.HIGH), NOW)
        assert campaigns_in_order(queue) == "hhhhlhhhhlhhhhl"

    @pytest.mark.parametrize(("waited", "first"), [(timedelta(), "h"), (timedelta(microseconds=1), "l")])
    def test_it_has_to_wait_longer_than_half_an_hour_for_that(self, waited: timedelta, first: str) -> None:
        queue = a_queue(a_batch("low", priority=Priority.LOW), a_batch("high", priority=Priority.HIGH))
        queue = queue.model_copy(update={"served": AGED_SHARE - 1})
        assert campaigns_in_order(queue, NOW + AGE_AFTER + waited)[0] == first

    @given(
        before=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(Priority)), max_size=5),
        served=st.integers(min_value=0, max_value=4),
        storm=st.lists(st.sampled_from([Priority.CRITICAL, Priority.HIGH]), min_size=1, max_size=5),
    )
    def test_no_storm_of_higher_priorities_makes_a_message_wait_longer_than_its_bound(
        self, before: list[tuple[str, Priority]], served: int, storm: list[Priority]
    ) -> None:
        queue = a_queue(*(a_batch(name, number, 1, rank) for number, (name, rank) in enumerate(before)))
        queue = enqueue(queue, a_batch("last", 0, 1, Priority.LOW), NOW).model_copy(update={"served": served})
        last, bound = message("last", 0, 0), (len(before) + 1) * AGED_SHARE
        for sends in range(1, bound + 1):
            for number, rank in enumerate(storm):
                queue = enqueue(queue, a_batch(f"storm-{rank}", sends * 10 + number, 1, rank), AGED)
            queue, key = serve_one(queue, AGED)
            if key == last:
                return
        pytest.fail(f"not sent after {bound} messages")


class TestCandidates:
    def test_no_more_than_asked_for(self) -> None:
        queue = a_queue(a_batch(size=80))
        assert (len(candidates(queue, NOW)), len(candidates(queue, NOW, 1))) == (ROUND_SIZE, 1)

    def test_a_batch_is_due_at_its_moment_and_not_before(self) -> None:
        start = NOW + timedelta(hours=1)
        queue = a_queue(a_batch(not_before=start))
        assert not candidates(queue, start - timedelta(microseconds=1))
        assert len(candidates(queue, start)) == 3
        assert next_wake(queue, NOW) == start

    def test_a_postponed_message_steps_aside_for_those_behind_it(self) -> None:
        waits = DeliveryReport(deferred=(Deferred(message_id=message("spring", 0, 0), delay_ms=1_000),))
        queue, _ = apply(a_queue(a_batch()), waits, NOW)
        assert ids_of(candidates(queue, NOW)) == [message("spring", 0, 1), message("spring", 0, 2)]
        assert len(candidates(queue, NOW + timedelta(seconds=1))) == 3

    def test_a_type_that_waits_steps_aside_for_the_others(self) -> None:
        welcome = a_batch("summer", message_type=MessageType.WELCOME)
        queue, _ = apply(a_queue(a_batch(), welcome), limited(MessageType.CUSTOM, 60_000), NOW)
        assert set(ids_of(candidates(queue, NOW))) == set(welcome.message_ids)
        assert len(candidates(queue, NOW + timedelta(minutes=1))) == 6

    def test_a_batch_of_another_type_ends_the_wait_and_one_of_the_same_does_not(self) -> None:
        minute = NOW + timedelta(minutes=1)
        queue, _ = apply(a_queue(a_batch()), limited(MessageType.CUSTOM, 60_000), NOW)
        assert next_wake(enqueue(queue, a_batch("summer"), NOW), NOW) == minute
        welcome = a_batch("summer", message_type=MessageType.WELCOME)
        assert next_wake(enqueue(queue, welcome, NOW), NOW) == NOW

    def test_what_is_too_late_is_ended_whatever_the_account_waits_for(self) -> None:
        late = NOW + timedelta(seconds=30)
        for waits in (DeliveryReport(wait_ms=60_000), DeliveryReport(until_woken=True)):
            queue, _ = apply(a_queue(a_batch(), a_batch("summer", size=1, expires_at=late)), waits, NOW)
            assert (candidates(queue, NOW), next_wake(queue, NOW)) == ((), late)
            assert ids_of(candidates(queue, late)) == [message("summer", 0, 0)]

    def test_a_postponed_message_is_looked_at_again_when_it_expires(self) -> None:
        late = NOW + timedelta(seconds=30)
        waits = DeliveryReport(deferred=(Deferred(message_id=message("spring", 0, 0), delay_ms=3_600_000),))
        queue, _ = apply(a_queue(a_batch(size=1, expires_at=late)), waits, NOW)
        assert next_wake(queue, NOW) == late

    def test_only_what_is_asked_for_is_worked_out(self) -> None:
        queue = a_queue(*(a_batch("spring", number, 100) for number in range(100)))
        assert [key for _, key in islice(order(queue, NOW), 2)] == [message("spring", 0, 0), message("spring", 0, 1)]


class TestUrgency:
    def test_the_highest_priority_of_the_candidates_counts(self) -> None:
        queue = a_queue(a_batch("low", priority=Priority.LOW), a_batch("high", priority=Priority.HIGH))
        assert urgency(queue, candidates(queue, NOW)) is Priority.HIGH
        assert urgency(queue, candidates(queue, NOW)[3:]) is Priority.LOW

    @pytest.mark.parametrize("priority", Priority)
    def test_a_round_that_nobody_takes_becomes_the_most_urgent_within_half_an_hour(self, priority: Priority) -> None:
        queue, waited = a_queue(a_batch(priority=priority)), timedelta()
        while (found := urgency(queue, candidates(queue, NOW + waited))) is not Priority.CRITICAL:
            queue, waited = untaken(start_round(queue)), waited + UNTAKEN_AFTER
            assert urgency(queue, candidates(queue, NOW + waited)).rank == found.rank - 1
        assert waited <= timedelta(minutes=30)

    @given(st.lists(st.one_of(st.none(), st.sampled_from(Priority)), max_size=20))
    def test_whatever_else_arrives_meanwhile_it_never_waits_longer_for_that(
        self, arrivals: list[Priority | None]
    ) -> None:
        """None: a worker comes, and sends the first message."""
        queue, now, since = a_queue(a_batch("low", size=30, priority=Priority.LOW)), NOW, NOW
        for number, arrival in enumerate(arrivals):
            chosen = candidates(queue, now)
            if arrival is None:
                queue, _ = apply(start_round(queue), settled(chosen[0].message_id), now, chosen)
                since = now
            else:
                queue = enqueue(untaken(start_round(queue)), a_batch(f"{number}", size=1, priority=arrival), now)
                now += UNTAKEN_AFTER
            if now - since >= timedelta(minutes=30):
                assert urgency(queue, candidates(queue, now)) is Priority.CRITICAL

    def test_a_round_that_was_taken_ends_the_haste(self) -> None:
        queue = untaken(untaken(start_round(a_queue(a_batch(priority=Priority.LOW)))))
        assert urgency(queue, candidates(queue, NOW)) is Priority.HIGH
        queue, _ = apply(start_round(queue), DeliveryReport(), NOW)
        assert urgency(queue, candidates(queue, NOW)) is Priority.LOW


class TestOutlook:
    def test_each_message_with_what_it_waits_for(self) -> None:
        start, end = NOW + timedelta(minutes=1), NOW + timedelta(hours=1)
        queue = a_queue(a_batch(size=1, not_before=start, expires_at=end))
        (seen,) = outlook(queue, NOW).messages
        assert (seen.message_id, seen.not_before, seen.expires_at) == (message("spring", 0, 0), start, end)
        assert (seen.arrived_at, seen.parked) == (NOW, False)

    def test_the_later_of_two_moments_counts(self) -> None:
        waits = DeliveryReport(deferred=(Deferred(message_id=message("spring", 0, 0), delay_ms=90_000),))
        queue, _ = apply(a_queue(a_batch(size=1, not_before=NOW + timedelta(seconds=10))), waits, NOW)
        assert outlook(queue, NOW).messages[0].not_before == NOW + timedelta(seconds=90)

    def test_parked_messages_come_last_whatever_their_priority(self) -> None:
        queue = a_queue(a_batch("spring", size=1, priority=Priority.CRITICAL), a_batch("autumn", size=1))
        queue, _ = apply(queue, DeliveryReport(paused_campaigns=("spring",)), NOW)
        seen = [(each.campaign_id, each.parked) for each in outlook(queue, NOW).messages]
        assert seen == [("autumn", False), ("spring", True)]

    @pytest.mark.parametrize(
        ("report", "reason"),
        [
            (DeliveryReport(), ""),
            (DeliveryReport(wait_ms=60_000, reason="rate_limit:account"), "rate_limit:account"),
            (DeliveryReport(until_woken=True, reason="account:paused"), "account:paused"),
            (DeliveryReport(paused_campaigns=("spring",)), "campaign_paused"),
            (limited(MessageType.CUSTOM, 60_000), "rate_limit:message_type"),
            (
                DeliveryReport(deferred=(Deferred(message_id=message("spring", 0, 0), delay_ms=60_000),)),
                "not_before",
            ),
        ],
    )
    def test_it_says_why_nothing_moves(self, report: DeliveryReport, reason: str) -> None:
        queue, _ = apply(a_queue(a_batch("spring", size=1)), report, NOW)
        seen = outlook(queue, NOW)
        assert (seen.reason, seen.asleep) == (reason, report.until_woken)
        assert (seen.throttled_until is not None) is (report.wait_ms > 0)


class TestNextWake:
    def test_an_empty_queue_waits_for_something_new(self) -> None:
        assert next_wake(a_queue(), NOW) is None

    def test_a_parked_campaign_waits_for_something_new(self) -> None:
        queue, _ = apply(a_queue(a_batch("spring")), DeliveryReport(paused_campaigns=("spring",)), NOW)
        assert next_wake(queue, NOW) is None

    def test_a_batch_that_arrives_does_not_end_the_wait_of_the_account(self) -> None:
        queue, _ = apply(a_queue(a_batch("spring")), DeliveryReport(wait_ms=60_000), NOW)
        queue = enqueue(queue, a_batch("summer", priority=Priority.CRITICAL), NOW)
        assert next_wake(queue, NOW) == NOW + timedelta(minutes=1)

    @pytest.mark.parametrize(("wait_ms", "expected_s"), [(0, 5), (2_000, 5), (60_000, 60)])
    def test_a_waiting_message_wakes_it_unless_the_account_waits_longer(self, wait_ms: int, expected_s: int) -> None:
        waits = DeliveryReport(
            deferred=(Deferred(message_id=message("spring", 0, 0), delay_ms=5_000),), wait_ms=wait_ms
        )
        queue, _ = apply(a_queue(a_batch("spring", size=1)), waits, NOW)
        assert next_wake(queue, NOW) == NOW + timedelta(seconds=expected_s)
