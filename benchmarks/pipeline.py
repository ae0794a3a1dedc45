"""Messages a second from the request to the last receipt, against the same work without Temporal in the same run.

Limits are lifted, but asked all the same: every message passes planning, drafting, rules, the queue, the limiter, the
message store, the gateway's simulator and the receipts. Whatever waits for a person is approved at once. The opponent
(``benchmarks.bare``) calls the same activities on the same servers from a plain asyncio loop, in a process of its own
like the worker. The two take turns, so that both see the same machine.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Final

import httpx
from temporalio.client import Client

from adapters.temporal import connect
from benchmarks.cpu import cpu_seconds
from benchmarks.report import Report, options, table
from domain.delivery import MessageStatus
from domain.progress import WorkflowResult
from domain.review import ReviewDecision
from local.caller import caller, opt_in, start_campaign
from local.environment import in_force
from local.process import SOURCE, child_environment
from local.stack import Stack, StackOptions
from local.tables import create_tables
from workflows.campaign import CampaignWorkflow

GOAL_RATIO: Final = 0.8
GOAL_FLATNESS: Final = 0.8

ACCOUNTS: Final = 20
WARM_UP: Final = 40
LONGEST_S: Final = 1_800
"""A campaign that takes longer measures nothing."""
PARTS: Final = frozenset({"temporal", "redis", "moto", "onlyfans", "ai", "api", "worker"})

LIFTED: Final = {
    "ceiling": {"limit": 10_000_000, "seconds": 60},
    "tiers": {"established": []},
    "message_types": {"promotional": []},
    "recipient": [],
    "system": [],
}

PIPELINE, BARE = "pipeline", "bare loop"


@dataclass(frozen=True, slots=True)
class Run:
    """One campaign: ``cpu`` holds the CPU seconds of each process."""

    way: str
    recipients: int
    seconds: float
    cpu: dict[str, float]

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.recipients / self.seconds


class Bench:
    """Runs campaigns both ways on one stack; every campaign has accounts of its own."""

    def __init__(self, stack: Stack, client: Client) -> None:
        self._stack = stack
        self._client = client
        self._numbers = count()

    async def pipeline(self, recipients: int) -> Run:
        """Through the API, to the end of the workflow."""
        accounts = self._accounts()
        async with caller(self._stack.env, accounts) as api:
            await opt_in(api, accounts)
            before, began = cpu_seconds(self._stack.pids), perf_counter()
            started = await start_campaign(api, accounts, recipients)
            handle = self._client.get_workflow_handle(started["workflowId"], result_type=WorkflowResult)
            # Of thousands of texts a few are near-identical, and wait for a person.
            await handle.signal(CampaignWorkflow.approve, ReviewDecision(scope="campaign", decided_by="benchmark"))
            result = await asyncio.wait_for(handle.result(), LONGEST_S)
            seconds = perf_counter() - began
        if recipients != result.outcomes.get(MessageStatus.SENT, 0):
            print(f"outcomes: {dict(result.outcomes)}", flush=True)
        _expect(recipients, result.outcomes.get(MessageStatus.SENT, 0))
        return Run(PIPELINE, recipients, seconds, self._spent(before))

    async def bare(self, recipients: int) -> Run:
        """In a process of its own, which leaves its start out of its time."""
        named = [word for account in self._accounts() for word in ("--account", account)]
        before = cpu_seconds(self._stack.pids)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.bare", "--recipients", str(recipients), *named),
            stdout=asyncio.subprocess.PIPE,
            env=child_environment(self._stack.env),
            cwd=SOURCE,
        )
        printed, _ = await child.communicate()
        if child.returncode:
            raise RuntimeError(f"the bare loop ended with {child.returncode}")
        told = json.loads(printed.splitlines()[-1])
        _expect(recipients, told["sent"])
        return Run(BARE, recipients, told["seconds"], self._spent(before))

    def _accounts(self) -> list[str]:
        run = next(self._numbers)
        return [f"acct_run{run}x{number}" for number in range(ACCOUNTS)]

    def _spent(self, before: dict[str, float]) -> dict[str, float]:
        after = cpu_seconds(self._stack.pids)
        return {name: after[name] - seconds for name, seconds in before.items() if name in after}


def _expect(recipients: int, sent: float) -> None:
    if sent != recipients:
        raise RuntimeError(f"{sent} of {recipients} messages were sent: a rate would mean nothing")


async def measure(plan: Sequence[tuple[int, int]]) -> list[Run]:
    """For each size so many rounds of both ways in turn."""
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="huntaze-benchmark-") as directory:
        stack_options = StackOptions(
            directory=Path(directory),
            parts=PARTS,
            env={"HUNTAZE_RATE_LIMITS": json.dumps(LIFTED)},
            synchronous="OFF",
            migrate=create_tables,
        )
        async with AsyncExitStack() as context:
            stack = await context.enter_async_context(Stack(stack_options))
            context.enter_context(in_force(stack.env))
            await lift_platform_limits(stack.env["HUNTAZE_ONLYFANS_BASE_URL"])
            bench = Bench(stack, await connect())
            await bench.pipeline(WARM_UP)
            for recipients, rounds in plan:
                for _ in range(rounds):
                    for way in (bench.pipeline, bench.bare):
                        run = await way(recipients)
                        runs.append(run)
                        print(f"{run.way}: {recipients} in {run.seconds:.1f} s, {run.rate:.0f}/s", flush=True)
    return runs


async def lift_platform_limits(base_url: str) -> None:
    """The gateway's simulator has a plan's allowance too, and tells when it is used up; whoever is told so waits."""
    async with httpx.AsyncClient(base_url=base_url) as gateway:
        answer = await gateway.post("/_control/limits", json={"per_minute": 10_000_000, "per_day": 10_000_000})
        answer.raise_for_status()


def rate(runs: Sequence[Run], way: str, recipients: int) -> float:
    """Messages a second over all rounds."""
    chosen = [run for run in runs if run.way == way and run.recipients == recipients]
    return sum(run.recipients for run in chosen) / sum(run.seconds for run in chosen)


def report(runs: Sequence[Run], sizes: Sequence[int]) -> Report:
    """Rates, ratios, flatness, and where the time went."""
    found = Report("pipeline")
    for size in sizes:
        pipeline, bare = rate(runs, PIPELINE, size), rate(runs, BARE, size)
        found.figure(f"pipelineAt{size}", pipeline)
        found.figure(f"bareAt{size}", bare)
        found.figure(f"ratioAt{size}", pipeline / bare)
        found.at_least(f"ratioAt{size}", GOAL_RATIO)
    if len(sizes) > 1:
        small, large = min(sizes), max(sizes)
        found.figure("flatness", rate(runs, PIPELINE, large) / rate(runs, PIPELINE, small))
        found.figure("flatnessOfBareLoop", rate(runs, BARE, large) / rate(runs, BARE, small))
        found.at_least("flatness", GOAL_FLATNESS)
    _show_cpu([run for run in runs if run.way == PIPELINE and run.recipients == max(sizes)])
    return found


def _show_cpu(runs: Sequence[Run]) -> None:
    """Of one core; the process that is near 100 % is the one that everything waits for."""
    seconds = sum(run.seconds for run in runs)
    spent = {name: sum(run.cpu.get(name, 0.0) for run in runs) for name in runs[0].cpu}
    messages = sum(run.recipients for run in runs)
    table(
        f"CPU of each process in the pipeline, {runs[0].recipients} recipients ({os.cpu_count()} cores)",
        ("process", "of one core", "ms for each message"),
        [
            (name, f"{used / seconds:.0%}", f"{used / messages * 1000:.2f}")
            for name, used in sorted(spent.items(), key=lambda item: -item[1])
        ],
    )


def main() -> None:
    """Measure and report."""
    chosen = options(__doc__ or "")
    plan = [(250, 2)] if chosen.quick else [(1_000, 3), (20_000, 1)]
    runs = asyncio.run(measure(plan))
    report(runs, [size for size, _ in plan]).finish(chosen)


if __name__ == "__main__":
    main()
