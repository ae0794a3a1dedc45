"""Events from the OnlyFans gateway: signed, taken once, whatever is repeated or out of order."""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Request
from pydantic import ValidationError

from adapters.bootstrap import Ports
from adapters.webhook import REMEMBERED_FOR
from api.account import change_control, change_limits
from api.dependencies import PortsNow, QueuesNow, SettingsNow
from api.examples import WEBHOOK
from api.openapi import body as documented
from api.openapi import problems
from api.refusals import InvalidBody, MalformedRequest, NotConfigured, Refusal, Unsigned
from domain.delivery import AccountControl
from domain.errors import InvalidRequest
from domain.model import Model
from domain.ports import SendQueues
from domain.webhook import CONNECTED, SessionChange, WebhookEvent, connection, happened_at, session_change

router = APIRouter(prefix="/api/v2/webhooks", tags=["webhooks"])
_log = structlog.get_logger()


class Received(Model):
    """``duplicate``: this event was taken before, and nothing was done."""

    duplicate: bool = False


@router.post(
    "/onlyfans",
    summary="Take an event",
    responses=problems(400, 401, 409, 413, 422, 503),
    openapi_extra=documented(WebhookEvent, WEBHOOK),
)
async def receive(
    request: Request,
    ports: PortsNow,
    queues: QueuesNow,
    settings: SettingsNow,
    signature: Annotated[str | None, Header(description="hex HMAC-SHA256 of the raw body")] = None,
) -> Received:
    """An expired session stops the account's queue and raises an alert; a reconnection lets it go on. A connection
    says since when the account exists, which its limits depend on."""
    body = await request.body()
    _require_signed(body, signature, settings.webhook_secret.get_secret_value())
    event = _event(body)
    digest = hashlib.sha256(body).hexdigest()
    now = datetime.now(UTC)
    if happened_at(event, now) < now - REMEMBERED_FOR:
        # Whether it was taken before is forgotten by now.
        raise InvalidRequest(f"The event is older than {REMEMBERED_FOR.days} days.", field="payload")
    if await ports.inbox.seen(digest):
        return Received(duplicate=True)
    # Acting twice does no harm, forgetting to act would: the event is taken only once it has had its effect.
    await _act(event, digest, now, ports, queues)
    first = await ports.inbox.take(digest, event.event, event.account_id, now)
    _log.info("webhook.taken", webhookEvent=event.event, accountId=event.account_id, duplicate=not first)
    return Received(duplicate=not first)


async def _act(event: WebhookEvent, digest: str, now: datetime, ports: Ports, queues: SendQueues) -> None:
    asked: SessionChange | None = None

    def changed(control: AccountControl) -> AccountControl | None:
        nonlocal asked
        asked = session_change(control, event, now, digest)
        return None if asked is None else asked.control

    if event.event == CONNECTED:
        await change_limits(event.account_id, lambda limits: connection(limits, event, now), ports)
    await change_control(event.account_id, changed, ports)
    if asked is None:
        return
    await ports.alerts.raise_alert(asked.alert)
    if asked.wake:
        await queues.wake(event.account_id)


def _require_signed(body: bytes, signature: str | None, secret: str) -> None:
    """Raises ``Unsigned`` unless the sender knows the secret, ``NotConfigured`` when nobody can."""
    if not secret:
        raise NotConfigured("HUNTAZE_WEBHOOK_SECRET is not set, so that no event can be trusted.")
    wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if signature is None or not hmac.compare_digest(wanted.encode(), signature.strip().lower().encode()):
        told = "is missing" if signature is None else "does not belong to this body"
        raise Refusal(
            Unsigned(f"The header Signature {told}: it is the hex HMAC-SHA256 of the raw body with our shared secret."),
            headers={"WWW-Authenticate": 'Signature realm="huntaze"'},
        )


def _event(body: bytes) -> WebhookEvent:
    try:
        return WebhookEvent.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] == "json_invalid":
            raise MalformedRequest(f"The body is not JSON ({first['msg']}).") from None
        # Without its cause: the original shows the values.
        raise InvalidBody(error) from None
