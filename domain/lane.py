"""One account's part of a campaign, as a state and the next thing to do about it.

A lane drafts a page, submits what needs no review, waits for decisions about the rest, and stays one page
ahead of the account's send queue, so that what is cancelled was never paid for. ``next_action`` is the whole
policy; the workflow only carries its actions out and reports back through the ``after_…`` functions.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from domain.alternative import Alternative, AlternativeAction
from domain.campaign import Lane
from domain.delivery import MessageStatus
from domain.model import Model
from domain.review import PageKey, ReviewDecision
from domain.send_queue import BatchReceipt, Receipts


class Verdict(StrEnum):
    """What a reviewer said."""

    APPROVE = "approve"
    REJECT = "reject"


class Decision(Model):
    """A verdict with who gave it and why."""

    verdict: Verdict
    decided_by: str
    comment: str = ""


class OpenPage(Model):
    """A drafted page that still has something to be decided or submitted."""

    awaiting: int = Field(ge=0)
    ready: int = Field(ge=0, description="approved, not yet handed to the send queue")
    decision: Decision | None = None


class LaneState(Model):
    """Everything that a campaign remembers about one account."""

    lane: Lane
    next_page: int = 0
    next_batch: int = 0
    open_pages: dict[int, OpenPage] = Field(default_factory=dict)
    batches: dict[int, int] = Field(default_factory=dict, description="messages still in the send queue")
    early: tuple[BatchReceipt, ...] = Field(
        default=(), description="receipts that overtook the news that their batch is in the queue"
    )
    counts: dict[MessageStatus, int] = Field(default_factory=dict, description="messages that ended")
    drafted: int = 0
    alternative: Alternative | None = Field(
        default=None, description="chosen for every recipient who was not drafted by then; final"
    )
    closed: bool = False
    throttled_until: datetime | None = None
    reason: str = ""

    @property
    def awaiting(self) -> int:
        """Messages that wait for a reviewer."""
        return sum(page.awaiting for page in self.open_pages.values())

    @property
    def queued(self) -> int:
        """Messages in the send queue."""
        return sum(self.batches.values())

    @property
    def backlog(self) -> int:
        """Messages that were drafted and are not at an end."""
        return self.awaiting + self.queued + sum(page.ready for page in self.open_pages.values())


class ActionKind(StrEnum):
    """What a lane can be told to do."""

    DRAFT = "draft"
    DECIDE = "decide"
    SUBMIT = "submit"
    ALTERNATIVE = "alternative"
    CLOSE = "close"
    WAIT = "wait"
    DONE = "done"


class Action(Model):
    """The next thing to do; ``page`` and ``batch`` where they apply."""

    kind: ActionKind
    page: int = 0
    batch: int = 0
    decision: Decision | None = None


class Steering(Model):
    """What applies to all lanes of a campaign.

    ``cancelled`` is set only once the store knows it. ``stopped``: why nothing more may be drafted, if so.
    """

    paused: bool = False
    cancelled: bool = False
    stopped: str = ""
    standing_decision: Decision | None = None


class PageDrafted(Model):
    """The result of drafting a page: how its recipients are distributed."""

    awaiting: int = 0
    ready: int = 0
    counts: dict[MessageStatus, int] = Field(default_factory=dict, description="those that ended already")


def next_action(state: LaneState, steering: Steering, page_size: int) -> Action:
    """What the lane does next. Order: end what must end, decide, submit, and only then draft more.

    Once an alternative is chosen it is carried to its end, also by a cancellation: its one call may be on its way,
    and only it can tell.
    """
    undrafted = state.next_page < state.lane.pages
    alternative = Action(kind=ActionKind.ALTERNATIVE, page=state.next_page)
    chosen = undrafted and state.alternative is not None
    if chosen and steering.cancelled:
        return alternative
    if not state.closed and (steering.cancelled or (steering.stopped and undrafted and not chosen)):
        return Action(kind=ActionKind.CLOSE, page=state.next_page)
    for number, page in sorted(state.open_pages.items()):
        decision = page.decision or steering.standing_decision
        if page.awaiting and decision is not None:
            return Action(kind=ActionKind.DECIDE, page=number, decision=decision)
        if page.ready:
            return Action(kind=ActionKind.SUBMIT, page=number, batch=state.next_batch)
    if chosen and not steering.paused:
        return alternative
    if undrafted and not chosen and not steering.paused and state.backlog <= page_size:
        return Action(kind=ActionKind.DRAFT, page=state.next_page)
    if not undrafted and not state.open_pages and not state.batches:
        return Action(kind=ActionKind.DONE)
    return Action(kind=ActionKind.WAIT)


def may_be_late(state: LaneState) -> bool:
    """Whether there are recipients for whom an alternative could still be chosen."""
    return state.alternative is None and state.next_page < state.lane.pages


def next_page_reach(state: LaneState, page_size: int) -> int:
    """Messages to be sent, beside those in the send queue, until the last one of the next page is."""
    page = min(page_size, state.lane.audience - state.next_page * page_size)
    return page + state.backlog - state.queued


def choose_alternative(state: LaneState, action: AlternativeAction, reason: str, page_size: int) -> LaneState:
    """The next page would be too late: it and all pages behind it get ``action`` instead of their own messages."""
    chosen = Alternative(
        account_id=state.lane.account_id,
        action=action,
        reason=reason,
        # Every page but the last one is full.
        recipients=state.lane.audience - state.next_page * page_size,
    )
    return state.model_copy(update={"alternative": chosen})


def after_draft(state: LaneState, page: int, drafted: PageDrafted) -> LaneState:
    """The page exists; what ended while drafting is counted, the rest is open."""
    open_pages = dict(state.open_pages)
    if drafted.awaiting or drafted.ready:
        open_pages[page] = OpenPage(awaiting=drafted.awaiting, ready=drafted.ready)
    return _with_counts(state, drafted.counts).model_copy(
        update={
            "open_pages": open_pages,
            "next_page": page + 1,
            "drafted": state.drafted + drafted.awaiting + drafted.ready,
        }
    )


def after_decision(state: LaneState, page: int, drafted: PageDrafted) -> LaneState:
    """A reviewer's decision was carried out; ``drafted`` is the page's new distribution."""
    open_pages = dict(state.open_pages)
    open_pages.pop(page, None)
    if drafted.awaiting or drafted.ready:
        open_pages[page] = OpenPage(awaiting=drafted.awaiting, ready=drafted.ready)
    return _with_counts(state, drafted.counts).model_copy(update={"open_pages": open_pages})


def after_submit(state: LaneState, page: int, batch: int, submitted: int) -> LaneState:
    """The ready messages of a page are in the send queue as ``batch``."""
    open_pages = dict(state.open_pages)
    rest = open_pages.pop(page).model_copy(update={"ready": 0})
    if rest.awaiting:
        open_pages[page] = rest
    batches = dict(state.batches)
    if submitted:
        batches[batch] = submitted
    arrived = state.model_copy(
        update={"open_pages": open_pages, "batches": batches, "next_batch": batch + 1, "early": ()}
    )
    return _settle(arrived, state.early)


def after_close(state: LaneState, counts: dict[MessageStatus, int], *, everything: bool = False) -> LaneState:
    """What was not drafted yet has ended; with ``everything`` also what was drafted and not yet queued."""
    return _with_counts(state, counts).model_copy(
        update={
            "next_page": state.lane.pages,
            "open_pages": {} if everything else state.open_pages,
            "closed": everything or state.closed,
        }
    )


def after_delay(state: LaneState, reason: str) -> LaneState:
    """What the lane wants to do next has to wait; an empty reason: no longer."""
    return state.model_copy(update={"reason": reason})


def after_receipts(state: LaneState, receipts: Receipts) -> LaneState:
    """The send queue reports; a receipt for a batch that is not open is a repetition and changes nothing."""
    settled = _settle(state, receipts.batches)
    return settled.model_copy(
        update={
            "throttled_until": receipts.throttled_until if settled.batches else None,
            "reason": receipts.reason if settled.batches else "",
        }
    )


def after_resync(state: LaneState, counts: dict[MessageStatus, int], batches: dict[int, int]) -> LaneState:
    """The message store's own figures replace what receipts had told so far."""
    return state.model_copy(
        update={
            "counts": {status: number for status, number in counts.items() if number},
            "batches": {batch: number for batch, number in batches.items() if number},
        }
    )


