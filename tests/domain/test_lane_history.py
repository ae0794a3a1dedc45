"""One account's part of a campaign, driven through every order of events that a workflow can see."""

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

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
from domain.compliance import ComplianceReport
from domain.delivery import Message, MessageReview
from domain.lane import (
    Action,
    ActionKind,
    LaneState,
    Steering,
    distribution,
    may_be_late,
    next_action,
)
from domain.lane_event import (
    after_alternative,
    after_change,
    after_close,
    after_delay,
    after_draft,
    after_reading,
    after_receipts,
    after_resync,
    after_submit,
    after_withdrawal,
    before_reading,
    choose_alternative,
    decide,
    expire,
)
from domain.review import EXPIRY, Decision, EditRequest, PageKey, ReviewDecision, Verdict, edited
from domain.send_queue import Receipts
from tests.domain.builders import NOW, a_message
from tests.domain.lanes import ACCOUNT, PAGE_SIZE, Counts, S, a_lane, receipts

QUEUE_ENDS = [S.SENT, S.SENT, S.FAILED, S.SKIPPED, S.CANCELLED]
HOURS = timedelta(hours=72)


class LaneMachine(RuleBasedStateMachine):
    """The workflow's loop over one lane, with a store of messages and a queue of batches.

    An activity starts, changes the store and ends at different moments; everything else may happen in between: what
    reviewers say, their edits behind the workflow's back, of which it hears late or never, and the clock.
    """

    @initialize(audience=st.integers(min_value=1, max_value=14))
    def start(self, audience: int) -> None:
        self.audience = audience
        self.state = a_lane(audience)
        self.steering = Steering()
        self.now = NOW
        self.running: Action | None = None
        self.result: Any = None
        self.resync: tuple[Counts, dict[int, int]] | None = None
        self.store: dict[UUID, Message] = {}
        self.approved_in_time: set[UUID] = set()
        self.told: list[Receipts] = []
        self.taken: set[UUID] = set()
        self.withdrawn = 0
        self.untold: list[Message] = []

    # The store.

    def page(self, number: int) -> list[Message]:
        return [message for message in self.store.values() if message.page == number]

    def put(self, message: Message, **changes: object) -> None:
        self.store[message.message_id] = message.model_copy(update=changes)

    def drafts(self) -> list[Message]:
        return [message for message in self.store.values() if message.status is S.DRAFTED]

    def batch(self, number: int) -> list[Message]:
        return [each for each in self.store.values() if each.batch == number and not each.status.is_terminal]

    def write(self, number: int, data: st.DataObject) -> None:
        """The messages of a page, as drafting leaves them."""
        first = number * PAGE_SIZE
        for place in range(first, min(self.audience, first + PAGE_SIZE)):
            kind = data.draw(st.sampled_from(["waits", "waits", "unwritten", "ready", "skipped"]))
            message = a_message("campaign-1", f"fan-{place}", page=number)
            if kind == "unwritten":
                message = message.model_copy(update={"text": "", "origin": None, "compliance": None})
            status = {"ready": S.APPROVED, "skipped": S.SKIPPED}.get(kind, S.DRAFTED)
            self.store.setdefault(message.message_id, message.model_copy(update={"status": status}))

    def end_undrafted(self, status: S) -> None:
        for place in range(self.state.next_page * PAGE_SIZE, self.audience):
            message = a_message("campaign-1", f"fan-{place}", page=place // PAGE_SIZE, status=status)
            before = self.store.get(message.message_id)
            if before is None or not before.status.is_terminal:
                self.put(message)

    # Activities.

    @property
    def idle(self) -> bool:
        return self.running is None and self.resync is None

    @property
    def undrafted(self) -> int:
        return max(0, self.audience - self.state.next_page * PAGE_SIZE)

    @precondition(lambda self: self.idle)
    @rule(data=st.data())
    def the_next_action_starts(self, data: st.DataObject) -> None:
        action = next_action(self.state, self.steering, PAGE_SIZE)
        self.result = None
        match action.kind:
            case ActionKind.WAIT | ActionKind.DONE:
                return
            case ActionKind.DRAFT:
                assert not self.steering.paused
                assert not self.steering.cancelled
                assert not self.steering.stopped
                assert action.page == self.state.next_page
                if data.draw(st.booleans()):
                    self.write(action.page, data)
            case ActionKind.WITHDRAW:
                # Also under a pause: it sends nothing.
                assert self.steering.overdue
            case ActionKind.ALTERNATIVE:
                assert self.state.alternative is not None
                assert self.steering.cancelled or not self.state.withdraws or not self.unsent_before_it()
                assert self.steering.cancelled or not self.steering.paused
                assert action.page == self.state.next_page
            case ActionKind.DECIDE | ActionKind.READ:
                self.state = before_reading(self.state, action.page)
        self.running = action

    @precondition(lambda self: self.running is not None and self.result is None)
    @rule()
    def the_activity_changes_the_store(self) -> None:
        """The work is done, its news is still on the way."""
        assert self.running is not None
        action = self.running
        match action.kind:
            case ActionKind.DECIDE | ActionKind.READ:
                for message in self.page(action.page):
                    if action.decision is not None and action.decision.covers(message):
                        self.put(message, status=action.decision.verdict.target)
                        self.decided_by_people_as_they_saw_it(message, action.decision)
                self.result = distribution(self.page(action.page))
            case ActionKind.SUBMIT:
                for message in self.page(action.page):
                    if message.status is S.APPROVED:
                        self.put(message, status=S.QUEUED, batch=action.batch)
                self.result = sum(message.batch == action.batch for message in self.store.values())
            case ActionKind.CLOSE:
                self.result = self.close()
            case ActionKind.WITHDRAW:
                self.result = self.withdraw()
            case ActionKind.ALTERNATIVE:
                self.end_undrafted(S.SENT)
                withdrawn = self.state.withdrawn is not None
                for key in sorted(self.taken):
                    self.end_by_the_alternative(self.store[key], S.SENT)
                mine = (each for each in self.store.values() if withdrawn or each.page >= action.page)
                self.result = dict(Counter(each.status for each in mine if not withdrawn or each.batch is None))

    def unsent_before_it(self) -> list[Message]:
        return [each for each in self.store.values() if each.status in {S.DRAFTED, S.APPROVED, S.QUEUED}]

    def end_by_the_alternative(self, message: Message, status: S) -> None:
        if not self.store[message.message_id].status.is_terminal:
            self.put(message, status=status)
            self.untold += [message] if message.batch is not None else []

    def withdraw(self) -> tuple[int, int, Counts]:
        """The activity may run twice; by ``skip`` the messages end at once."""
        assert self.state.alternative is not None
        skips = self.state.alternative.action is AlternativeAction.SKIP
        for message in self.unsent_before_it():
            self.withdrawn += 1
            if skips:
                self.end_by_the_alternative(message, S.SKIPPED)
            else:
                self.put(message, status=S.SENDING)
                self.taken.add(message.message_id)
        drafts = [each for each in self.store.values() if each.batch is None]
        ended = Counter(each.status for each in drafts if each.status.is_terminal)
        return self.withdrawn, len(drafts) - ended.total(), dict(ended)

    def decided_by_people_as_they_saw_it(self, message: Message, decision: Decision) -> None:
        edits = [each.replaced_at for each in message.earlier]
        assert decision == EXPIRY or all(decision.decided_at is not None and at <= decision.decided_at for at in edits)

    def said(self, **changes: Any) -> ReviewDecision:
        """A decision that is made at this moment; whatever happens next does so later."""
        self.now += timedelta(milliseconds=1)
        return ReviewDecision(decided_at=self.now, **changes)

    def close(self) -> Counts:
        everything = self.steering.cancelled
        outcome = S.CANCELLED if everything else S.SKIPPED
        first = self.state.next_page
        self.end_undrafted(outcome)
        if not everything:
            return dict(Counter(each.status for each in self.store.values() if each.page >= first))
        for message in list(self.store.values()):
            if message.status in {S.DRAFTED, S.APPROVED}:
                self.put(message, status=outcome)
        return dict(Counter(each.status for each in self.store.values() if each.batch is None))

    @precondition(lambda self: self.running is not None)
    @rule(data=st.data())
    def the_action_ends(self, data: st.DataObject) -> None:
        assert self.running is not None
        if self.running.kind is ActionKind.DRAFT:
            page, self.running = self.running.page, None
            wrote = bool(self.page(page))
            if wrote or data.draw(st.booleans()):
                self.drafted(page, data)
            else:
                self.late(data)
            return
        self.finish()

    def finish(self) -> None:
        assert self.running is not None
        if self.result is None:
            self.the_activity_changes_the_store()
        action, self.running = self.running, None
        match action.kind:
            case ActionKind.DECIDE | ActionKind.READ:
                self.state = after_reading(self.state, action.page, self.result, action.decision)
            case ActionKind.SUBMIT:
                self.state = after_submit(self.state, action.page, action.batch, self.result)
            case ActionKind.WITHDRAW:
                self.state = after_withdrawal(self.state, *self.result)
            case ActionKind.ALTERNATIVE:
                self.state = after_alternative(self.state, self.result)
            case ActionKind.CLOSE:
                self.state = after_close(self.state, self.result, everything=self.steering.cancelled)

    def drafted(self, page: int, data: st.DataObject) -> None:
        if self.steering.cancelled and data.draw(st.booleans()):
            # The activity was cancelled with the campaign; the page does not count as drafted.
            return
        self.write(page, data)
        self.state = after_draft(self.state, page, distribution(self.page(page)), self.now + HOURS)

    def late(self, data: st.DataObject) -> None:
        """The page would have come after the deadline, so it was not drafted."""
        action = data.draw(st.sampled_from(AlternativeAction))
        withdraws = data.draw(st.sampled_from([True, True, False]))
        self.state = choose_alternative(self.state, action, "deadline", PAGE_SIZE, withdraws=withdraws)
        assert self.state.alternative is not None
        assert self.state.alternative.recipients == self.undrafted

    @precondition(lambda self: self.running is None or self.running.kind is not ActionKind.DRAFT)
    @rule(data=st.data())
    def the_deadline_passes_while_the_lane_waits(self, data: st.DataObject) -> None:
        self.steering = self.steering.model_copy(update={"overdue": True})
        waits = next_action(self.state, self.steering, PAGE_SIZE).kind is ActionKind.WAIT
        if self.idle and waits and may_be_late(self.state):
            self.late(data)

    @precondition(lambda self: self.running is not None and self.running.kind is ActionKind.ALTERNATIVE)
    @precondition(lambda self: self.result is None)
    @rule()
    def the_alternative_has_to_wait(self) -> None:
        self.running = None
        self.state = after_delay(self.state, "rate_limit:account")

    @precondition(lambda self: self.running is not None and self.running.kind is ActionKind.SUBMIT)
    @precondition(lambda self: self.result is None)
    @rule()
    def the_account_takes_nothing_now(self) -> None:
        self.running = None
        self.state = after_delay(self.state, "account:draining")

    # The queue.

    @precondition(lambda self: any(each.status is S.QUEUED for each in self.store.values()))
    @rule(data=st.data())
    def the_queue_ends_some_messages_and_says_so(self, data: st.DataObject) -> None:
        batches = sorted(
            {each.batch for each in self.store.values() if each.status is S.QUEUED and each.batch is not None}
        )
        batch = data.draw(st.sampled_from(batches))
        queued = self.batch(batch)
        some = queued[: data.draw(st.integers(min_value=1, max_value=len(queued)))]
        ends = [data.draw(st.sampled_from(QUEUE_ENDS)) for _ in some]
        for message, status in zip(some, ends, strict=True):
            self.put(message, status=status)
        throttled = data.draw(st.none() | st.just(NOW + timedelta(minutes=1)))
        told = receipts((batch, dict(Counter(ends))), throttled_until=throttled, reason="limit" if throttled else "")
        self.told.append(told)
        self.state = after_receipts(self.state, told)

    @precondition(lambda self: self.untold)
    @rule(data=st.data())
    def the_queue_finds_that_messages_have_ended(self, data: st.DataObject) -> None:
        batch = data.draw(st.sampled_from(sorted({each.batch for each in self.untold if each.batch is not None})))
        ended = [self.store[each.message_id].status for each in self.untold if each.batch == batch]
        self.untold = [each for each in self.untold if each.batch != batch]
        told = receipts((batch, dict(Counter(ended))))
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
        submitted = [each for each in self.store.values() if each.batch is not None]
        waiting = {batch: len(self.batch(batch)) for batch in self.state.batches}
        self.untold = []
        self.resync = (dict(Counter(each.status for each in submitted if each.status.is_terminal)), waiting)

    @precondition(lambda self: self.resync is not None)
    @rule()
    def the_resynchronisation_ends(self) -> None:
        assert self.resync is not None
        self.state = after_change(after_resync(self.state, *self.resync))
        self.resync = None

    # Steering.

    @precondition(lambda self: not self.steering.cancelled)
    @rule(paused=st.booleans())
    def the_campaign_is_paused_or_resumed(self, paused: bool) -> None:
        self.steering = self.steering.model_copy(update={"paused": paused})

    @precondition(
        lambda self: self.state.drafted and (self.running is None or self.running.kind is not ActionKind.CLOSE)
    )
    @rule()
    def the_campaign_is_cancelled(self) -> None:
        self.steering = self.steering.model_copy(update={"cancelled": True, "paused": False})

    @precondition(lambda self: self.state.drafted)
    @rule()
    def the_money_is_spent(self) -> None:
        self.steering = self.steering.model_copy(update={"stopped": "cost_limit_exceeded"})

    # Review.

    @rule(verdict=st.sampled_from([Verdict.APPROVE, Verdict.REJECT]), page=st.none() | st.integers(0, 4))
    def a_person_decides_about_pages(self, verdict: Verdict, page: int | None) -> None:
        pages = () if page is None else (PageKey(account_id=ACCOUNT, page=page),)
        self.state = decide({ACCOUNT: self.state}, self.said(pages=pages), verdict)[ACCOUNT]

    @precondition(lambda self: self.drafts())
    @rule(data=st.data(), verdict=st.sampled_from([Verdict.APPROVE, Verdict.REJECT]), with_page=st.booleans())
    def a_person_decides_about_messages(self, data: st.DataObject, verdict: Verdict, with_page: bool) -> None:
        named = data.draw(st.lists(st.sampled_from(self.drafts()), min_size=1, max_size=3))
        pages = tuple(PageKey(account_id=ACCOUNT, page=message.page) for message in named) if with_page else ()
        review = self.said(pages=pages, messages=tuple(message.message_id for message in named))
        self.state = decide({ACCOUNT: self.state}, review, verdict)[ACCOUNT]

    @rule(verdict=st.sampled_from([Verdict.APPROVE, Verdict.REJECT]))
    def a_person_decides_about_everything_to_come(self, verdict: Verdict) -> None:
        review = self.said(scope="campaign")
        self.state = decide({ACCOUNT: self.state}, review, verdict)[ACCOUNT]
        self.steering = self.steering.model_copy(update={"standing_decision": review.decision(verdict)})

    @precondition(lambda self: self.drafts())
    @rule(data=st.data(), approve=st.booleans(), heard=st.booleans())
    def a_person_edits_a_draft(self, data: st.DataObject, approve: bool, heard: bool) -> None:
        message = data.draw(st.sampled_from(self.drafts()))
        change = EditRequest(text="Hello again, Maya.", approve=approve)
        self.now += timedelta(milliseconds=1)
        by_ana = MessageReview(decided_by="ana", decided_at=self.now)
        self.put(edited(message, change, ComplianceReport(score=1.0), 1.0, by_ana))
        if heard:
            self.state = after_change(self.state, message.page)

    @precondition(lambda self: any(each.status in {S.DRAFTED, S.APPROVED} for each in self.store.values()))
    @rule(data=st.data(), heard=st.booleans())
    def a_person_cancels_one_message(self, data: st.DataObject, heard: bool) -> None:
        open_ones = [each for each in self.store.values() if each.status in {S.DRAFTED, S.APPROVED}]
        message = data.draw(st.sampled_from(open_ones))
        self.put(message, status=S.CANCELLED)
        if heard:
            self.state = after_change(self.state, message.page)

    @rule(hours=st.sampled_from([1, 71, 72, 400]))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        self.state = expire({ACCOUNT: self.state}, self.now)[ACCOUNT]
        assert self.state.review_expires_at is None or self.state.review_expires_at > self.now

    @precondition(lambda self: self.idle)
    @rule()
    def the_workflow_continues_as_new(self) -> None:
        self.state = LaneState.model_validate_json(self.state.model_dump_json())

    # What holds at every moment.

    def pages_being_read(self) -> set[int]:
        reads = self.running is not None and self.running.kind in {ActionKind.READ, ActionKind.DECIDE}
        return {self.running.page} if self.running is not None and reads else set()

    @invariant()
    def nobody_is_lost(self) -> None:
        read = {*self.state.changed, *self.pages_being_read()}
        if read & set(self.state.open_pages):
            # Known to be out of date until the page has been read.
            return
        assert sum(self.state.counts.values()) + self.state.backlog + self.undrafted == self.audience

    @invariant()
    def no_page_stays_open_with_nothing_to_do(self) -> None:
        read = {*self.state.changed, *self.pages_being_read()}
        assert all(page.waiting or page.ready or number in read for number, page in self.state.open_pages.items())
        assert all(self.state.batches.values())
        assert all(self.state.counts.values())

    @invariant()
    def nothing_is_approved_that_could_not_be_sent(self) -> None:
        submitted = (each for each in self.store.values() if each.batch is not None)
        assert all(each.text and each.compliance is not None for each in submitted)

    def teardown(self) -> None:
        """Whatever happened: when the clock has decided the rest, the lane ends and its sums are those of the store."""
        if not hasattr(self, "state"):
            return
        self.steering = self.steering.model_copy(update={"paused": False})
        for step in range(300):
            if step == 200:
                # Whatever an alternative still waits for.
                self.steering = self.steering.model_copy(update={"overdue": True})
            if self.resync is not None:
                self.the_resynchronisation_ends()
            elif self.running is not None:
                self.end_whatever_runs()
            elif (kind := next_action(self.state, self.steering, PAGE_SIZE).kind) is ActionKind.DONE:
                break
            elif kind is not ActionKind.WAIT:
                self.begin()
            elif self.untold:
                last = self.untold.pop()
                told = receipts((last.batch or 0, {self.store[last.message_id].status: 1}))
                self.state = after_receipts(self.state, told)
            elif any(self.batch(number) for number in self.state.batches):
                self.send_everything()
            elif self.state.batches:
                self.a_resynchronisation_reads_the_store()
            else:
                # What nobody was told about is found by reading; the rest expires.
                self.state = after_change(self.state)
                self.time_passes(72)
            self.nobody_is_lost()
        assert next_action(self.state, self.steering, PAGE_SIZE).kind is ActionKind.DONE
        assert len(self.store) == self.audience
        assert all(message.status.is_terminal for message in self.store.values())
        assert self.state.counts == Counter(message.status for message in self.store.values())

    def begin(self) -> None:
        action = next_action(self.state, self.steering, PAGE_SIZE)
        if action.kind in {ActionKind.DECIDE, ActionKind.READ}:
            self.state = before_reading(self.state, action.page)
        self.running, self.result = action, None

    def end_whatever_runs(self) -> None:
        assert self.running is not None
        if self.running.kind is not ActionKind.DRAFT:
            self.finish()
            return
        page, self.running = self.running.page, None
        for place in range(page * PAGE_SIZE, min(self.audience, (page + 1) * PAGE_SIZE)):
            message = a_message("campaign-1", f"fan-{place}", page=page)
            self.store.setdefault(message.message_id, message)
        self.state = after_draft(self.state, page, distribution(self.page(page)), self.now + HOURS)

    def send_everything(self) -> None:
        for batch in list(self.state.batches):
            waiting = self.batch(batch)
            for message in waiting:
                self.put(message, status=S.SENT)
            if waiting:
                self.state = after_receipts(self.state, receipts((batch, {S.SENT: len(waiting)})))


class TestAnyHistory:
    def test_nobody_is_lost_whatever_happens_in_whatever_order(self) -> None:
        run_state_machine_as_test(LaneMachine, settings=settings(max_examples=200, stateful_step_count=40))
