"""The client under the SDK: what it sends is what the SDK wrote, and every way to fail has its own name."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from adapters.provider_http import DirectHttpClient

QUESTION = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Bonjour, ça va ?"}]}
ANSWER = {"choices": [{"message": {"content": "Très bien."}}]}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@dataclass
class Peer:
    """Answers every request with the same bytes, and closes the connection; no bytes: it says nothing."""

    answer: bytes
    url: str = ""
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lengths = [line.partition(":")[2] for line in head.splitlines() if line.lower().startswith("content-length")]
        self.bodies.append(await reader.readexactly(int(lengths[0]) if lengths else 0))
        self.heads.append(head)
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def peer(answer: bytes) -> AsyncIterator[Peer]:
    """Serves on a free port until it is left."""
    served = Peer(answer)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()


def whole(body: bytes, *headers: bytes) -> bytes:
    """An answer with its length."""
    return b"".join((HEAD, *(each + b"\r\n" for each in headers), b"Content-Length: %d\r\n\r\n" % len(body), body))


def sdk(url: str) -> AsyncOpenAI:
    """As the worker opens it."""
    return AsyncOpenAI(
        api_key="sk-local", base_url=f"{url}/v1", max_retries=0, timeout=5, http_client=DirectHttpClient(5)
    )


async def posted(client: AsyncOpenAI) -> bytes:
    """As the adapter asks."""
    return await client.post(
        "/chat/completions", cast_to=bytes, body=QUESTION, options={"max_retries": 0, "follow_redirects": False}
    )


async def test_what_the_sdk_wrote_arrives_unchanged() -> None:
    async with peer(whole(json.dumps(ANSWER).encode())) as server, sdk(server.url) as client:
        assert json.loads(await posted(client)) == ANSWER
    (head,), (body,) = server.heads, server.bodies
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    names = [line.partition(":")[0].lower() for line in head.splitlines()[1:] if line]
    assert len(names) == len(set(names))
    assert {"authorization", "content-type", "host", "user-agent", "x-stainless-lang"} <= set(names)
    assert "authorization: bearer sk-local" in head.lower()
    assert json.loads(body) == QUESTION


async def test_the_sdks_own_methods_work_over_it() -> None:
    listed = {"object": "list", "data": [], "has_more": False}
    async with peer(whole(json.dumps(listed).encode())) as server, sdk(server.url) as client:
        found = [each async for each in client.chat.completions.list(metadata={"step_id": "s 1"}, limit=100)]
    assert found == []
    assert "limit=100" in server.heads[0].splitlines()[0]
    assert "s%201" in server.heads[0].splitlines()[0].replace("+", "%20")


async def test_a_compressed_answer_is_unpacked() -> None:
    body = gzip.compress(json.dumps(ANSWER).encode())
    async with peer(whole(body, b"Content-Encoding: gzip")) as server, sdk(server.url) as client:
        assert json.loads(await posted(client)) == ANSWER


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"", httpx2.ReadError),
        (HEAD + b"Content-Length: 1000\r\n\r\n{", httpx2.TransportError),
        (b"SMTP ready\r\n\r\n", httpx2.TransportError),
    ],
    ids=["nothing", "half an answer", "no HTTP"],
)
async def test_an_answer_that_breaks_off_is_a_broken_connection_and_no_time_out(
    answer: bytes, cause: type[Exception]
) -> None:
    async with peer(answer) as server, sdk(server.url) as client:
        with pytest.raises(openai.APIConnectionError) as failed:
            await posted(client)
    assert not isinstance(failed.value, openai.APITimeoutError)
    assert isinstance(failed.value.__cause__, cause)


async def test_a_refused_connection_says_so() -> None:
    async with peer(b"") as server:
        url = server.url
    async with sdk(url) as client:
        with pytest.raises(openai.APIConnectionError) as failed:
            await posted(client)
    assert isinstance(failed.value.__cause__, httpx2.ConnectError)


async def test_a_server_that_says_nothing_in_time_is_a_time_out() -> None:
    silent = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    held: list[asyncio.StreamWriter] = []
    async with silent, sdk(f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(openai.APITimeoutError):
            await client.post("/chat/completions", cast_to=bytes, body=QUESTION, options={"timeout": 0.1})
        for writer in held:
            writer.close()


async def test_a_closed_client_is_not_used() -> None:
    client = DirectHttpClient(5)
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await client.send(client.build_request("POST", "http://127.0.0.1:9/", timeout=5), follow_redirects=False)


class TestProxies:
    """Each with a host of its own: what the environment says about one is looked up once."""

    @pytest.fixture(autouse=True)
    def none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("no_proxy", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

    @pytest.mark.parametrize("name", ["http_proxy", "all_proxy", "ALL_PROXY"])
    async def test_one_of_the_environment_is_used(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        host = f"{name.replace('_', '-').swapcase()}-{name.islower()}.example".lower()
        async with peer(whole(json.dumps(ANSWER).encode())) as proxy:
            monkeypatch.setenv(name, proxy.url)
            async with sdk(f"http://{host}") as client:
                assert json.loads(await posted(client)) == ANSWER
        assert proxy.heads[0].startswith(f"POST http://{host}/v1/chat/completions HTTP/1.1\r\n")

    async def test_not_for_a_host_that_is_excepted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with peer(whole(json.dumps(ANSWER).encode())) as server:
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
            monkeypatch.setenv("no_proxy", "localhost")
            async with sdk(server.url.replace("127.0.0.1", "localhost")) as client:
                assert json.loads(await posted(client)) == ANSWER

    async def test_a_kind_that_is_not_supported_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
        async with sdk("http://behind-socks.example") as client:
            with pytest.raises(openai.APIConnectionError) as failed:
                await posted(client)
        assert "neither http:// nor https://" in str(failed.value.__cause__)

    async def test_one_that_does_not_connect_was_not_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refusing = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        async with peer(refusing) as proxy:
            monkeypatch.setenv("https_proxy", proxy.url)
            async with sdk("https://behind-proxy.example") as client:
                with pytest.raises(openai.APIConnectionError) as failed:
                    await posted(client)
        assert isinstance(failed.value.__cause__, httpx2.ProxyError)
