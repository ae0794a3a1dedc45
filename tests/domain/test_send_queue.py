"""An account's queue against a plain model of it, and what arrives from outside."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.delivery import TERMINAL, MessageStatus, Priority
from domain.errors import RateLimitExceeded
from domain.rate_limit import MessageType
from domain.round import apply, start_round
from domain.send_queue import (
    MAX_BATCHES,
    MAX_DEPTH,
    ROUND_SIZE,
    Candidate,
    Deferred,
    DeliveryReport,
    EnqueueBatch,
    SendQueue,
    Settled,
    drop,
    drop_message,
    enqueue,
    ensure_room,
    has_room,
    maybe_under_way,
    recheck,
    still_waiting,
    wake,
)
from domain.turn import candidates, ending, next_wake, order, outlook, position
from tests.domain.builders import NOW
from tests.domain.queues import ACCOUNT, a_batch, a_queue, ids_of, message, plain_order

CAMPAIGNS = ("spring", "summer", "autumn")
WAITS = st.one_of(st.none(), st.integers(min_value=1, max_value=4_000).map(lambda s: timedelta(seconds=s)))
MICROSECOND = timedelta(microseconds=1)
LATER = timedelta(days=1)


class QueueMachine(RuleBasedStateMachine):
    """Arrivals, rounds and signals in any order; beside the queue, what must have become of each message."""

    @initialize()
    def start(self) -> None:
        self.queue = SendQueue(account_id=ACCOUNT)
        self.now = NOW
        self.requests: list[EnqueueBatch] = []
        self.batch_of: dict[UUID, EnqueueBatch] = {}
        self.ended: Counter[tuple[str, int, MessageStatus]] = Counter()
        self.told: Counter[tuple[str, int, MessageStatus]] = Counter()
        self.sent = 0
        self.round: tuple[Candidate, ...] | None = None

    @rule(
        campaign=st.sampled_from(CAMPAIGNS),
        size=st.integers(min_value=0, max_value=12),
        priority=st.sampled_from(Priority),
        kind=st.sampled_from([MessageType.CUSTOM, MessageType.WELCOME]),
        group=st.sampled_from(["", "", "direct"]),
        starts_in=WAITS,
        ends_in=WAITS,
        reports=st.booleans(),
    )
    def a_batch_arrives(
        self,
        campaign: str,
        size: int,
        priority: Priority,
        kind: MessageType,
        group: str,
        starts_in: timedelta | None,
        ends_in: timedelta | None,
        reports: bool,
    ) -> None:
        request = a_batch(
            campaign,
            len(self.requests),
            size,
            priority,
            message_type=kind,
            group=group,
            not_before=None if starts_in is None else self.now + starts_in,
            expires_at=None if ends_in is None else self.now + ends_in,
            reports=reports,
        )
        self.queue = enqueue(self.queue, request, self.now)
        self.requests.append(request)
        self.batch_of |= dict.fromkeys(request.message_ids, request)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def a_batch_that_still_waits_arrives_again(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.requests))
        if any(key in self.batch_of for key in request.message_ids):
            assert enqueue(self.queue, request, self.now) == self.queue

    @rule(seconds=st.integers(min_value=0, max_value=2_000))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.round is None)
    @rule()
    def a_round_starts(self) -> None:
        self.round = candidates(self.queue, self.now)
        self.queue = start_round(self.queue)

    @precondition(lambda self: self.round is not None)
    @rule(data=st.data())
    def the_round_reports(self, data: st.DataObject) -> None:
        assert self.round is not None
        report = data.draw(reports(self.round))
        self.queue, receipts = apply(self.queue, report, self.now, self.round)
        for end in report.settled:
            batch = self.batch_of.pop(end.message_id)
            self.sent += end.status is MessageStatus.SENT
            if batch.reports:
                self.ended[batch.campaign_id, batch.batch, end.status] += 1
        for campaign, receipt in receipts.items():
            assert receipt.account_id == ACCOUNT
            for told in receipt.batches:
                for status, number in told.counts.items():
                    assert number > 0
                    self.told[campaign, told.batch, status] += number
        self.round = None

    @rule(campaign=st.sampled_from(CAMPAIGNS))
    def a_campaign_is_resumed(self, campaign: str) -> None:
        self.queue = recheck(self.queue, campaign)

    @rule(campaign=st.sampled_from(CAMPAIGNS))
    def a_campaign_is_cancelled(self, campaign: str) -> None:
        self.queue = drop(self.queue, campaign)

    @precondition(lambda self: self.batch_of)
    @rule(data=st.data())
    def a_message_is_cancelled(self, data: st.DataObject) -> None:
        self.queue = drop_message(self.queue, data.draw(st.sampled_from(sorted(self.batch_of))))

    @rule()
    def the_account_changes(self) -> None:
        self.queue = wake(self.queue)

    @rule()
    def the_workflow_continues_as_new(self) -> None:
        self.queue = SendQueue.model_validate_json(self.queue.model_dump_json())

    @invariant()
    def no_message_is_lost_or_there_twice(self) -> None:
        held = Counter(key for batch in self.queue.batches for key in batch.message_ids)
        assert held == Counter(self.batch_of.keys())
        assert self.queue.depth == len(self.batch_of)

    @invariant()
    def it_sends_what_may_go_in_the_order_of_service(self) -> None:
        assert [key for _, key in order(self.queue, self.now, due_only=True)] == plain_order(self.queue, self.now)

    @invariant()
    def everything_is_either_to_be_ended_or_in_the_outlook(self) -> None:
        seen = Counter(each.message_id for each in outlook(self.queue, self.now).messages)
        at_once = wake(self.queue)
        assert seen + Counter(ids_of(ending(at_once, self.now))) == Counter(self.batch_of.keys())

    @invariant()
    def a_wait_of_the_account_holds_back_nothing_but_sends(self) -> None:
        chosen = candidates(self.queue, self.now)
        throttled = self.queue.throttled_until is not None and self.queue.throttled_until > self.now
        ends = tuple(ending(self.queue, self.now))
        assert chosen[: len(ends)] == ends
        # An account that sleeps with a time to look again is looked at then.
        if throttled or (self.queue.asleep and self.queue.throttled_until is None):
            assert chosen == ends

    @invariant()
    def it_wakes_at_the_first_moment_at_which_there_is_something_to_do(self) -> None:
        due = next_wake(self.queue, self.now)
        if due is None:
            assert not candidates(self.queue, self.now)
            assert not candidates(self.queue, self.now + LATER)
        else:
            assert due >= self.now
            assert candidates(self.queue, due)
            assert due == self.now or not candidates(self.queue, due - MICROSECOND)

    @invariant()
    def nobody_has_to_be_woken_but_for_a_pause(self) -> None:
        parked = {batch.campaign_id for batch in self.queue.batches} <= self.queue.paused_campaigns
        if self.batch_of and not parked and not self.queue.asleep:
            assert next_wake(self.queue, self.now) is not None

    @invariant()
    def every_ended_message_was_told_once_to_its_campaign(self) -> None:
        assert self.told == self.ended
        assert self.queue.served == self.sent

    @invariant()
    def what_is_remembered_about_messages_does_not_outlive_them(self) -> None:
        alive = {batch.campaign_id for batch in self.batch_of.values()}
        assert self.queue.not_before.keys() | self.queue.dropped_messages <= self.batch_of.keys()
        assert self.queue.paused_campaigns | self.queue.dropped_campaigns <= alive


@st.composite
def reports(draw: st.DrawFn, chosen: Sequence[Candidate]) -> DeliveryReport:
    """What a round could report about these candidates: some ended, some wait, some were not reached."""
    ended: list[Settled] = []
    waits: list[Deferred] = []
    for candidate in chosen:
        match draw(st.sampled_from(["ended", "waits", "not reached"])):
            case "ended":
                status = draw(st.sampled_from(sorted(TERMINAL)))
                ended.append(Settled(message_id=candidate.message_id, status=status))
            case "waits":
                delay = draw(st.integers(min_value=0, max_value=200_000))
                waits.append(Deferred(message_id=candidate.message_id, delay_ms=delay))
    campaigns = sorted({candidate.campaign_id for candidate in chosen})
    paused = draw(st.lists(st.sampled_from(campaigns), unique=True)) if campaigns else []
    wait_ms = draw(st.sampled_from([0, 0, 1, 60_000]))
    return DeliveryReport(
        settled=tuple(ended),
        deferred=tuple(waits),
        paused_campaigns=tuple(paused),
        type_waits_ms=draw(st.sampled_from([{}, {}, {MessageType.CUSTOM: 90_000}])),
        wait_ms=wait_ms,
        until_woken=draw(st.sampled_from([False, False, True])),
        reason="rate_limit:account" if wait_ms else "",
    )


class TestAnyHistory:
    def test_no_message_is_lost_or_doubled_whatever_happens_in_whatever_order(self) -> None:
        run_state_machine_as_test(QueueMachine, settings=settings(max_examples=80, stateful_step_count=25))


class TestEnqueue:
    def test_a_batch_remembers_when_it_arrived(self) -> None:
        assert [batch.arrived_at for batch in a_queue(a_batch()).batches] == [NOW]

    def test_an_empty_batch_takes_no_place(self) -> None:
        queue = a_queue(a_batch("spring", 0, size=0))
        assert queue == SendQueue(account_id=ACCOUNT)

    def test_the_same_number_of_another_campaign_is_another_batch(self) -> None:
        assert a_queue(a_batch("spring"), a_batch("summer")).depth == 6

    def test_the_place_is_that_of_the_last_message_in_the_order_of_service(self) -> None:
        medium, low = a_batch("spring"), a_batch("summer", priority=Priority.LOW)
        queue = a_queue(low, medium)
        assert (position(queue, medium, NOW), position(queue, low, NOW)) == (3, 6)

    def test_what_does_not_wait_has_no_place(self) -> None:
        assert position(a_queue(a_batch("spring")), a_batch("summer"), NOW) == 0


class TestStillWaiting:
    @given(st.lists(st.sampled_from([None, *MessageStatus]), min_size=ROUND_SIZE + 5, max_size=ROUND_SIZE + 5))
    def test_only_what_a_round_may_hold_is_looked_up_and_only_the_queued_of_it_wait(
        self, stored: list[MessageStatus | None]
    ) -> None:
        size = len(stored) // 2
        seen = outlook(a_queue(a_batch(size=size), a_batch("summer", size=len(stored) - size)), NOW)
        in_order = [each.message_id for each in seen.messages]
        asked = [key for ids in maybe_under_way(seen).values() for key in ids]
        assert sorted(asked) == sorted(in_order[:ROUND_SIZE])
        statuses = {key: status for key, status in zip(in_order, stored, strict=True) if key in asked and status}
        wanted = [key for key in in_order if key not in asked or statuses.get(key) is MessageStatus.QUEUED]
        assert [each.message_id for each in still_waiting(seen, statuses).messages] == wanted


class TestRoom:
    def test_the_last_place_is_given_and_not_one_more(self) -> None:
        queue = a_queue(a_batch(size=MAX_DEPTH - 1))
        ensure_room(queue, a_batch("summer", size=1, priority=Priority.CRITICAL))
        with pytest.raises(RateLimitExceeded, match="9999 messages in 1 batches") as refused:
            ensure_room(queue, a_batch("summer", size=2))
        assert refused.value.retry_after_s == 60

    @pytest.mark.parametrize(
        ("priority", "share"),
        [(Priority.LOW, 0.7), (Priority.MEDIUM, 0.7), (Priority.HIGH, 0.9), (Priority.CRITICAL, 1)],
    )
    def test_each_priority_leaves_room_for_those_above_it(self, priority: Priority, share: float) -> None:
        depth, batches = int(MAX_DEPTH * share), int(MAX_BATCHES * share)
        assert has_room(depth - 3, 0, 3, priority)
        assert not has_room(depth - 3, 0, 4, priority)
        assert has_room(0, batches - 1, 1, priority)
        assert not has_room(0, batches, 1, priority)
        full = a_queue(a_batch(size=depth))
        with pytest.raises(RateLimitExceeded, match=f"priority {priority}"):
            ensure_room(full, a_batch("summer", size=1, priority=priority))

    def test_single_messages_count_by_what_they_take(self) -> None:
        queue = a_queue(*(a_batch("direct", number, size=1) for number in range(MAX_BATCHES)))
        with pytest.raises(RateLimitExceeded):
            ensure_room(queue, a_batch("summer", size=1))

    def test_a_repeated_batch_is_welcome_in_a_full_queue(self) -> None:
        request = a_batch(size=MAX_DEPTH)
        ensure_room(a_queue(request), request)

    def test_a_full_queue_is_one_payload_in_the_worst_case(self) -> None:
        in_each = MAX_DEPTH // MAX_BATCHES
        batches = [
            a_batch(
                f"{number:036}",
                number,
                in_each,
                group=f"{number:036}",
                expires_at=NOW + LATER,
                not_before=NOW,
                message_type=MessageType.PROMOTIONAL,
            )
            for number in range(MAX_BATCHES)
        ]
        queue = a_queue(*batches)
        waits = [
            Deferred(message_id=key, delay_ms=3_600_001 + number)
            for number, key in enumerate(key for batch in batches for key in batch.message_ids)
        ]
        queue, _ = apply(queue, DeliveryReport(deferred=tuple(waits)), NOW + MICROSECOND)
        everywhere = frozenset(batch.campaign_id for batch in batches)
        queue = queue.model_copy(
            update={
                "paused_campaigns": everywhere,
                "rechecked": everywhere,
                "turns": {batch.flow: number for number, batch in enumerate(queue.batches)},
            }
        )
        assert len(queue.not_before) == MAX_DEPTH
        assert len(queue.model_dump_json(by_alias=True)) < 2 * 1024 * 1024 * 0.9


class TestDrop:
    def test_a_cancelled_campaign_is_ended_before_everything_else_and_despite_the_throttle(self) -> None:
        queue = a_queue(a_batch("spring", priority=Priority.CRITICAL), a_batch("autumn"))
        queue = drop(queue.model_copy(update={"throttled_until": NOW + timedelta(minutes=1)}), "autumn")
        assert {candidate.campaign_id for candidate in candidates(queue, NOW)} == {"autumn"}
        assert next_wake(queue, NOW) == NOW

    def test_a_campaign_that_has_nothing_here_changes_nothing(self) -> None:
        queue = a_queue(a_batch("spring"))
        assert drop(queue, "autumn") == queue

    def test_it_is_forgotten_when_its_messages_have_ended(self) -> None:
        queue = drop(a_queue(a_batch("spring"), a_batch("autumn")), "autumn")
        ended = tuple(
            Settled(message_id=candidate.message_id, status=MessageStatus.CANCELLED) for candidate in ending(queue, NOW)
        )
        after, _ = apply(queue, DeliveryReport(settled=ended), NOW)
        assert after.dropped_campaigns == frozenset()
        assert not tuple(ending(after, NOW))


class TestDropMessage:
    def test_one_message_is_settled_at_once_and_the_others_stay(self) -> None:
        queue = a_queue(a_batch()).model_copy(update={"asleep": True})
        queue = drop_message(queue, message("spring", 0, 1))
        assert ids_of(candidates(queue, NOW)) == [message("spring", 0, 1)]
        assert message("spring", 0, 1) not in [key for _, key in order(queue, NOW)]

    def test_a_message_that_is_not_here_changes_nothing(self) -> None:
        queue = a_queue(a_batch("spring"))
        assert drop_message(queue, message("autumn", 0, 0)) == queue

    def test_a_round_that_postponed_it_meanwhile_does_not_keep_it_for_long(self) -> None:
        key = message("spring", 0, 0)
        queue = drop_message(start_round(a_queue(a_batch(size=1))), key)
        waits = DeliveryReport(deferred=(Deferred(message_id=key, delay_ms=3_600_000),))
        queue, _ = apply(queue, waits, NOW)
        assert next_wake(queue, NOW) == NOW + timedelta(seconds=5)


class TestWake:
    def test_everything_that_waited_may_go(self) -> None:
        first, second = a_batch("spring"), a_batch("summer")
        queue, _ = apply(
            a_queue(first, second),
            DeliveryReport(
                deferred=(Deferred(message_id=message("summer", 0, 0), delay_ms=60_000),),
                paused_campaigns=("spring",),
                type_waits_ms={MessageType.CUSTOM: 60_000},
                until_woken=True,
                reason="account:paused",
            ),
            NOW,
        )
        assert candidates(queue, NOW) == ()
        woken = wake(queue)
        assert len(candidates(woken, NOW)) == 6
        assert outlook(woken, NOW).reason == ""

    def test_a_moment_set_by_the_caller_stays(self) -> None:
        tomorrow = NOW + LATER
        queue = wake(a_queue(a_batch(not_before=tomorrow)))
        assert (candidates(queue, NOW), next_wake(queue, NOW)) == ((), tomorrow)

    def test_what_a_round_saw_before_is_out_of_date(self) -> None:
        queue = wake(start_round(a_queue(a_batch("spring"))))
        seen = DeliveryReport(
            deferred=(Deferred(message_id=message("spring", 0, 0), delay_ms=60_000),),
            paused_campaigns=("spring",),
            type_waits_ms={MessageType.CUSTOM: 60_000},
            wait_ms=60_000,
            until_woken=True,
        )
        queue, _ = apply(queue, seen, NOW)
        assert len(candidates(queue, NOW)) == 3

    def test_the_round_after_that_counts_again(self) -> None:
        queue, _ = apply(wake(start_round(a_queue(a_batch()))), DeliveryReport(until_woken=True), NOW)
        queue, _ = apply(start_round(queue), DeliveryReport(until_woken=True), NOW)
        assert candidates(queue, NOW) == ()


class TestRecheck:
    def test_a_resumed_campaign_rouses_a_queue_that_sleeps(self) -> None:
        queue, _ = apply(a_queue(a_batch("spring")), DeliveryReport(until_woken=True), NOW)
        assert len(candidates(recheck(queue, "spring"), NOW)) == 3

    def test_it_does_not_lift_a_limit(self) -> None:
        queue, _ = apply(a_queue(a_batch("spring")), DeliveryReport(wait_ms=60_000), NOW)
        assert next_wake(recheck(queue, "spring"), NOW) == NOW + timedelta(minutes=1)
