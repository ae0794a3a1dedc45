"""What the chain around a model call costs: route, breaker, budgets in every scope, tokens, prices, cost entry.

In the same run, in turns, against a server that answers the same after 20 ms (``benchmarks.fixed_answers``):
- ours: ``Ladder.ask`` with breaker and budgets in a Redis of their own, every scope with a cap; one ladder serves the
  calls of a page, as in an activity;
- bare: ``AsyncOpenAI`` on the same HTTP client, nothing around it, through its own method for completions;
- raw: the same through its ``post``, which neither checks the request nor builds an answer: what ours stands on, the
  floor. What the chain costs in processor time is the difference to this one;
- litellm: ``litellm.Router`` with cooldowns and a fallback that its process alone knows, and no budget: fewer duties;
- shared: the same with the duties that it shares with ours: tokens counted before a call, and limits, cooldowns and one
  budget (ours are six) in the same Redis. Both run in a process and a virtual environment of their own, made at the
  first run: they need an older ``openai``.
All send the same prompts. The ledger is kept in memory: with a simulator of DynamoDB the simulator would be measured.
Ratios and differences are medians over the rounds. What every process has after its start is taken out of the garbage
collector's sight (``gc.freeze``), as the worker does.
"""

import asyncio
import gc
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import repeat
from pathlib import Path
from statistics import median, quantiles
from typing import Final
from uuid import uuid4

from openai import AsyncOpenAI
from pydantic import SecretStr
from temporalio.testing import ActivityEnvironment

from activities.ladder import Ladder, LadderPorts, Question
from adapters.breaker import RedisBreaker
from adapters.budget import RedisBudgets
from adapters.price import ListPrices
from adapters.prompt import FilePrompts
from adapters.provider import open_models, routing_of
from adapters.provider_http import DirectHttpClient
from adapters.redis import open_redis
from adapters.settings import Settings
from adapters.tokens import OfflineTokens
from benchmarks.calls import Ask, Round, Run, timed
from benchmarks.ladder_stores import Caps, Ledger, Nothing, a_record
from benchmarks.litellm_router import litellm_router
from benchmarks.report import Options, Report, options, table
from domain.progress import Tally
from domain.prompt import Prompt, Variant, read_batch
from domain.provider import ContentPlan, IntentType, RecipientProfile, WritingTask
from domain.rate_limit import MessageType
from local import ports
from local.guard import Guard
from local.process import SOURCE, Command, Process, child_environment
from local.redis import serving

WAIT_S: Final = 0.020
PROMPTS: Final = 500
PAGE: Final = 10
"""Calls of one activity: a page of 50 recipients, five of them a call."""
MODEL: Final = "gpt-4o"

OURS, BARE, RAW, LITELLM, SHARED = "ours", "bare", "raw", "litellm", "shared"


async def main(chosen: Options) -> None:
    report = Report("generation_overhead")
    prompts = [prompt_for(number) for number in range(PROMPTS)]
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis_port = await stack.enter_async_context(serving(directory / "redis"))
        url = await stack.enter_async_context(fixed_answers(directory))
        redis_url = f"redis://{ports.HOST}:{redis_port}/0"
        settings = Settings(
            redis_url=SecretStr(redis_url),
            openai_api_key=SecretStr("local"),
            openai_base_url=url,
            openai_model=MODEL,
        )
        ledger = Ledger()
        contestants: dict[str, Run] = {
            OURS: in_activity(timed(await ladder(stack, settings, ledger), prompts)),
            BARE: timed(bare(await client(stack, url)), prompts),
            RAW: timed(raw(await client(stack, url)), prompts),
            LITELLM: await stack.enter_async_context(litellm_router(url, MODEL, prompts, directory)),
            SHARED: await stack.enter_async_context(
                litellm_router(url, MODEL, prompts, directory, redis_url=redis_url)
            ),
        }
        rounds, alone, together = (3, 40, 400) if chosen.quick else (7, 150, 2_000)
        for name, run in contestants.items():
            # Connections are opened, scripts loaded, caches filled.
            await run(200, 50)
            print(f"{name} is warm")
        # As the worker does when it has started.
        gc.freeze()
        made = 200 + rounds * (alone + together)
        for in_flight, calls in ((1, alone), (50, together)):
            measured: dict[str, list[Round]] = defaultdict(list)
            for _ in range(rounds):
                for name, run in contestants.items():
                    measured[name].append(await run(calls, in_flight))
            show(report, in_flight, measured)
        assert len(ledger.operations_booked) == made, "every call of the ladder is in the ledger, once"
    report.at_most("added_p50_ms_1", 3)
    report.at_least("ours_to_bare_50", 0.8)
    report.at_least("ours_to_litellm_50", 4)
    report.at_least("ours_to_shared_50", 4)
    report.finish(chosen)


