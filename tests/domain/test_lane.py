"""One account's part of a campaign, driven through every order of events that a workflow can see."""

from collections import Counter
from datetime import timedelta
from typing import Any

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

from domain.alternative import AlternativeAction
from domain.campaign import Lane
from domain.delivery import MessageStatus
from domain.lane import (
    Action,
    ActionKind,
    Decision,
    LaneState,
    OpenPage,
    PageDrafted,
    Steering,
    Verdict,
    after_close,
    after_decision,
    after_delay,
    after_draft,
    after_receipts,
    after_resync,
    after_submit,
    choose_alternative,
    decide,
    may_be_late,
    next_action,
    next_page_reach,
)
from domain.review import PageKey, ReviewDecision
from domain.send_queue import BatchReceipt, Receipts
from tests.domain.builders import NOW

ACCOUNT = "acct_luna"
PAGE_SIZE = 4
APPROVED = Decision(verdict=Verdict.APPROVE, decided_by="luna")
REJECTED = Decision(verdict=Verdict.REJECT, decided_by="luna")
S = MessageStatus
Counts = dict[MessageStatus, int]
QUEUE_ENDS = [S.SENT, S.SENT, S.FAILED, S.SKIPPED, S.CANCELLED]


def a_lane(audience: int = 10, **changes: object) -> LaneState:
    state = LaneState(lane=Lane(account_id=ACCOUNT, audience=audience, pages=-(-audience // PAGE_SIZE)))
    return state.model_copy(update=changes)


def receipts(*batches: tuple[int, Counts], **changes: object) -> Receipts:
    told = tuple(BatchReceipt(batch=batch, counts=counts) for batch, counts in batches)
    return Receipts(account_id=ACCOUNT, batches=told).model_copy(update=changes)


class LaneMachine(RuleBasedStateMachine):
    """The workflow's loop over one lane, with a store and a queue that are only numbers.

    An activity starts and ends at different moments; everything else may happen in between.
    """

    @initialize(audience=st.integers(min_value=1, max_value=22))
    def start(self, audience: int) -> None:
        self.audience = audience
        self.state = a_lane(audience)
        self.steering = Steering()
        self.running: Action | None = None
        self.queue: dict[int, int] = {}
        self.submitted: dict[int, int] = {}
        self.ended: Counter[MessageStatus] = Counter()
        self.snapshot: tuple[Counts, dict[int, int]] | None = None
        self.told: list[Receipts] = []

    # Activities.

    @property
    def idle(self) -> bool:
        return self.running is None and self.snapshot is None

    def size(self, page: int) -> int:
        return min(PAGE_SIZE, self.audience - page * PAGE_SIZE)

    @property
    def undrafted(self) -> int:
        return sum(self.size(page) for page in range(self.state.next_page, self.state.lane.pages))

    @precondition(lambda self: self.idle)
    @rule()
    def the_next_action_starts(self) -> None:
        action = next_action(self.state, self.steering, PAGE_SIZE)
        match action.kind:
            case ActionKind.WAIT | ActionKind.DONE:
                return
            case ActionKind.DRAFT:
                assert not self.steering.paused
                assert not self.steering.cancelled
                assert not self.steering.stopped
                assert action.page == self.state.next_page
            case ActionKind.ALTERNATIVE:
                assert self.state.alternative is not None
                assert self.steering.cancelled or not self.steering.paused
                assert action.page == self.state.next_page
            case ActionKind.SUBMIT:
                # The queue has the batch before the workflow knows that it has.
                assert action.batch not in self.submitted
                self.submitted[action.batch] = self.queue[action.batch] = self.state.open_pages[action.page].ready
        self.running = action

    @precondition(lambda self: self.running is not None)
    @rule(data=st.data())
    def the_action_ends(self, data: st.DataObject) -> None:
        assert self.running is not None
        if self.running.kind is not ActionKind.DRAFT:
            self._end_action()
            return
        page, self.running = self.running.page, None
        if data.draw(st.booleans()):
            self._drafted(page, data)
        else:
            self._late(data)

    def _end_action(self) -> None:
        assert self.running is not None
        action, self.running = self.running, None
        match action.kind:
            case ActionKind.DRAFT:
                self.state = after_draft(self.state, action.page, PageDrafted(awaiting=self.size(action.page)))
            case ActionKind.DECIDE:
                self._decided(action)
            case ActionKind.SUBMIT:
                count = self.submitted[action.batch]
                self.state = after_submit(self.state, action.page, action.batch, count)
            case ActionKind.ALTERNATIVE:
                self._alternative_taken()
            case ActionKind.CLOSE:
                self._closed()

    def _drafted(self, page: int, data: st.DataObject) -> None:
        if self.steering.cancelled and data.draw(st.booleans()):
            # The activity was cancelled with the campaign; the page does not count as drafted.
            return
        awaiting = data.draw(st.integers(min_value=0, max_value=self.size(page)))
        ready = data.draw(st.integers(min_value=0, max_value=self.size(page) - awaiting))
        skipped = self.size(page) - awaiting - ready
        self.ended[S.SKIPPED] += skipped
        drafted = PageDrafted(awaiting=awaiting, ready=ready, counts={S.SKIPPED: skipped})
        self.state = after_draft(self.state, page, drafted)

    def _late(self, data: st.DataObject) -> None:
        """The page would have come after the deadline, so it was not drafted."""
        action = data.draw(st.sampled_from(AlternativeAction))
        self.state = choose_alternative(self.state, action, "deadline", PAGE_SIZE)
        assert self.state.alternative is not None
        assert self.state.alternative.recipients == self.undrafted

    def _alternative_taken(self) -> None:
        count = self.undrafted
        assert count
        self.ended[S.SENT] += count
        self.state = after_close(self.state, {S.SENT: count})

    @precondition(lambda self: self.running is None or self.running.kind is not ActionKind.DRAFT)
    @rule(data=st.data())
    def the_deadline_passes_while_the_lane_waits(self, data: st.DataObject) -> None:
        if may_be_late(self.state) and next_action(self.state, self.steering, PAGE_SIZE).kind is ActionKind.WAIT:
            self._late(data)

    @precondition(lambda self: self.running is not None and self.running.kind is ActionKind.ALTERNATIVE)
    @rule()
    def the_alternative_has_to_wait(self) -> None:
        self.running = None
        self.state = after_delay(self.state, "rate_limit:account")

    def _decided(self, action: Action) -> None:
        page = self.state.open_pages[action.page]
        assert action.decision is not None
        if action.decision.verdict is Verdict.APPROVE:
            found = PageDrafted(ready=page.ready + page.awaiting)
        else:
            self.ended[S.REJECTED] += page.awaiting
            found = PageDrafted(ready=page.ready, counts={S.REJECTED: page.awaiting})
        self.state = after_decision(self.state, action.page, found)

    def _closed(self) -> None:
        everything = self.steering.cancelled
        drafted = sum(page.awaiting + page.ready for page in self.state.open_pages.values())
        count = self.undrafted + (drafted if everything else 0)
        outcome = S.CANCELLED if everything else S.SKIPPED
        self.ended[outcome] += count
        self.state = after_close(self.state, {outcome: count}, everything=everything)

    # The queue.

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def the_queue_ends_some_messages_and_says_so(self, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from(sorted(self.queue)))
        number = data.draw(st.integers(min_value=1, max_value=self.queue[batch]))
        counts = Counter(data.draw(st.lists(st.sampled_from(QUEUE_ENDS), min_size=number, max_size=number)))
        self.ended += counts
        self.queue[batch] -= number
        if not self.queue[batch]:
            del self.queue[batch]
        throttled = data.draw(st.none() | st.just(NOW + timedelta(minutes=1)))
        told = receipts((batch, dict(counts)), throttled_until=throttled, reason="rate_limit" if throttled else "")
        self.told.append(told)
        self.state = after_receipts(self.state, told)

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def a_receipt_of_a_batch_that_is_through_comes_again(self, data: st.DataObject) -> None:
        told = data.draw(st.sampled_from(self.told))
        batch = told.batches[0].batch
        if batch in self.state.batches or batch >= self.state.next_batch:
            return
        before = self.state
        self.state = after_receipts(self.state, told)
        assert (self.state.counts, self.state.batches, self.state.early) == (
            before.counts,
            before.batches,
            before.early,
        )

    @precondition(lambda self: self.idle and self.state.batches)
    @rule()
    def a_resynchronisation_reads_the_store(self) -> None:
        waiting = {batch: self.queue.get(batch, 0) for batch in self.state.batches}
        self.snapshot = (dict(self.ended), waiting)

    @precondition(lambda self: self.snapshot is not None)
    @rule()
    def the_resynchronisation_ends(self) -> None:
        assert self.snapshot is not None
        self.state = after_resync(self.state, *self.snapshot)
        self.snapshot = None

    # Steering.

    @precondition(lambda self: not self.steering.cancelled)
    @rule(paused=st.booleans())
    def the_campaign_is_paused_or_resumed(self, paused: bool) -> None:
        self.steering = self.steering.model_copy(update={"paused": paused})

    @precondition(lambda self: self.state.drafted)
    @rule()
    def the_campaign_is_cancelled(self) -> None:
        self.steering = self.steering.model_copy(update={"cancelled": True, "paused": False})

    @precondition(lambda self: self.state.drafted)
    @rule()
    def the_money_is_spent(self) -> None:
        self.steering = self.steering.model_copy(update={"stopped": "cost_limit_exceeded"})

    @rule(verdict=st.sampled_from(Verdict), page=st.none() | st.integers(min_value=0, max_value=5))
    def a_person_decides(self, verdict: Verdict, page: int | None) -> None:
        pages = () if page is None else (PageKey(account_id=ACCOUNT, page=page),)
        self.state = decide({ACCOUNT: self.state}, ReviewDecision(pages=pages), verdict)[ACCOUNT]

    @rule(verdict=st.sampled_from(Verdict))
    def a_person_decides_about_everything_to_come(self, verdict: Verdict) -> None:
        standing = Decision(verdict=verdict, decided_by="luna")
        self.steering = self.steering.model_copy(update={"standing_decision": standing})

    @precondition(lambda self: self.idle)
    @rule()
    def the_workflow_continues_as_new(self) -> None:
        self.state = LaneState.model_validate_json(self.state.model_dump_json())

    # What holds at every moment.

    @invariant()
    def nobody_is_lost(self) -> None:
        assert sum(self.state.counts.values()) + self.state.backlog + self.undrafted == self.audience

    @invariant()
    def it_stays_one_page_ahead(self) -> None:
        assert self.state.backlog <= 2 * PAGE_SIZE

    @invariant()
    def no_page_stays_open_with_nothing_to_do(self) -> None:
        assert all(page.awaiting + page.ready for page in self.state.open_pages.values())
        assert all(self.state.batches.values())
        assert all(self.state.counts.values())

    def teardown(self) -> None:
        """Whatever happened: when everything open is decided and sent, the lane ends and the sums are right."""
        if not hasattr(self, "state"):
            return
        self.steering = self.steering.model_copy(update={"paused": False})
        if self.steering.standing_decision is None:
            self.steering = self.steering.model_copy(update={"standing_decision": APPROVED})
        for _ in range(200):
            if self.snapshot is not None:
                self.the_resynchronisation_ends()
            elif self.running is not None:
                self._end_action()
            elif (kind := next_action(self.state, self.steering, PAGE_SIZE).kind) is ActionKind.DONE:
                break
            elif kind is not ActionKind.WAIT:
                self.the_next_action_starts()
            elif self.queue:
                self._send_everything()
            else:
                self.a_resynchronisation_reads_the_store()
            self.nobody_is_lost()
            self.it_stays_one_page_ahead()
        assert next_action(self.state, self.steering, PAGE_SIZE).kind is ActionKind.DONE
        assert self.state.counts == {status: number for status, number in self.ended.items() if number}
        assert sum(self.state.counts.values()) == self.audience

    def _send_everything(self) -> None:
        for batch, number in self.queue.items():
            self.ended[S.SENT] += number
            self.state = after_receipts(self.state, receipts((batch, {S.SENT: number})))
        self.queue = {}


class TestAnyHistory:
    def test_nobody_is_lost_whatever_happens_in_whatever_order(self) -> None:
        run_state_machine_as_test(LaneMachine, settings=settings(max_examples=100, stateful_step_count=40))


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
                a_lane(next_page=1, open_pages={0: OpenPage(awaiting=1, ready=2, decision=REJECTED)}),
                Steering(standing_decision=APPROVED),
                Action(kind=ActionKind.DECIDE, page=0, decision=REJECTED),
            ),
            (
                a_lane(next_page=2, open_pages={1: OpenPage(awaiting=1, ready=0), 0: OpenPage(awaiting=2, ready=0)}),
                Steering(standing_decision=APPROVED),
                Action(kind=ActionKind.DECIDE, page=0, decision=APPROVED),
            ),
        ],
    )
    def test_it_ends_what_must_end_then_decides_then_submits_and_only_then_drafts(
        self, state: LaneState, steering: Steering, expected: Action
    ) -> None:
        assert next_action(state, steering, PAGE_SIZE) == expected


