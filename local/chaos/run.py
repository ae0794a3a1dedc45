"""A chaos run from the first process to the evidence."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from domain.campaign import CampaignStatus
from domain.delivery import MessageStatus
from local.caller import caller, client, intent, opt_in
from local.chaos.audit import Auditor
from local.chaos.plan import (
    AI_LATENCY_MS,
    AI_USAGE_DETAILS,
    SINGLES,
    TIME_SCALE,
    WORKERS,
    Plan,
    Regular,
    Trouble,
)
from local.chaos.trouble import Troublemaker, crashes_of
from local.chaos.verdict import GATEWAY, Booked, Evidence, Told, busiest, faults_of, limits_in_force
from local.stack import Stack, StackOptions
from local.tables import create_tables

_LOOK_EVERY_S = 1.0
_TELL_EVERY_S = 15.0
_PAGE = 100

Tell = Callable[[str], None]


async def run(plan: Plan, directory: Path, tell: Tell) -> Evidence:
    """Start a stack on ``directory``, run the campaign through the trouble, stop the stack."""
    options = StackOptions(
        directory=directory,
        workers=len(WORKERS),
        keep_data=True,
        env=plan.environment(),
        migrate=create_tables,
    )
    accounts, began = plan.account_ids, time.monotonic()
    async with AsyncExitStack() as context:
        stack = await context.enter_async_context(Stack(options))
        gateway = await context.enter_async_context(client(stack.env["HUNTAZE_ONLYFANS_BASE_URL"]))
        ai = await context.enter_async_context(client(stack.addresses["AI simulator"]))
        api = await context.enter_async_context(caller(stack.env, accounts))
        tell(f"the stack runs after {time.monotonic() - began:.0f} s")
        await _prepare(plan, gateway, ai)
        await opt_in(api, accounts)
        servers = Servers(api, gateway, ai)
        first_day = datetime.now(UTC).date()
        started = await _start(plan, api, accounts)
        watch = Watch(plan, servers, started, tell)
        trouble = Troublemaker(stack)

        async def make_trouble() -> None:
            await watch.until_sending()
            await asyncio.gather(trouble.make(plan.steps()), watch.write_to(plan.written_besides()))

        making = asyncio.create_task(make_trouble())
        crashes = await context.enter_async_context(crashes_of(stack))
        try:
            status = await watch.until_final(trouble.done)
        finally:
            making.cancel()
            with suppress(asyncio.CancelledError):
                await making
        await trouble.repaired()
        auditor = Auditor(stack.env, started["campaignId"], first_day)
        return await watch.evidence(status, trouble.done, tuple(crashes), auditor)


async def _prepare(plan: Plan, gateway: httpx.AsyncClient, ai: httpx.AsyncClient) -> None:
    """Everything that the simulators are to do."""
    for server, faults in ((gateway, plan.faults()), (ai, plan.faults_of_ai())):
        for fault in faults:
            (await server.post("/_control/faults", json=fault)).raise_for_status()
    for name, body in (("usage-details", AI_USAGE_DETAILS), ("latency", {"ms": AI_LATENCY_MS})):
        (await ai.post(f"/_control/{name}", json=body)).raise_for_status()


async def _start(plan: Plan, api: httpx.AsyncClient, accounts: Sequence[str]) -> Any:
    """The API's answer, with ``campaignId`` and ``workflowId``."""
    body = intent(accounts, plan.recipients) | ({} if plan.max_cost is None else {"maxCost": plan.max_cost})
    answer = await api.post("/api/v2/campaigns/hybrid", json=body, headers={"Idempotency-Key": f"local-{uuid4()}"})
    answer.raise_for_status()
    return answer.json()


@dataclass(frozen=True, slots=True)
class Servers:
    """Who is asked."""

    api: httpx.AsyncClient
    gateway: httpx.AsyncClient
    ai: httpx.AsyncClient


