"""The list of a user's campaigns in both systems: all of them, or an error; never a part."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import structlog
from starlette.requests import ClientDisconnect

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.legacy_exchange import CLIENT_GONE, TOO_SLOW, ClientTooSlow, LegacyExchange, unpacked
from api.legacy_hybrid import awaits_review
from api.legacy_route import off_the_loop, read
from domain.campaign import CampaignRecord
from domain.legacy import AnsweredBy, Headers, LegacyUnavailable
from domain.legacy_answer import ANSWERED_BY_LEGACY, failure, merged, summary
from domain.ports import CampaignFilter

_log = structlog.get_logger()

MAX_LIST: Final = 16 * 1024 * 1024
"""Bytes of the legacy system's list, unpacked, that is merged with ours."""

_LISTED_AT_ONCE: Final = 100
_ASKED_AT_ONCE: Final = 8
"""Campaigns of which the message store is asked at the same time whether they wait for a person."""

_WHOLE_AND_PLAIN: Final[Mapping[bytes, bytes | None]] = {
    b"accept-encoding": b"identity",
    b"if-none-match": None,
    b"if-modified-since": None,
    b"range": None,
    b"if-range": None,
}
"""Without what asks for less than the whole list."""

Entries = list[dict[str, Any]]


class TheirAnswer(NamedTuple):
    """What the legacy system says; ``content`` is ``None`` when it is too much."""

    status: int
    headers: Headers
    content: bytes | None


class MergedLists:
    """``GET /api/campaigns`` of users whom the flag leads here."""

    def __init__(self, ports: Ports, settings: Settings) -> None:
        self._ports = ports
        self._within_s = settings.legacy_answer_within_s

    async def answer(self, exchange: LegacyExchange, user: str) -> tuple[int, str]:
        """Answer with both lists; returns the status, and the class of what went wrong."""
        try:
            async with asyncio.timeout(self._within_s):
                ours, theirs = await exchange.while_there(self._both(exchange, user))
        except ClientDisconnect:
            return 499, CLIENT_GONE
        except ClientTooSlow:
            return await exchange.too_slow(), TOO_SLOW
        except LegacyUnavailable as error:
            return await exchange.refuse(error), f"legacy_{error.fault}"
        except Exception as error:  # noqa: BLE001 - whatever failed, the list would be incomplete
            _log.warning("legacy.list_failed", error=type(error).__name__)
            message = "The campaigns can't be listed completely at the moment; try again."
            return await exchange.come_back(message), "list_incomplete"
        return await self._merged(exchange, ours, theirs)

    async def _both(self, exchange: LegacyExchange, user: str) -> tuple[Entries, TheirAnswer]:
        return await self._ours(user), await self._theirs(exchange)

    async def _ours(self, user: str) -> Entries:
        """All of a user's campaigns, but those that the legacy system answered instead."""
        found: list[CampaignRecord] = []
        cursor: str | None = None
        while True:
            page = await self._ports.campaigns.list(CampaignFilter(owner=user), limit=_LISTED_AT_ONCE, cursor=cursor)
            found.extend(each for each in page.campaigns if each.status_reason != ANSWERED_BY_LEGACY)
            cursor = page.cursor
            if cursor is None:
                break
        asking = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def entry(record: CampaignRecord) -> dict[str, Any]:
            async with asking:
                return summary(record, user, waiting=await awaits_review(record, self._ports))

        return await asyncio.gather(*map(entry, found))

    async def _theirs(self, exchange: LegacyExchange) -> TheirAnswer:
        content = bytearray()
        async with self._ports.legacy.exchange(exchange.call(instead=_WHOLE_AND_PLAIN)) as answer:
            async for chunk in answer.chunks:
                content += chunk
                if len(content) > MAX_LIST:
                    return TheirAnswer(answer.status, answer.headers, None)
        return TheirAnswer(answer.status, answer.headers, bytes(content))

    async def _merged(self, exchange: LegacyExchange, ours: Entries, theirs: TheirAnswer) -> tuple[int, str]:
        """What the legacy system answers instead of a list goes back as it is."""
        if theirs.status != 200 and theirs.content is not None:
            await exchange.relay(theirs.status, theirs.headers, theirs.content)
            return theirs.status, f"legacy_http_{theirs.status}"
        data = await off_the_loop(len(theirs.content or b""), lambda: _all(theirs, ours))
        if data is None:
            await exchange.answer(502, failure("The legacy system's list can't be read."), AnsweredBy.LEGACY)
            return 502, "legacy_list_unreadable"
        body = {"status": "success", "message": "Campaigns retrieved successfully", "data": data}
        cookies: Headers = tuple((name, text) for name, text in theirs.headers if name == b"set-cookie")
        await exchange.answer(200, body, AnsweredBy.HYBRID, headers=cookies)
        return 200, ""


def _all(theirs: TheirAnswer, ours: Entries) -> Entries | None:
    """Both lists in one; ``None``: theirs is no list."""
    plain = None if theirs.content is None else unpacked(theirs.headers, theirs.content, MAX_LIST)
    document, _ = read(plain or b"")
    data = document.get("data") if isinstance(document, Mapping) else None
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        return None
    return merged(data, ours)
