"""The peer of ``benchmarks.generation_overhead``: ``litellm.Router``, in a virtual environment of its own.

``python run.py URL MODEL QUESTIONS [REDIS]``: QUESTIONS is a JSON file with ``schemaName``, ``schema``, ``maxTokens``
and ``prompts`` (pairs of system and user text). Each line of standard input is ``{"calls": n, "inFlight": n}`` and is
answered with one line: ``{"seconds": s, "cpuSeconds": s, "each": [s, …]}``. The first line of output names versions.

Its breaker (cooldowns) and its fallback to a second deployment are on. Without the address of a Redis they are known to
this process alone, and nothing is counted. With one it has the duties of what it is compared with, as far as it can:
tokens are counted before a call, and what is used of a limit, cooldowns and a budget are shared through Redis.
"""

import asyncio
import gc
import json
import logging
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

# Before the import: no download of a price list.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # type: ignore[import-not-found]

litellm.telemetry = False
litellm.suppress_debug_info = True
logging.disable(logging.WARNING)


def router(url: str, model: str, redis_url: str | None) -> Any:
    """Two deployments of one model, the second of them for when the first fails."""
    deployment: dict[str, Any] = {"model": f"openai/{model}", "api_base": url, "api_key": "local", "timeout": 30}
    if redis_url is not None:
        deployment |= {"rpm": 1_000_000_000, "tpm": 1_000_000_000_000}
    shared: dict[str, Any] = {
        "redis_url": redis_url,
        "routing_strategy": "usage-based-routing-v2",
        "enable_pre_call_checks": True,
        "provider_budget_config": {"openai": {"budget_limit": 1_000_000, "time_period": "1d"}},
    }
    return litellm.Router(
        model_list=[
            {"model_name": "writer", "litellm_params": deployment},
            {"model_name": "reserve", "litellm_params": deployment},
        ],
        fallbacks=[{"writer": ["reserve"]}],
        num_retries=0,
        allowed_fails=5,
        cooldown_time=30,
        **(shared if redis_url is not None else {}),
    )


async def run(asked: Any, questions: dict[str, Any], calls: int, in_flight: int) -> dict[str, Any]:
    """Seconds for all calls, of processor time, and for each call."""
    prompts = questions["prompts"]
    numbers: Iterator[int] = iter(range(calls))
    each: list[float] = []

    async def worker() -> None:
        for number in numbers:
            system, user = prompts[number % len(prompts)]
            start = perf_counter()
            answer = await asked.acompletion(
                model="writer",
                messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": questions["schemaName"], "schema": questions["schema"], "strict": True},
                },
                max_completion_tokens=questions["maxTokens"],
            )
            each.append(perf_counter() - start)
            assert json.loads(answer.choices[0].message.content)["messages"]

    began, worked = perf_counter(), process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return {"seconds": perf_counter() - began, "cpuSeconds": process_time() - worked, "each": each}


async def main(url: str, model: str, questions: dict[str, Any], redis_url: str | None) -> None:
    """Until standard input ends."""
    asked = router(url, model, redis_url)
    print(json.dumps({"litellm": version("litellm"), "openai": version("openai")}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        # As in the process that it is compared with: what the start has left is not looked through again.
        gc.freeze()
        print(json.dumps(await run(asked, questions, order["calls"], order["inFlight"])), flush=True)


if __name__ == "__main__":
    address, asked_model, file, *redis = sys.argv[1:]
    asyncio.run(main(address, asked_model, json.loads(Path(file).read_text()), redis[0] if redis else None))
