"""A WSGI application served by one event loop: connections stay open, requests are taken one at a time.

For an application that only computes, this is faster than a thread for each request, and nothing in it ever runs at
the same time as something else.
"""

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]

MAX_BODY_BYTES = 64 * 1024 * 1024


def serve(application: WSGIApplication, host: str, port: int) -> None:
    """Until the process is told to end."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(application, host, port))


async def _serve(application: WSGIApplication, host: str, port: int) -> None:
    runner = web.ServerRunner(web.Server(_handler(application), access_log=None, request_factory=_request))
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """A server below the level of aiohttp's applications can be told of larger bodies than 1 MB only here."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY_BYTES)


def _handler(application: WSGIApplication) -> Callable[[web.BaseRequest], Any]:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        # The application is entered and left without an await in between: that is what takes requests one at a time.
        return _answer(application, _environ(request, body))

    return handle


def _answer(application: WSGIApplication, environ: dict[str, Any]) -> web.Response:
    status, headers = 500, CIMultiDict[str]()

    def start_response(line: str, fields: list[tuple[str, str]], _error: object = None) -> Callable[[bytes], None]:
        nonlocal status
        status = int(line.split(" ", 1)[0])
        headers.clear()
        # Length and connection are this server's own business.
        headers.extend((name, value) for name, value in fields if name.lower() not in {"content-length", "connection"})
        return lambda _: None

    chunks = application(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return web.Response(status=status, headers=headers, body=body)


def _environ(request: web.BaseRequest, body: bytes) -> dict[str, Any]:
    """The variables of PEP 3333, and of CGI for the headers."""
    path, _, query = request.raw_path.partition("?")
    host, _, port = (request.host or "127.0.0.1").partition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.rel_url.path,
        "RAW_URI": request.raw_path,
        "REQUEST_URI": path,
        "QUERY_STRING": query,
        "SERVER_NAME": host,
        "SERVER_PORT": port or "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        key = f"HTTP_{name.upper().replace('-', '_')}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ
