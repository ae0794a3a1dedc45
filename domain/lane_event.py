"""What happens to a lane: pages are drafted, decided, edited, submitted, closed; queues report; time passes.

Each function takes the state before an event and gives the one after it. Events come in any order, and some of them
twice; no recipient is lost or counted twice by that.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from domain.alternative import Alternative, AlternativeAction
from domain.delivery import MessageStatus
from domain.lane import Counts, LaneState, OpenPage, PageDrafted, add_counts
from domain.review import EXPIRY, Decision, ReviewDecision, Verdict
from domain.send_queue import BatchReceipt, Receipts


def choose_alternative(
    state: LaneState, action: AlternativeAction, reason: str, page_size: int, *, withdraws: bool = True
) -> LaneState:
    """The next page would be too late: it and all pages behind it get ``action`` instead of their own messages.

    With ``withdraws`` so does, at the deadline, what was drafted and is not sent by then.
    """
    chosen = Alternative(
        account_id=state.lane.account_id,
        action=action,
        reason=reason,
        # Every page but the last one is full.
        recipients=max(0, state.lane.audience - state.next_page * page_size),
    )
    return state.model_copy(update={"alternative": chosen, "withdraws": withdraws})


def after_withdrawal(state: LaneState, taken: int, drafts: int, counts: Counts) -> LaneState:
    """Nothing is left that could be sent late: ``taken`` messages wait for the alternative, or ended by it.

    ``drafts`` of them are in no batch and have no end yet; ``counts``: all that ended without having been in one.
    """
    assert state.alternative is not None  # noqa: S101 - nothing is withdrawn without it
    more = state.alternative.model_copy(update={"recipients": state.alternative.recipients + taken})
    return _without_done(
        state.model_copy(
            update={
                "alternative": more,
                "withdrawn": drafts,
                "ended": {status: number for status, number in counts.items() if number},
                "open_pages": {},
            }
        )
    )


def after_alternative(state: LaneState, counts: Counts) -> LaneState:
    """Its recipients have ended: ``counts`` are those that were not drafted or, after a withdrawal, as when closed."""
    ended = after_close(state, counts, everything=state.withdrawn is not None)
    return ended.model_copy(update={"withdraws": False, "withdrawn": None})


def after_draft(state: LaneState, page: int, drafted: PageDrafted, expires_at: datetime | None = None) -> LaneState:
    """The page exists; what ended while drafting is counted, the rest is open until ``expires_at``."""
    begun = state.model_copy(
        update={
            "next_page": page + 1,
            "drafted": state.drafted + drafted.awaiting + drafted.unwritten + drafted.ready,
            "open_pages": {**state.open_pages, page: OpenPage(expires_at=expires_at)},
        }
    )
    return _with_page(begun, page, drafted)


def before_reading(state: LaneState, page: int) -> LaneState:
    """The page is about to be read: what somebody changes from now on makes it worth reading again."""
    return state.model_copy(update={"changed": tuple(number for number in state.changed if number != page)})


def after_reading(state: LaneState, page: int, found: PageDrafted, decision: Decision | None = None) -> LaneState:
    """The page is as ``found``, after ``decision`` was carried out, if there was one."""
    if page not in state.open_pages:
        return state
    return _with_page(_without(state, page, decision), page, found)


def after_submit(state: LaneState, page: int, batch: int, submitted: int) -> LaneState:
    """The ready messages of a page are in the send queue as ``batch``."""
    rest = state.open_pages[page].model_copy(update={"ready": 0})
    batches = dict(state.batches)
    if submitted:
        batches[batch] = submitted
    arrived = state.model_copy(
        update={
            "open_pages": {**state.open_pages, page: rest},
            "batches": batches,
            "next_batch": batch + 1,
            "early": (),
        }
    )
    if submitted != state.open_pages[page].ready:
        # Somebody approved or ended one of its messages meanwhile.
        arrived = after_change(arrived, page)
    return _settle(_without_done(arrived), state.early)


def after_close(state: LaneState, counts: Counts, *, everything: bool = False) -> LaneState:
    """What was not drafted yet has ended.

    With ``everything`` also what was drafted and not yet queued; ``counts`` are then all that never got into the queue.
    """
    return _without_done(
        state.model_copy(
            update={
                "ended": dict(counts) if everything else add_counts(state.ended, counts),
                "next_page": state.lane.pages,
                "open_pages": {} if everything else state.open_pages,
                "closed": everything or state.closed,
            }
        )
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


def after_resync(state: LaneState, settled: Counts, batches: Mapping[int, int]) -> LaneState:
    """The message store's own figures replace what receipts had told so far."""
    return state.model_copy(
        update={
            "settled": {status: number for status, number in settled.items() if number},
            "batches": {batch: number for batch, number in batches.items() if number},
        }
    )


