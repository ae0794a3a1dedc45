"""Experiments and their results, for staff."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from adapters.settings import Settings
from api.app import create_app
from cli.experiment import result_rows
from domain.experiment import ENOUGH, ArmObservation, Metric
from domain.provider import IntentType, Provider
from domain.routing import Experiment, RoutingPolicy, Target
from local.stack import Stack
from tests.api import identity
from tests.api.conftest import served

EXPERIMENTS = "/api/v2/experiments"
Headers = dict[str, str]


def target(model: str, weight: int = 0) -> Target:
    return Target(provider=Provider.OPENAI, model=model, weight=weight)


@pytest.fixture(scope="module")
def name() -> str:
    return f"cheaper-writer-{uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def app(stack: Stack, name: str) -> FastAPI:
    experiment = Experiment(
        name=name,
        intent=IntentType.MESSAGE_GENERATION,
        arms={"now": target("gpt-4o", 3), "cheaper": target("gpt-4o-mini", 1)},
    )
    routing = RoutingPolicy(
        routes=dict.fromkeys(IntentType, (target("gpt-4o"),)),
        experiments=(experiment,),
    )
    return create_app(Settings(jwt_secret=SecretStr(identity.SECRET), routing=routing))


@pytest.fixture(scope="module")
async def experimenting(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose routing policy has one experiment."""
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        yield client


async def observe(app: FastAPI, experiment: str, arm: str, costs: list[float]) -> None:
    for cost in costs:
        await app.state.ports.experiments.observe(
            ArmObservation(
                observation_id=uuid4().hex, experiment=experiment, arm=arm, values={Metric.COST_MICROS: cost}
            )
        )


async def test_those_of_the_policy_are_listed(experimenting: httpx.AsyncClient, staff: Headers, name: str) -> None:
    assert (await experimenting.get(EXPERIMENTS, headers=staff)).json() == {
        "experiments": [
            {
                "name": name,
                "intent": "message_generation",
                "baseline": "now",
                "arms": [
                    {"arm": "now", "provider": "openai", "model": "gpt-4o", "share": 0.75},
                    {"arm": "cheaper", "provider": "openai", "model": "gpt-4o-mini", "share": 0.25},
                ],
            }
        ]
    }


async def test_without_observations_nothing_is_claimed(experimenting: httpx.AsyncClient, staff: Headers) -> None:
    [listed] = (await experimenting.get(EXPERIMENTS, headers=staff)).json()["experiments"]
    found = (await experimenting.get(f"{EXPERIMENTS}/{listed['name']}", headers=staff)).json()
    assert [each["arm"] for each in found["results"]] == ["now", "cheaper"]
    for arm in found["results"]:
        assert all((metric["count"], metric["interval"]) == (0, None) for metric in arm["metrics"].values())
        assert all(metric["verdict"] == "not_enough_data" for metric in arm["toBaseline"].values())


async def test_arms_are_compared_with_the_first(
    app: FastAPI, experimenting: httpx.AsyncClient, staff: Headers, name: str
) -> None:
    await observe(app, name, "now", [100.0, 110.0] * (ENOUGH // 2))
    await observe(app, name, "cheaper", [10.0, 12.0] * (ENOUGH // 2))
    found = (await experimenting.get(f"{EXPERIMENTS}/{name}", headers=staff)).json()
    assert (found["confidence"], found["enough"], found["experiment"]["baseline"]) == (0.95, ENOUGH, "now")
    now, cheaper = found["results"]
    assert (now["toBaseline"], now["metrics"]["cost_micros"]["mean"]) == ({}, 105.0)
    compared = cheaper["toBaseline"]["cost_micros"]
    assert (compared["difference"], compared["verdict"]) == (-94.0, "better")
    assert compared["interval"]["low"] < -94 < compared["interval"]["high"] < 0
    assert [(row[:4], row[-1]) for row in result_rows(found["results"])] == [
        (("now", "cost_micros", str(ENOUGH), "105.0"), ""),
        (("cheaper", "cost_micros", str(ENOUGH), "11.0"), "better"),
    ]


async def test_what_was_observed_outlives_the_experiment(
    app: FastAPI, experimenting: httpx.AsyncClient, staff: Headers
) -> None:
    ended = f"ended-{uuid4().hex[:8]}"
    await observe(app, ended, "old", [1.0, 2.0])
    found: dict[str, Any] = (await experimenting.get(f"{EXPERIMENTS}/{ended}", headers=staff)).json()
    assert found["experiment"] is None
    assert [(each["arm"], each["metrics"]["cost_micros"]["count"]) for each in found["results"]] == [("old", 2)]


@pytest.mark.parametrize(("path", "status"), [("/no-such-experiment", 404), ("/No_Such", 422)])
async def test_an_unknown_name_is_refused(
    experimenting: httpx.AsyncClient, staff: Headers, path: str, status: int
) -> None:
    assert (await experimenting.get(f"{EXPERIMENTS}{path}", headers=staff)).status_code == status


@pytest.mark.parametrize("path", ["", "/cheaper-writer"])
async def test_only_staff_may_look(experimenting: httpx.AsyncClient, caller: Headers, path: str) -> None:
    assert (await experimenting.get(f"{EXPERIMENTS}{path}")).status_code == 401
    assert (await experimenting.get(f"{EXPERIMENTS}{path}", headers=caller)).status_code == 403
