"""A message that failed, sent once more: as a message of its own that still belongs to its campaign."""

from uuid import NAMESPACE_URL, UUID, uuid5

from domain.delivery import Message, MessageStatus

OUTCOME_UNKNOWN = "outcome_unknown"
"""How the reason of a message begins that failed without anybody knowing whether its recipient has it."""

_RETRIES = uuid5(NAMESPACE_URL, "huntaze:dead-letter-retry")


def retry_id(message_id: UUID) -> UUID:
    """The id of the message that takes a dead letter's place; the same however often it is asked for."""
    return uuid5(_RETRIES, str(message_id))


def may_have_arrived(message: Message) -> bool:
    """Whether a message failed although its recipient may have it."""
    return message.status is MessageStatus.FAILED and message.reason.startswith(OUTCOME_UNKNOWN)
