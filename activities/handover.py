"""Single messages that were stored by a process that ended before a queue had them: looked for now and then."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID, uuid4

import structlog

from domain.delivery import MessageStatus
from domain.handover import NEVER_QUEUED, OVERDUE_AFTER, HandOverNote, batch_of
from domain.ports import CampaignStore, HandOvers, MessageStore, SendQueues

EVERY = timedelta(seconds=15)
"""The mean time between two looks of one worker. A look is one query, and no action of Temporal."""

ACCOUNTS_AT_ONCE = 10
"""Accounts whose queues are tried at the same time: one that does not answer takes its 20 s and holds up no other."""

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

        A queue that does not take one keeps its account's later notes for the next look, and holds back nobody else.
        """
        by_account: dict[str, list[HandOverNote]] = {}
        for note in await self._handovers.overdue(before):
            by_account.setdefault(note.account_id, []).append(note)
        room = asyncio.Semaphore(ACCOUNTS_AT_ONCE)
        return sum(await asyncio.gather(*(self._of_account(notes, room) for notes in by_account.values())))

    async def _of_account(self, notes: Sequence[HandOverNote], room: asyncio.Semaphore) -> int:
        taken = 0
        async with room:
            for note in notes:
                try:
                    taken += await self._hand_over(note)
                except Exception as error:  # noqa: BLE001 - a full queue or an account's trouble ends nobody else's look
                    _log.warning("handover.postponed", campaignId=note.campaign_id, error=type(error).__name__)
                    break
        return taken

    async def _hand_over(self, note: HandOverNote) -> bool:
        campaign_id, message_id = note.campaign_id, UUID(note.campaign_id)
        if not note.keyed:
            # Nobody was told that it is sent, and whoever asked for it may have asked for another one by now.
            end = MessageStatus.CANCELLED
            if await self._messages.transition(campaign_id, [message_id], end, reason=NEVER_QUEUED):
                _log.info("handover.ended", campaignId=campaign_id)
            await self._handovers.done(campaign_id)
            return False
        record = await self._campaigns.get(campaign_id)
        message = (await self._messages.get_many(campaign_id, [message_id])).get(message_id)
        waits = False
        if record is not None and message is not None and message.status is MessageStatus.QUEUED:
            # Harmless if the queue has it: then only the note was left behind.
            await self._queues.enqueue(record.account_id, batch_of(record, message), again=str(uuid4()))
            _log.info("handover.made_up_for", campaignId=campaign_id)
            waits = True
        await self._handovers.done(campaign_id)
        return waits
