"""Single messages: send one, see what became of it, cancel it."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Header, Path, Response

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.body import JsonBody
from api.dependencies import (
    BackgroundNow,
    Caller,
    EngineNow,
    PortsNow,
    QueuesNow,
    SettingsNow,
    TraceNow,
    VisibleCampaign,
    VisibleMessage,
    require_account,
)
from api.direct import (
    AT_ONCE,
    MESSAGES,
    DirectMessageRequest,
    Draft,
    cancel,
    draft_of,
    require_accepting,
    require_compliant,
    require_moderated,
    store,
    stored_message,
    wait_for_end,
)
from api.examples import DIRECT_MESSAGE
from api.handover import hand_over, hand_over_later, is_lost, require_room
from api.intake import checked_key
from api.openapi import RATE_LIMIT_HEADERS, Responses, problems
from api.openapi import body as documented
from api.outlook import expected, waiting_reason
from api.quota import Quota
from api.refusals import Refusal
from api.review import tell_changed
from api.routes.campaign import wait_of
from api.standing import AccountNow, DirectMessageView, account_now, ahead, view_of
from domain.delivery import Message, MessageStatus
from domain.errors import (
    ComplianceViolation,
    Conflict,
    DependencyUnavailable,
    GatewayError,
    GatewayFault,
    HuntazeError,
    NotFound,
    RateLimitExceeded,
)
from domain.ports import SendQueues

router = APIRouter(prefix="/api/v2", tags=["messages"])

SHORT_WAIT_S = 2.0
"""How long a caller who says nothing about waiting waits for a message that can go at once."""

SHORT_QUEUE = 5
"""With more messages than this ahead, a message is not expected to go at once."""

_LATE_S = 2.0
"""How long after its expiry the end of a message that must not wait is awaited."""


_SENT: Responses = {200: {"model": DirectMessageView, "description": "Sent", "headers": RATE_LIMIT_HEADERS}}
_QUEUED: Responses = {202: {"description": "Queued: see position and eta", "headers": RATE_LIMIT_HEADERS}}


@router.post(
    "/onlyfans/messages",
    status_code=202,
    response_model=DirectMessageView,
    summary="Send one message",
    responses=_SENT | _QUEUED | problems(400, 401, 403, 409, 413, 422, 429, 502, 503),
    openapi_extra=documented(DirectMessageRequest, DIRECT_MESSAGE),
)
async def send(
    body: Annotated[DirectMessageRequest, Depends(JsonBody(DirectMessageRequest))],
    caller: Caller,
    ports: PortsNow,
    queues: QueuesNow,
    settings: SettingsNow,
    background: BackgroundNow,
    trace: TraceNow,
    idempotency_key: Annotated[str | None, Header(description="Repeating a request with its key is harmless")] = None,
    prefer: Annotated[str | None, Header(description="`wait=<s>`: wait up to 60 s for the end")] = None,
) -> Response:
    """200: sent. 202: queued, or under way. 429: not now, and the caller did not want to wait. 503: come back."""
    key = str(uuid4()) if idempotency_key is None else checked_key(idempotency_key)
    trace.belongs_to(key)
    require_account(caller, body.account_id)
    now = datetime.now(UTC)
    report = await require_moderated(body.text, require_compliant(body.text), ports)
    draft = draft_of(body, key, caller.user_id, report, now)
    known = await ports.campaigns.get(draft.record.campaign_id) is not None
    account = await account_now(draft.record, body.recipient_id, ports, queues, settings)
    if not known:
        require_accepting(account.control)
        if not body.queue:
            await _require_now(draft, account, ports, settings)
        require_room(account.outlook, body.priority, may_wait=body.queue)
    keyed = idempotency_key is not None
    stored = await store(draft, ports, keyed=keyed)
    await hand_over(stored, queues, ports, background, keyed=keyed, may_wait=body.queue)
    wait_s = _patience_s(body, prefer, account)
    message = await wait_for_end(stored.record, ports, wait_s)
    if not body.queue and message.status is MessageStatus.QUEUED:
        message = await _expire(message, ports, queues)
    headers = {"Idempotency-Replayed": "true"} if stored.replayed else {}
    if prefer and wait_of(prefer):
        headers["Preference-Applied"] = f"wait={wait_of(prefer)}"
    after = await account_now(draft.record, body.recipient_id, ports, queues, settings)
    headers |= after.quota.headers()
    if message.status.is_terminal and message.status not in {MessageStatus.SENT, MessageStatus.RECALLED}:
        raise Refusal(_ended(message, after.quota, must_not_wait=not body.queue), headers=headers)
    view = await view_of(stored.record, message, after, ports, settings)
    waits = not message.status.is_terminal
    if waits:
        headers["Location"] = view.status_url
    return Response(
        view.model_dump_json(), status_code=202 if waits else 200, media_type="application/json", headers=headers
    )


@router.get(
    "/onlyfans/messages/{messageId}", summary="What became of a message", responses=problems(401, 403, 404, 422)
)
async def status(
    record: VisibleMessage,
    ports: PortsNow,
    queues: QueuesNow,
    settings: SettingsNow,
    background: BackgroundNow,
    response: Response,
) -> DirectMessageView:
    """Its place and its likely time while it waits; its platform id, or the reason, at the end."""
    message = await stored_message(record, ports)
    account = await account_now(record, message.recipient_id, ports, queues, settings)
    if is_lost(message, account.outlook):
        hand_over_later(record, queues, ports, background)
    response.headers.update(account.quota.headers())
    return await view_of(record, message, account, ports, settings)


@router.post(
    "/onlyfans/messages/{messageId}/cancel",
    summary="Never send a message",
    responses=problems(401, 403, 404, 409, 422, 503),
)
async def cancel_message(
    record: VisibleMessage, caller: Caller, ports: PortsNow, queues: QueuesNow, settings: SettingsNow
) -> DirectMessageView:
    """409 with what it is when it was handed to the gateway already."""
    await cancel(record.campaign_id, await stored_message(record, ports), caller.user_id, ports, queues)
    message = await stored_message(record, ports)
    account = await account_now(record, message.recipient_id, ports, queues, settings)
    return await view_of(record, message, account, ports, settings)


@router.post(
    "/campaigns/{campaignId}/messages/{messageId}/cancel",
    summary="Never send one message of a campaign",
    responses=problems(401, 403, 404, 409, 422, 503),
)
async def cancel_of_campaign(
    record: VisibleCampaign,
    message_id: Annotated[UUID, Path(alias="messageId")],
    caller: Caller,
    ports: PortsNow,
    queues: QueuesNow,
    engine: EngineNow,
    background: BackgroundNow,
) -> Message:
    """A draft, an approved or a queued one; 409 with what it is otherwise. The rest of the campaign goes on."""
    found = await ports.messages.get_many(record.campaign_id, [message_id])
    if message_id not in found:
        raise NotFound("The campaign has no such message; see its messages.")
    await cancel(record.campaign_id, found[message_id], caller.user_id, ports, queues)
    if not record.status.is_final:
        await tell_changed(record, found[message_id], engine, background)
    return (await ports.messages.get_many(record.campaign_id, [message_id]))[message_id]


async def _require_now(draft: Draft, account: AccountNow, ports: Ports, settings: Settings) -> None:
    """Refuse what can't be sent at once; nothing has been stored."""
    record, quota_now = draft.record, account.quota
    if quota_now.reservation is None:
        raise DependencyUnavailable("The limiter does not answer at the moment, so nothing can be sent now.")
    if not account.control.state.sends:
        raise Conflict(
            f"The account does not send now ({waiting_reason(None, account.control)}). Leave queue out to let the "
            f"message wait, or go on: POST /api/v2/queues/{record.account_id}/resume.",
            field="queue",
        )
    if quota_now.never:
        raise _forbidden_by_limit(quota_now)
    retry_ms = 0 if quota_now.admits else quota_now.reservation.retry_after_ms or 0
    before = ahead(account.outlook, record.priority)
    if quota_now.admits and not before:
        return
    retry_s = retry_ms / 1000
    if before and account.outlook is not None:
        # Behind the last of those ahead, the limiter permitting.
        moments = await expected(
            account.outlook, account.control, quota_now.limits, settings.limit_policy, ports, record.created_at
        )
        turns = [moment for moment in moments[:before] if moment is not None]
        retry_s = max([retry_s, *((moment - record.created_at).total_seconds() for moment in turns)])
    why = f"{before} messages wait ahead" if before else f"the limit of the layer {quota_now.reservation.binding_layer}"
    raise Refusal(
        RateLimitExceeded(
            f"It can't be sent now: {why}. Nothing was stored; come back after Retry-After, or leave queue out to "
            "let it wait.",
            retry_after_s=retry_s,
        ),
        headers=quota_now.headers(),
    )


