"""How fast a flag is evaluated, and how soon a change of one is in force everywhere.

Evaluation: the same flag (100 users on the allow list, 100 on the deny list, a condition on the tier, 25 %) and the
same users, whose contexts are ready, in ``FlagSnapshot.evaluate``, which is what the API calls, in UnleashClient, in
growthbook and in flagd's evaluator for Python. They take turns, round by round; a figure is the median of the rounds.
Ours answers with the reason and the flag's revision. All must agree on the lists and the condition; whom the 25 %
reach differs, as each has a hash of its own.

Propagation: from the beginning of a put to the moment from which all of four other processes evaluate by the new
revision, at which they look every millisecond; with Redis, while it is away, and when it is back.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from statistics import median, quantiles
from time import monotonic_ns, perf_counter
from typing import Any, Final

import structlog
from growthbook import GrowthBook
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from redis.asyncio import Redis
from UnleashClient.cache import FileCache
from UnleashClient.clients.unleash_client import UnleashClient

from adapters.bootstrap import open_tables
from adapters.dynamodb import Dynamo
from adapters.flag import DynamoFlags
from adapters.flag_snapshot import FlagSnapshot, open_flags
from adapters.redis import open_redis
from adapters.settings import Settings
from benchmarks.report import Options, Report, options, table
from domain.flag import Flag, FlagConditions, FlagConfig, FlagSubject, changed
from local import ports
from local.process import child_environment
from local.redis import serving
from local.stack import Stack, StackOptions

NAME: Final = "canary"
LISTED: Final = 100
USERS: Final = 2_000
PERCENTAGE: Final = 25
FOLLOWERS: Final = 4

User = tuple[str, str]
"""Id and tier."""

ALLOWED: Final = [f"allowed-{number}" for number in range(LISTED)]
DENIED: Final = [f"denied-{number}" for number in range(LISTED)]
CALM: Final = structlog.make_filtering_bound_logger(50)
"""Nothing is logged: what happens here is in the figures."""


def main(chosen: Options) -> None:
    structlog.configure(wrapper_class=CALM)
    report = Report("flags")
    asyncio.run(evaluation(report, chosen))
    asyncio.run(propagation(report, chosen))
    report.finish(chosen)


async def evaluation(report: Report, chosen: Options) -> None:
    """Evaluations a second of each, and how many times as fast as the fastest other one ours is."""
    users = population()
    with tempfile.TemporaryDirectory() as directory:
        evaluators = {
            "ours": await ours(users),
            "unleash": unleash(users, directory),
            "growthbook": growthbook(users),
            "flagd": flagd(users),
        }
        answers = {name: evaluate() for name, evaluate in evaluators.items()}
        rates: dict[str, list[float]] = {name: [] for name in evaluators}
        for _ in range(10 if chosen.quick else 60):
            for name, evaluate in evaluators.items():
                began = perf_counter()
                evaluate()
                rates[name].append(USERS / (perf_counter() - began))
    report.figure("disagreements", sum(disagrees(user, answers, at) for at, user in enumerate(users)))
    report.at_most("disagreements", 0)
    rows = []
    for name, measured in rates.items():
        in_percentage = [at for at, (user, tier) in enumerate(users) if tier == "vip" and user.startswith("user-")]
        share = sum(answers[name][at] for at in in_percentage) / len(in_percentage)
        report.figure(f"{name}_per_second", median(measured))
        rows.append((name, f"{median(measured):,.0f}", f"{1e6 / median(measured):.2f}", f"{share:.1%}"))
    table("evaluation", ("evaluator", "a second", "µs each", "reached by the 25 %"), rows)
    others = zip(*(measured for name, measured in rates.items() if name != "ours"), strict=True)
    ratios = [our / max(other) for our, other in zip(rates["ours"], others, strict=True)]
    report.figure("times_the_fastest_other", median(ratios))
    report.at_least("times_the_fastest_other", 5)


def population() -> Sequence[User]:
    """Listed users, and twice as many of each tier as there are of those."""
    listed = [(user, "vip" if at % 2 else "free") for at, user in enumerate((*ALLOWED, *DENIED))]
    others = [(f"user-{number}", "vip" if number % 2 else "free") for number in range(USERS - len(listed))]
    return [*listed, *others]


def disagrees(user: User, answers: Mapping[str, Sequence[bool]], at: int) -> bool:
    """Whether an evaluator did not say what the lists and the condition demand."""
    name, tier = user
    if name.startswith("user-") and tier == "vip":
        return False
    return any(answer[at] is not name.startswith("allowed-") for answer in answers.values())


async def ours(users: Sequence[User]) -> Callable[[], Sequence[bool]]:
    flag, _ = changed(
        None,
        FlagConfig(
            name=NAME,
            enabled=True,
            rollout_percentage=Decimal(PERCENTAGE),
            user_whitelist=tuple(ALLOWED),
            user_blacklist=tuple(DENIED),
            conditions=FlagConditions(user_tier=("vip",)),
        ),
        actor="benchmark",
        at=datetime.now(UTC),
        reason="to be measured",
    )

    async def read() -> Sequence[Flag]:
        return [flag]

    snapshot = FlagSnapshot(read, Redis(), "unused", {})
    await snapshot.refresh()
    subjects = [FlagSubject(user_id=user, tier=tier) for user, tier in users]
    return lambda: [snapshot.evaluate(NAME, subject).enabled for subject in subjects]


def unleash(users: Sequence[User], directory: str) -> Callable[[], Sequence[bool]]:
    """Two strategies, of which one has to apply: the allow list, and the rest."""

    def constraint(name: str, operator: str, values: Sequence[str]) -> dict[str, Any]:
        return {"contextName": name, "operator": operator, "values": list(values)}

    rollout = {"rollout": str(PERCENTAGE), "stickiness": "userId", "groupId": NAME}
    everybody = {"rollout": "100", "stickiness": "userId", "groupId": NAME}
    strategies = [
        {
            "name": "flexibleRollout",
            "parameters": everybody,
            "constraints": [constraint("userId", "IN", ALLOWED)],
        },
        {
            "name": "flexibleRollout",
            "parameters": rollout,
            "constraints": [constraint("userId", "NOT_IN", DENIED), constraint("tier", "IN", ["vip"])],
        },
    ]
    cache = FileCache("benchmark", directory=directory)
    cache.bootstrap_from_dict(
        {"version": 2, "features": [{"name": NAME, "type": "release", "enabled": True, "strategies": strategies}]}
    )
    client = UnleashClient(
        "http://127.0.0.1:9", "benchmark", cache=cache, disable_metrics=True, disable_registration=True
    )
    contexts = [{"userId": user, "properties": {"tier": tier}} for user, tier in users]
    return lambda: [client.is_enabled(NAME, context) for context in contexts]


def growthbook(users: Sequence[User]) -> Callable[[], Sequence[bool]]:
    rules = [
        {"condition": {"id": {"$in": DENIED}}, "force": False},
        {"condition": {"id": {"$in": ALLOWED}}, "force": True},
        {
            "condition": {"tier": {"$in": ["vip"]}},
            "force": True,
            "coverage": PERCENTAGE / 100,
            "hashAttribute": "id",
        },
    ]
    client = GrowthBook(features={NAME: {"defaultValue": False, "rules": rules}})
    attributes = [{"id": user, "tier": tier} for user, tier in users]

    def evaluate(attributes_of_one: dict[str, Any]) -> bool:
        client.set_attributes(attributes_of_one)
        return bool(client.is_on(NAME))

    return lambda: [evaluate(each) for each in attributes]


def flagd(users: Sequence[User]) -> Callable[[], Sequence[bool]]:
    fractional = {"fractional": [["on", PERCENTAGE], ["off", 100 - PERCENTAGE]]}
    targeting = {
        "if": [
            {"in": [{"var": "targetingKey"}, DENIED]},
            "off",
            {"in": [{"var": "targetingKey"}, ALLOWED]},
            "on",
            {"in": [{"var": "tier"}, ["vip"]]},
            fractional,
            "off",
        ]
    }
    core = FlagdCore()
    flag = {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": targeting,
    }
    core.set_flags({"flags": {NAME: flag}})
    contexts = [EvaluationContext(user, {"tier": tier}) for user, tier in users]
    return lambda: [core.resolve_boolean_value(NAME, False, context).value for context in contexts]


async def propagation(report: Report, chosen: Options) -> None:
    """ms from a put to the last of the processes."""
    times = {"pushed": 50 if chosen.quick else 200, "redis_away": 10 if chosen.quick else 40}
    times["redis_back"] = times["redis_away"]
    taken: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dynamo = await stack.enter_async_context(tables(directory))
        port = ports.choose(("redis",), {})["redis"]
        os.environ["HUNTAZE_REDIS_URL"] = f"redis://{ports.HOST}:{port}/0"
        redis = await stack.enter_async_context(open_redis(Settings()))
        store = DynamoFlags(dynamo, redis)
        flag = await made(store)
        async with serving(directory / "redis", port=port):
            followers = [await stack.enter_async_context(follower()) for _ in range(FOLLOWERS)]
            flag, _ = await timed(store, flag, followers, 3)
            flag, taken["pushed"] = await timed(store, flag, followers, times["pushed"])
        flag, taken["redis_away"] = await timed(store, flag, followers, times["redis_away"])
        async with serving(directory / "redis", port=port):
            _, taken["redis_back"] = await timed(store, flag, followers, times["redis_back"])
    rows = []
    for name, milliseconds in taken.items():
        p99 = quantiles(milliseconds, n=100, method="inclusive")[98]
        report.figure(f"{name}_p50_ms", median(milliseconds))
        report.figure(f"{name}_p99_ms", p99)
        report.at_most(f"{name}_p99_ms", 1_000)
        rows.append((name, len(milliseconds), f"{median(milliseconds):.0f}", f"{p99:.0f}", f"{max(milliseconds):.0f}"))
    table(f"in force in {FOLLOWERS} processes", ("redis", "changes", "p50 ms", "p99 ms", "longest ms"), rows)


@asynccontextmanager
async def tables(directory: Path) -> AsyncIterator[Dynamo]:
    """A DynamoDB of its own, with the product's tables."""

    async def migrate(env: Mapping[str, str]) -> None:
        os.environ.update(child_environment(env))
        async with open_tables(Settings()) as created:
            await created.migrate()

    options = StackOptions(directory=directory / "stack", parts=frozenset({"moto"}), migrate=migrate)
    async with Stack(options), open_tables(Settings()) as opened:
        yield opened


