"""Single messages on their way from the store into a send queue.

A message and the note that no queue has it yet are stored together; the note goes when the queue has taken the message.
So a message whose process ends in between is found by its note, and nobody has to ask for it.
"""

from datetime import timedelta

from domain.campaign import CampaignRecord
from domain.delivery import Message
from domain.send_queue import EnqueueBatch

OVERDUE_AFTER = timedelta(seconds=30)
"""A note older than this has outlived the request that made it, which offers its message for 20 s."""

GROUP = "direct"
"""All single messages of an account share their turn with its campaigns as one of them would."""


def batch_of(record: CampaignRecord, message: Message) -> EnqueueBatch:
    """A single message as its account's queue takes it."""
    return EnqueueBatch(
        campaign_id=record.campaign_id,
        batch=0,
        priority=record.priority,
        message_type=record.message_type,
        message_ids=(message.message_id,),
        not_before=record.delivery.times.not_before,
        expires_at=message.expires_at,
        group=GROUP,
        reports=False,
    )
