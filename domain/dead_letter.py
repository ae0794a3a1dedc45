"""A message that failed, sent once more: as a message of its own that still belongs to its campaign."""

from uuid import NAMESPACE_URL, UUID, uuid5

from domain.delivery import Message, MessageStatus

OUTCOME_UNKNOWN = "outcome_unknown"
"""How the reason of a message begins that failed without anybody knowing whether its recipient has it."""

_DISCARDED = "discarded_by"
_RETRIES = uuid5(NAMESPACE_URL, "huntaze:dead-letter-retry")


def retry_id(message_id: UUID) -> UUID:
    """The id of the message that takes a dead letter's place; the same however often it is asked for."""
    return uuid5(_RETRIES, str(message_id))


def may_have_arrived(message: Message) -> bool:
    """Whether a message failed although its recipient may have it."""
    return message.status is MessageStatus.FAILED and message.reason.startswith(OUTCOME_UNKNOWN)


def retried_by(user_id: str, again: UUID) -> str:
    """The note of a dead letter that was sent once more."""
    return f"retried_by:{user_id}:{again}"


def discarded_by(user_id: str, reason: str) -> str:
    """The note of a dead letter that nobody will send."""
    return f"{_DISCARDED}:{user_id}: {reason}"


def is_discarded(note: str) -> bool:
    """Whether a note says that nobody will send it."""
    return note.startswith(f"{_DISCARDED}:")
