"""Lanes, decisions and receipts for the tests of a campaign's part."""

from domain.campaign import Lane
from domain.delivery import MessageStatus
from domain.lane import (
    LaneState,
)
from domain.review import Decision, Verdict
from domain.send_queue import BatchReceipt, Receipts

ACCOUNT = "acct_luna"
PAGE_SIZE = 4
APPROVED = Decision(verdict=Verdict.APPROVE, decided_by="luna")
REJECTED = Decision(verdict=Verdict.REJECT, decided_by="luna")
S = MessageStatus
Counts = dict[MessageStatus, int]


def a_lane(audience: int = 10, **changes: object) -> LaneState:
    state = LaneState(lane=Lane(account_id=ACCOUNT, audience=audience, pages=-(-audience // PAGE_SIZE)))
    return state.model_copy(update=changes)


def receipts(*batches: tuple[int, Counts], **changes: object) -> Receipts:
    told = tuple(BatchReceipt(batch=batch, counts=counts) for batch, counts in batches)
    return Receipts(account_id=ACCOUNT, batches=told).model_copy(update=changes)