def after_change(state: LaneState, page: int | None = None) -> LaneState:
    """Somebody else changed a message of the page: it is to be read again; ``None``: every page that is open.

    A page that is being drafted is read once it exists.
    """
    readable = {*state.open_pages, state.next_page}
    told = set(state.open_pages) if page is None else {page} & readable
    return state.model_copy(update={"changed": tuple(sorted({*state.changed, *told}))})


def decide(states: Mapping[str, LaneState], review: ReviewDecision, verdict: Verdict) -> dict[str, LaneState]:
    """Attach a verdict to the pages that it names, or to all that wait when it names none.

    The last word comes first: what is not carried out yet only decides what a later decision leaves over. Messages
    of a page that is being drafted may be decided already; pages that do not exist can't.
    """
    decision = review.decision(verdict)
    result: dict[str, LaneState] = {}
    for account_id, state in states.items():
        named = {key.page for key in review.pages if key.account_id == account_id}
        decisions = dict(state.decisions)
        for number in sorted({*state.open_pages, *({state.next_page} if review.messages else ())}):
            page = state.open_pages.get(number)
            can_move = page is None or (page.waiting if review.messages else page.moved_by(decision))
            if can_move and (number in named or not review.pages):
                decisions[number] = (decision, *decisions.get(number, ()))
        result[account_id] = state.model_copy(update={"decisions": decisions})
    return result


def expire(states: Mapping[str, LaneState], now: datetime) -> dict[str, LaneState]:
    """Let the clock decide about what waits too long; what people decided before is carried out first."""
    return {account_id: _expire(state, now) for account_id, state in states.items()}


def _expire(state: LaneState, now: datetime) -> LaneState:
    late = {
        number: page
        for number, page in state.open_pages.items()
        if page.waiting and page.expires_at is not None and page.expires_at <= now
    }
    # Once is enough: without its moment a page does not expire again.
    pages = {number: page.model_copy(update={"expires_at": None}) for number, page in late.items()}
    decisions = {number: (*state.decisions.get(number, ()), EXPIRY) for number in late}
    return state.model_copy(
        update={"open_pages": {**state.open_pages, **pages}, "decisions": {**state.decisions, **decisions}}
    )


def _with_page(state: LaneState, number: int, found: PageDrafted) -> LaneState:
    """The page as the store has it; only what ended since it was read last is added to the lane's counts."""
    before = state.open_pages[number]
    new = {status: count - before.counts.get(status, 0) for status, count in found.counts.items()}
    page = before.model_copy(
        update={
            "awaiting": found.awaiting,
            "edited": found.edited,
            "unwritten": found.unwritten,
            "ready": found.ready,
            "counts": found.counts,
        }
    )
    return _without_done(
        state.model_copy(
            update={"ended": add_counts(state.ended, new), "open_pages": {**state.open_pages, number: page}}
        )
    )


def _without(state: LaneState, page: int, decision: Decision | None) -> LaneState:
    """Without the decision, which was carried out; those that came meanwhile stay."""
    left = list(state.decisions.get(page, ()))
    if decision is None or decision not in left:
        return state
    left.remove(decision)
    return state.model_copy(update={"decisions": {**state.decisions, page: tuple(left)}})


def _without_done(state: LaneState) -> LaneState:
    """Without pages on which nothing is left to do, and without decisions that have nothing to be about."""
    pages = {
        number: page
        for number, page in state.open_pages.items()
        if page.waiting or page.ready or number in state.changed
    }
    return state.model_copy(
        update={
            "open_pages": pages,
            "decisions": {
                number: decisions
                for number, decisions in state.decisions.items()
                if decisions and (number == state.next_page or (number in pages and pages[number].waiting))
            },
            "changed": tuple(number for number in state.changed if number == state.next_page or number in pages),
        }
    )


def _settle(state: LaneState, receipts: Sequence[BatchReceipt]) -> LaneState:
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
    return state.model_copy(
        update={"settled": add_counts(state.settled, counts), "batches": batches, "early": (*state.early, *early)}
    )