async def made(store: DynamoFlags) -> Flag:
    flag, entry = changed(None, FlagConfig(name=NAME, enabled=True), actor="benchmark", at=datetime.now(UTC), reason="")
    assert await store.put(flag, entry)
    return flag


async def timed(
    store: DynamoFlags, flag: Flag, followers: Sequence[asyncio.StreamReader], times: int
) -> tuple[Flag, list[float]]:
    """Change the flag so many times, each when the one before has arrived everywhere."""
    taken = []
    for number in range(times):
        config = FlagConfig(name=NAME, enabled=True, rollout_percentage=Decimal(number % 101))
        flag, entry = changed(flag, config, actor="benchmark", at=datetime.now(UTC), reason="to be measured")
        began = monotonic_ns()
        assert await store.put(flag, entry)
        arrived = await asyncio.gather(*(arrival(each, flag.revision) for each in followers))
        taken.append((max(arrived) - began) / 1e6)
    return flag, taken


async def arrival(follower: asyncio.StreamReader, revision: int) -> int:
    """When a process first evaluated by the revision, in ns of the clock that all processes share."""
    while line := await follower.readline():
        seen, at = map(int, line.split())
        if seen == revision:
            return at
    raise RuntimeError("a process that follows the flag has ended")


@asynccontextmanager
async def follower() -> AsyncIterator[asyncio.StreamReader]:
    """Another process, which writes a line for each revision by which it evaluates."""
    command = (sys.executable, "-c", "from benchmarks.flags import follow; follow()")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


def follow() -> None:
    """What the other processes do until they are killed."""
    structlog.configure(wrapper_class=CALM)

    async def watch() -> None:
        somebody, revision = FlagSubject(user_id="user-1"), 0
        async with open_flags(Settings()) as flags:
            while True:
                seen = flags.evaluate(NAME, somebody).revision
                if seen != revision:
                    revision = seen
                    print(revision, monotonic_ns(), flush=True)
                await asyncio.sleep(0.001)

    asyncio.run(watch())


if __name__ == "__main__":
    main(options(__doc__ or ""))
