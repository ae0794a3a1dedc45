"""Messages that were stored by a process that ended before a queue had them."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from activities.handover import HandOverWatch
from adapters.bootstrap import Ports
from api.direct import DirectMessageRequest, Stored, draft_of, require_compliant, store
from domain.delivery import MessageStatus
from domain.errors import RateLimitExceeded
from domain.handover import NEVER_QUEUED
from domain.send_queue import EnqueueBatch, Enqueued, QueueOutlook


class Queues:
    """``domain.ports.SendQueues`` that remembers what it took; ``full``: accounts whose queue takes nothing."""

    def __init__(self, *full: str) -> None:
        self.full = full
        self.asked: list[str] = []
        self.taken: list[EnqueueBatch] = []
        self.again: list[str] = []

    async def enqueue(self, account_id: str, request: EnqueueBatch, *, again: str = "") -> Enqueued:
        self.asked.append(account_id)
        if account_id in self.full:
            raise RateLimitExceeded("full")
        self.taken.append(request)
        self.again.append(again)
        return Enqueued(position=len(self.taken))

    async def outlook(self, account_id: str) -> QueueOutlook | None:
        return None

    async def wake(self, account_id: str) -> None: ...

    async def drop_message(self, account_id: str, message_id: UUID) -> None: ...


@pytest.fixture
async def alone(ports: Ports) -> Ports:
    """No note of another test is left."""
    for note in await ports.handovers.overdue(_later()):
        await ports.handovers.done(note.campaign_id)
    return ports


async def stored(ports: Ports, account: str, key: str = "", *, keyed: bool = True) -> Stored:
    """A message as the API leaves it when it ends before the queue has it."""
    text = "Thank you for the lovely tip, Maya!"
    body = DirectMessageRequest(account_id=account, recipient_id="1002003", text=text)
    return await store(
        draft_of(body, key or str(uuid4()), "agency-1", require_compliant(text), datetime.now(UTC)), ports, keyed=keyed
    )


def watch(ports: Ports, queues: Queues) -> HandOverWatch:
    return HandOverWatch(ports.handovers, ports.campaigns, ports.messages, queues)


def account() -> str:
    return f"acct_{uuid4().hex[:12]}"


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=1)


async def test_what_was_stored_and_never_handed_over_is_handed_over_once(alone: Ports) -> None:
    message = (await stored(alone, account())).message
    queues = Queues()
    assert await watch(alone, queues).hand_over(_later()) == 1
    assert [batch.message_ids for batch in queues.taken] == [(message.message_id,)]
    # Temporal would answer a known update from its record, and a queue that lost it would not hear of it.
    assert queues.again != [""]
    assert await watch(alone, queues).hand_over(_later()) == 0
    assert len(queues.taken) == 1


async def test_a_request_that_is_still_at_it_is_left_alone(alone: Ports) -> None:
    before = (await stored(alone, account())).message.updated_at
    queues = Queues()
    assert await watch(alone, queues).hand_over(before) == 0
    assert queues.taken == []


async def test_what_has_ended_meanwhile_only_loses_its_note(alone: Ports) -> None:
    message = (await stored(alone, account())).message
    await alone.messages.transition(message.campaign_id, [message.message_id], MessageStatus.CANCELLED)
    queues = Queues()
    assert await watch(alone, queues).hand_over(_later()) == 0
    assert queues.taken == []
    assert await alone.handovers.overdue(_later()) == []


async def test_a_full_queue_holds_back_its_own_messages_alone(alone: Ports) -> None:
    full, free = account(), account()
    first, second = (await stored(alone, full)).message, (await stored(alone, free)).message
    queues = Queues(full)
    assert await watch(alone, queues).hand_over(_later()) == 1
    assert [batch.message_ids for batch in queues.taken] == [(second.message_id,)]
    assert await watch(alone, Queues()).hand_over(_later()) == 1
    assert await alone.handovers.overdue(_later()) == []
    assert first.status is MessageStatus.QUEUED


async def test_a_repeated_request_makes_no_second_note(alone: Ports) -> None:
    name, key = account(), str(uuid4())
    campaign_id = (await stored(alone, name, key)).record.campaign_id
    await alone.handovers.done(campaign_id)
    assert (await stored(alone, name, key)).record.campaign_id == campaign_id
    assert await alone.handovers.overdue(_later()) == []


async def test_a_message_whose_caller_can_only_ask_for_another_one_ends(alone: Ports) -> None:
    record, message, _ = await stored(alone, account(), keyed=False)
    queues = Queues()
    assert await watch(alone, queues).hand_over(_later()) == 0
    assert queues.taken == []
    ended = (await alone.messages.get_many(record.campaign_id, [message.message_id]))[message.message_id]
    assert (ended.status, ended.reason) == (MessageStatus.CANCELLED, NEVER_QUEUED)
    assert await alone.handovers.overdue(_later()) == []


async def test_a_queue_that_took_one_of_its_messages_badly_is_asked_once_in_a_look(alone: Ports) -> None:
    full = account()
    for _ in range(3):
        await stored(alone, full)
    queues = Queues(full)
    assert await watch(alone, queues).hand_over(_later()) == 0
    assert queues.asked == [full]
    assert len(await alone.handovers.overdue(_later())) == 3


async def test_a_queue_that_does_not_answer_holds_up_no_other_account(alone: Ports) -> None:
    stuck, fine = account(), account()

    class StuckQueues(Queues):
        """A queue that does not answer before every other account has what it waits for."""

        answers = asyncio.Event()

        async def enqueue(self, account_id: str, request: EnqueueBatch, *, again: str = "") -> Enqueued:
            if account_id == stuck:
                await self.answers.wait()
            position = await super().enqueue(account_id, request, again=again)
            self.answers.set()
            return position

    await stored(alone, stuck)
    await stored(alone, fine)
    async with asyncio.timeout(60):
        assert await watch(alone, StuckQueues()).hand_over(_later()) == 2
