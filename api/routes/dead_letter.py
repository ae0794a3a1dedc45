"""Messages that could not be delivered: look at them, send one again, or let it be."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from adapters.bootstrap import Ports
from api.body import JsonBody
from api.dead_letter import let_be, require_alive, send, take_up, taken_up
from api.dependencies import BackgroundNow, Caller, OwnAccount, PortsNow, QueuesNow
from api.direct import MESSAGES, require_accepting
from api.examples import DEAD_LETTER_DISCARD, DEAD_LETTER_RETRY
from api.handover import require_room
from api.openapi import body as documented
from api.openapi import problems
from api.views import MessagePage
from domain.dead_letter import is_discarded, may_have_arrived, retry_id
from domain.delivery import Message, Priority
from domain.errors import Conflict, NotFound
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
    background: BackgroundNow,
    body: Annotated[RetryBody, Depends(JsonBody(RetryBody, optional=True))],
) -> Retried:
    """As a single message with the same text and recipient, which the rules and the moderation look at once more.

    It still belongs to its campaign: a pause, a cancellation, a recall and ``expiresAt`` reach it. Repeating this is
    harmless: it is the same message.
    """
    again_id = str(retry_id(message_id))
    retried = Retried(dead_letter_id=message_id, message_id=again_id, status_url=f"{MESSAGES}/{again_id}")
    again = await taken_up(message_id, ports)
    letter = await ports.messages.dead_letter(account_id, message_id)
    if letter is None:
        if again is None or again.record.account_id != account_id or is_discarded(again.message.reason):
            raise _absent()
        return retried
    if again is not None:
        require_alive(again)
    else:
        if may_have_arrived(letter) and not body.force:
            raise Conflict(
                "Whether the fan has this message already could not be found out. Look into the chat; then send "
                '{"force": true} to send it in any case, or discard it.',
                field="force",
            )
        require_accepting(await ports.accounts.control(account_id))
        original = await ports.campaigns.get(letter.campaign_id)
        priority = Priority.MEDIUM if original is None else original.priority
        require_room(await queues.outlook(account_id), priority, may_wait=True)
        again = await take_up(letter, original, caller, ports)
    await send(letter, again, caller, ports, queues, background)
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
    await let_be(letter, caller, body.reason, ports)
    return letter


async def _letter(account_id: str, message_id: UUID, ports: Ports) -> Message:
    letter = await ports.messages.dead_letter(account_id, message_id)
    if letter is None:
        raise _absent()
    return letter


def _absent() -> NotFound:
    return NotFound("The account has no such dead letter; somebody may have retried or discarded it.")
