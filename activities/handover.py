"""Single messages that were stored by a process that ended before a queue had them: looked for now and then."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID, uuid4

import structlog

from domain.delivery import MessageStatus
from domain.handover import OVERDUE_AFTER, batch_of
from domain.ports import CampaignStore, HandOvers, MessageStore, SendQueues

EVERY = timedelta(seconds=15)
"""The mean time between two looks of one worker. A look is one query, and no action of Temporal."""

_log = structlog.get_logger()


class HandOverWatch:
    """Hands over what its own request can't hand over any more. Any number of workers may do so side by side."""

    def __init__(
        self, handovers: HandOvers, campaigns: CampaignStore, messages: MessageStore, queues: SendQueues
    ) -> None:
        self._handovers = handovers
        self._campaigns = campaigns
        self._messages = messages
        self._queues = queues

    async def run(self) -> NoReturn:
        """Look again and again. An outage is waited out: the notes stay."""
        while True:
            try:
                await self.hand_over(datetime.now(UTC) - OVERDUE_AFTER)
            except Exception as error:  # noqa: BLE001 - whatever failed may be mended by the next look
                _log.warning("handover.repeated", error=type(error).__name__)
            await asyncio.sleep(EVERY.total_seconds() * random.uniform(0.5, 1.5))

    async def hand_over(self, before: datetime) -> int:
        """Hand over every message whose note is older than ``before``; returns how many still waited.

        One that its queue does not take keeps its note, and does not keep the others back.
        """
        taken = 0
        for campaign_id in await self._handovers.overdue(before):
            try:
                taken += await self._hand_over(campaign_id)
            except Exception as error:  # noqa: BLE001 - a full queue or an account's trouble is no reason to stop
                _log.warning("handover.postponed", campaignId=campaign_id, error=type(error).__name__)
        return taken

    async def _hand_over(self, campaign_id: str) -> bool:
        record = await self._campaigns.get(campaign_id)
        message_id = UUID(campaign_id)
        message = (await self._messages.get_many(campaign_id, [message_id])).get(message_id)
        waits = False
        if record is not None and message is not None and message.status is MessageStatus.QUEUED:
            # Harmless if the queue has it: then only the note was left behind.
            await self._queues.enqueue(record.account_id, batch_of(record, message), again=str(uuid4()))
            _log.info("handover.made_up_for", campaignId=campaign_id)
            waits = True
        await self._handovers.done(campaign_id)
        return waits
