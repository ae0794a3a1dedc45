"""One account's part of a campaign, as a state and the next thing to do about it.

A lane drafts a page, submits what needs no review, waits for decisions about the rest, and stays one page
ahead of the account's send queue, so that what is cancelled was never paid for. ``next_action`` is the whole
policy; the workflow only carries its actions out and reports back through the functions of ``domain.lane_event``.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from domain.alternative import Alternative
from domain.campaign import Lane
from domain.delivery import Message, MessageStatus
from domain.model import Model
from domain.review import Decision, Verdict, is_approvable
from domain.send_queue import BatchReceipt

Counts = Mapping[MessageStatus, int]


class PageDrafted(Model):
    """How the recipients of a page are distributed, as the message store has it."""

    awaiting: int = Field(default=0, ge=0, description="drafts that an approval of the page covers")
    edited: int = Field(default=0, ge=0, description="those of them whose text somebody has changed")
    unwritten: int = Field(default=0, ge=0, description="drafts that only an edit, a rejection or the expiry can move")
    ready: int = Field(default=0, ge=0, description="approved, not yet handed to the send queue")
    counts: dict[MessageStatus, int] = Field(
        default_factory=dict, description="those that ended without having been in the send queue"
    )


class OpenPage(Model):
    """A drafted page that still has something to be decided or submitted.

    ``counts``: those of the page that ended meanwhile and are among the lane's counts. ``expires_at``: when what
    still waits for a reviewer is skipped.
    """

    awaiting: int = Field(default=0, ge=0)
    edited: int = Field(default=0, ge=0)
    unwritten: int = Field(default=0, ge=0)
    ready: int = Field(default=0, ge=0)
    counts: dict[MessageStatus, int] = Field(default_factory=dict)
    expires_at: datetime | None = None

    @property
    def waiting(self) -> int:
        """Messages that wait for a reviewer."""
        return self.awaiting + self.unwritten

    def moved_by(self, decision: Decision) -> bool:
        """Whether a decision about the whole page would move anything."""
        return bool(self.awaiting or self._moves_unwritten(decision))

    def stands_under(self, standing: Decision) -> bool:
        """Whether a decision about pages to come would move anything: it is not about what was edited since."""
        return bool(self.awaiting > self.edited or self._moves_unwritten(standing))

    def _moves_unwritten(self, decision: Decision) -> bool:
        return bool(self.unwritten) and decision.verdict is not Verdict.APPROVE


class LaneState(Model):
    """Everything that a campaign remembers about one account.

    ``ended`` and ``settled`` are apart because they are learned apart: the one page by page from the store, the other
    from the send queue.
    """

    lane: Lane
    next_page: int = 0
    next_batch: int = 0
    open_pages: dict[int, OpenPage] = Field(default_factory=dict)
    decisions: dict[int, tuple[Decision, ...]] = Field(
        default_factory=dict, description="by page: what is to be carried out, in this order"
    )
    changed: tuple[int, ...] = Field(default=(), description="pages of which messages were changed by somebody else")
    batches: dict[int, int] = Field(default_factory=dict, description="messages still in the send queue")
    early: tuple[BatchReceipt, ...] = Field(
        default=(), description="receipts that overtook the news that their batch is in the queue"
    )
    ended: dict[MessageStatus, int] = Field(
        default_factory=dict, description="messages that ended without having been in the send queue"
    )
    settled: dict[MessageStatus, int] = Field(default_factory=dict, description="messages that the send queue ended")
    drafted: int = 0
    alternative: Alternative | None = Field(
        default=None, description="chosen for every recipient who was not drafted by then; final"
    )
    withdraws: bool = Field(
        default=False, description="it is also for what was drafted and is not sent by the deadline; until it was taken"
    )
    withdrawn: int | None = Field(
        default=None, description="drafts that were withdrawn for it and have not ended; None: not withdrawn yet"
    )
    closed: bool = False
    throttled_until: datetime | None = None
    reason: str = ""

    @property
    def counts(self) -> dict[MessageStatus, int]:
        """Messages that ended."""
        return add_counts(self.ended, self.settled)

    @property
    def waiting(self) -> int:
        """Messages that wait for a reviewer."""
        return sum(page.waiting for page in self.open_pages.values())

    @property
    def unwritten(self) -> int:
        """Those of them that need a text first."""
        return sum(page.unwritten for page in self.open_pages.values())

    @property
    def queued(self) -> int:
        """Messages in the send queue."""
        return sum(self.batches.values())

    @property
    def backlog(self) -> int:
        """Messages that were drafted and are not at an end."""
        return self.waiting + self.queued + sum(page.ready for page in self.open_pages.values()) + (self.withdrawn or 0)

    @property
    def review_expires_at(self) -> datetime | None:
        """When the next page of drafts is skipped, if nobody decides."""
        moments = [page.expires_at for page in self.open_pages.values() if page.waiting and page.expires_at]
        return min(moments, default=None)


class ActionKind(StrEnum):
    """What a lane can be told to do."""

    DRAFT = "draft"
    DECIDE = "decide"
    READ = "read"
    SUBMIT = "submit"
    WITHDRAW = "withdraw"
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
    ``overdue``: the deadline has passed.
    """

    paused: bool = False
    cancelled: bool = False
    stopped: str = ""
    overdue: bool = False
    standing_decision: Decision | None = None


