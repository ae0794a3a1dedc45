"""The product's HTTP API as commands use it: problems become complaints, events become values."""

import asyncio
import ipaddress
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from cli.console import Complaint
from cli.environment import in_force, running_stack, settings_now
from cli.token import mint

DEVELOPER = "developer"
"""The user that commands act as when they mint their own token."""

_TIMEOUT = httpx.Timeout(30, connect=5)
_SILENCE = httpx.Timeout(30, connect=5, read=30)
"""The API shows a sign of life every 10 s."""

_RECONNECTS = 20
_PAUSE_S = 1.0


class ApiClient:
    """One caller of one API."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET; queries that are ``None`` are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return await self._ask("GET", path, params=given)

    async def post(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """The answer to a POST."""
        return await self._ask("POST", path, json=body, headers=headers)

    async def put(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Any:
        """The answer to a PUT."""
        return await self._ask("PUT", path, json=body, headers=headers)

    async def events(self, campaign_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Events until ``done``, by name and content; a connection that breaks is opened again."""
        path = f"/api/v2/campaigns/{campaign_id}/events"
        broken = 0
        while True:
            try:
                async with self._http.stream("GET", path, timeout=_SILENCE) as response:
                    if response.is_error:
                        await response.aread()
                        raise complaint_of(response)
                    async for name, data in parse_events(response.aiter_lines()):
                        broken = 0
                        yield name, data
                        if name == "done":
                            return
            except httpx.TransportError as error:
                if broken >= _RECONNECTS:
                    raise self._unreachable(error) from error
            broken += 1
            await asyncio.sleep(_PAUSE_S)

    async def _ask(self, method: str, path: str, **request: Any) -> Any:
        try:
            response = await self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise complaint_of(response)
        return response.json()

    def _unreachable(self, error: httpx.TransportError) -> Complaint:
        what = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "does not answer"
        return Complaint(
            f"the API at {self._http.base_url} {what}",
            remedy="start it (huntaze up, or huntaze api), or give its address with --api; huntaze doctor tells more",
        )


def complaint_of(response: httpx.Response) -> Complaint:
    """A problem-details answer (RFC 9457), or whatever else an error came as, for people."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "title" not in problem:
        return Complaint(f"the API answered {response.status_code} {response.reason_phrase}")
    details = [f"{error['field'] or 'the body'}: {error['message']}" for error in problem.get("errors", ())]
    title, detail = problem["title"], problem.get("detail", "")
    # One field error that says the same again would only be noise.
    details = [] if len(details) == 1 and details[0].endswith(detail) and detail else details
    # The API says what to do in the detail; the trace id leads to its logs when it could not.
    remedy = f"look for traceId {problem.get('traceId')} in the API's log" if response.status_code >= 500 else ""
    if response.status_code == 429 and (seconds := response.headers.get("Retry-After")):
        remedy = f"come back in {seconds} s"
    return Complaint(f"{title} ({response.status_code}): {detail}", details=details, remedy=remedy)


async def parse_events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Server-sent events from lines; comments, which keep the connection alive, are left out."""
    name, data = "message", ""
    async for line in lines:
        field, _, value = line.partition(":")
        match field:
            case "event":
                name = value.removeprefix(" ")
            case "data":
                data += value.removeprefix(" ")
            case "" if not line and data:
                yield name, json.loads(data)
                name, data = "message", ""


@asynccontextmanager
async def connect(url: str, token: str) -> AsyncIterator[ApiClient]:
    """A client of the API at ``url`` for the bearer of ``token``."""
    headers = {"Authorization": f"Bearer {token}"}
    # A proxy never leads to this machine.
    proxied = not _is_local(url)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT, trust_env=proxied) as http:
        yield ApiClient(http)


def address_and_token(
    api: str | None, token: str | None, directory: Path, accounts: Sequence[str] = (), role: str = "agency"
) -> tuple[str, str]:
    """What was given, else the running stack's address and a token for its developer, who owns ``accounts``."""
    api, token = api or os.environ.get("HUNTAZE_API_URL"), token or os.environ.get("HUNTAZE_TOKEN")
    if api and token:
        return api, token
    stack = running_stack(directory)
    if stack is None:
        missing = " and ".join(
            name for name, value in (("the address of an API", api), ("a token", token)) if not value
        )
        raise Complaint(
            f"{missing} must be given, because no stack runs on {directory}",
            remedy="start one with: huntaze up; or set HUNTAZE_API_URL and HUNTAZE_TOKEN (or --api and --token)",
        )
    here = api_url(stack.env)
    if token is None:
        if api and api.rstrip("/") != here:
            raise Complaint(
                f"a token for {api} must be given: the running stack's tokens are good for {here} only",
                remedy="set HUNTAZE_TOKEN, or use --token",
            )
        with in_force(stack.env):
            token = mint(settings_now(), user=DEVELOPER, role=role, accounts=accounts)
    return api or here, token


def api_url(env: Mapping[str, str]) -> str:
    """The address of a stack's API."""
    return f"http://{env['HUNTAZE_API_HOST']}:{env['HUNTAZE_API_PORT']}"


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
