"""What applies to every request whatever its route: size, headers, and the last resort."""

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import from_domain, internal_error
from domain.errors import TooLarge
from domain.legacy import is_legacy

_log = structlog.get_logger()
PRIVATE = ("/api/v2", "/api/admin", "/ofrep")
"""Answers below these paths belong to one caller and are never cached."""


class HeaderMiddleware:
    """Security headers on every answer but those of the legacy API, which are as the legacy system's are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_legacy(scope["path"]):
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if scope["path"].startswith(PRIVATE):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, with_headers)


class LastResortMiddleware:
    """An error that nobody foresaw: logged with its stack, answered without it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return
        except Exception:
            _log.exception("http.unexpected_error")
            if started:
                raise
            await internal_error(Request(scope))(scope, receive, send)


class BodyLimitMiddleware:
    """No body larger than ``max_bytes`` is read, whether its length was announced or it comes in chunks.

    What is passed on to the legacy system is not read, and may have any size.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_legacy(scope["path"]):
            await self._app(scope, receive, send)
            return
        too_large = TooLarge(f"The body is larger than {self._max_bytes} bytes; split the audience over campaigns.")
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            # The unread rest makes the connection useless for another request.
            response = from_domain(Request(scope), too_large)
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise too_large
            return message

        await self._app(scope, limited, send)
