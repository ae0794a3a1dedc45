"""Every observation is in the sums exactly once, whoever else is observing."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from adapters.dynamodb import Dynamo
from adapters.experiment import REMEMBERED_FOR, DynamoExperiments
from adapters.tables import EXPIRY
from domain.experiment import ArmObservation, ArmTotals, Metric, MetricTotals


@pytest.fixture(scope="module")
def experiments(dynamo: Dynamo) -> DynamoExperiments:
    return DynamoExperiments(dynamo)


@pytest.fixture
def name() -> str:
    """An experiment of this test alone."""
    return f"test-{uuid4().hex[:12]}"


def observation(experiment: str, arm: str, values: dict[Metric, float], identity: str = "") -> ArmObservation:
    return ArmObservation(observation_id=identity or uuid4().hex, experiment=experiment, arm=arm, values=values)


def expected(observations: list[ArmObservation]) -> list[ArmTotals]:
    """The sums, made here."""
    arms: dict[str, dict[Metric, MetricTotals]] = {}
    for each in observations:
        metrics = arms.setdefault(each.arm, {})
        for metric, value in each.values.items():
            metrics[metric] = metrics.get(metric, MetricTotals()) + MetricTotals.of(value)
    return [ArmTotals(arm=arm, metrics=metrics) for arm, metrics in sorted(arms.items())]


async def test_many_at_once_in_three_arms_add_up_exactly(experiments: DynamoExperiments, name: str) -> None:
    made = [
        observation(
            name,
            f"arm-{number % 3}",
            {Metric.COST_MICROS: number, Metric.LATENCY_MS: number / 7, Metric.QUALITY: 1 / (number + 1)},
        )
        for number in range(60)
    ]
    await asyncio.gather(*(experiments.observe(each) for each in made))
    assert await experiments.results(name) == expected(made)


async def test_the_same_observation_counts_once_however_often_it_is_told(
    experiments: DynamoExperiments, name: str
) -> None:
    one = observation(name, "a", {Metric.QUALITY: 0.75})
    await asyncio.gather(*(experiments.observe(one) for _ in range(8)))
    await experiments.observe(one.model_copy(update={"values": {Metric.QUALITY: 0.1}}))
    assert await experiments.results(name) == expected([one])


async def test_one_call_may_be_observed_by_two_experiments(experiments: DynamoExperiments, name: str) -> None:
    first, second = (observation(each, "a", {Metric.QUALITY: 0.5}, "call-1") for each in (name, f"{name}-b"))
    await asyncio.gather(experiments.observe(first), experiments.observe(second))
    assert await experiments.results(name) == expected([first])
    assert await experiments.results(f"{name}-b") == expected([second])


async def test_what_is_known_later_is_added_beside_the_rest(experiments: DynamoExperiments, name: str) -> None:
    made = [
        observation(name, "a", {Metric.COST_MICROS: 120, Metric.COMPLIANCE: 1}),
        observation(name, "a", {Metric.SATISFACTION: 0.5}),
    ]
    for each in made:
        await experiments.observe(each)
    assert await experiments.results(name) == expected(made)


async def test_sums_are_exact(experiments: DynamoExperiments, name: str) -> None:
    for _ in range(10):
        await experiments.observe(observation(name, "a", {Metric.QUALITY: 0.1}))
    [arm] = await experiments.results(name)
    assert arm.metrics[Metric.QUALITY] == MetricTotals(count=10, total=1_000_000, squares=10 * 100_000**2)


async def test_nothing_observed_is_no_arm(experiments: DynamoExperiments, name: str) -> None:
    await experiments.observe(observation(name, "a", {}))
    assert await experiments.results(name) == []


async def test_only_the_memory_of_observations_expires(
    experiments: DynamoExperiments, dynamo: Dynamo, name: str
) -> None:
    one = observation(name, "a", {Metric.QUALITY: 0.5}, f"call-{name}")
    await experiments.observe(one)
    items = [item async for item in dynamo.scan(TableName=dynamo.table("experiments"))]
    seen = [item for item in items if item["scope"]["S"] == f"observation#{name}#call-{name}"]
    sums = [item for item in items if item["scope"]["S"] == f"experiment#{name}"]
    assert (len(seen), len(sums)) == (1, 1)
    assert EXPIRY not in sums[0]
    remembered = datetime.fromtimestamp(int(seen[0][EXPIRY]["N"]), UTC) - datetime.now(UTC)
    assert REMEMBERED_FOR - timedelta(hours=1) < remembered <= REMEMBERED_FOR
