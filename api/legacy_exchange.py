"""One legacy request and its answer, byte by byte: passed on to the legacy system, or answered in its shape."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from time import perf_counter
from typing import Any, Final, NamedTuple, TypeVar

import structlog
from starlette.datastructures import Headers as HeaderView
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from domain.legacy import VERSION, AnsweredBy, Headers, LegacyCall, LegacyFault, LegacyUnavailable
from domain.legacy_answer import failure
from domain.ports import LegacySystem

T = TypeVar("T")

_log = structlog.get_logger()

TOO_SLOW: Final = "client_too_slow"
CLIENT_GONE: Final = "client_gone"
RETRY_AFTER_S: Final = 5
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_STATUSES: Final[Mapping[LegacyFault, int]] = {
    LegacyFault.NOT_CONFIGURED: 503,
    LegacyFault.UNREACHABLE: 502,
    LegacyFault.BROKEN: 502,
    LegacyFault.SILENT: 504,
    LegacyFault.BUSY: 503,
    LegacyFault.UNFORWARDABLE: 400,
}
_NOT_DONE: Final = frozenset({LegacyFault.UNREACHABLE, LegacyFault.BUSY})
"""Faults after which repeating even a POST is safe: nothing has reached the legacy system."""


class ClientTooSlow(Exception):
    """The rest of a request's body did not come in time."""


class Forwarded(NamedTuple):
    """How passing a request on ended. ``error``: class of what went wrong, empty when there was an answer.
    ``first_byte_ms``: until the answer began. ``body``: the answer's, if it was to be kept and is small enough."""

    status: int
    error: str = ""
    first_byte_ms: float = 0.0
    headers: Headers = ()
    body: bytes | None = None


class IncomingBody:
    """A request's body as it comes; what was looked at is kept, so that it can be passed on all the same."""

    def __init__(self, scope: Scope, receive: Receive, idle_s: float) -> None:
        headers = HeaderView(scope=scope)
        self._exists = "content-length" in headers or "transfer-encoding" in headers
        self._receive = receive
        self._idle_s = idle_s
        self._kept: list[bytes] = []
        self._complete = asyncio.Event()
        if not self._exists:
            self._complete.set()

    @property
    def complete(self) -> bool:
        """Whether all of it has been read."""
        return self._complete.is_set()

    async def beginning(self, most: int) -> bytes | None:
        """The whole body, if it has at most ``most`` bytes; ``None``: it has more. Kept in either case."""
        size = 0
        while not self.complete and size <= most:
            chunk = await self._next()
            self._kept.append(chunk)
            size += len(chunk)
        return b"".join(self._kept) if size <= most else None

    def chunks(self) -> AsyncIterator[bytes] | None:
        """From the first byte on; ``None`` when the request has no body."""
        return self._chunks() if self._exists else None

    async def gone(self) -> None:
        """Return when the client has closed the connection."""
        await self._complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._kept:
            if chunk:
                yield chunk
        while not self.complete:
            if chunk := await self._next():
                yield chunk

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._idle_s):
                message: Message = await self._receive()
        except TimeoutError as error:
            raise ClientTooSlow from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if not message.get("more_body", False):
            self._complete.set()
        return bytes(message.get("body", b""))