def show(report: Report, in_flight: int, measured: dict[str, list[Round]]) -> None:
    """The figures of every contestant, and ours against the others round by round."""
    rows = []
    for name, rounds in measured.items():
        figures = {
            "per_s": median(each.rate for each in rounds),
            "p50_ms": median(each.p50_ms for each in rounds),
            "p99_ms": quantiles([one for each in rounds for one in each.each], n=100)[98] * 1_000,
            "cpu_ms": median(each.cpu_ms for each in rounds),
        }
        for figure, value in figures.items():
            report.figure(f"{name}_{figure}_{in_flight}", value)
        rows.append((name, f"{figures.pop('per_s'):,.0f}", *(f"{value:.2f}" for value in figures.values())))
    table(f"{in_flight} in flight", ("", "requests/s", "p50 ms", "p99 ms", "CPU ms a request"), rows)
    for other in (BARE, RAW, LITELLM, SHARED):
        pairs = zip(measured[OURS], measured[other], strict=True)
        report.figure(f"ours_to_{other}_{in_flight}", median(ours.rate / theirs.rate for ours, theirs in pairs))
    pairs = zip(measured[OURS], measured[BARE], strict=True)
    report.figure(f"added_p50_ms_{in_flight}", median(ours.p50_ms - floor.p50_ms for ours, floor in pairs))


def in_activity(run: Run) -> Run:
    """The ladder expects to be called by an activity."""
    return lambda calls, in_flight: ActivityEnvironment().run(run, calls, in_flight)


async def ladder(stack: AsyncExitStack, settings: Settings, ledger: Ledger) -> Ask:
    """The chain as workers have it, but for the stores."""
    redis = await stack.enter_async_context(open_redis(settings))
    models = await stack.enter_async_context(open_models(settings))
    nothing = Nothing()
    needed = LadderPorts(
        models=models,
        routing=routing_of(settings),
        prices=ListPrices(),
        tokens=OfflineTokens(),
        costs=ledger,
        budgets=RedisBudgets(redis, ledger),
        budget_store=Caps(),
        breaker=RedisBreaker(redis, settings.breaker),
        refusals=nothing,
        experiments=nothing,
        alerts=nothing,
        call_timeout_s=settings.provider_timeout_s,
        deadline_s=settings.generation_deadline_s,
    )
    record = a_record()

    def ladders() -> Iterator[Ladder]:
        while True:
            yield from repeat(Ladder(record, needed, Tally(), attempt=1, run=str(uuid4())), PAGE)

    pages = ladders()

    async def ask(prompt: Prompt) -> None:
        one = next(pages)
        question = Question(
            intent=IntentType.MESSAGE_GENERATION,
            purpose="write",
            key=str(uuid4()),
            unit=record.campaign_id,
            prompt=lambda _: prompt,
            read=read_batch,
        )
        answered = await one.ask(question)
        assert answered.value
        assert one.tally.fallback_count == 0

    return ask


async def client(stack: AsyncExitStack, url: str) -> AsyncOpenAI:
    """The SDK on the HTTP client that we use."""
    return await stack.enter_async_context(
        AsyncOpenAI(api_key="local", base_url=url, max_retries=0, timeout=30, http_client=DirectHttpClient(30))
    )


def bare(sdk: AsyncOpenAI) -> Ask:
    """As its documentation has it."""

    async def ask(prompt: Prompt) -> None:
        completion = await sdk.chat.completions.create(
            model=MODEL,
            messages=[{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": prompt.schema_name, "schema": prompt.json_schema, "strict": True},
            },
            max_completion_tokens=prompt.max_output_tokens,
        )
        assert completion.choices[0].message.content

    return ask


def raw(sdk: AsyncOpenAI) -> Ask:
    """The answer's bytes, read as JSON."""

    async def ask(prompt: Prompt) -> None:
        body = {
            "model": MODEL,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": prompt.schema_name, "schema": prompt.json_schema, "strict": True},
            },
            "max_completion_tokens": prompt.max_output_tokens,
        }
        content = await sdk.post("/chat/completions", cast_to=bytes, body=body)
        assert json.loads(content)["choices"][0]["message"]["content"]

    return ask


@asynccontextmanager
async def fixed_answers(directory: Path) -> AsyncIterator[str]:
    """The server, in a process of its own; its base URL."""
    port = ports.choose(("fixed",), {})["fixed"]
    command = Command(
        name="fixed_answers",
        argv=(sys.executable, "-m", "benchmarks.fixed_answers", str(port), str(WAIT_S)),
        log=directory / "fixed_answers.log",
        env=child_environment({}),
        cwd=SOURCE,
    )

    async def answers() -> bool:
        return ports.is_listening(port)

    with Guard() as guard:
        server = Process(command, guard)
        await server.start()
        try:
            await server.ready(answers)
            yield f"http://{ports.HOST}:{port}/v1"
        finally:
            await server.stop()


def prompt_for(number: int) -> Prompt:
    """What a writer is asked for one fan; no two prompts are the same, so that nobody remembers an answer."""
    plan = ContentPlan(
        theme="Spring sale",
        tone="warm",
        angle="a first look for those who were there last year",
        call_to_action="Reply for a first look",
        talking_points=("a new photo set", "only this week", "made for regulars"),
    )
    fan = RecipientProfile(recipient_id=str(1_002_003 + number), name=f"Maya{number}", tier="vip")
    task = WritingTask(
        brief="Spring sale: the new photo set, warm and personal.",
        message_type=MessageType.PROMOTIONAL,
        plan=plan,
        recipients=(fan,),
    )
    return FilePrompts().write(task, Variant.USUAL)


if __name__ == "__main__":
    asyncio.run(main(options(__doc__ or "")))
