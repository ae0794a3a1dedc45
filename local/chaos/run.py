"""A chaos run from the first process to the evidence."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from redis.asyncio import Redis

from domain.campaign import CampaignStatus
from domain.delivery import MessageStatus
from local.caller import caller, client, intent, opt_in
from local.chaos.audit import Auditor
from local.chaos.plan import AI_LATENCY_MS, AI_USAGE_DETAILS, TIME_SCALE, WORKERS, Plan, Step, Trouble
from local.chaos.verdict import Booked, Evidence, Told, busiest, limits_in_force
from local.process import ProcessExitedError
from local.stack import Stack, StackOptions
from local.tables import create_tables

_LOOK_EVERY_S = 1.0
_TELL_EVERY_S = 15.0
_PAGE = 100
_STARTS = 20

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
    accounts, began = tuple(f"acct_chaos{number}" for number in range(plan.accounts)), time.monotonic()
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
            await trouble.make(plan.steps())

        making = asyncio.create_task(make_trouble())
        crashes = await context.enter_async_context(_crashes(stack))
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


class Troublemaker:
    """Kills and restarts; ``done`` counts what has happened."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._repairs: dict[str, asyncio.Task[None]] = {}
        self.done: Counter[Trouble] = Counter()

    async def make(self, steps: tuple[Step, ...]) -> None:
        """Step by step. A killed part comes back while the next steps go on; one that is late delays none after it."""
        began = time.monotonic()
        for step in steps:
            await asyncio.sleep(began + step.at_s - time.monotonic())
            await self._repaired(step.part)
            if step.trouble is Trouble.FLUSH_REDIS:
                async with Redis.from_url(self._stack.env["HUNTAZE_REDIS_URL"]) as redis:
                    await redis.flushall()
            else:
                await self._stack.kill(step.part)
                self._repairs[step.part] = asyncio.create_task(self._restart(step))
            self.done[step.trouble] += 1

    async def repaired(self) -> None:
        """Wait until everything that was killed runs again."""
        for part in tuple(self._repairs):
            await self._repaired(part)

    async def _repaired(self, part: str) -> None:
        if repair := self._repairs.pop(part, None):
            await repair

    async def _restart(self, step: Step) -> None:
        await asyncio.sleep(step.away_s)
        for _ in range(_STARTS):
            try:
                await self._stack.restart(step.part)
                return
            except ProcessExitedError:
                # A worker that starts while Temporal is away ends; like a supervisor we start it again.
                await asyncio.sleep(_LOOK_EVERY_S)
        raise RuntimeError(f"{step.part} does not start any more")


@asynccontextmanager
async def _crashes(stack: Stack) -> AsyncIterator[list[str]]:
    """The parts that end during the block although nobody asked them to, with their last words."""
    seen: list[str] = []

    async def collect() -> None:
        while True:
            seen.append(str(await stack.wait_failed()))

    task = asyncio.create_task(collect())
    try:
        yield seen
    finally:
        task.cancel()


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

    async def until_sending(self) -> None:
        """Until the gateway has accepted the first message."""
        while True:
            if await self._accepted():
                return
            await asyncio.sleep(_LOOK_EVERY_S)

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
                self._tell(f"{now - self._began:4.0f} s: {accepted} of {self._plan.recipients} accepted; {troubles}")
            await asyncio.sleep(_LOOK_EVERY_S)
        return None

    async def evidence(
        self, status: CampaignStatus | None, troubles: Mapping[Trouble, int], crashes: tuple[str, ...], auditor: Auditor
    ) -> Evidence:
        """Both sides of the story."""
        limits = limits_in_force(self._plan.policy.scaled(TIME_SCALE))
        report = await self._ask(self._gateway, "/_control/report", {"window": [limit.seconds for limit in limits]})
        book = (await self._ask(self._gateway, "/_control/messages"))["messages"]
        gateway_faults = (await self._ask(self._gateway, "/_control/faults"))["faults"]
        ai_faults = (await self._ask(self._ai, "/_control/faults"))["faults"]
        money = None
        if status is not None:
            self._tell("the campaign is over; waiting until nothing that may be charged is on its way")
            money = await auditor.money(self._ask, self._api, self._ai, self._status_of)
        return Evidence(
            plan=self._plan,
            status=status,
            outcomes={MessageStatus(name): number for name, number in self._result.get("outcomes", {}).items()},
            told=[told async for told in self._messages()],
            booked=[Booked(entry["idempotency_key"], entry["account"], entry["chat_id"]) for entry in book],
            busiest=busiest(limits, report),
            troubles=dict(troubles),
            faults=[
                (f"{who}: {_fault_name(rule)}", rule["probability"], rule["fired"])
                for who, rules in (("gateway", gateway_faults), ("AI", ai_faults))
                for rule in rules
            ],
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
                yield Told(
                    message_id=message["messageId"],
                    account=message["accountId"],
                    recipient=message["recipientId"],
                    status=MessageStatus(message["status"]),
                    reason=message["reason"],
                )
            cursor = page["nextCursor"]
            if cursor is None:
                return

    async def _ask(self, http: httpx.AsyncClient, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """A GET whose failures are those of what was just killed: asked again until the time is over."""
        while True:
            try:
                answer = await http.get(path, params=query)
                if not answer.is_server_error:
                    answer.raise_for_status()
                    return answer.json()
            except httpx.TransportError:
                pass
            if time.monotonic() - self._began > 2 * self._plan.within_s:
                raise TimeoutError(f"no answer from {http.base_url}{path}")
            await asyncio.sleep(_LOOK_EVERY_S)


def _fault_name(rule: Mapping[str, Any]) -> str:
    billed = " after acceptance" if rule.get("after_accept") else " after it was billed" if rule.get("bill") else ""
    return f"{rule['kind']}{billed}".replace("_", " ")
