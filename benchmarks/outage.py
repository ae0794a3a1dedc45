"""What an outage of Azure costs its callers: the ladder with its breaker in Redis, a request a second for 60 s.

Each scenario runs in three parts: Azure is healthy, Azure is out, Azure is back. Azure is preferred, so every request
goes there first. The clock of the breaker moves on by a second with each request and is not the machine's: a minute
passes in seconds. Call time-outs, back-off and latencies are real.
- 503: Azure answers with 503 at once;
- hang: Azure does not answer; the time-out is shorter than the pause between requests, so that none is under way when
  the fifth time-out opens the breaker;
- late: the same, but the time-out is as long as ten such pauses: what is under way until the fifth time-out reaches
  Azure as well.
Latency added is the p95 of requests that begin after the breaker has opened, less that of the healthy part. Providers
are the AI simulator, which takes 20 ms for an answer; Redis is a real one; the ledger is kept in memory.
"""

import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, time
from typing import Any, Final
from uuid import uuid4

import httpx
import structlog
from pydantic import SecretStr
from redis.asyncio import Redis
from temporalio.testing import ActivityEnvironment

from activities.ladder import Ladder, LadderPorts, Question
from adapters.breaker import RedisBreaker
from adapters.budget import RedisBudgets
from adapters.price import ListPrices
from adapters.provider import open_models, routing_of
from adapters.redis import open_redis
from adapters.settings import Settings
from adapters.tokens import OfflineTokens
from benchmarks.generation_overhead import prompt_for
from benchmarks.ladder_stores import Caps, Ledger, Nothing, a_record
from benchmarks.report import Options, Report, options, table
from domain.breaker import BreakerPolicy
from domain.campaign import CampaignRecord
from domain.errors import HuntazeError
from domain.progress import Tally
from domain.prompt import read_batch
from domain.provider import FallbackReason, IntentType, PreferredProvider, Provider
from local import ports
from local.caller import client
from local.guard import Guard
from local.process import SOURCE, Command, Process, child_environment
from local.redis import serving

ANSWER_MS: Final = 20
POLICY: Final = BreakerPolicy()
HEALTHY: Final = 60
OUT: Final = 60
BACK: Final = 50
"""Requests in each part."""
PROBES: Final = OUT * 1_000 // POLICY.open_ms
AFTER_RECOVERY: Final = 10
"""Requests after the first that Azure answers again: with so many it is asked once each, at most."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """``pause_s``: real seconds between two requests; ``None``: each begins when the one before was answered.

    ``under_way``: requests that begin during one call time-out.
    """

    name: str
    fault: Mapping[str, object]
    timeout_s: float
    pause_s: float | None = None
    under_way: int = 0


SCENARIOS: Final = (
    Scenario("503", {"kind": "server_error", "status": 503, "dialect": "azure"}, timeout_s=5),
    Scenario("hang", {"kind": "hang", "dialect": "azure", "hang_s": 60}, timeout_s=0.4),
    Scenario("late", {"kind": "hang", "dialect": "azure", "hang_s": 60}, timeout_s=1.0, pause_s=0.1, under_way=10),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: when it began and ended (s since 1970), who answered, and whether it found the breaker open."""

    began: float
    ended: float
    answered_by: Provider | None
    found_open: bool

    @property
    def latency_ms(self) -> float:
        """From its begin to its answer."""
        return (self.ended - self.began) * 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of a scenario. ``excess``: calls to Azure beyond one for each request, from its recovery on."""

    calls: int
    healthy_p95_ms: float
    open_p95_ms: float
    unanswered: int
    recovered_after: int
    excess: int

    @property
    def added_p95_ms(self) -> float:
        """What the outage adds once the breaker has opened."""
        return self.open_p95_ms - self.healthy_p95_ms


class Clock:
    """The breaker's, in ms; it moves when it is told to."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


