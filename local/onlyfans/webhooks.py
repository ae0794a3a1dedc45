"""Webhooks out: signed, and on request repeated and out of order, as they are on a real network."""

import hashlib
import hmac
import json
import random
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class WebhookTarget(BaseModel):
    """Where events are sent, and the secret that they are signed with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    secret: str


class WebhookEvent(BaseModel):
    """One event as it is sent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event: str
    account_id: str
    payload: dict[str, Any] = Field(default_factory=dict)


class Emission(BaseModel):
    """Events to send: one (`event`, `account_id`, `payload`) or several (`events`).

    An event about an account (`accounts.…`) that comes without a payload gets that of a sign-in at this moment.
    Every event is sent `1 + duplicates` times; `shuffle` sends them in an order that `seed` decides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: str | None = None
    account_id: str | None = None
    payload: dict[str, Any] = Field(default_factory=dict)
    events: tuple[WebhookEvent, ...] = ()
    duplicates: int = Field(default=0, ge=0)
    shuffle: bool = False
    seed: int = 0

    def sequence(self) -> list[WebhookEvent]:
        """The deliveries in the order in which they go out."""
        events = list(self.events)
        if self.event is not None and self.account_id is not None:
            events.insert(0, WebhookEvent(event=self.event, account_id=self.account_id, payload=self.payload))
        deliveries = [event for event in map(_complete, events) for _ in range(1 + self.duplicates)]
        if self.shuffle:
            random.Random(self.seed).shuffle(deliveries)
        return deliveries


def account_payload(started_at: datetime, completed_at: datetime | None = None) -> dict[str, Any]:
    """What the gateway says with every `accounts.…` event: no time but those of the account's latest sign-in.

    As published at docs.onlyfansapi.com/webhooks/available-events, whose examples all are of a sign-in that goes on.
    """
    return {
        "state": "authenticated",
        "progress": "started" if completed_at is None else "completed",
        "latestAuthAttempt": {
            "started_at": _written(started_at),
            "completed_at": None if completed_at is None else _written(completed_at),
            "success": completed_at is not None,
            "error_message": None,
            "needs_otp": False,
            "needs_face_otp": False,
            "otp_phone_ending": None,
        },
    }


def signature(secret: str, body: bytes) -> str:
    """The `Signature` header: hex HMAC-SHA256 of the raw body."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def emit(target: WebhookTarget, emission: Emission) -> list[dict[str, Any]]:
    """Sends the deliveries one after the other; answers what came of each: a status, or the error."""
    import httpx  # noqa: PLC0415 - the one outgoing call must not slow down every start

    outcomes: list[dict[str, Any]] = []
    async with httpx.AsyncClient(timeout=5) as client:
        for delivery in emission.sequence():
            body = json.dumps(delivery.model_dump(mode="json")).encode()
            headers = {"Content-Type": "application/json", "Signature": signature(target.secret, body)}
            try:
                status: int | None = (await client.post(target.url, content=body, headers=headers)).status_code
                error = None
            except httpx.HTTPError as failure:
                status, error = None, repr(failure)
            outcomes.append({"event": delivery.event, "status": status, "error": error})
    return outcomes


def _complete(event: WebhookEvent) -> WebhookEvent:
    if event.payload or not event.event.startswith("accounts."):
        return event
    return event.model_copy(update={"payload": account_payload(datetime.now(UTC))})


def _written(moment: datetime) -> str:
    """As the gateway writes times: `2025-05-13T20:26:56.000000Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
