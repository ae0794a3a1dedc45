"""A dead letter sent once more, or let be: whichever comes first holds."""

from datetime import UTC, datetime
from uuid import UUID

from adapters.bootstrap import Ports
from api.background import Background
from api.direct import MESSAGES, Draft, Stored, compose, enqueue, require_compliant, require_moderated, store
from api.engine import EngineUnavailable
from api.handover import hand_over_later
from domain.access import Principal
from domain.campaign import CampaignRecord, CampaignStatus
from domain.dead_letter import discarded_by, is_discarded, retried_by, retry_id
from domain.delivery import Message, MessageOrigin, MessageStatus, Priority
from domain.errors import Conflict, RateLimitExceeded
from domain.ports import SendQueues

_BEYOND_RECALL = frozenset({MessageStatus.SENDING, MessageStatus.SENT, MessageStatus.RECALLED})
_WITHDRAWN = frozenset({MessageStatus.CANCELLED, MessageStatus.SKIPPED})


async def taken_up(message_id: UUID, ports: Ports) -> Stored | None:
    """What an earlier request has stored in a dead letter's place, if one has."""
    again = retry_id(message_id)
    record = await ports.campaigns.get(str(again))
    message = (await ports.messages.get_many(str(again), [again])).get(again)
    return None if record is None or message is None else Stored(record, message, replayed=True)


async def take_up(letter: Message, original: CampaignRecord | None, caller: Principal, ports: Ports) -> Stored:
    """Store the message that takes its place; raises ``Conflict`` when it must not be sent any more."""
    _require_in_time(original)
    await _require_going_on(original, ports)
    stored = await store(await _again(letter, original, caller, ports), ports)
    try:
        # A recall that began meanwhile may have looked for it too early.
        latest = None if original is None else await ports.campaigns.get(original.campaign_id)
        await _require_going_on(latest, ports)
    except Conflict:
        await _cancel(stored.message, "campaign_cancelled", ports)
        raise
    return stored


async def send(
    letter: Message, again: Stored, caller: Principal, ports: Ports, queues: SendQueues, background: Background
) -> None:
    """Close the dead letter and hand over what takes its place; a queue that is full or away gets it later.

    Raises ``Conflict`` when the letter was discarded.
    """
    closed = await ports.messages.close_dead_letter(letter, retried_by(caller.user_id, again.message.message_id))
    if is_discarded(closed):
        await _cancel(again.message, closed, ports)
        raise _somebody_else()
    record = again.record
    try:
        await enqueue(again, queues)
    except (EngineUnavailable, RateLimitExceeded):
        hand_over_later(record, queues, ports, background)
    else:
        # A note that is left behind costs one more look.
        background.repeat(f"handed-over-{record.campaign_id}", lambda: ports.handovers.done(record.campaign_id))


async def let_be(letter: Message, caller: Principal, reason: str, ports: Ports) -> None:
    """Take it off the list for good, and cancel what waits in its place; raises ``Conflict`` when that was sent."""
    again = await taken_up(letter.message_id, ports)
    if again is not None and again.message.status in _BEYOND_RECALL:
        await ports.messages.close_dead_letter(letter, retried_by(caller.user_id, again.message.message_id))
        raise _sent(again)
    note = discarded_by(caller.user_id, reason)
    if await ports.messages.close_dead_letter(letter, note) != note:
        raise _somebody_else()
    # A retry stores first and closes then: what it stored is found here, or it finds the letter discarded.
    again = await taken_up(letter.message_id, ports)
    if again is not None and not again.message.status.is_terminal and not await _cancel(again.message, note, ports):
        raise _sent(again)


async def _cancel(again: Message, reason: str, ports: Ports) -> bool:
    target = MessageStatus.CANCELLED
    return bool(await ports.messages.transition(again.campaign_id, [again.message_id], target, reason=reason))


def _require_in_time(original: CampaignRecord | None) -> None:
    expires_at = None if original is None else original.delivery.times.expires_at
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise Conflict(
            f"The message was not to be sent after {expires_at:%Y-%m-%dT%H:%M:%SZ} (expiresAt). Discard it, and send "
            f"what is still true as a new message: POST {MESSAGES}."
        )


async def _require_going_on(original: CampaignRecord | None, ports: Ports) -> None:
    """Raises ``Conflict`` when somebody has ended the campaign for good; what is paused can be waited for."""
    if original is None:
        return
    whole = await ports.campaigns.get(original.part_of) if original.part_of else None
    for each in (original, whole):
        if each is not None and each.stop not in {None, CampaignStatus.PAUSED}:
            raise Conflict(
                f"The campaign of the message was {'recalled' if each.recalled_at else 'cancelled'}; nothing of it is "
                f"sent any more. Discard it, or send its text as a new message: POST {MESSAGES}."
            )


async def _again(letter: Message, original: CampaignRecord | None, caller: Principal, ports: Ports) -> Draft:
    """The same message once more, for whoever asked for the first one, approved by whoever asks for it now."""
    now = datetime.now(UTC)
    origin = letter.origin or MessageOrigin(provider="caller", model="", prompt_version="")
    return compose(
        record_id=str(retry_id(letter.message_id)),
        request_id=f"retry-{letter.message_id}",
        owner=original.owner if original is not None else caller.user_id,
        account_id=letter.account_id,
        recipient_id=letter.recipient_id,
        text=letter.text,
        message_type=letter.message_type,
        priority=original.priority if original is not None else Priority.MEDIUM,
        origin=origin.model_copy(update={"approved_by": caller.user_id, "approved_at": now}),
        report=await require_moderated(letter.text, require_compliant(letter.text), ports),
        fingerprint=str(letter.message_id),
        now=now,
        expires_at=None if original is None else original.delivery.times.expires_at,
        part_of="" if original is None else original.part_of or original.campaign_id,
    )


def require_alive(again: Stored) -> None:
    """Raises ``Conflict`` when what took a dead letter's place was ended before it was sent."""
    status, reason = again.message.status, again.message.reason
    if status in _WITHDRAWN:
        raise Conflict(
            f"It was to be sent once more, and what was to be sent is {status} ({reason}). Discard it, or send its "
            f"text as a new message: POST {MESSAGES}."
        )


def _sent(again: Stored) -> Conflict:
    return Conflict(f"It was sent once more already: see {MESSAGES}/{again.message.message_id}.")


def _somebody_else() -> Conflict:
    return Conflict("Somebody else has retried or discarded this message meanwhile.")