class Azure:
    """The simulator's side: faults, and when calls came in."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def slow(self, latency_ms: float) -> None:
        """Every answer of every provider takes so long."""
        (await self._http.post("/_control/latency", json={"ms": latency_ms})).raise_for_status()

    async def breaks(self, fault: Mapping[str, object]) -> None:
        """From now on."""
        (await self._http.post("/_control/faults", json=fault)).raise_for_status()

    async def recovers(self) -> None:
        """From now on."""
        (await self._http.delete("/_control/faults")).raise_for_status()

    async def arrivals(self) -> Sequence[float]:
        """When calls for a text reached Azure, in s since 1970."""
        answer = await self._http.get("/_control/arrivals", params={"dialect": "azure", "endpoint": "chat"})
        answer.raise_for_status()
        found: Mapping[str, Any] = answer.json()
        return [arrival["at_ms"] / 1_000 for arrival in found["arrivals"]]


class Callers:
    """Requests at a steady pace, a second of the breaker's clock apart."""

    def __init__(self, needed: LadderPorts, record: CampaignRecord, clock: Clock, pause_s: float | None) -> None:
        self._ports = needed
        self._record = record
        self._clock = clock
        self._pause_s = pause_s
        self._number = 0

    async def ask(self, requests: int) -> list[Asked]:
        """All of them, in the order of their begin; returns when the last one has ended."""
        under_way: list[asyncio.Task[Asked]] = []
        began = perf_counter()
        for number in range(requests):
            self._clock.now_ms += 1_000
            under_way.append(asyncio.create_task(self._one()))
            if self._pause_s is None:
                await under_way[-1]
            else:
                await asyncio.sleep(began + (number + 1) * self._pause_s - perf_counter())
        return list(await asyncio.gather(*under_way))

    async def _one(self) -> Asked:
        self._number += 1
        prompt = prompt_for(self._number)
        question = Question(
            intent=IntentType.MESSAGE_GENERATION,
            purpose="write",
            unit=self._record.campaign_id,
            prompt=lambda _: prompt,
            read=read_batch,
            key=str(self._number),
        )
        ladder = Ladder(self._record, self._ports, Tally(), attempt=1, run=str(uuid4()))
        began, answered_by = time(), None
        try:
            answered_by = (await ActivityEnvironment().run(ladder.ask, question)).target.provider
        except HuntazeError as error:
            print(f"not answered: {error}")
        found_open = any(step.reason is FallbackReason.BREAKER_OPEN for step in ladder.tally.fallbacks)
        return Asked(began, time(), answered_by, found_open)


async def main(chosen: Options) -> None:
    report = Report("outage")
    # What the breaker does is in the figures.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis_port = await stack.enter_async_context(serving(directory / "redis"))
        url = await stack.enter_async_context(ai_simulator(directory))
        settings = Settings(
            redis_url=SecretStr(f"redis://{ports.HOST}:{redis_port}/0"),
            openai_api_key=SecretStr("local"),
            openai_base_url=f"{url}/v1",
            azure_openai_api_key=SecretStr("local"),
            azure_openai_endpoint=url,
            provider_keeps_answers=False,
        )
        redis = await stack.enter_async_context(open_redis(settings))
        assert isinstance(redis, Redis)
        needed = await ladder_ports(stack, settings, redis)
        azure = Azure(await stack.enter_async_context(client(url)))
        await azure.slow(ANSWER_MS)
        for scenario in SCENARIOS:
            rounds = [await run(scenario, needed, redis, azure) for _ in range(1 if chosen.quick else 3)]
            show(report, scenario, rounds)
    report.finish(chosen)


async def run(scenario: Scenario, needed: LadderPorts, redis: Redis, azure: Azure) -> Outcome:
    """Healthy, out, back, with a breaker of its own."""
    clock = Clock()
    breaker = RedisBreaker(redis, POLICY, namespace=str(uuid4()), clock_ms=clock)
    record = a_record().model_copy(update={"preferred_provider": PreferredProvider.AZURE})
    own = replace(needed, breaker=breaker, call_timeout_s=scenario.timeout_s)
    callers = Callers(own, record, clock, scenario.pause_s)
    await callers.ask(AFTER_RECOVERY)  # Connections are opened, scripts loaded.
    healthy = await callers.ask(HEALTHY)
    before = len(await azure.arrivals())
    await azure.breaks(scenario.fault)
    out = await callers.ask(OUT)
    calls = len(await azure.arrivals()) - before
    await azure.recovers()
    back = await callers.ask(BACK)
    recovered = next((number for number, asked in enumerate(back) if asked.answered_by is Provider.AZURE), BACK)
    opened_at = min((asked.ended for asked in out if asked.found_open), default=float("inf"))
    return Outcome(
        calls=calls,
        healthy_p95_ms=p95_ms(healthy),
        open_p95_ms=p95_ms([asked for asked in out if asked.began > opened_at]),
        unanswered=sum(asked.answered_by is None for asked in (*healthy, *out, *back)),
        recovered_after=recovered + 1,
        excess=excess(back[recovered:], await azure.arrivals()),
    )


