"""What a delivery round changes, and what it must not change because something newer is known."""

from datetime import timedelta

import pytest

from domain.delivery import MessageStatus, Priority
from domain.round import apply, start_round
from domain.send_queue import AGED_SHARE, Deferred, DeliveryReport, drop, enqueue, recheck
from domain.turn import candidates, next_wake
from tests.domain.builders import NOW
from tests.domain.queues import LONG_AGO, a_batch, a_queue, message, send, settled


class TestSignalsDuringARound:
    def test_a_campaign_that_was_resumed_is_not_parked_by_what_the_round_saw(self) -> None:
        queue = recheck(start_round(a_queue(a_batch("spring"))), "spring")
        queue, _ = apply(queue, DeliveryReport(paused_campaigns=("spring",)), NOW)
        assert len(candidates(queue, NOW)) == 3

    def test_a_recheck_before_the_round_does_not_hide_a_pause_that_the_round_saw(self) -> None:
        queue = start_round(recheck(a_queue(a_batch("spring")), "spring"))
        queue, _ = apply(queue, DeliveryReport(paused_campaigns=("spring",)), NOW)
        assert not candidates(queue, NOW)

    def test_a_resumed_campaign_does_not_change_what_the_round_saw_of_the_account(self) -> None:
        queue = recheck(start_round(a_queue(a_batch("spring"))), "spring")
        queue, _ = apply(queue, DeliveryReport(until_woken=True), NOW)
        assert not candidates(queue, NOW)


class TestReceipts:
    def test_a_message_that_ended_twice_is_counted_once(self) -> None:
        report = settled(message("spring", 0, 0))
        queue, first = apply(a_queue(a_batch("spring")), report, NOW)
        again, second = apply(queue, report, NOW)
        assert first["spring"].batches[0].counts == {MessageStatus.SENT: 1}
        assert (again.depth, again.served, second) == (2, 1, {})

    def test_a_campaign_that_has_nothing_left_is_not_told_that_the_account_waits(self) -> None:
        ids = [message("spring", 0, number) for number in range(3)]
        report = settled(*ids).model_copy(update={"wait_ms": 60_000, "reason": "rate_limit:account"})
        queue, receipts = apply(a_queue(a_batch("spring"), a_batch("summer")), report, NOW)
        assert (receipts["spring"].throttled_until, receipts["spring"].reason) == (None, "")
        assert (queue.throttled_until, queue.reason) == (NOW + timedelta(minutes=1), "rate_limit:account")

    def test_a_campaign_with_more_to_come_is(self) -> None:
        report = settled(message("spring", 0, 0)).model_copy(update={"wait_ms": 60_000, "reason": "rate_limit:account"})
        _, receipts = apply(a_queue(a_batch("spring")), report, NOW)
        assert receipts["spring"].throttled_until == NOW + timedelta(minutes=1)

    def test_nobody_is_told_of_a_batch_that_nobody_wants_to_hear_of(self) -> None:
        queue, receipts = apply(a_queue(a_batch(reports=False, size=1)), settled(message("spring", 0, 0)), NOW)
        assert (queue.depth, receipts) == (0, {})


class TestWaits:
    def test_the_next_round_lifts_the_throttle(self) -> None:
        queue, _ = apply(a_queue(a_batch()), DeliveryReport(wait_ms=60_000, reason="rate_limit:account"), NOW)
        queue, _ = apply(queue, DeliveryReport(), NOW + timedelta(minutes=1))
        assert (queue.throttled_until, queue.reason) == (None, "")

    def test_a_queue_that_sleeps_with_a_time_looks_again_then_and_goes_on(self) -> None:
        asleep = DeliveryReport(until_woken=True, wait_ms=600_000, reason="account:paused")
        queue, _ = apply(a_queue(a_batch()), asleep, NOW)
        assert (candidates(queue, NOW), next_wake(queue, NOW)) == ((), NOW + timedelta(minutes=10))
        later = NOW + timedelta(minutes=10)
        assert len(candidates(queue, later)) == 3
        queue, _ = apply(start_round(queue), settled(message("spring", 0, 0)), later)
        assert len(candidates(queue, later)) == 2

    @pytest.mark.parametrize("waits", [{"wait_ms": 60_000}, {"until_woken": True}])
    def test_a_round_that_only_ended_messages_leaves_the_wait_of_the_account(self, waits: dict[str, int]) -> None:
        report = DeliveryReport.model_validate({"reason": "why", **waits})
        queue, _ = apply(a_queue(a_batch("spring"), a_batch("summer", size=1)), report, NOW)
        queue = start_round(drop(queue, "summer"))
        after, _ = apply(queue, settled(message("summer", 0, 0), status=MessageStatus.CANCELLED), NOW)
        assert (after.throttled_until, after.asleep, after.reason) == (queue.throttled_until, queue.asleep, "why")

    def test_what_could_not_be_ended_is_not_asked_for_without_a_pause(self) -> None:
        queue = drop(a_queue(a_batch("spring", size=1)), "spring")
        chosen = candidates(queue, NOW)
        queue, _ = apply(start_round(queue), DeliveryReport(), NOW, chosen)
        assert next_wake(queue, NOW) == NOW + timedelta(seconds=5)

    def test_what_was_not_reached_is_asked_for_at_once(self) -> None:
        queue = a_queue(a_batch("spring"))
        after, _ = apply(start_round(queue), DeliveryReport(), NOW, candidates(queue, NOW))
        assert next_wake(after, NOW) == NOW


class TestTurns:
    def test_only_what_was_sent_takes_a_turn(self) -> None:
        queue, _ = apply(a_queue(a_batch()), settled(message("spring", 0, 0), status=MessageStatus.FAILED), NOW)
        assert (queue.served, queue.turns) == (0, {})
        queue = send(queue, NOW, message("spring", 0, 1))
        assert (queue.served, queue.turns) == (1, {"medium:spring": 0})

    def test_a_message_that_goes_for_its_age_takes_none(self) -> None:
        queue = a_queue(a_batch(), at=LONG_AGO).model_copy(update={"served": AGED_SHARE - 1})
        queue = send(queue, NOW, message("spring", 0, 0))
        assert (queue.served, queue.turns) == (AGED_SHARE, {})

    def test_who_has_left_is_forgotten_after_a_while(self) -> None:
        queue = a_queue(*(a_batch(f"group-{number}", 0, 1, Priority.LOW) for number in range(120)))
        for number in range(120):
            queue = send(queue, NOW, message(f"group-{number}", 0, 0))
        assert len(queue.turns) == 100

    def test_a_postponement_of_a_message_that_is_not_here_is_not_remembered(self) -> None:
        stranger = Deferred(message_id=message("autumn", 9, 9), delay_ms=1_000)
        queue, _ = apply(enqueue(a_queue(), a_batch(), NOW), DeliveryReport(deferred=(stranger,)), NOW)
        assert queue.not_before == {}
