"""The way to the legacy system: nothing is changed on it, and every outage has a name."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from adapters.legacy import HttpLegacy, open_legacy, passed_on
from adapters.settings import Settings
from domain.legacy import Headers, LegacyCall, LegacyFault, LegacyUnavailable

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """A server that does nothing but what the test says; yields its URL."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def legacy(settings: Settings, url: str, **changes: object) -> AsyncIterator[HttpLegacy]:
    patience = {"legacy_connect_timeout_s": 1.0, "legacy_first_byte_timeout_s": 0.3, "legacy_idle_timeout_s": 0.3}
    own = settings.model_copy(update={"legacy_base_url": url, **patience, **changes})
    async with open_legacy(own) as opened:
        yield opened


async def fault(opened: HttpLegacy, call: LegacyCall) -> LegacyFault:
    """How a call fails."""
    try:
        async with opened.exchange(call) as answer:
            async for _ in answer.chunks:
                pass
    except LegacyUnavailable as error:
        return error.fault
    pytest.fail("the legacy system answered")


async def hello() -> AsyncIterator[bytes]:
    yield b"hello"


GET = LegacyCall("GET", b"/api/campaigns/1", ((b"host", b"h"),))


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_the_request_line_and_headers_go_out_as_they_are(settings: Settings) -> None:
    seen = bytearray()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-Y: z\r\nset-cookie: b=2\r\nContent-Length: 2\r\n\r\nok")

    headers = ((b"host", b"campaigns.example"), (b"x-a", b"1"), (b"connection", b"x-b"), (b"x-b", b"2"), (b"x-a", b"3"))
    call = LegacyCall("GET", b"/api/campaigns/%2F%c3?a=%20&&b", headers)
    async with (
        served(handler) as url,
        legacy(settings, f"{url}/base/") as opened,
        opened.exchange(call) as answer,
    ):
        assert b"".join([chunk async for chunk in answer.chunks]) == b"ok"
        assert answer.headers == (
            (b"set-cookie", b"a=1"),
            (b"x-y", b"z"),
            (b"set-cookie", b"b=2"),
            (b"content-length", b"2"),
        )
    assert bytes(seen).split(b"\r\n") == [
        b"GET /base/api/campaigns/%2F%c3?a=%20&&b HTTP/1.1",
        b"host: campaigns.example",
        b"x-a: 1",
        b"x-a: 3",
        b"",
        b"",
    ]


async def test_the_host_can_be_another(settings: Settings) -> None:
    seen = bytearray()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with (
        served(handler) as url,
        legacy(settings, url, legacy_host="legacy.internal") as opened,
        opened.exchange(GET) as answer,
    ):
        assert answer.status == 204
    assert b"\r\nhost: legacy.internal\r\n" in seen


class TestOutages:
    async def test_nobody_listens(self, settings: Settings) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
            async with legacy(settings, url) as opened:
                assert await fault(opened, GET) is LegacyFault.UNREACHABLE

    async def test_nothing_is_configured(self, settings: Settings) -> None:
        async with legacy(settings, "") as opened:
            assert await fault(opened, GET) is LegacyFault.NOT_CONFIGURED

    async def test_no_answer_comes(self, settings: Settings) -> None:
        async with served(silent) as url, legacy(settings, url) as opened:
            assert await fault(opened, GET) is LegacyFault.SILENT

    async def test_the_body_stops(self, settings: Settings) -> None:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            await reader.read()

        async with served(handler) as url, legacy(settings, url, legacy_first_byte_timeout_s=60.0) as opened:
            assert await fault(opened, GET) is LegacyFault.SILENT

    async def test_the_connection_ends_before_the_answer(self, settings: Settings) -> None:
        async def handler(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")

        async with served(handler) as url, legacy(settings, url) as opened:
            assert await fault(opened, GET) is LegacyFault.BROKEN

    async def test_the_answer_is_no_http(self, settings: Settings) -> None:
        async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"nonsense\r\n\r\n")

        async with served(handler) as url, legacy(settings, url) as opened:
            assert await fault(opened, GET) is LegacyFault.BROKEN

    async def test_too_many_requests_are_under_way(self, settings: Settings) -> None:
        patient = {"legacy_first_byte_timeout_s": 30.0, "legacy_connect_timeout_s": 0.2}
        async with served(silent) as url, legacy(settings, url, legacy_connections=1, **patient) as opened:
            first = asyncio.create_task(fault(opened, GET))
            await asyncio.sleep(0)
            assert await fault(opened, GET) is LegacyFault.BUSY
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    async def test_what_is_no_http_is_not_passed_on(self, settings: Settings) -> None:
        async with served(silent) as url, legacy(settings, url) as opened:
            assert await fault(opened, GET._replace(target=b"/a b")) is LegacyFault.UNFORWARDABLE


def test_headers_of_one_connection_stay_with_it() -> None:
    headers = (
        (b"Connection", b"close, X-Mine"),
        (b"X-Mine", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"X-Yours", b"2"),
    )
    assert list(passed_on(headers)) == [(b"x-yours", b"2")]


def test_a_connection_can_not_name_what_the_request_is_made_of() -> None:
    kept = (
        (b"host", b"h"),
        (b"authorization", b"Bearer t"),
        (b"cookie", b"c=1"),
        (b"content-length", b"5"),
    )
    named = (b"connection", b"close, Content-Length, host, authorization, cookie, x-mine")
    assert list(passed_on((named, *kept, (b"x-mine", b"1")))) == list(kept)


def test_of_two_framings_the_chunks_count() -> None:
    headers = ((b"host", b"h"), (b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked"))
    assert list(passed_on(headers)) == [(b"host", b"h")]


class TestFraming:
    """A body reaches the legacy system whole, however its framing was announced."""

    @pytest.mark.parametrize(
        "headers",
        [
            ((b"content-length", b"5"), (b"connection", b"content-length")),
            ((b"content-length", b"9"), (b"transfer-encoding", b"chunked")),
            ((b"transfer-encoding", b"chunked"),),
        ],
    )
    async def test_a_body_arrives_whole(self, settings: Settings, headers: Headers) -> None:
        seen = bytearray()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.extend(await reader.readuntil(b"hello"))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

        call = LegacyCall("POST", b"/api/campaigns/1", ((b"host", b"h"), *headers), hello())
        async with served(handler) as url, legacy(settings, url) as opened, opened.exchange(call) as answer:
            assert answer.status == 204
        assert seen.lower().count(b"content-length:") + seen.lower().count(b"transfer-encoding:") == 1

    @pytest.mark.parametrize("length", [b"4", b"6"])
    async def test_a_body_of_another_length_than_announced_is_refused(self, settings: Settings, length: bytes) -> None:
        call = LegacyCall("POST", b"/api/campaigns/1", ((b"host", b"h"), (b"content-length", length)), hello())
        async with served(silent) as url, legacy(settings, url) as opened:
            assert await fault(opened, call) is LegacyFault.UNFORWARDABLE