def p95_ms(asked: Sequence[Asked]) -> float:
    return quantiles([each.latency_ms for each in asked], n=20)[18] if len(asked) > 1 else float("inf")


def excess(recovered: Sequence[Asked], arrivals: Sequence[float]) -> int:
    """The most calls beyond one for each request, from the probe that closed the breaker to any later request."""
    window = recovered[: AFTER_RECOVERY + 1]
    if len(window) <= AFTER_RECOVERY:
        return len(arrivals)
    starts_at = window[0].began
    return max(
        sum(starts_at <= arrival < later.began for arrival in arrivals) - number
        for number, later in enumerate(window[1:], 1)
    )


def show(report: Report, scenario: Scenario, rounds: Sequence[Outcome]) -> None:
    """The worst round for what is counted, the median for what is timed."""
    name = scenario.name
    report.figure(f"{name}_calls_to_azure", max(each.calls for each in rounds))
    report.figure(f"{name}_healthy_p95_ms", median(each.healthy_p95_ms for each in rounds))
    report.figure(f"{name}_open_p95_ms", median(each.open_p95_ms for each in rounds))
    report.figure(f"{name}_added_p95_ms", median(each.added_p95_ms for each in rounds))
    report.figure(f"{name}_unanswered", max(each.unanswered for each in rounds))
    report.figure(f"{name}_recovered_after_s", max(each.recovered_after for each in rounds))
    report.figure(f"{name}_excess_at_recovery", max(each.excess for each in rounds))
    report.at_most(f"{name}_calls_to_azure", POLICY.failures + PROBES + scenario.under_way)
    report.at_most(f"{name}_added_p95_ms", 50)
    report.at_most(f"{name}_unanswered", 0)
    report.at_most(f"{name}_recovered_after_s", POLICY.open_ms / 1_000 + scenario.under_way + 1)
    report.at_most(f"{name}_excess_at_recovery", 0)
    table(
        f"{name}: {OUT} requests while Azure is out",
        ("round", "calls to Azure", "p95 healthy ms", "p95 open ms", "not answered", "back after s", "excess calls"),
        [
            (
                number,
                each.calls,
                f"{each.healthy_p95_ms:.1f}",
                f"{each.open_p95_ms:.1f}",
                each.unanswered,
                each.recovered_after,
                each.excess,
            )
            for number, each in enumerate(rounds, 1)
        ],
    )


async def ladder_ports(stack: AsyncExitStack, settings: Settings, redis: Redis) -> LadderPorts:
    """The chain as workers have it, but for the stores."""
    ledger, nothing = Ledger(), Nothing()
    return LadderPorts(
        models=await stack.enter_async_context(open_models(settings)),
        routing=routing_of(settings),
        prices=ListPrices(),
        tokens=OfflineTokens(),
        costs=ledger,
        budgets=RedisBudgets(redis, ledger),
        budget_store=Caps(),
        breaker=RedisBreaker(redis, POLICY),
        refusals=nothing,
        experiments=nothing,
        alerts=nothing,
        call_timeout_s=settings.provider_timeout_s,
        deadline_s=settings.generation_deadline_s,
    )


@asynccontextmanager
async def ai_simulator(directory: Path) -> AsyncIterator[str]:
    """In a process of its own; its URL."""
    port = ports.choose(("ai",), {})["ai"]
    command = Command(
        name="ai",
        argv=(sys.executable, "-m", "local.ai", "--host", ports.HOST, "--port", str(port)),
        log=directory / "ai.log",
        env=child_environment({}),
        cwd=SOURCE,
    )
    with Guard() as guard:
        server = Process(command, guard)
        await server.start()
        try:
            await server.ready(lambda: ports.answers_ok(port, "/_control/health"))
            yield ports.url(port)
        finally:
            await server.stop()


if __name__ == "__main__":
    asyncio.run(main(options(__doc__ or "")))
