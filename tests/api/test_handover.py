"""What a caller is told about a message is what becomes of it, also when everything fails right after."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from activities.handover import HandOverWatch
from adapters.bootstrap import Ports
from api.background import Background
from api.direct import Stored
from api.handover import hand_over
from api.refusals import QueueFull
from domain.delivery import MessageStatus
from domain.errors import DependencyUnavailable
from domain.handover import NEVER_QUEUED
from domain.ports import MessageStore
from tests.activities.test_handover import Queues, account, stored


class StoreThatEndsNothing:
    """The message store, which goes away as soon as a message is to be ended."""

    def __init__(self, messages: MessageStore) -> None:
        self._messages = messages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._messages, name)

    async def transition(self, campaign_id: str, ids: Sequence[UUID], target: MessageStatus, **_: object) -> int:
        raise DependencyUnavailable(f"{campaign_id}: {ids} can't become {target}")


class QueuesAway(Queues):
    """Temporal is away."""

    async def enqueue(self, *_: object, **__: object) -> Any:
        raise DependencyUnavailable("nobody there")


@pytest.fixture
async def background() -> AsyncIterator[Background]:
    work = Background()
    yield work
    await work.close()


def without_ends(ports: Ports) -> Ports:
    return replace(ports, messages=StoreThatEndsNothing(ports.messages))


async def noted(ports: Ports, message: Stored) -> bool:
    notes = await ports.handovers.overdue(datetime.now(UTC) + timedelta(seconds=1))
    return message.record.campaign_id in {note.campaign_id for note in notes}


async def after_a_look(ports: Ports, message: Stored, queues: Queues) -> tuple[MessageStatus, str]:
    """Where a message stands after a worker has looked for what was left behind."""
    watch = HandOverWatch(ports.handovers, ports.campaigns, ports.messages, queues)
    await watch.hand_over(datetime.now(UTC) + timedelta(seconds=1))
    key = message.message.message_id
    found = (await ports.messages.get_many(message.record.campaign_id, [key]))[key]
    return found.status, found.reason


async def test_whoever_has_no_key_is_answered_when_no_note_can_end_the_message_any_more(
    ports: Ports, background: Background
) -> None:
    message = await stored(ports, account(), keyed=False)
    await hand_over(message, Queues(), ports, background, keyed=False, may_wait=True)
    assert not await noted(ports, message)


async def test_a_message_without_a_key_that_could_not_even_be_ended_is_never_sent(
    ports: Ports, background: Background
) -> None:
    message = await stored(ports, account(), keyed=False)
    with pytest.raises(DependencyUnavailable):
        await hand_over(message, QueuesAway(), without_ends(ports), background, keyed=False, may_wait=True)
    queues = Queues()
    assert await after_a_look(ports, message, queues) == (MessageStatus.CANCELLED, NEVER_QUEUED)
    assert queues.taken == []


async def test_a_refusal_that_is_not_stored_is_not_told(ports: Ports, background: Background) -> None:
    message = await stored(ports, account())
    full = Queues(message.record.account_id)
    with pytest.raises(DependencyUnavailable):
        await hand_over(message, full, without_ends(ports), background, keyed=True, may_wait=True)
    # Its caller was told to come back with its key: the message still goes.
    queues = Queues()
    assert (await after_a_look(ports, message, queues))[0] is MessageStatus.QUEUED
    assert [batch.message_ids for batch in queues.taken] == [(message.message.message_id,)]


async def test_what_a_full_queue_refused_is_never_sent(ports: Ports, background: Background) -> None:
    message = await stored(ports, account())
    with pytest.raises(QueueFull):
        await hand_over(message, Queues(message.record.account_id), ports, background, keyed=True, may_wait=True)
    queues = Queues()
    assert await after_a_look(ports, message, queues) == (MessageStatus.CANCELLED, NEVER_QUEUED)
    assert queues.taken == []
