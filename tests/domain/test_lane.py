"""What one account's part of a campaign does next, and what each event changes."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from domain.alternative import AlternativeAction
from domain.compliance import ComplianceReport, check
from domain.delivery import MessageReview
from domain.lane import (
    Action,
    ActionKind,
    LaneState,
    OpenPage,
    PageDrafted,
    Steering,
    distribution,
    may_be_late,
    next_action,
    next_page_reach,
)
from domain.lane_event import (
    after_alternative,
    after_change,
    after_draft,
    after_reading,
    after_receipts,
    after_submit,
    after_withdrawal,
    before_reading,
    choose_alternative,
    decide,
    expire,
)
from domain.review import EXPIRY, Decision, EditRequest, PageKey, ReviewDecision, Verdict, edited
from domain.send_queue import BatchReceipt
from tests.domain.builders import NOW, a_message
from tests.domain.lanes import ACCOUNT, APPROVED, PAGE_SIZE, REJECTED, S, a_lane, receipts

HOURS = timedelta(hours=72)
BY_ID = UUID(int=7)
BY_ANA = MessageReview(decided_by="ana", decided_at=NOW)


class TestNextAction:
    @pytest.mark.parametrize(
        ("state", "steering", "expected"),
        [
            (a_lane(), Steering(), Action(kind=ActionKind.DRAFT)),
            (a_lane(), Steering(paused=True), Action(kind=ActionKind.WAIT)),
            (a_lane(), Steering(cancelled=True), Action(kind=ActionKind.CLOSE)),
            (a_lane(), Steering(stopped="cost_limit_exceeded"), Action(kind=ActionKind.CLOSE)),
            (a_lane(next_page=1, batches={0: 4}), Steering(), Action(kind=ActionKind.DRAFT, page=1)),
            (a_lane(next_page=2, batches={0: 1, 1: 4}), Steering(), Action(kind=ActionKind.WAIT)),
            (a_lane(next_page=3), Steering(), Action(kind=ActionKind.DONE)),
            (a_lane(next_page=3, batches={0: 1}), Steering(), Action(kind=ActionKind.WAIT)),
            (a_lane(next_page=3, batches={0: 1}), Steering(stopped="x"), Action(kind=ActionKind.WAIT)),
            (a_lane(next_page=3, closed=True), Steering(cancelled=True), Action(kind=ActionKind.DONE)),
            (
                a_lane(next_page=1, next_batch=3, open_pages={0: OpenPage(awaiting=1, ready=2)}),
                Steering(paused=True),
                Action(kind=ActionKind.SUBMIT, page=0, batch=3),
            ),
            (
                a_lane(next_page=1, open_pages={0: OpenPage(awaiting=1, ready=2)}, decisions={0: (REJECTED,)}),
                Steering(standing_decision=APPROVED),
                Action(kind=ActionKind.DECIDE, page=0, decision=REJECTED),
            ),
            (
                a_lane(next_page=2, open_pages={1: OpenPage(awaiting=1, ready=0), 0: OpenPage(awaiting=2, ready=0)}),
                Steering(standing_decision=APPROVED),
                Action(kind=ActionKind.DECIDE, page=0, decision=APPROVED),
            ),
            (
                a_lane(
                    next_page=2, open_pages={0: OpenPage(ready=2), 1: OpenPage(awaiting=2)}, decisions={1: (REJECTED,)}
                ),
                Steering(),
                Action(kind=ActionKind.DECIDE, page=1, decision=REJECTED),
            ),
            (
                a_lane(next_page=3, open_pages={0: OpenPage(unwritten=2)}),
                Steering(standing_decision=APPROVED),
                Action(kind=ActionKind.WAIT),
            ),
            (
                a_lane(next_page=3, open_pages={0: OpenPage(unwritten=2)}),
                Steering(standing_decision=REJECTED),
                Action(kind=ActionKind.DECIDE, page=0, decision=REJECTED),
            ),
            (
                a_lane(next_page=3, open_pages={0: OpenPage(unwritten=2, ready=1)}, changed=(0,)),
                Steering(paused=True),
                Action(kind=ActionKind.READ, page=0),
            ),
        ],
    )
    def test_it_ends_what_must_end_then_decides_then_submits_and_only_then_drafts(
        self, state: LaneState, steering: Steering, expected: Action
    ) -> None:
        assert next_action(state, steering, PAGE_SIZE) == expected


class TestAlternative:
    def chosen(self, **changes: Any) -> LaneState:
        return choose_alternative(
            a_lane(**{"next_page": 1, **changes}), AlternativeAction.SKIP, "deadline: …", PAGE_SIZE
        )

    def test_it_takes_every_page_that_was_not_drafted(self) -> None:
        alternative = self.chosen().alternative
        assert alternative is not None
        assert (alternative.account_id, alternative.recipients) == (ACCOUNT, 6)

    @pytest.mark.parametrize(
        ("changes", "steering", "expected"),
        [
            ({}, Steering(), ActionKind.ALTERNATIVE),
            ({}, Steering(overdue=True), ActionKind.ALTERNATIVE),
            ({"batches": {0: 4}}, Steering(), ActionKind.WAIT),
            ({"batches": {0: 4}}, Steering(overdue=True), ActionKind.WITHDRAW),
            ({"batches": {0: 4}}, Steering(overdue=True, paused=True), ActionKind.WITHDRAW),
            ({"batches": {0: 4}}, Steering(paused=True), ActionKind.WAIT),
            ({"next_page": 3, "withdrawn": 2}, Steering(overdue=True, paused=True), ActionKind.WAIT),
            ({"next_page": 3, "withdrawn": 2}, Steering(overdue=True), ActionKind.ALTERNATIVE),
            ({"batches": {0: 4}}, Steering(overdue=True, cancelled=True), ActionKind.ALTERNATIVE),
            ({"batches": {0: 4}, "withdrawn": 0}, Steering(), ActionKind.ALTERNATIVE),
            ({"withdrawn": 2}, Steering(), ActionKind.ALTERNATIVE),
            ({}, Steering(paused=True), ActionKind.WAIT),
            ({}, Steering(cancelled=True), ActionKind.ALTERNATIVE),
            ({}, Steering(stopped="cost_limit_exceeded"), ActionKind.ALTERNATIVE),
            ({"open_pages": {0: OpenPage(awaiting=0, ready=2)}}, Steering(), ActionKind.SUBMIT),
            ({"open_pages": {0: OpenPage(awaiting=0, ready=2)}}, Steering(overdue=True), ActionKind.WITHDRAW),
            ({"open_pages": {0: OpenPage(awaiting=2, ready=0)}}, Steering(), ActionKind.WAIT),
            ({"open_pages": {0: OpenPage(awaiting=2, ready=0)}}, Steering(overdue=True), ActionKind.WITHDRAW),
        ],
    )
    def test_once_chosen_it_is_carried_out_and_nothing_more_is_drafted(
        self, changes: dict[str, Any], steering: Steering, expected: ActionKind
    ) -> None:
        assert next_action(self.chosen(**changes), steering, PAGE_SIZE).kind is expected

    def test_a_cancellation_ends_its_recipients_first_and_then_the_rest(self) -> None:
        state = self.chosen(open_pages={0: OpenPage(awaiting=2, ready=0)})
        after = after_alternative(state, {S.CANCELLED: 6})
        assert next_action(after, Steering(cancelled=True), PAGE_SIZE).kind is ActionKind.CLOSE

    def test_it_is_chosen_once(self) -> None:
        assert may_be_late(a_lane(next_page=1))
        assert not may_be_late(self.chosen())
        assert not may_be_late(a_lane(next_page=3))

    def test_it_can_be_for_drafts_alone(self) -> None:
        state = a_lane(next_page=3, open_pages={2: OpenPage(awaiting=1)}, batches={0: 2})
        assert may_be_late(state)
        chosen = choose_alternative(state, AlternativeAction.MASS_MESSAGE, "deadline: …", PAGE_SIZE)
        overdue = Steering(overdue=True)
        assert next_action(chosen, overdue, PAGE_SIZE).kind is ActionKind.WITHDRAW
        withdrawn = after_withdrawal(chosen, taken=2, drafts=1, counts={S.SENT: 7})
        assert withdrawn.alternative is not None
        assert (withdrawn.alternative.recipients, withdrawn.backlog) == (2, 3)
        ended = after_alternative(withdrawn, {S.SENT: 8})
        assert (ended.counts, ended.batches, ended.backlog) == ({S.SENT: 8}, {0: 2}, 2)
        assert next_action(ended, overdue, PAGE_SIZE).kind is ActionKind.WAIT
        assert not may_be_late(ended)

    def test_an_alternative_chosen_before_it_could_withdraw_is_for_undrafted_pages_alone(self) -> None:
        state = a_lane(next_page=1, open_pages={0: OpenPage(awaiting=2)})
        chosen = choose_alternative(state, AlternativeAction.SKIP, "deadline: …", PAGE_SIZE, withdraws=False)
        for steering in (Steering(), Steering(overdue=True)):
            assert next_action(chosen, steering, PAGE_SIZE).kind is ActionKind.ALTERNATIVE
        after = after_alternative(chosen, {S.SKIPPED: 6})
        assert (after.waiting, after.counts) == (2, {S.SKIPPED: 6})

    def test_what_waits_for_a_reviewer_goes_before_the_next_page(self) -> None:
        state = a_lane(next_page=2, open_pages={1: OpenPage(awaiting=3, ready=0)}, batches={0: 4})
        assert next_page_reach(state, PAGE_SIZE) == 3 + 2


class TestAfterSubmit:
    def test_what_still_waits_for_a_reviewer_stays_open(self) -> None:
        state = a_lane(next_page=1, open_pages={0: OpenPage(awaiting=1, ready=3)})
        after = after_submit(state, 0, 0, 3)
        assert (after.open_pages, after.batches) == ({0: OpenPage(awaiting=1, ready=0)}, {0: 3})

    def test_a_receipt_that_overtook_the_news_counts_once_the_batch_is_known(self) -> None:
        state = a_lane(next_page=1, open_pages={0: OpenPage(awaiting=0, ready=3)})
        early = after_receipts(state, receipts((0, {S.SENT: 2})))
        assert (early.counts, early.backlog) == ({}, 3)
        after = after_submit(early, 0, 0, 3)
        assert (after.counts, after.batches, after.early) == ({S.SENT: 2}, {0: 1}, ())

    def test_a_receipt_for_a_later_batch_stays_early(self) -> None:
        state = a_lane(next_page=1, open_pages={0: OpenPage(awaiting=0, ready=3)})
        ahead = after_receipts(state, receipts((1, {S.SENT: 1})))
        assert after_submit(ahead, 0, 0, 3).early == (BatchReceipt(batch=1, counts={S.SENT: 1}),)


class TestAfterReceipts:
    def test_an_account_that_waits_is_shown_as_long_as_messages_wait_in_its_queue(self) -> None:
        state = a_lane(next_page=1, next_batch=1, batches={0: 2})
        until = NOW + timedelta(minutes=1)
        one = after_receipts(state, receipts((0, {S.SENT: 1}), throttled_until=until, reason="rate_limit:account"))
        assert (one.throttled_until, one.reason) == (until, "rate_limit:account")
        two = after_receipts(one, receipts((0, {S.SENT: 1}), throttled_until=until, reason="rate_limit:account"))
        assert (two.throttled_until, two.reason) == (None, "")

    def test_more_than_a_batch_holds_is_never_counted(self) -> None:
        state = a_lane(next_page=1, next_batch=1, batches={0: 2})
        assert after_receipts(state, receipts((0, {S.SENT: 5}))).counts == {S.SENT: 2}

    def test_a_page_of_which_another_number_was_submitted_is_read_again(self) -> None:
        state = a_lane(next_page=1, open_pages={0: OpenPage(ready=3)})
        after = after_submit(state, 0, 0, 2)
        assert (after.batches, after.changed, list(after.open_pages)) == ({0: 2}, (0,), [0])


class TestDistribution:
    def test_every_recipient_of_a_page_is_in_one_place(self) -> None:
        blocked = check("Pay me on PayPal.")
        assert blocked.blocked
        made = [
            a_message("c", "1"),
            a_message("c", "2", text="", origin=None, compliance=None),
            a_message("c", "3", compliance=blocked),
            a_message("c", "4", status=S.APPROVED),
            a_message("c", "5", status=S.SKIPPED),
            a_message("c", "6", status=S.SENT, batch=0),
            a_message("c", "7", status=S.QUEUED, batch=0),
        ]
        assert distribution(made) == PageDrafted(awaiting=1, unwritten=2, ready=1, counts={S.SKIPPED: 1})

    def test_what_was_edited_waits_for_another_word_than_the_one_about_pages_to_come(self) -> None:
        change = EditRequest(text="Hello again, Maya.")
        new = edited(a_message("c", "1"), change, ComplianceReport(score=1.0), 1.0, BY_ANA)
        found = distribution([new])
        assert found == PageDrafted(awaiting=1, edited=1)
        lane = after_draft(a_lane(audience=1), 0, found)
        for standing in (APPROVED, REJECTED):
            assert next_action(lane, Steering(standing_decision=standing), PAGE_SIZE).kind is ActionKind.WAIT
        told = decide({ACCOUNT: lane}, ReviewDecision(), Verdict.APPROVE)[ACCOUNT]
        assert next_action(told, Steering(), PAGE_SIZE).kind is ActionKind.DECIDE


class TestDecide:
    def lanes(self) -> dict[str, LaneState]:
        pages = {
            0: OpenPage(awaiting=2),
            1: OpenPage(ready=2),
            2: OpenPage(awaiting=1, ready=1),
            3: OpenPage(unwritten=1),
        }
        return {account: a_lane(open_pages=pages, next_page=4) for account in ("acct_a", "acct_b")}

    def decided(self, review: ReviewDecision, verdict: Verdict = Verdict.REJECT) -> list[tuple[str, int]]:
        lanes = decide(self.lanes(), review, verdict)
        return [(account, page) for account in lanes for page in sorted(lanes[account].decisions)]

    def test_naming_no_page_means_every_page_that_waits(self) -> None:
        assert self.decided(ReviewDecision()) == [
            (account, page) for account in ("acct_a", "acct_b") for page in (0, 2, 3)
        ]

    def test_an_approval_is_not_about_pages_without_texts(self) -> None:
        pages = [page for _, page in self.decided(ReviewDecision(), Verdict.APPROVE)]
        assert pages == [0, 2, 0, 2]

    def test_only_the_named_pages_of_the_named_account(self) -> None:
        assert self.decided(ReviewDecision(pages=(PageKey(account_id="acct_b", page=2),))) == [("acct_b", 2)]

    def test_a_page_that_waits_for_nobody_is_not_decided(self) -> None:
        assert self.decided(ReviewDecision(pages=(PageKey(account_id="acct_a", page=1),))) == []

    def test_a_message_may_be_on_the_page_that_is_being_drafted(self) -> None:
        review = ReviewDecision(messages=(BY_ID,), pages=(PageKey(account_id="acct_a", page=4),))
        assert self.decided(review) == [("acct_a", 4)]
        assert self.decided(ReviewDecision(pages=review.pages)) == []

    def test_who_decided_and_why_is_kept(self) -> None:
        lanes = decide(self.lanes(), ReviewDecision(decided_by="luna", comment="too loud"), Verdict.REJECT)
        assert lanes["acct_a"].decisions[0] == (
            Decision(verdict=Verdict.REJECT, decided_by="luna", comment="too loud"),
        )

    def test_the_last_word_comes_first_and_what_came_meanwhile_is_kept(self) -> None:
        first = decide(self.lanes(), ReviewDecision(), Verdict.APPROVE)
        second = decide(first, ReviewDecision(messages=(BY_ID,)), Verdict.REJECT)["acct_a"]
        assert [decision.verdict for decision in second.decisions[0]] == [Verdict.REJECT, Verdict.APPROVE]
        after = after_reading(second, 0, PageDrafted(awaiting=1, counts={S.REJECTED: 1}), second.decisions[0][0])
        assert [decision.verdict for decision in after.decisions[0]] == [Verdict.APPROVE]
        assert after.counts == {S.REJECTED: 1}


class TestExpire:
    def lane(self) -> LaneState:
        pages = {0: OpenPage(awaiting=2, expires_at=NOW), 1: OpenPage(unwritten=1, expires_at=NOW + HOURS)}
        return a_lane(open_pages=pages, next_page=2)

    def test_only_what_is_due_and_only_once(self) -> None:
        once = expire({ACCOUNT: self.lane()}, NOW)
        assert once[ACCOUNT].decisions == {0: (EXPIRY,)}
        assert expire(once, NOW) == once
        assert once[ACCOUNT].review_expires_at == NOW + HOURS

    def test_what_a_person_decided_in_time_is_carried_out_first(self) -> None:
        decided = decide({ACCOUNT: self.lane()}, ReviewDecision(decided_by="luna"), Verdict.APPROVE)
        verdicts = [decision.verdict for decision in expire(decided, NOW)[ACCOUNT].decisions[0]]
        assert verdicts == [Verdict.APPROVE, Verdict.EXPIRE]


class TestAfterReading:
    def test_only_what_ended_since_the_last_time_is_counted(self) -> None:
        drafted = after_draft(a_lane(), 0, PageDrafted(awaiting=3, counts={S.SKIPPED: 1}))
        once = after_reading(drafted, 0, PageDrafted(awaiting=2, counts={S.SKIPPED: 1, S.CANCELLED: 1}))
        again = after_reading(once, 0, PageDrafted(awaiting=2, counts={S.SKIPPED: 1, S.CANCELLED: 1}))
        assert once.counts == again.counts == {S.SKIPPED: 1, S.CANCELLED: 1}

    def test_a_change_during_the_reading_makes_it_worth_reading_again(self) -> None:
        drafted = after_change(after_draft(a_lane(), 0, PageDrafted(awaiting=3)), 0)
        reading = after_change(before_reading(drafted, 0), 0)
        assert after_reading(reading, 0, PageDrafted(awaiting=3)).changed == (0,)

    def test_a_change_while_the_page_is_drafted_is_remembered(self) -> None:
        changed = after_change(a_lane(), 0)
        assert (
            next_action(after_draft(changed, 0, PageDrafted(awaiting=4)), Steering(), PAGE_SIZE).kind is ActionKind.READ
        )

    def test_a_page_that_does_not_exist_is_not_read(self) -> None:
        assert after_change(a_lane(), 2).changed == ()