class Watch:
    """Asks the API and the simulators how the campaign is doing; what does not answer is asked again."""

    def __init__(self, plan: Plan, servers: Servers, started: Any, tell: Tell) -> None:
        self._plan = plan
        self._api = servers.api
        self._gateway = servers.gateway
        self._ai = servers.ai
        self._campaign_id: str = started["campaignId"]
        self._status_path = "/api/v2/campaigns/status"
        self._status_of = {"workflowId": started["workflowId"]}
        self._tell = tell
        self._began = time.monotonic()
        self._ended = 0.0
        self._result: Mapping[str, Any] = {}
        self._singles: list[str] = []

    async def until_sending(self) -> None:
        """Until the gateway has accepted the first message."""
        while True:
            if await self._accepted():
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def write_to(self, regulars: Sequence[Regular]) -> None:
        """Each in time, without waiting for what becomes of it."""
        began = time.monotonic()
        for regular in regulars:
            await asyncio.sleep(began + regular.at_s - time.monotonic())
            self._singles += await asyncio.gather(*(self._send(regular, text) for text in SINGLES))

    async def _send(self, regular: Regular, text: str) -> str:
        """The id of a single message."""
        body = {
            "accountId": regular.account,
            "recipientId": regular.recipient,
            "text": text,
            "messageType": "promotional",
        }
        headers = {"Idempotency-Key": f"local-{uuid4()}", "Prefer": "wait=0"}
        answer = await self._until_answered(
            lambda: self._api.post("/api/v2/onlyfans/messages", json=body, headers=headers)
        )
        return str(answer["messageId"])

    async def until_final(self, done: Mapping[Trouble, int]) -> CampaignStatus | None:
        """The final status; None when the time is over."""
        told_at = self._began
        while (now := time.monotonic()) - self._began < self._plan.within_s:
            answer = await self._ask(self._api, self._status_path, self._status_of)
            self._ended = time.monotonic()
            status = CampaignStatus(answer["campaign"]["status"])
            if status.is_final:
                self._result = answer["result"] or {}
                return status
            if now - told_at >= _TELL_EVERY_S:
                told_at = now
                accepted = await self._accepted()
                troubles = ", ".join(f"{times} x {trouble}" for trouble, times in done.items()) or "no trouble yet"
                self._tell(f"{now - self._began:4.0f} s: {accepted} of {self._plan.messages} accepted; {troubles}")
            await asyncio.sleep(_LOOK_EVERY_S)
        return None

    async def evidence(
        self, status: CampaignStatus | None, troubles: Mapping[Trouble, int], crashes: tuple[str, ...], auditor: Auditor
    ) -> Evidence:
        """Both sides of the story."""
        besides = [await self._until_ended(message_id) for message_id in self._singles]
        money = None
        if status is not None:
            self._tell("the campaign is over; waiting until nothing that may be charged is on its way")
            money = await auditor.money(self._ask, self._api, self._ai, self._status_of)
        # Read now, when whatever was still on its way has arrived.
        limits = limits_in_force(self._plan.policy.scaled(TIME_SCALE))
        report = await self._ask(self._gateway, "/_control/report", {"window": [limit.seconds for limit in limits]})
        book = (await self._ask(self._gateway, "/_control/messages"))["messages"]
        faults = [
            fault
            for name, simulator in ((GATEWAY, self._gateway), ("AI", self._ai))
            for fault in faults_of(name, (await self._ask(simulator, "/_control/faults"))["faults"])
        ]
        return Evidence(
            plan=self._plan,
            status=status,
            outcomes={MessageStatus(name): number for name, number in self._result.get("outcomes", {}).items()},
            told=[told async for told in self._messages()],
            besides=besides,
            booked=[
                Booked(
                    key=entry["idempotency_key"],
                    account=entry["account"],
                    chat=entry["chat_id"],
                    receipt=str(entry["message_id"]),
                    text=entry["text"],
                )
                for entry in book
            ],
            busiest=busiest(limits, report),
            troubles=dict(troubles),
            faults=faults,
            replays=report["totals"]["replays"],
            seconds=self._ended - self._began,
            crashes=crashes,
            money=money,
        )

    async def _accepted(self) -> int:
        return int((await self._ask(self._gateway, "/_control/accepted"))["accepted"])

    async def _messages(self) -> AsyncIterator[Told]:
        cursor: str | None = None
        while True:
            query = {"limit": _PAGE} | ({} if cursor is None else {"cursor": cursor})
            page = await self._ask(self._api, f"/api/v2/campaigns/{self._campaign_id}/messages", query)
            for message in page["messages"]:
                yield _told(message)
            cursor = page["nextCursor"]
            if cursor is None:
                return

    async def _until_ended(self, message_id: str) -> Told:
        """A single message at its end, or as it is when the time is over."""
        while True:
            told = _told(await self._ask(self._api, f"/api/v2/onlyfans/messages/{message_id}"))
            if told.status.is_terminal or time.monotonic() - self._began > self._plan.within_s:
                return told
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _ask(self, http: httpx.AsyncClient, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """A GET."""
        return await self._until_answered(lambda: http.get(path, params=query))

    async def _until_answered(self, call: Callable[[], Awaitable[httpx.Response]]) -> Any:
        """A call whose failures are those of what was just killed: repeated until the time is over."""
        while True:
            try:
                answer = await call()
                if not answer.is_server_error:
                    answer.raise_for_status()
                    return answer.json()
            except httpx.TransportError:
                pass
            if time.monotonic() - self._began > 2 * self._plan.within_s:
                raise TimeoutError("a server does not answer any more")
            await asyncio.sleep(_LOOK_EVERY_S)


def _told(message: Mapping[str, Any]) -> Told:
    """What the API says of a message, of a campaign or single."""
    return Told(
        message_id=message["messageId"],
        account=message["accountId"],
        recipient=message["recipientId"],
        status=MessageStatus(message["status"]),
        reason=message["reason"],
        receipt=message["platformMessageId"],
        text=message["text"],
    )
