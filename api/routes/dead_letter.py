"""Messages that could not be delivered: look at them, send one again, or let it be."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from adapters.bootstrap import Ports
from api.body import JsonBody
from api.dependencies import Caller, OwnAccount, PortsNow, QueuesNow
from api.direct import (
    MESSAGES,
    Draft,
    compose,
    enqueue,
    require_accepting,
    require_compliant,
    require_moderated,
    store,
)
from api.examples import DEAD_LETTER_DISCARD, DEAD_LETTER_RETRY
from api.handover import require_room
from api.openapi import body as documented
from api.openapi import problems
from api.refusals import QueueFull
from api.views import MessagePage
from domain.access import Principal
from domain.campaign import CampaignRecord, CampaignStatus
from domain.dead_letter import may_have_arrived, retry_id
from domain.delivery import Message, MessageOrigin, Priority
from domain.errors import Conflict, NotFound, RateLimitExceeded
from domain.model import Model, Request

router = APIRouter(prefix="/api/v2/queues", tags=["queues"])


class DeadLetterQuery(Request):
    """Which part of the list."""

    limit: int = Field(default=50, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=1_000)


class RetryBody(Request):
    """``force``: send it although the fan may have it already."""

    force: bool = False


class DiscardBody(Request):
    """Why nobody will send it; kept with the message."""

    reason: str = Field(min_length=3, max_length=200, examples=["The fan has left."])


class Retried(Model):
    """The single message that takes a dead letter's place."""

    dead_letter_id: UUID
    message_id: str
    status_url: str


MessageId = Annotated[UUID, Path(alias="messageId")]
_MANY = problems(401, 403, 422)
_ONE = problems(401, 403, 404, 422)


@router.get("/{accountId}/dead-letters", summary="What could not be delivered", responses=_MANY)
async def dead_letters(
    account_id: OwnAccount, query: Annotated[DeadLetterQuery, Query()], ports: PortsNow
) -> MessagePage:
    """Failed messages that nobody has retried or discarded, newest first, with their reasons."""
    listing = await ports.messages.dead_letters(account_id, limit=query.limit, cursor=query.cursor)
    return MessagePage(messages=listing.messages, next_cursor=listing.cursor)


@router.get("/{accountId}/dead-letters/{messageId}", summary="One dead letter", responses=_ONE)
async def dead_letter(account_id: OwnAccount, message_id: MessageId, ports: PortsNow) -> Message:
    """With its text, its reason and the number of attempts."""
    return await _letter(account_id, message_id, ports)


@router.post(
    "/{accountId}/dead-letters/{messageId}/retry",
    status_code=202,
    summary="Send a dead letter again",
    responses=problems(400, 401, 403, 404, 409, 413, 422, 503),
    openapi_extra=documented(RetryBody, DEAD_LETTER_RETRY, required=False),
)
async def retry(
    account_id: OwnAccount,
    message_id: MessageId,
    caller: Caller,
    ports: PortsNow,
    queues: QueuesNow,
    body: Annotated[RetryBody, Depends(JsonBody(RetryBody, optional=True))],
) -> Retried:
    """As a single message with the same text and recipient, which the rules and the moderation look at once more.

    It still belongs to its campaign: a pause, a cancellation, a recall and ``expiresAt`` reach it. Repeating this is
    harmless: it is the same message.
    """
    again_id = str(retry_id(message_id))
    retried = Retried(dead_letter_id=message_id, message_id=again_id, status_url=f"{MESSAGES}/{again_id}")
    letter = await ports.messages.dead_letter(account_id, message_id)
    if letter is None:
        record = await ports.campaigns.get(again_id)
        if record is None or record.account_id != account_id:
            raise _absent()
        return retried
    if may_have_arrived(letter) and not body.force:
        raise Conflict(
            'Whether the fan has this message already could not be found out. Look into the chat; then send {"force": '
            "true} to send it in any case, or discard it.",
            field="force",
        )
    require_accepting(await ports.accounts.control(account_id))
    original = await ports.campaigns.get(letter.campaign_id)
    _require_in_time(letter)
    await _require_going_on(original, ports)
    again = await _again(letter, original, caller, ports)
    require_room(await queues.outlook(account_id), again.record.priority, may_wait=True)
    stored = await store(again, ports)
    try:
        await enqueue(stored, queues)
    except RateLimitExceeded as error:
        raise QueueFull(
            "The send queue of the account is full. The dead letter stays on the list; retry it after Retry-After.",
            retry_after_s=error.retry_after_s,
        ) from error
    await ports.messages.close_dead_letter(letter, f"retried_by:{caller.user_id}:{again_id}")
    return retried


@router.post(
    "/{accountId}/dead-letters/{messageId}/discard",
    summary="Take a message off the list of dead letters",
    responses=problems(400, 401, 403, 404, 409, 413, 422),
    openapi_extra=documented(DiscardBody, DEAD_LETTER_DISCARD),
)
async def discard(
    account_id: OwnAccount,
    message_id: MessageId,
    caller: Caller,
    ports: PortsNow,
    body: Annotated[DiscardBody, Depends(JsonBody(DiscardBody))],
) -> Message:
    """It stays failed in its campaign; who discarded it, and why, is kept with it."""
    letter = await _letter(account_id, message_id, ports)
    if not await ports.messages.close_dead_letter(letter, f"discarded_by:{caller.user_id}: {body.reason}"):
        raise Conflict("Somebody else has retried or discarded this message meanwhile.")
    return letter


def _require_in_time(letter: Message) -> None:
    if letter.expires_at is not None and letter.expires_at <= datetime.now(UTC):
        raise Conflict(
            f"The message was not to be sent after {letter.expires_at:%Y-%m-%dT%H:%M:%SZ} (expiresAt). Discard it, and "
            f"send what is still true as a new message: POST {MESSAGES}."
        )


async def _require_going_on(original: CampaignRecord | None, ports: Ports) -> None:
    """Raises ``Conflict`` when somebody has ended the campaign for good; what is paused can be waited for."""
    if original is None:
        return
    whole = await ports.campaigns.get(original.part_of) if original.part_of else original
    if whole is None or whole.stop in {None, CampaignStatus.PAUSED}:
        return
    raise Conflict(
        f"The campaign of the message was {'recalled' if whole.recalled_at else 'cancelled'}; nothing of it is sent "
        f"any more. Discard it, or send its text as a new message: POST {MESSAGES}."
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
        expires_at=letter.expires_at,
        part_of="" if original is None else original.part_of or original.campaign_id,
    )


async def _letter(account_id: str, message_id: UUID, ports: Ports) -> Message:
    letter = await ports.messages.dead_letter(account_id, message_id)
    if letter is None:
        raise _absent()
    return letter


def _absent() -> NotFound:
    return NotFound("The account has no such dead letter; somebody may have retried or discarded it.")