def decide(states: dict[str, LaneState], review: ReviewDecision, verdict: Verdict) -> dict[str, LaneState]:
    """Attach a verdict to the pages that it names, or to all that wait when it names none."""
    decision = Decision(verdict=verdict, decided_by=review.decided_by, comment=review.comment)
    result: dict[str, LaneState] = {}
    for account_id, state in states.items():
        pages = {
            number: page.model_copy(update={"decision": decision})
            if page.awaiting and (not review.pages or PageKey(account_id=account_id, page=number) in review.pages)
            else page
            for number, page in state.open_pages.items()
        }
        result[account_id] = state.model_copy(update={"open_pages": pages})
    return result


def _settle(state: LaneState, receipts: tuple[BatchReceipt, ...]) -> LaneState:
    batches = dict(state.batches)
    counts: dict[MessageStatus, int] = {}
    early: list[BatchReceipt] = []
    for receipt in receipts:
        if receipt.batch >= state.next_batch:
            early.append(receipt)
            continue
        for status, number in receipt.counts.items():
            accepted = min(number, batches.get(receipt.batch, 0))
            if not accepted:
                continue
            counts[status] = counts.get(status, 0) + accepted
            batches[receipt.batch] -= accepted
            if not batches[receipt.batch]:
                del batches[receipt.batch]
    return _with_counts(state, counts).model_copy(update={"batches": batches, "early": (*state.early, *early)})


def _with_counts(state: LaneState, counts: dict[MessageStatus, int]) -> LaneState:
    merged = dict(state.counts)
    for status, number in counts.items():
        if number:
            merged[status] = merged.get(status, 0) + number
    return state.model_copy(update={"counts": merged})
