"""An account's queue against a plain model of it, and its single steps."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid5

import pytest
from hypothesis import settings
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
from domain.send_queue import (
    ROUND_SIZE,
    Candidate,
    Deferred,
    DeliveryReport,
    EnqueueBatch,
    SendQueue,
    Settled,
    apply,
    candidates,
    drop,
    dropped,
    enqueue,
    next_wake,
    recheck,
    start_round,
)
from tests.domain.builders import NOW

ACCOUNT = "acct_luna"
CAMPAIGNS = ("spring", "summer", "autumn")
SOME = UUID(int=0)


def message(campaign: str, batch: int, number: int) -> UUID:
    return uuid5(SOME, f"{campaign}/{batch}/{number}")


def a_batch(
    campaign: str = "spring", batch: int = 0, size: int = 3, priority: Priority = Priority.MEDIUM
) -> EnqueueBatch:
    ids = tuple(message(campaign, batch, number) for number in range(size))
    return EnqueueBatch(campaign_id=campaign, batch=batch, priority=priority, message_ids=ids)


def a_queue(*batches: EnqueueBatch) -> SendQueue:
    queue = SendQueue(account_id=ACCOUNT)
    for batch in batches:
        queue, _ = enqueue(queue, batch)
    return queue


def ids_of(chosen: Sequence[Candidate]) -> list[UUID]:
    return [candidate.message_id for candidate in chosen]


def settled(*ids: UUID, status: MessageStatus = MessageStatus.SENT) -> DeliveryReport:
    return DeliveryReport(settled=tuple(Settled(message_id=key, status=status) for key in ids))


class QueueMachine(RuleBasedStateMachine):
    """Batches, rounds and rechecks in any order; beside the queue, everything that is known about each message."""

    @initialize()
    def start(self) -> None:
        self.queue = SendQueue(account_id=ACCOUNT)
        self.now = NOW
        self.requests: list[EnqueueBatch] = []
        self.waiting: dict[UUID, tuple[int, int, int]] = {}
        self.campaign: dict[UUID, str] = {}
        self.due: dict[UUID, datetime] = {}
        self.paused: set[str] = set()
        self.throttled: datetime | None = None
        self.ended: Counter[tuple[str, int, MessageStatus]] = Counter()
        self.told: Counter[tuple[str, int, MessageStatus]] = Counter()
        self.round: tuple[Candidate, ...] | None = None
        self.rechecked: set[str] = set()

    @rule(
        campaign=st.sampled_from(CAMPAIGNS),
        size=st.integers(min_value=0, max_value=12),
        priority=st.sampled_from(Priority),
    )
    def a_batch_arrives(self, campaign: str, size: int, priority: Priority) -> None:
        number = len(self.requests)
        request = a_batch(campaign, number, size, priority)
        self.queue, answer = enqueue(self.queue, request)
        self.requests.append(request)
        for place, key in enumerate(request.message_ids):
            self.waiting[key] = (priority.rank, number, place)
            self.campaign[key] = campaign
        if size:
            last = self.waiting[request.message_ids[-1]]
            assert answer.position == sum(order <= last for order in self.waiting.values())

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def a_batch_that_still_waits_arrives_again(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.requests))
        if not any(key in self.waiting for key in request.message_ids):
            return
        again, _ = enqueue(self.queue, request)
        assert again == self.queue

    @rule(seconds=st.integers(min_value=0, max_value=300))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.round is None)
    @rule()
    def a_round_starts(self) -> None:
        self.queue = start_round(self.queue)
        self.rechecked = set()
        self.round = candidates(self.queue, self.now)

    @precondition(lambda self: self.round is not None)
    @rule(data=st.data())
    def the_round_reports(self, data: st.DataObject) -> None:
        assert self.round is not None
        report = data.draw(reports(self.round))
        self.queue, receipts = apply(self.queue, report, self.now)
        self._learn(report)
        for campaign, receipt in receipts.items():
            assert receipt.account_id == ACCOUNT
            for batch in receipt.batches:
                for status, number in batch.counts.items():
                    assert number > 0
                    self.told[campaign, batch.batch, status] += number
            if campaign in {self.campaign[key] for key in self.waiting}:
                assert (receipt.throttled_until, receipt.reason) == (self.throttled, report.reason)
        self.round = None

    def _learn(self, report: DeliveryReport) -> None:
        for end in report.settled:
            _, batch, _ = self.waiting.pop(end.message_id)
            self.ended[self.campaign[end.message_id], batch, end.status] += 1
            self.due.pop(end.message_id, None)
        for wait in report.deferred:
            if self.campaign[wait.message_id] in self.rechecked:
                continue
            self.due[wait.message_id] = self.now + timedelta(milliseconds=wait.delay_ms)
        alive = {self.campaign[key] for key in self.waiting}
        self.paused = (self.paused | (set(report.paused_campaigns) - self.rechecked)) & alive
        self.throttled = self.now + timedelta(milliseconds=report.wait_ms) if report.wait_ms else None

    @rule(campaign=st.sampled_from(CAMPAIGNS))
    def a_campaign_is_resumed_or_cancelled(self, campaign: str) -> None:
        self.queue = recheck(self.queue, campaign)
        self.paused.discard(campaign)
        self.rechecked.add(campaign)
        self.due = {key: due for key, due in self.due.items() if self.campaign[key] != campaign}

    @rule()
    def the_workflow_continues_as_new(self) -> None:
        self.queue = SendQueue.model_validate_json(self.queue.model_dump_json())

    @invariant()
    def no_message_is_lost_or_there_twice(self) -> None:
        held = Counter(key for batch in self.queue.batches for key in batch.message_ids)
        assert held == Counter(self.waiting.keys())
        assert self.queue.depth == len(self.waiting)

    @invariant()
    def candidates_are_exactly_the_first_that_may_go_in_order_of_priority_then_arrival(self) -> None:
        free = [
            key
            for key in sorted(self.waiting, key=lambda key: self.waiting[key])
            if self.campaign[key] not in self.paused and self.due.get(key, self.now) <= self.now
        ]
        chosen = candidates(self.queue, self.now)
        assert ids_of(chosen) == free[:ROUND_SIZE]
        assert all(candidate.campaign_id == self.campaign[candidate.message_id] for candidate in chosen)

    @invariant()
    def every_ended_message_was_told_once_to_its_campaign(self) -> None:
        assert self.told == self.ended

    @invariant()
    def it_wakes_at_the_first_moment_at_which_something_may_go(self) -> None:
        dues = [self.due.get(key, self.now) for key in self.waiting if self.campaign[key] not in self.paused]
        wake = next_wake(self.queue, self.now)
        if not dues:
            assert wake is None
        else:
            first = max(min(dues), self.now)
            assert wake is not None
            assert max(wake, self.now) == max(first, self.throttled or first)

    @invariant()
    def what_is_remembered_about_messages_does_not_outlive_them(self) -> None:
        assert self.queue.not_before.keys() <= self.waiting.keys()
        assert self.queue.paused_campaigns <= {self.campaign[key] for key in self.waiting}


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
        wait_ms=wait_ms,
        reason="rate_limit:account" if wait_ms else "",
    )


class TestAnyHistory:
    def test_no_message_is_lost_or_doubled_whatever_happens_in_whatever_order(self) -> None:
        run_state_machine_as_test(QueueMachine, settings=settings(max_examples=60, stateful_step_count=25))


class TestEnqueue:
    def test_a_batch_goes_behind_its_own_priority_and_before_the_lower_ones(self) -> None:
        queue = a_queue(
            a_batch("spring", 0, 1, Priority.LOW),
            a_batch("summer", 0, 1, Priority.HIGH),
            a_batch("autumn", 0, 1, Priority.HIGH),
            a_batch("spring", 1, 1, Priority.CRITICAL),
        )
        assert [(batch.campaign_id, batch.batch) for batch in queue.batches] == [
            ("spring", 1),
            ("summer", 0),
            ("autumn", 0),
            ("spring", 0),
        ]

    def test_the_answer_is_the_place_of_the_last_message(self) -> None:
        _, answer = enqueue(a_queue(a_batch("spring"), a_batch("summer", priority=Priority.LOW)), a_batch("autumn"))
        assert answer.position == 6

    def test_an_empty_batch_takes_no_place(self) -> None:
        queue = a_queue(a_batch("spring", 0, size=0))
        assert queue == SendQueue(account_id=ACCOUNT)

    def test_the_same_number_of_another_campaign_is_another_batch(self) -> None:
        assert a_queue(a_batch("spring"), a_batch("summer")).depth == 6


class TestCandidates:
    def test_no_more_than_asked_for(self) -> None:
        queue = a_queue(a_batch(size=30))
        assert (len(candidates(queue, NOW)), len(candidates(queue, NOW, 1))) == (ROUND_SIZE, 1)

    def test_a_message_is_due_at_its_moment_and_not_before(self) -> None:
        queue = a_queue(a_batch(size=1))
        waits = DeliveryReport(deferred=(Deferred(message_id=message("spring", 0, 0), delay_ms=1_000),))
        queue, _ = apply(queue, waits, NOW)
        assert not candidates(queue, NOW + timedelta(milliseconds=999))
        assert candidates(queue, NOW + timedelta(milliseconds=1_000))


class TestApply:
    def test_a_campaign_that_was_resumed_during_the_round_is_not_parked_by_what_the_round_saw(self) -> None:
        queue = recheck(start_round(a_queue(a_batch("spring"))), "spring")
        queue, _ = apply(queue, DeliveryReport(paused_campaigns=("spring",)), NOW)
        assert len(candidates(queue, NOW)) == 3

    def test_a_recheck_before_the_round_does_not_hide_a_pause_that_the_round_saw(self) -> None:
        queue = start_round(recheck(a_queue(a_batch("spring")), "spring"))
        queue, _ = apply(queue, DeliveryReport(paused_campaigns=("spring",)), NOW)
        assert not candidates(queue, NOW)

    def test_a_message_that_ended_twice_is_counted_once(self) -> None:
        report = settled(message("spring", 0, 0))
        queue, first = apply(a_queue(a_batch("spring")), report, NOW)
        again, second = apply(queue, report, NOW)
        assert first["spring"].batches[0].counts == {MessageStatus.SENT: 1}
        assert (again.depth, second) == (2, {})

    def test_a_campaign_that_has_nothing_left_is_not_told_that_the_account_waits(self) -> None:
        ids = [message("spring", 0, number) for number in range(3)]
        report = settled(*ids).model_copy(update={"wait_ms": 60_000, "reason": "rate_limit:account"})
        queue, receipts = apply(a_queue(a_batch("spring"), a_batch("summer")), report, NOW)
        assert (receipts["spring"].throttled_until, receipts["spring"].reason) == (None, "")
        assert (queue.throttled_until, queue.reason) == (NOW + timedelta(minutes=1), "rate_limit:account")

    def test_the_next_round_lifts_the_throttle(self) -> None:
        queue, _ = apply(a_queue(a_batch()), DeliveryReport(wait_ms=60_000, reason="rate_limit:account"), NOW)
        queue, _ = apply(queue, DeliveryReport(), NOW)
        assert (queue.throttled_until, queue.reason) == (None, "")


class TestNextWake:
    def test_an_empty_queue_waits_for_something_new(self) -> None:
        assert next_wake(SendQueue(account_id=ACCOUNT), NOW) is None

    def test_a_parked_campaign_waits_for_something_new(self) -> None:
        queue, _ = apply(a_queue(a_batch("spring")), DeliveryReport(paused_campaigns=("spring",)), NOW)
        assert next_wake(queue, NOW) is None

    @pytest.mark.parametrize(("wait_ms", "expected_s"), [(0, 5), (2_000, 5), (60_000, 60)])
    def test_a_waiting_message_wakes_it_unless_the_account_waits_longer(self, wait_ms: int, expected_s: int) -> None:
        waits = DeliveryReport(
            deferred=(Deferred(message_id=message("spring", 0, 0), delay_ms=5_000),), wait_ms=wait_ms
        )
        queue, _ = apply(a_queue(a_batch("spring", size=1)), waits, NOW)
        assert next_wake(queue, NOW) == NOW + timedelta(seconds=expected_s)


class TestDrop:
    def test_a_cancelled_campaign_is_ended_before_everything_else_and_despite_the_throttle(self) -> None:
        queue = a_queue(a_batch("spring", priority=Priority.CRITICAL), a_batch("autumn"))
        queue = drop(queue.model_copy(update={"throttled_until": NOW + timedelta(minutes=1)}), "autumn")
        assert {candidate.campaign_id for candidate in dropped(queue, NOW)} == {"autumn"}
        assert next_wake(queue, NOW) == NOW

    def test_a_campaign_that_has_nothing_here_changes_nothing(self) -> None:
        queue = a_queue(a_batch("spring"))
        assert drop(queue, "autumn") == queue

    def test_it_is_forgotten_when_its_messages_have_ended(self) -> None:
        queue = drop(a_queue(a_batch("spring"), a_batch("autumn")), "autumn")
        ended = tuple(
            Settled(message_id=candidate.message_id, status=MessageStatus.CANCELLED)
            for candidate in dropped(queue, NOW)
        )
        after, _ = apply(queue, DeliveryReport(settled=ended), NOW)
        assert after.dropped_campaigns == frozenset()
        assert dropped(after, NOW) == ()