class TestAlternative:
    def chosen(self, **changes: Any) -> LaneState:
        return choose_alternative(a_lane(next_page=1, **changes), AlternativeAction.SKIP, "deadline: …", PAGE_SIZE)

    def test_it_takes_every_page_that_was_not_drafted(self) -> None:
        alternative = self.chosen().alternative
        assert alternative is not None
        assert (alternative.account_id, alternative.recipients) == (ACCOUNT, 6)

    @pytest.mark.parametrize(
        ("changes", "steering", "expected"),
        [
            ({}, Steering(), ActionKind.ALTERNATIVE),
            ({"batches": {0: 4}}, Steering(), ActionKind.ALTERNATIVE),
            ({}, Steering(paused=True), ActionKind.WAIT),
            ({}, Steering(cancelled=True), ActionKind.ALTERNATIVE),
            ({}, Steering(stopped="cost_limit_exceeded"), ActionKind.ALTERNATIVE),
            ({"open_pages": {0: OpenPage(awaiting=0, ready=2)}}, Steering(), ActionKind.SUBMIT),
            ({"open_pages": {0: OpenPage(awaiting=2, ready=0)}}, Steering(), ActionKind.ALTERNATIVE),
        ],
    )
    def test_once_chosen_it_is_carried_out_and_nothing_more_is_drafted(
        self, changes: dict[str, Any], steering: Steering, expected: ActionKind
    ) -> None:
        assert next_action(self.chosen(**changes), steering, PAGE_SIZE).kind is expected

    def test_a_cancellation_ends_its_recipients_first_and_then_the_rest(self) -> None:
        state = self.chosen(open_pages={0: OpenPage(awaiting=2, ready=0)})
        after = after_close(state, {S.CANCELLED: 6})
        assert next_action(after, Steering(cancelled=True), PAGE_SIZE).kind is ActionKind.CLOSE

    def test_it_is_chosen_once(self) -> None:
        assert may_be_late(a_lane(next_page=1))
        assert not may_be_late(self.chosen())
        assert not may_be_late(a_lane(next_page=3))

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