async def _expire(message: Message, ports: Ports, queues: SendQueues) -> Message:
    """End a message whose time is over although nobody was there to end it; one that is being sent stays."""
    campaign, ids = message.campaign_id, [message.message_id]
    await ports.messages.transition(campaign, ids, MessageStatus.SKIPPED, reason="expired")
    await queues.drop_message(message.account_id, message.message_id)
    return (await ports.messages.get_many(campaign, ids))[message.message_id]


def _patience_s(body: DirectMessageRequest, prefer: str | None, account: AccountNow) -> float:
    """How long the caller waits for the end."""
    if not body.queue:
        return AT_ONCE.total_seconds() + _LATE_S
    if (asked_s := wait_of(prefer, -1)) >= 0:
        return asked_s
    goes_at_once = (
        account.control.state.sends
        and account.quota.admits
        and body.not_before is None
        and ahead(account.outlook, body.priority) <= SHORT_QUEUE
    )
    return SHORT_WAIT_S if goes_at_once else 0


def _ended(message: Message, quota_now: Quota, *, must_not_wait: bool) -> HuntazeError:
    """Why a message ended without being sent, as the refusal that it is."""
    where = f"See {MESSAGES}/{message.message_id}."
    if message.status is MessageStatus.SKIPPED and must_not_wait:
        reservation = quota_now.reservation
        retry_ms = reservation.retry_after_ms if reservation is not None else None
        return RateLimitExceeded(
            f"It could not be sent within {AT_ONCE.total_seconds():g} s, so it never will be ({message.reason}). Come "
            "back after Retry-After with a new Idempotency-Key, or leave queue out to let it wait.",
            retry_after_s=None if retry_ms is None else retry_ms / 1000,
        )
    if message.status is MessageStatus.FAILED and message.reason.startswith(GatewayFault.BANNED_WORDS):
        return ComplianceViolation(
            "The platform refuses the words of this text. Write it differently, with a new Idempotency-Key. " + where,
            rules=(GatewayFault.BANNED_WORDS.value,),
        )
    if message.status is MessageStatus.FAILED:
        # What the gateway refuses is refused again: no repetition helps.
        return GatewayError(
            f"The message failed: {message.reason}. It is a dead letter, which can be retried or discarded: "
            f"/api/v2/queues/{message.account_id}/dead-letters/{message.message_id}.",
            fault=GatewayFault.INVALID_REQUEST,
        )
    return Conflict(f"The message ended as {message.status} ({message.reason}). {where}")


def _forbidden_by_limit(quota_now: Quota) -> HuntazeError:
    layer = quota_now.reservation.binding_layer if quota_now.reservation else None
    return Conflict(
        f"A limit of 0 in the layer {layer} admits nothing, whatever the time. Staff can change the account's "
        "limits: PUT /api/v2/rate-limits/{accountId}.",
        field="accountId",
    )
