"""The OnlyFans gateway through its official SDK; its exceptions become ``GatewayError`` here and nowhere else."""

import html
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Literal, cast
from uuid import UUID

import httpx
import onlyfansapi
from onlyfansapi import AsyncOnlyFansAPI, DefaultAsyncHttpxClient

from adapters.settings import Settings
from domain.delivery import CLOCK_TOLERANCE, Delivered
from domain.errors import GatewayError, GatewayFault

Screening = Literal["strict_ban", "risky", "replace_soften"]

_TAG = re.compile(r"<[^<>]*>")

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""No connection, hence no request: nothing can have been accepted."""


class OnlyFansGateway:
    """``domain.ports.Gateway``. Every retry belongs to the workflow, so the SDK makes none."""

    name = "onlyfans"

    def __init__(self, client: AsyncOnlyFansAPI) -> None:
        self._client = client

    async def send(
        self, *, account_id: str, recipient_id: str, text: str, key: UUID, screening: str | None
    ) -> Delivered:
        """One message, at most once per ``key``: the gateway replays its answer to a repeated key for 24 h."""
        with _understood():
            raw = await self._client.chats.messages.with_raw_response.send(
                recipient_id, account=account_id, text=text, idempotency_key=str(key), **_screened(screening)
            )
            answer = await raw.parse()
            if answer.data is None or answer.data.id is None:
                raise GatewayError("the gateway's answer names no message", fault=GatewayFault.UNKNOWN_OUTCOME)
            return Delivered(
                platform_message_id=str(answer.data.id),
                created_at=_instant(answer.data.created_at),
                cancel_seconds=answer.data.cancel_seconds,
                **_standing(raw.headers, answer.api_meta),
            )

    async def unsend(self, *, account_id: str, recipient_id: str, platform_message_id: str) -> None:
        """Only messages younger than 24 h can be taken back: an older one is an invalid request."""
        with _understood(), suppress(onlyfansapi.NotFoundError):
            await self._client.chats.messages.delete(platform_message_id, account=account_id, chat_id=recipient_id)

    async def send_mass(
        self,
        *,
        account_id: str,
        recipient_ids: Sequence[str],
        text: str,
        key: UUID,
        screening: str | None,
        save_for_later: bool,
    ) -> Delivered:
        """The receipt is that of the mass message; ``unsend`` takes back messages of a chat, hence no recall window."""
        with _understood():
            raw = await self._client.mass_messaging.with_raw_response.send(
                account_id,
                text=text,
                user_ids=list(recipient_ids),
                extra_headers={"Idempotency-Key": str(key)},
                save_for_later=save_for_later,
                **_screened(screening),
            )
            answer = await raw.parse()
            if answer.data is None or answer.data.id is None:
                raise GatewayError("the gateway's answer names no message", fault=GatewayFault.UNKNOWN_OUTCOME)
            return Delivered(
                platform_message_id=str(answer.data.id),
                created_at=_instant(answer.data.date),
                **_standing(raw.headers, answer.api_meta),
            )

    async def find_sent(self, *, account_id: str, recipient_id: str, text: str, since: datetime) -> Sequence[Delivered]:
        """Pages back through the chat until it is older than ``since``."""
        with _understood():
            wanted, found = plain_text(text), list[Delivered]()
            cursor: dict[str, Any] = {}
            while True:
                listing = await self._client.chats.messages.list(
                    recipient_id, account=account_id, limit="100", **cursor
                )
                messages = listing.data or []
                for message in messages:
                    created = _instant(message.created_at)
                    if created is not None and created < since - CLOCK_TOLERANCE:
                        return found[::-1]
                    same = message.is_sent_by_me and plain_text(message.text or "") == wanted
                    if same and message.id is not None:
                        found.append(Delivered(platform_message_id=str(message.id), created_at=created, replayed=True))
                if not messages or messages[-1].id is None:
                    return found[::-1]
                cursor = {"first_id": str(messages[-1].id)}

    async def check(self) -> Mapping[str, str]:
        """That the gateway accepts our key."""
        await self._client.whoami.retrieve()
        return {"address": str(self._client.base_url)}


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[OnlyFansGateway]:
    """A client with the send time-out of the settings and no retries of its own."""
    async with AsyncOnlyFansAPI(
        api_key=settings.onlyfans_api_key.get_secret_value() or "unset",
        base_url=settings.onlyfans_base_url,
        timeout=settings.send_timeout_s,
        max_retries=0,
        http_client=DefaultAsyncHttpxClient(timeout=settings.send_timeout_s),
    ) as client:
        yield OnlyFansGateway(client)


def plain_text(text: str) -> str:
    """A text as a reader sees it: the gateway may list as HTML what was sent as plain text."""
    return " ".join(html.unescape(_TAG.sub(" ", text)).split())


@contextmanager
def _understood() -> Iterator[None]:
    """Every failure of a call becomes a ``GatewayError``, and so does every answer that can't be read.

    What stands in a page that is not the gateway's (a proxy's, a maintenance notice) says nothing about the message.
    """
    try:
        yield
    except onlyfansapi.APIError as error:
        raise _translated(error) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise GatewayError("the gateway's answer can't be read", fault=GatewayFault.UNKNOWN_OUTCOME) from error


def _translated(error: onlyfansapi.APIError) -> GatewayError:
    if isinstance(error, onlyfansapi.APIStatusError):
        return GatewayError(
            f"the gateway answered {error.status_code}",
            fault=_fault_of(error),
            retry_after_s=retry_after_s(error.response),
        )
    if isinstance(error.__cause__, _NOT_SENT):
        return GatewayError("the gateway can't be reached", fault=GatewayFault.TRANSIENT)
    return GatewayError("the gateway did not answer", fault=GatewayFault.UNKNOWN_OUTCOME)


def _fault_of(error: onlyfansapi.APIStatusError) -> GatewayFault:
    code = _code(error.body)
    match error.status_code:
        case 429:
            return GatewayFault.THROTTLED
        case 401 | 403:
            return GatewayFault.SESSION_EXPIRED if "session" in code else GatewayFault.AUTH
        case 404:
            return GatewayFault.RECIPIENT_NOT_FOUND
        case 409:
            # The first call with this key still runs: its outcome is not known yet.
            return GatewayFault.UNKNOWN_OUTCOME
        case 422:
            return GatewayFault.BANNED_WORDS if "banned" in code else GatewayFault.INVALID_REQUEST
        case status if status == 408 or status >= 500:
            return GatewayFault.SERVER_ERROR
        case _:
            return GatewayFault.INVALID_REQUEST


def _code(body: object) -> str:
    if isinstance(body, dict):
        error = body.get("error")
        nested = error.get("code") if isinstance(error, dict) else error
        return " ".join(str(part) for part in (nested, body.get("code"), body.get("message")) if part).lower()
    return ""


def retry_after_s(response: httpx.Response) -> float | None:
    """``Retry-After`` in seconds: a number, or a date (RFC 9110, section 10.2.3) by the clock of who sent it."""
    text = response.headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        until = _http_date(text)
        if until is None:
            return None
        sent_at = _http_date(response.headers.get("Date", "")) or datetime.now(UTC)
        return max(0.0, (until - sent_at).total_seconds())
    return seconds if isfinite(seconds) and seconds >= 0 else None


def _standing(headers: Mapping[str, str], meta: Any) -> dict[str, Any]:
    """What the platform still admits; a replayed answer tells what it admitted when it was given first.

    ``meta``: the SDK has a class of its own for that of each endpoint.
    """
    replayed = headers.get("Idempotent-Replayed") == "true"
    limits = None if replayed or meta is None else meta.api_rate_limits
    return {
        "replayed": replayed,
        "remaining_minute": None if limits is None else limits.remaining_minute,
        "remaining_day": None if limits is None else limits.remaining_day,
    }


def _screened(screening: str | None) -> dict[str, Any]:
    return {"block_banned_words": cast("Screening", screening)} if screening else {}


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _instant(text: str | None) -> datetime | None:
    """A moment of the platform, if it can be told which: a receipt is worth more than its time."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None