class TestDecide:
    def lanes(self) -> dict[str, LaneState]:
        pages = {
            0: OpenPage(awaiting=2, ready=0),
            1: OpenPage(awaiting=0, ready=2),
            2: OpenPage(awaiting=1, ready=1),
        }
        return {account: a_lane(open_pages=pages) for account in ("acct_a", "acct_b")}

    def decided(self, review: ReviewDecision) -> list[tuple[str, int]]:
        lanes = decide(self.lanes(), review, Verdict.REJECT)
        return [(account, page) for account in lanes for page, is_ in lanes[account].open_pages.items() if is_.decision]

    def test_naming_no_page_means_every_page_that_waits(self) -> None:
        assert self.decided(ReviewDecision()) == [("acct_a", 0), ("acct_a", 2), ("acct_b", 0), ("acct_b", 2)]

    def test_only_the_named_pages_of_the_named_account(self) -> None:
        assert self.decided(ReviewDecision(pages=(PageKey(account_id="acct_b", page=2),))) == [("acct_b", 2)]

    def test_a_page_that_waits_for_nobody_is_not_decided(self) -> None:
        assert self.decided(ReviewDecision(pages=(PageKey(account_id="acct_a", page=1),))) == []

    def test_who_decided_and_why_is_kept(self) -> None:
        lanes = decide(self.lanes(), ReviewDecision(decided_by="luna", comment="too loud"), Verdict.REJECT)
        assert lanes["acct_a"].open_pages[0].decision == Decision(
            verdict=Verdict.REJECT, decided_by="luna", comment="too loud"
        )
