"""Does one account's backlog delay another account's first message? And what does the backlog take itself?

Measured is the time from the request (``POST /api/v2/onlyfans/messages``) to the arrival at the gateway's simulator,
for accounts that have never sent anything: on a quiet system, beside an account with a backlog of 100,000 messages, and
on the quiet system again, all in the same run, as the ratio of medians. The limits are the product's own, so the
backlog stands, as it does in life. A send queue is bounded: it is offered the whole backlog, in batches of one hundred,
and takes 10,000. The rest waits where it does in the product, in a campaign, whose pages knock at the full queue
meanwhile.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final
from uuid import uuid4

import httpx
from temporalio.client import Client

from adapters.bootstrap import Ports, open_ports
from adapters.settings import Settings
from adapters.temporal import TemporalSendQueues, connect
from api.direct import compose
from benchmarks.report import Options, Report, options, table
from domain import send_queue
from domain.compliance import check
from domain.delivery import Message, MessageOrigin, Priority, message_id, send_queue_id
from domain.errors import RateLimitExceeded
from domain.rate_limit import MessageType
from domain.send_queue import EnqueueBatch, SendQueue
from local.caller import caller, client, opt_in, start_campaign
from local.environment import in_force
from local.stack import Stack, StackOptions
from local.tables import create_tables
from workflows.policies import ORCHESTRATION

GOAL_RATIO: Final = 1.5

PARTS: Final = frozenset({"temporal", "redis", "moto", "onlyfans", "ai", "api", "worker"})
BUSY: Final = "acct_busy"
BATCH: Final = 100
STORED: Final = 300
"""Of the backlog so many messages exist in the store: more than are sent in the minutes of a run."""

TEXT: Final = "Thank you for the lovely tip! The new set is up tonight."


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    backlog: int
    accounts: int
    warm_up: int


@dataclass(frozen=True)
class Filled:
    """What offering a backlog came to. ``state``: bytes of the queue as JSON, of which Temporal takes 2 MiB."""

    taken: int
    refused: int
    seconds: float
    state: int
    events: int
    history: int


async def main(chosen: Options) -> None:
    """Measure and report."""
    plan = Plan(backlog=5_000, accounts=9, warm_up=3) if chosen.quick else Plan(100_000, 31, 5)
    with tempfile.TemporaryDirectory(prefix="huntaze-benchmark-") as directory:
        stack_options = StackOptions(directory=Path(directory), parts=PARTS, synchronous="OFF", migrate=create_tables)
        async with AsyncExitStack() as context:
            stack = await context.enter_async_context(Stack(stack_options))
            context.enter_context(in_force(stack.env))
            ports = await context.enter_async_context(open_ports(Settings()))
            temporal = await connect()
            await first_messages(stack.env, "warm", plan.warm_up)
            alone = await first_messages(stack.env, "alone", plan.accounts)
            memory = resident(stack.pids["worker"])
            filled = await fill(ports, temporal, plan.backlog)
            busy = [send_queue_id(BUSY)]
            if filled.refused:
                async with caller(stack.env, [BUSY]) as api:
                    await opt_in(api, [BUSY])
                    busy.append((await start_campaign(api, [BUSY], filled.refused))["workflowId"])
            beside = await first_messages(stack.env, "beside", plan.accounts)
            memory = resident(stack.pids["worker"]) - memory
            depth = (await state_of(temporal)).depth
            for workflow in reversed(busy):
                await temporal.get_workflow_handle(workflow).terminate("the backlog is over")
            alone += await first_messages(stack.env, "again", plan.accounts)
    report(plan, filled, depth, memory, alone, beside).finish(chosen)


async def first_messages(env: Mapping[str, str], name: str, accounts: int) -> list[float]:
    """Seconds from request to arrival of the first message of so many accounts, one after the other."""
    names = [f"acct_{name}{number}" for number in range(accounts)]
    seconds: list[float] = []
    async with caller(env, names) as api, client(env["HUNTAZE_ONLYFANS_BASE_URL"]) as gateway:
        for account in names:
            began_ns = time.time_ns()
            answer = await api.post(
                "/api/v2/onlyfans/messages",
                json={"accountId": account, "recipientId": "1001", "text": TEXT},
                headers={"Prefer": "wait=30"},
            )
            if answer.status_code != httpx.codes.OK:
                raise RuntimeError(f"the message was not sent: {answer.status_code} {answer.text}")
            listing = await gateway.get("/_control/messages", params={"account": account})
            [arrived] = listing.json()["messages"]
            seconds.append((arrived["at_ns"] - began_ns) / 1e9)
    return seconds


async def fill(ports: Ports, temporal: Client, backlog: int) -> Filled:
    """Offer a backlog to the busy account's queue; what the full queue refuses is counted."""
    queues = TemporalSendQueues(temporal, ORCHESTRATION)
    campaign, messages = await store(ports)
    taken, began = 0, perf_counter()
    for batch in range(backlog // BATCH):
        ids = [message.message_id for message in messages[batch * BATCH :][:BATCH]]
        ids += [message_id(campaign, BUSY, f"{batch}-{number}") for number in range(BATCH - len(ids))]
        offer = EnqueueBatch(
            campaign_id=campaign,
            batch=batch,
            # The one priority that may fill a queue to the brim.
            priority=Priority.CRITICAL,
            message_type=MessageType.PROMOTIONAL,
            message_ids=tuple(ids),
            reports=False,
        )
        try:
            await queues.enqueue(BUSY, offer)
        except RateLimitExceeded:
            continue
        taken += BATCH
    seconds = perf_counter() - began
    described = await temporal.get_workflow_handle(send_queue_id(BUSY)).describe()
    return Filled(
        taken=taken,
        refused=backlog - taken,
        seconds=seconds,
        state=len((await state_of(temporal)).model_dump_json(by_alias=True)),
        events=described.history_length,
        history=described.raw_description.workflow_execution_info.history_size_bytes,
    )


async def state_of(temporal: Client) -> SendQueue:
    """The busy account's queue."""
    handle = temporal.get_workflow_handle(send_queue_id(BUSY))
    state: SendQueue = await handle.query(send_queue.STATE, result_type=SendQueue)
    return state


async def store(ports: Ports) -> tuple[str, Sequence[Message]]:
    """A running request of the busy account, and the messages of it that are sent first."""
    now = datetime.now(UTC)
    draft = compose(
        record_id=str(uuid4()),
        request_id=str(uuid4()),
        owner="benchmark",
        account_id=BUSY,
        recipient_id="1001",
        text=TEXT,
        message_type=MessageType.PROMOTIONAL,
        priority=Priority.CRITICAL,
        origin=MessageOrigin(provider="caller", model="", prompt_version="", approved_by="benchmark"),
        report=check(TEXT),
        fingerprint="benchmark",
        now=now,
    )
    campaign = draft.record.campaign_id
    await ports.campaigns.create(draft.record, ())
    messages = [
        draft.message.model_copy(
            update={"message_id": message_id(campaign, BUSY, str(number)), "recipient_id": str(5_000 + number)}
        )
        for number in range(STORED)
    ]
    await ports.messages.create_many(messages)
    return campaign, messages


def resident(pid: int) -> int:
    """Bytes of memory of a process; 0 where there is no ``/proc``."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def report(
    plan: Plan, filled: Filled, depth: int, memory: int, alone: Sequence[float], beside: Sequence[float]
) -> Report:
    """The ratio, and what the backlog took."""
    found = Report("fairness")
    found.figure("backlog", plan.backlog)
    found.figure("taken_by_the_queue", filled.taken)
    found.figure("refused_by_the_full_queue", filled.refused)
    found.figure("seconds_to_offer_all", filled.seconds)
    found.figure("queue_state_bytes", filled.state)
    found.figure("queue_history_events", filled.events)
    found.figure("queue_history_bytes", filled.history)
    found.figure("worker_memory_growth_bytes", memory)
    found.figure("waiting_at_the_end", depth)
    found.figure("alone_ms", median(alone) * 1_000)
    found.figure("beside_backlog_ms", median(beside) * 1_000)
    found.figure("beside_to_alone", median(beside) / median(alone))
    found.at_most("beside_to_alone", GOAL_RATIO)
    found.at_most("queue_state_bytes", 2 * 1024 * 1024)
    table(
        f"the first message of each of {plan.accounts} accounts, from request to arrival",
        ("", "median ms", "slowest ms"),
        [_row("on a quiet system", alone), _row("beside the backlog", beside)],
    )
    table(
        f"a backlog of {plan.backlog:,} messages of one account, offered to its queue in batches of {BATCH}",
        ("", ""),
        [
            ("the queue took", f"{filled.taken:,}"),
            ("it refused, so they wait in a campaign", f"{filled.refused:,}"),
            ("to offer all", f"{filled.seconds:.1f} s"),
            ("the queue's state", f"{filled.state / 1024:,.0f} KiB of 2,048"),
            ("its history", f"{filled.events:,} events, {filled.history / 1024:,.0f} KiB"),
            ("the worker grew by", f"{memory / 2**20:.0f} MiB"),
        ],
    )
    return found


def _row(name: str, seconds: Iterable[float]) -> tuple[str, str, str]:
    measured = sorted(seconds)
    return name, f"{median(measured) * 1_000:.0f}", f"{measured[-1] * 1_000:.0f}"


if __name__ == "__main__":
    asyncio.run(main(options(__doc__ or "")))
