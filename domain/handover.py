"""Single messages on their way from the store into a send queue.

A message and the note that no queue has it yet are stored together; the note goes when the queue has taken the message.
So a message whose process ends in between is found by its note, and nobody has to ask for it.

What becomes of it depends on what its caller can know. Whoever has a key repeats the request and gets the same message,
so it is sent. Whoever has none can only ask for another one, so it ends as ``NEVER_QUEUED``; such a caller gets no
answer before the note is gone.
"""

from datetime import timedelta

from domain.campaign import CampaignRecord
from domain.delivery import Message
from domain.model import AccountId, Model
from domain.send_queue import EnqueueBatch

OVERDUE_AFTER = timedelta(seconds=30)
"""A note older than this has outlived the request that made it, which offers its message for 20 s."""

NEVER_QUEUED = "never_queued"
"""Why a message was cancelled that no queue has taken."""

GROUP = "direct"
"""All single messages of an account share their turn with its campaigns as one of them would."""


class HandOverNote(Model):
    """No queue has this message yet. ``keyed``: its request can be repeated without making a second message."""

    campaign_id: str
    account_id: AccountId
    keyed: bool


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