def distribution(messages: Iterable[Message]) -> PageDrafted:
    """How the messages of a page are distributed. Those that were submitted are not counted: their batch is."""
    awaiting = edited = unwritten = ready = 0
    counts: dict[MessageStatus, int] = {}
    for message in messages:
        match message.status:
            case MessageStatus.DRAFTED if is_approvable(message):
                awaiting += 1
                edited += message.revision > 0
            case MessageStatus.DRAFTED:
                unwritten += 1
            case MessageStatus.APPROVED:
                ready += 1
            case status if status.is_terminal and message.batch is None:
                counts[status] = counts.get(status, 0) + 1
    return PageDrafted(awaiting=awaiting, edited=edited, unwritten=unwritten, ready=ready, counts=counts)


def next_action(state: LaneState, steering: Steering, page_size: int) -> Action:
    """What the lane does next. Order: end what must end, decide, submit, and only then draft more.

    Once an alternative is chosen it is carried to its end, also by a cancellation: its one call may be on its way,
    and only it can tell. It waits for what was drafted before, until the deadline; then nothing else comes first.
    """
    undrafted = state.next_page < state.lane.pages
    chosen = state.alternative is not None and (undrafted or state.withdraws)
    alternative = _alternative(state, steering) if chosen else None
    if alternative is not None and (steering.cancelled or (state.withdraws and steering.overdue)):
        return alternative
    if not state.closed and (steering.cancelled or (steering.stopped and undrafted and not chosen)):
        return Action(kind=ActionKind.CLOSE, page=state.next_page)
    pages = sorted(state.open_pages.items())
    for number, page in pages:
        if decision := _due(state, number, page, steering.standing_decision):
            return Action(kind=ActionKind.DECIDE, page=number, decision=decision)
    for number, page in pages:
        if number in state.changed:
            return Action(kind=ActionKind.READ, page=number)
        if page.ready:
            return Action(kind=ActionKind.SUBMIT, page=number, batch=state.next_batch)
    if alternative is not None:
        return alternative
    if undrafted and not chosen and not steering.paused and state.backlog <= page_size:
        return Action(kind=ActionKind.DRAFT, page=state.next_page)
    if not (undrafted or chosen or state.open_pages or state.batches):
        return Action(kind=ActionKind.DONE)
    return Action(kind=ActionKind.WAIT)


def _alternative(state: LaneState, steering: Steering) -> Action | None:
    """What is to be done next about an alternative that was chosen; ``None``: nothing yet.

    A pause does not keep messages from being withdrawn: that sends nothing, and nothing may be sent late after it.
    """
    take = Action(kind=ActionKind.ALTERNATIVE, page=state.next_page)
    if steering.cancelled:
        return take
    if state.withdraws and state.withdrawn is None and state.backlog:
        return Action(kind=ActionKind.WITHDRAW) if steering.overdue else None
    return None if steering.paused else take


def may_be_late(state: LaneState) -> bool:
    """Whether there are recipients for whom an alternative could still be chosen."""
    return state.alternative is None and bool(state.backlog or state.next_page < state.lane.pages)


def next_page_reach(state: LaneState, page_size: int) -> int:
    """Messages to be sent, beside those in the send queue, until the last one of the next page is."""
    page = min(page_size, state.lane.audience - state.next_page * page_size)
    return page + state.backlog - state.queued


def _due(state: LaneState, number: int, page: OpenPage, standing: Decision | None) -> Decision | None:
    """What is to be carried out on a page now. What a standing decision is not about waits for a word of its own."""
    if not page.waiting:
        return None
    if decisions := state.decisions.get(number):
        return decisions[0]
    return standing if standing is not None and page.stands_under(standing) else None


def add_counts(left: Counts, right: Counts) -> dict[MessageStatus, int]:
    """Messages by status, both together, without zeros."""
    merged = dict(left)
    for status, number in right.items():
        merged[status] = merged.get(status, 0) + number
    return {status: number for status, number in merged.items() if number}
