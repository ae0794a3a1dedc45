"""What a delivery round changes in an account's queue.

A round takes seconds to minutes, and signals arrive meanwhile. What they said is newer than what the round saw, so
it wins: ``start_round`` marks the moment, ``apply`` leaves out whatever changed since.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from domain.delivery import MessageStatus
from domain.send_queue import (
    BatchReceipt,
    Candidate,
    DeliveryReport,
    QueuedBatch,
    Receipts,
    SendQueue,
    is_late,
    stands_still,
    takes_aged_turn,
)

ENDING_PAUSE = timedelta(seconds=5)
"""What could not be ended is tried again after this."""

TYPE_PAUSE = timedelta(seconds=2)
"""A type that has to wait waits at least so long: its slots come free one by one, and each would take a round."""

TURNS_KEPT = 100
"""A flow that has nothing left keeps its place among the others for so many messages."""


def start_round(queue: SendQueue) -> SendQueue:
    """The queue at the start of a delivery round: what changes from now on is newer than what the round sees."""
    return queue.model_copy(update={"rechecked": frozenset(), "woken": False})


def untaken(queue: SendQueue) -> SendQueue:
    """The queue after a round that no worker took in time: nothing has happened, but that it has waited."""
    return queue.model_copy(update={"untaken": queue.untaken + 1})


def apply(
    queue: SendQueue, report: DeliveryReport, now: datetime, asked: Sequence[Candidate] = ()
) -> tuple[SendQueue, Mapping[str, Receipts]]:
    """The queue after a round that was ``asked`` for these, and what each campaign with something to learn is told."""
    ended = {settled.message_id: settled.status for settled in report.settled}
    batch_of = _batches_of(queue, {*ended, *(wait.message_id for wait in report.deferred), *_ids(asked)})
    receipts: dict[str, list[BatchReceipt]] = {}
    batches: list[QueuedBatch] = []
    touched = {(batch.campaign_id, batch.batch) for key, batch in batch_of.items() if key in ended}
    for batch in queue.batches:
        if (batch.campaign_id, batch.batch) not in touched:
            batches.append(batch)
            continue
        if batch.reports:
            counts = Counter(ended[key] for key in batch.message_ids if key in ended)
            receipts.setdefault(batch.campaign_id, []).append(BatchReceipt(batch=batch.batch, counts=dict(counts)))
        rest = tuple(key for key in batch.message_ids if key not in ended)
        if rest:
            batches.append(batch.model_copy(update={"message_ids": rest}))
    served, turns = _turns(queue, report, batch_of, now)
    flows = {batch.flow for batch in batches}
    alive = {batch.campaign_id for batch in batches}
    # A campaign that was resumed while the round ran must not be parked by what the round saw before.
    paused = set() if queue.woken else set(report.paused_campaigns) - queue.rechecked
    after = queue.model_copy(
        update={
            "batches": tuple(batches),
            "served": served,
            "turns": {flow: at for flow, at in turns.items() if flow in flows or at >= served - TURNS_KEPT},
            "not_before": _postponed(queue, report, asked, batch_of, now),
            "paused_campaigns": (queue.paused_campaigns | paused) & alive,
            "dropped_campaigns": queue.dropped_campaigns & alive,
            "dropped_messages": queue.dropped_messages.difference(ended),
            "rechecked": frozenset(),
            "woken": False,
            "untaken": 0,
            **_waits(queue, report, now),
        }
    )
    return after, {
        campaign_id: Receipts(
            account_id=queue.account_id,
            batches=tuple(batch_receipts),
            throttled_until=after.throttled_until if campaign_id in alive else None,
            reason=after.reason if campaign_id in alive else "",
        )
        for campaign_id, batch_receipts in receipts.items()
    }


def _ids(candidates: Sequence[Candidate]) -> Iterable[UUID]:
    return (candidate.message_id for candidate in candidates)


def _batches_of(queue: SendQueue, ids: Set[UUID]) -> dict[UUID, QueuedBatch]:
    return {key: batch for batch in queue.batches for key in batch.message_ids if key in ids}


def _turns(
    queue: SendQueue, report: DeliveryReport, batch_of: Mapping[UUID, QueuedBatch], now: datetime
) -> tuple[int, dict[str, int]]:
    """How many were sent in all, and when each flow had its last turn."""
    served, turns = queue.served, dict(queue.turns)
    sent = dict.fromkeys(each.message_id for each in report.settled if each.status is MessageStatus.SENT)
    for batch in (batch_of[key] for key in sent if key in batch_of):
        if not takes_aged_turn(batch, served, now):
            turns[batch.flow] = served
        served += 1
    return served, turns


def _postponed(
    queue: SendQueue,
    report: DeliveryReport,
    asked: Sequence[Candidate],
    batch_of: Mapping[UUID, QueuedBatch],
    now: datetime,
) -> dict[UUID, datetime]:
    """What waits although the account need not, and until when; nobody waits for what changed during the round."""
    ended = {settled.message_id for settled in report.settled}
    due = {key: at for key, at in queue.not_before.items() if key not in ended and at > now}
    again = {wait.message_id: now + timedelta(milliseconds=wait.delay_ms) for wait in report.deferred}
    for key in _ids(asked):
        # Nothing was said of it: without a pause a message that can't be ended would be asked for without end.
        if key in batch_of and key not in again and _is_over(queue, batch_of[key], key, now):
            again[key] = now + ENDING_PAUSE
    for key, at in again.items():
        batch = batch_of.get(key)
        if batch is None or key in ended or queue.woken or batch.campaign_id in queue.rechecked:
            continue
        if key in queue.dropped_messages:
            due[key] = min(at, now + ENDING_PAUSE)
        elif batch.expires_at is not None and not is_late(batch, now):
            due[key] = min(at, batch.expires_at)
        else:
            due[key] = at
    return due


def _is_over(queue: SendQueue, batch: QueuedBatch, message_id: UUID, now: datetime) -> bool:
    return batch.campaign_id in queue.dropped_campaigns or message_id in queue.dropped_messages or is_late(batch, now)


def _waits(queue: SendQueue, report: DeliveryReport, now: datetime) -> dict[str, Any]:
    """Why and how long the account or a type of messages waits after a round."""
    types = {kind: at for kind, at in queue.type_not_before.items() if at > now}
    if queue.woken:
        return {"type_not_before": types}
    waits = {
        kind: now + max(timedelta(milliseconds=wait), TYPE_PAUSE) for kind, wait in report.type_waits_ms.items() if wait
    }
    result: dict[str, Any] = {"type_not_before": types | waits}
    if report.until_woken or report.wait_ms > 0:
        until = now + timedelta(milliseconds=report.wait_ms) if report.wait_ms > 0 else None
        return result | {"asleep": report.until_woken, "throttled_until": until, "reason": report.reason}
    if stands_still(queue, now):
        # The round only ended what needs no slot.
        return result
    return result | {"asleep": False, "throttled_until": None, "reason": report.reason}
