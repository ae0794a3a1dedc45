"""The HTTP client under the ``openai`` SDK: an ``httpx2`` client, as the SDK expects one, on an aiohttp session.

The SDK's own ``DefaultAioHttpClient`` goes through all of httpx2's client before it comes to aiohttp: merging of
addresses, headers, cookies and parameters, flows of authentication, redirects, hooks. The SDK's requests need none of
it. Its transport also tells a broken connection as a time-out, and then nobody knows whether a call was made.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

import httpx2
from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    ServerTimeoutError,
    TCPConnector,
)

CONNECTIONS: Final = 1_000
"""At a time; as many as the SDK's own client has."""

_WRITTEN: Final = frozenset({"headers", "timeout", "params", "content", "files"})
"""What the SDK gives for a request that it has written in full."""

_FAULTS: Final[Mapping[type[ClientError], type[httpx2.TransportError]]] = {
    ConnectionTimeoutError: httpx2.ConnectTimeout,
    ServerTimeoutError: httpx2.ReadTimeout,
    ClientHttpProxyError: httpx2.ProxyError,
    ClientConnectorError: httpx2.ConnectError,
    ClientConnectionError: httpx2.ReadError,
    ClientError: httpx2.RemoteProtocolError,
}
"""The first that fits counts."""


class DirectHttpClient(httpx2.AsyncClient):
    """Sends a request as it is written. Others go the way of ``httpx2``, over the same connections."""

    def __init__(self, timeout_s: float) -> None:
        self._aiohttp = AioHttpTransport()
        super().__init__(timeout=timeout_s, transport=self._aiohttp, trust_env=False)

    def build_request(self, method: str, url: httpx2.URL | str, **given: Any) -> httpx2.Request:
        """As its parent does."""
        if given.keys() - _WRITTEN or given.get("params") or given.get("files") or given.get("timeout") is None:
            return super().build_request(method, url, **given)
        request = httpx2.Request(
            method,
            address(url) if isinstance(url, str) else url,
            headers=given.get("headers"),
            # What a body adds to the headers, its length and the host, is for aiohttp to write.
            stream=httpx2.ByteStream(given.get("content") or b""),
            extensions={"timeout": httpx2.Timeout(given["timeout"]).as_dict()},
        )
        request.read()
        return request

    async def send(self, request: httpx2.Request, **wanted: Any) -> httpx2.Response:
        """As its parent does."""
        if self.is_closed or wanted.get("auth") or wanted.get("stream") or wanted.get("follow_redirects", True):
            return await super().send(request, **wanted)
        return await self._aiohttp.handle_async_request(request)


class AioHttpTransport(httpx2.AsyncBaseTransport):
    """Answers are read in full: nothing is streamed."""

    def __init__(self) -> None:
        self._session: ClientSession | None = None
        self._tls = httpx2.create_ssl_context()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises ``httpx2.TransportError``."""
        wait = request.extensions["timeout"]
        proxy = _proxy_to(request.url.scheme, request.url.host)
        with _translated():
            async with self._opened().request(
                request.method,
                str(request.url),
                headers=[(name.decode("ascii"), value.decode("ascii")) for name, value in request.headers.raw],
                data=request.content or None,
                allow_redirects=False,
                proxy=proxy,
                timeout=ClientTimeout(connect=wait["pool"], sock_connect=wait["connect"], sock_read=wait["read"]),
            ) as answer:
                content = await answer.read()
        return httpx2.Response(answer.status, headers=answer.raw_headers, content=content, request=request)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> ClientSession:
        """It belongs to the event loop of the first call."""
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=CONNECTIONS, ssl=self._tls),
                # Compressed answers are asked for, and unpacked, by httpx2.
                skip_auto_headers=("Accept-Encoding",),
                auto_decompress=False,
            )
        return self._session


@lru_cache(maxsize=64)
def address(url: str) -> httpx2.URL:
    """Every model has one; taking it apart is no small part of a call."""
    return httpx2.URL(url)


@lru_cache(maxsize=64)
def _proxy_to(scheme: str, host: str) -> str | None:
    """The proxy that the environment of the process names for a host, as it was at the first call to it."""
    named = getproxies()
    proxy = named.get(scheme) or named.get("all")
    if not proxy or proxy_bypass(host):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.startswith(("http://", "https://")):
        raise httpx2.UnsupportedProtocol("the environment names a proxy that is neither http:// nor https://")
    return proxy


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        fault = next(fault for kind, fault in _FAULTS.items() if isinstance(error, kind))
        raise fault(str(error)) from error