class LegacyExchange:
    """A request of a legacy client, and the one answer that it gets."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, idle_s: float) -> None:
        self.method: str = scope["method"]
        self.headers = HeaderView(scope=scope)
        self.query = QueryParams(scope["query_string"])
        self.body = IncomingBody(scope, receive, idle_s)
        self._raw_headers: Headers = tuple(scope["headers"])
        query: bytes = scope["query_string"]
        self._target: bytes = scope["raw_path"] + (b"?" + query if query else b"")
        self._send = send
        self._started = perf_counter()
        self._first_byte_ms: float | None = None

    @property
    def elapsed_ms(self) -> float:
        """Since the request's headers were read."""
        return (perf_counter() - self._started) * 1000

    @property
    def first_byte_ms(self) -> float:
        """Until the answer began; until now, if it has not."""
        return self.elapsed_ms if self._first_byte_ms is None else self._first_byte_ms

    def call(self, *, instead: Mapping[bytes, bytes | None] | None = None) -> LegacyCall:
        """The very request, as it is to be passed on; ``instead``: other values of some headers, ``None``: without."""
        instead = instead or {}
        headers = [(name, text) for name, text in self._raw_headers if name not in instead]
        headers += [(name, text) for name, text in instead.items() if text is not None]
        return LegacyCall(self.method, self._target, tuple(headers), self.body.chunks())

    async def while_there(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns; when the client leaves first, it is cancelled, and ``ClientDisconnect`` raised."""
        task = asyncio.create_task(work)
        gone = asyncio.create_task(self.body.gone())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientDisconnect
            return task.result()
        finally:
            task.cancel()
            gone.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)

    async def forward(self, legacy: LegacySystem, *, version: str = "", keep: int = 0) -> Forwarded:
        """Let the legacy system answer; its call ends as soon as the client is gone.

        ``version``: the answer's ``X-API-Version``, if it is not to be the legacy system's own. ``keep``: bytes of
        the answer that the caller wants to see.
        """
        try:
            return await self.while_there(self._forward(legacy, version, keep))
        except ClientDisconnect:
            return Forwarded(499, CLIENT_GONE, self.first_byte_ms)
        except ClientTooSlow:
            return Forwarded(await self.too_slow(), TOO_SLOW, self.first_byte_ms)

    async def too_slow(self) -> int:
        """The request's body did not come; returns the status."""
        await self.answer(408, failure("The request was not sent in time."), AnsweredBy.LEGACY)
        return 408

    async def come_back(self, message: str) -> int:
        """Nobody has done anything, and the client may repeat its request; returns the status."""
        again = ((b"retry-after", str(RETRY_AFTER_S).encode()),)
        await self.answer(503, failure(message), AnsweredBy.HYBRID, headers=again)
        return 503

    async def answer(
        self,
        status: int,
        body: Mapping[str, Any],
        by: AnsweredBy,
        *,
        version: str = VERSION,
        headers: Headers = (),
    ) -> None:
        """An answer of ours, in the legacy API's shape."""
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        own = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            (b"x-api-version", version.encode()),
            (b"x-provider", by.encode()),
            (b"x-duration", f"{round(self.elapsed_ms)}ms".encode()),
            *headers,
        ]
        if not self.body.complete:
            # The unread rest makes the connection useless for another request.
            own.append((b"connection", b"close"))
        await self._begin(status, own)
        await self._send({"type": "http.response.body", "body": content})

    async def relay(self, status: int, headers: Headers, content: bytes) -> None:
        """An answer of the legacy system that was read already."""
        await self._begin(status, _answered(headers, ""))
        await self._send({"type": "http.response.body", "body": content})

    async def refuse(self, error: LegacyUnavailable, *, version: str = VERSION) -> int:
        """The legacy system gave no answer: say so, and when to come back where that is safe; returns the status."""
        repeatable = error.fault in _NOT_DONE or self.method in _SAFE
        come_back = repeatable and error.fault not in {LegacyFault.NOT_CONFIGURED, LegacyFault.UNFORWARDABLE}
        headers = ((b"retry-after", str(RETRY_AFTER_S).encode()),) if come_back else ()
        status = _STATUSES[error.fault]
        await self.answer(status, failure(error.message), AnsweredBy.LEGACY, version=version, headers=headers)
        return status

    async def _forward(self, legacy: LegacySystem, version: str, keep: int) -> Forwarded:
        status = 0
        try:
            async with legacy.exchange(self.call()) as answer:
                status, headers = answer.status, _answered(answer.headers, version)
                await self._begin(status, headers)
                body = await self._stream(answer.chunks, keep)
                return Forwarded(status, "", self.first_byte_ms, headers, body)
        except LegacyUnavailable as error:
            if status:
                # Too late for another answer: an end without the promised bytes tells the client that they are missing.
                _log.warning("legacy.answer_incomplete", status=status, fault=str(error.fault))
            else:
                status = await self.refuse(error, version=version or VERSION)
            return Forwarded(status, f"legacy_{error.fault}", self.first_byte_ms)

    async def _begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._first_byte_ms = self.elapsed_ms
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def _stream(self, chunks: AsyncIterator[bytes], keep: int) -> bytes | None:
        """Piece by piece, never more than one of them in memory beside what is kept."""
        kept, size = list[bytes](), 0
        async for chunk in chunks:
            size += len(chunk)
            if size <= keep:
                kept.append(chunk)
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})
        return b"".join(kept) if size <= keep else None


def unpacked(headers: Headers, body: bytes, most: int) -> bytes | None:
    """A body as it was before it was packed; ``None``: not readable, or larger than ``most`` bytes."""
    packing = b", ".join(text for name, text in headers if name == b"content-encoding").strip().lower()
    if packing in {b"", b"identity"}:
        return body if len(body) <= most else None
    if packing not in {b"gzip", b"x-gzip"}:
        return None
    unpacking = zlib.decompressobj(wbits=31)
    try:
        plain = unpacking.decompress(body, most)
    except zlib.error:
        return None
    return plain if unpacking.eof else None


def _answered(headers: Headers, version: str) -> Headers:
    """The legacy system's headers but its ``Date``, which our server sets; with another version on a fallback."""
    kept = tuple((name, text) for name, text in headers if name != b"date")
    if not version:
        return kept
    return (
        *((name, text) for name, text in kept if name not in {b"x-api-version", b"x-provider"}),
        (b"x-api-version", version.encode()),
        (b"x-provider", AnsweredBy.LEGACY.encode()),
    )
