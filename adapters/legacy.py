"""The legacy system over HTTP: what goes out and what comes back is not touched.

A transport is used without a client around it: no redirects are followed, no cookies kept, nothing is decompressed,
and no header is added. Neither are proxies of the environment used.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import h11
import httpx

from adapters.settings import Settings
from domain.legacy import Headers, LegacyAnswer, LegacyCall, LegacyFault, LegacyUnavailable

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers about one connection only (RFC 9110, section 7.6.1)."""

_NOT_PASSED_ON: Final = HOP_BY_HOP | {b"expect"}
"""``Expect: 100-continue`` was answered by our own server as soon as the body was read."""

_NOT_OF_A_CONNECTION: Final = frozenset({b"authorization", b"content-length", b"cookie", b"host"})
"""What ``Connection`` can't name: without them it would be another request, or a body without an end (RFC 9110, 7.6.1:
no field that is intended for all recipients)."""

_KEPT_OPEN_S: Final = 3.0
"""Idle connections are closed before servers close them, many of them after 5 s: a request must not meet a connection
that just ends."""


class HttpLegacy:
    """``domain.ports.LegacySystem``."""

    def __init__(self, settings: Settings, transport: httpx.AsyncHTTPTransport) -> None:
        self._base = httpx.URL(settings.legacy_base_url)
        self._host = settings.legacy_host.encode()
        self._connect_s = settings.legacy_connect_timeout_s
        self._first_byte_s = settings.legacy_first_byte_timeout_s
        self._idle_s = settings.legacy_idle_timeout_s
        self._transport = transport

    @asynccontextmanager
    async def exchange(self, call: LegacyCall) -> AsyncIterator[LegacyAnswer]:
        """Pass a request on as it is; raises ``LegacyUnavailable``."""
        if not self._base.host:
            raise LegacyUnavailable(
                "There is no legacy system: this installation has no LEGACY_BASE_URL.", LegacyFault.NOT_CONFIGURED
            )
        patience = {
            "connect": self._connect_s,
            "pool": self._connect_s,
            "write": self._idle_s,
            "read": self._first_byte_s,
        }
        request = httpx.Request(
            call.method,
            self._base,
            headers=list(self._headers(call)),
            stream=_Body(call.body),
            extensions={"timeout": patience, "target": self._base.raw_path.rstrip(b"/") + call.target},
        )
        with _translated():
            response = await self._transport.handle_async_request(request)
        # Both read it where they begin: from here on it is the time between two pieces of the body.
        patience["read"] = self._idle_s
        chunks = _chunks(response.stream)
        try:
            yield LegacyAnswer(response.status_code, tuple(passed_on(tuple(response.headers.raw))), chunks)
        finally:
            await chunks.aclose()
            await response.aclose()

    def _headers(self, call: LegacyCall) -> Iterator[tuple[bytes, bytes]]:
        length_is_known = False
        for name, value in passed_on(call.headers):
            length_is_known |= name == b"content-length"
            yield (name, self._host) if self._host and name == b"host" else (name, value)
        if call.body is not None and not length_is_known:
            yield b"transfer-encoding", b"chunked"


@asynccontextmanager
async def open_legacy(settings: Settings) -> AsyncIterator[HttpLegacy]:
    """Nothing is contacted yet."""
    limits = httpx.Limits(
        max_connections=settings.legacy_connections,
        max_keepalive_connections=settings.legacy_connections,
        keepalive_expiry=_KEPT_OPEN_S,
    )
    # Reading the certificates takes a while, and is needed only for a system that has one.
    verify = settings.legacy_base_url.startswith("https:")
    async with httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits) as transport:
        yield HttpLegacy(settings, transport)


def passed_on(headers: Headers) -> Iterator[tuple[bytes, bytes]]:
    """All but what concerns one connection; names in lower case, as ASGI wants them.

    Where both are there, ``Transfer-Encoding`` counts and ``Content-Length`` is dropped (RFC 9112, section 6.3).
    """
    names = {name.lower() for name, _ in headers}
    named = {
        option.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for option in value.split(b",")
    }
    dropped = _NOT_PASSED_ON | (named - _NOT_OF_A_CONNECTION)
    if b"transfer-encoding" in names:
        dropped |= {b"content-length"}
    for name, value in headers:
        if name.lower() not in dropped:
            yield name.lower(), value


class _Body(httpx.AsyncByteStream):
    def __init__(self, chunks: AsyncIterator[bytes] | None) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._chunks is not None:
            async for chunk in self._chunks:
                yield chunk


async def _chunks(stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> AsyncGenerator[bytes, None]:
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - an asynchronous transport answers nothing else
    with _translated():
        async for chunk in stream:
            yield chunk


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.PoolTimeout as error:
        raise LegacyUnavailable("Too many requests to the legacy system are under way.", LegacyFault.BUSY) from error
    except httpx.ConnectError as error:
        raise LegacyUnavailable("The legacy system can't be reached.", LegacyFault.UNREACHABLE) from error
    except httpx.TimeoutException as error:
        raise LegacyUnavailable("The legacy system did not answer in time.", LegacyFault.SILENT) from error
    except (httpx.LocalProtocolError, h11.LocalProtocolError) as error:
        raise LegacyUnavailable("The request can't be passed on as it is.", LegacyFault.UNFORWARDABLE) from error
    except httpx.TransportError as error:
        raise LegacyUnavailable("The legacy system broke the connection.", LegacyFault.BROKEN) from error
