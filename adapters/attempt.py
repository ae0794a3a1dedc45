"""The beginning of an attempt to send, and its outcome, as parts of transactions.

Which attempt an outcome is about is told by the count of attempts and by the name of the slot that admitted it
(``lastSlot``). The count alone would not do: it is taken back when nothing was sent. An outcome whose slot is not
known, because another process made the attempt, carries a slot without a lease and goes by the count.
"""

from datetime import datetime

from adapters.dynamodb import Dynamo, Item, sortable
from adapters.message import message_key, message_update
from adapters.slot import slot_delete, slot_name, slot_put
from domain.delivery import Attempt, MessageStatus, Outcome


def begin_items(dynamo: Dynamo, attempt: Attempt, now: datetime) -> list[Item]:
    """queued or sending → sending, and its slot.

    If nobody else has begun an attempt, or given the message another text, since it was read.
    """
    message = attempt.message
    update = message_update(
        dynamo,
        message_key(message.campaign_id, message.message_id),
        MessageStatus.SENDING,
        {"attempts": message.attempts + 1, "updatedAt": sortable(now), "lastSlot": slot_name(attempt.slot)},
        once={"firstAttemptAt": sortable(now)},
        only_if={"attempts": message.attempts, "revision": message.revision},
    )
    return [{"Update": update}, slot_put(dynamo, attempt.slot)]


def outcome_items(dynamo: Dynamo, outcome: Outcome) -> list[Item]:
    """sending → what became of the attempt.

    A receipt is a fact and counts whichever attempt was the last one. Everything else only says something about the
    message as long as no later attempt was begun.
    """
    message = outcome.attempt.message
    update = message_update(
        dynamo,
        message_key(message.campaign_id, message.message_id),
        outcome.status,
        _changes(outcome),
        sources=[MessageStatus.SENDING],
        only_if={} if outcome.status is MessageStatus.SENT else _identity(outcome.attempt),
    )
    forget = outcome.status is MessageStatus.QUEUED and outcome.attempt.slot.lease_id
    return [{"Update": update}, *([slot_delete(dynamo, outcome.attempt.slot)] if forget else [])]


def _changes(outcome: Outcome) -> dict[str, object]:
    changes: dict[str, object] = {"reason": outcome.reason, "updatedAt": sortable(outcome.at)}
    match outcome:
        case Outcome(status=MessageStatus.SENT, delivered=delivered) if delivered is not None:
            changes["platformMessageId"] = delivered.platform_message_id
            changes["sentAt"] = sortable(delivered.created_at or outcome.at)
            changes["cancelSeconds"] = delivered.cancel_seconds
        case Outcome(status=MessageStatus.QUEUED):
            changes["attempts"] = outcome.attempts
            changes["failures"] = outcome.failures
        case Outcome(status=MessageStatus.SENDING):
            changes["failures"] = outcome.failures
    return changes


def _identity(attempt: Attempt) -> dict[str, object]:
    identity: dict[str, object] = {"attempts": attempt.message.attempts + 1}
    if attempt.slot.lease_id:
        identity["lastSlot"] = slot_name(attempt.slot)
    return identity
