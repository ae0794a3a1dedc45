"""When the new system can't: the legacy system answers, and never both of them act."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError

from adapters.bootstrap import Ports
from adapters.temporal import connect
from api.engine import Engine, EngineUnavailable
from domain.campaign import CampaignRecord, CampaignStatus, campaign_id, campaign_workflow_id
from domain.flag import HYBRID_ORCHESTRATOR
from domain.legacy_answer import ANSWERED_BY_LEGACY
from domain.observation import Observed
from tests.api.legacy import PATH, LegacyFront, front, set_flag
from tests.api.outage import Line, line_to
from tests.local import Simulator, running

Headers = dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def processor() -> AsyncIterator[Simulator]:
    async with running("local.legacy") as simulator:
        yield simulator


@pytest.fixture
async def legacy(processor: Simulator) -> Simulator:
    await processor.reset()
    return processor


@pytest.fixture
async def fronts(stack: Any) -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def refused() -> Client:
    """Connects to where nobody listens."""
    return await Client.connect("127.0.0.1:9")


async def without_engine(fronts: AsyncExitStack, legacy: Simulator) -> LegacyFront:
    """The stores are there, Temporal is not."""
    return await with_engine(fronts, legacy, Engine(refused))


async def with_engine(fronts: AsyncExitStack, legacy: Simulator, engine: Engine, **changes: Any) -> LegacyFront:
    return await fronts.enter_async_context(front(legacy, engine, **changes))


class LosesItsAnswer(Engine):
    """Starts workflows, and then the connection is gone: nobody learns that it did."""

    def __init__(self, ports: Ports, *, once_running: bool) -> None:
        super().__init__(connect)
        self._ports = ports
        self._once_running = once_running

    async def start(self, record: CampaignRecord, trace_id: str) -> None:
        await super().start(record, trace_id)
        async with asyncio.timeout(30):
            while self._once_running and await status(self._ports, record.campaign_id) is CampaignStatus.PLANNING:
                await asyncio.sleep(0.02)
        raise EngineUnavailable


async def status(ports: Ports, campaign: str) -> CampaignStatus:
    record = await ports.campaigns.get(campaign)
    assert record is not None
    return record.status


def sending(user: str, account: str) -> dict[str, Any]:
    payload = {"sendToOnlyFans": True, "recipientId": "1002003", "accountId": account, "brief": "Hello."}
    return {"user_id": user, "action": "send_message", "payload": payload, "platform": "onlyfans"}


def writing(user: str) -> dict[str, Any]:
    return {"user_id": user, "action": "create_post", "payload": {"brief": f"Post {uuid4()}"}, "platform": "x"}


def fell_back(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.headers["x-provider"], answer.headers["x-api-version"]) == (
        200,
        "legacy",
        "v1-fallback",
    )


class TestWithoutTheEngine:
    async def test_the_legacy_system_answers(self, fronts: AsyncExitStack, legacy: Simulator, owner: str) -> None:
        router = await without_engine(fronts, legacy)
        await router.flag(user_whitelist=(owner,))
        answer = await router.http.post(PATH, json=writing(owner))
        assert fell_back(answer)
        assert answer.json()["data"]["provider"] == "legacy"
        assert len(await router.asked()) == 1

    async def test_what_may_send_is_first_made_unable_to(
        self, fronts: AsyncExitStack, legacy: Simulator, temporal: Client, owner: str, account: str
    ) -> None:
        router = await without_engine(fronts, legacy)
        await router.flag(user_whitelist=(owner,))
        key = {"Idempotency-Key": "first"}
        assert fell_back(await router.http.post(PATH, json=sending(owner, account), headers=key))
        campaign = campaign_id(owner, "first")
        record = await router.ports.campaigns.get(campaign)
        assert record is not None
        assert (record.status, record.status_reason) == (CampaignStatus.CANCELLED, ANSWERED_BY_LEGACY)

        # Temporal is back, and the client repeats its request: it stays with the system that has done it.
        healthy = await with_engine(fronts, legacy, Engine(connect))
        assert fell_back(await healthy.http.post(PATH, json=sending(owner, account), headers=key))
        with pytest.raises(RPCError):
            await temporal.get_workflow_handle(campaign_workflow_id(campaign)).describe()
        listed = (await healthy.http.get(f"{PATH}?user_id={owner}")).json()["data"]
        assert {entry["provider"] for entry in listed} == {"legacy"}

    async def test_when_the_legacy_system_is_away_as_well_it_is_502(
        self, fronts: AsyncExitStack, legacy: Simulator, owner: str
    ) -> None:
        router = await without_engine(fronts, legacy)
        await router.flag(user_whitelist=(owner,))
        await legacy.fault("connection_reset")
        answer = await router.http.post(PATH, json=writing(owner))
        assert (answer.status_code, answer.json()["status"]) == (502, "error")
        assert answer.headers["x-api-version"] == "v1-fallback"


@pytest.mark.usefixtures("worker", "ai", "onlyfans")
class TestNobodyKnowsWhetherItStarted:
    async def test_what_runs_already_is_never_handed_back(
        self, fronts: AsyncExitStack, legacy: Simulator, ports: Ports, owner: str, account: str
    ) -> None:
        router = await with_engine(fronts, legacy, LosesItsAnswer(ports, once_running=True))
        await router.flag(user_whitelist=(owner,))
        answer = await router.http.post(PATH, json=sending(owner, account))
        assert (answer.status_code, answer.headers["x-provider"]) == (200, "hybrid")
        assert answer.json()["data"]["status"] in {"processing", "awaiting_review"}
        assert await router.asked() == []
        assert await status(ports, answer.json()["data"]["id"]) is CampaignStatus.RUNNING

    async def test_only_one_of_both_systems_acts(
        self, fronts: AsyncExitStack, legacy: Simulator, ports: Ports, owner: str, account: str
    ) -> None:
        router = await with_engine(fronts, legacy, LosesItsAnswer(ports, once_running=False))
        await router.flag(user_whitelist=(owner,))
        keys = [str(uuid4()) for _ in range(8)]
        answers = [
            await router.http.post(PATH, json=sending(owner, account), headers={"Idempotency-Key": key}) for key in keys
        ]
        for key, answer in zip(keys, answers, strict=True):
            record = await ports.campaigns.get(campaign_id(owner, key))
            assert record is not None
            given_away = record.status_reason == ANSWERED_BY_LEGACY
            assert fell_back(answer) is given_away
            assert given_away is record.status.is_final
        assert len(await router.asked()) == sum(map(fell_back, answers))


class TestWithoutTheStore:
    @pytest.fixture
    async def line(self, stack: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
        """The way to DynamoDB, of this test's application alone."""
        async with line_to(os.environ["AWS_ENDPOINT_URL"]) as line:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")
            yield line

    async def cut_off(
        self, fronts: AsyncExitStack, legacy: Simulator, line: Line, ports: Ports, owner: str
    ) -> LegacyFront:
        router = await with_engine(fronts, legacy, Engine(connect), legacy_answer_within_s=3.0)
        await router.flag(user_whitelist=(owner,))
        await line.cut()
        return router

    async def test_what_sends_nothing_is_answered_by_the_legacy_system(
        self, fronts: AsyncExitStack, legacy: Simulator, line: Line, ports: Ports, owner: str
    ) -> None:
        router = await self.cut_off(fronts, legacy, line, ports, owner)
        assert fell_back(await router.http.post(PATH, json=writing(owner)))

    async def test_a_send_that_nobody_can_repeat_is_handed_back(
        self, fronts: AsyncExitStack, legacy: Simulator, line: Line, ports: Ports, owner: str, account: str
    ) -> None:
        router = await self.cut_off(fronts, legacy, line, ports, owner)
        assert fell_back(await router.http.post(PATH, json=sending(owner, account)))

    async def test_a_send_that_a_repetition_could_start_is_not(
        self, fronts: AsyncExitStack, legacy: Simulator, line: Line, ports: Ports, owner: str, account: str
    ) -> None:
        router = await self.cut_off(fronts, legacy, line, ports, owner)
        key = {"Idempotency-Key": "k"}
        answer = await router.http.post(PATH, json=sending(owner, account), headers=key)
        assert (answer.status_code, answer.json()["status"], answer.json()["data"]) == (500, "error", None)
        assert await router.asked() == []

    async def test_half_a_list_is_no_list(
        self, fronts: AsyncExitStack, legacy: Simulator, line: Line, ports: Ports, owner: str
    ) -> None:
        router = await self.cut_off(fronts, legacy, line, ports, owner)
        answer = await router.http.get(f"{PATH}?user_id={owner}")
        assert (answer.status_code, answer.json()["data"]) == (503, None)


@pytest.mark.usefixtures("worker", "onlyfans")
class TestWithoutModels:
    async def test_a_text_that_is_not_written_in_time_is_the_legacy_systems(
        self, fronts: AsyncExitStack, legacy: Simulator, ai: Simulator, owner: str
    ) -> None:
        router = await with_engine(fronts, legacy, Engine(connect), legacy_answer_within_s=1.0)
        await router.flag(user_whitelist=(owner,))
        await ai.fault("hang", hang_s=20)
        assert fell_back(await router.http.post(PATH, json=writing(owner)))


@pytest.mark.usefixtures("worker", "ai", "onlyfans")
class TestARollbackInBetween:
    async def test_a_repetition_goes_where_the_first_one_went(
        self, fronts: AsyncExitStack, legacy: Simulator, owner: str, account: str
    ) -> None:
        router = await with_engine(fronts, legacy, Engine(connect))
        await router.flag(rollout_percentage=Decimal(100))
        key = {"Idempotency-Key": "k"}
        first = await router.http.post(PATH, json=sending(owner, account), headers=key)
        assert first.headers["x-provider"] == "hybrid"
        await router.flag(rollout_percentage=Decimal(0))
        again = await router.http.post(PATH, json=sending(owner, account), headers=key)
        assert (again.headers["x-provider"], again.json()["data"]["id"]) == ("hybrid", first.json()["data"]["id"])
        assert await router.asked() == []
        new = await router.http.post(PATH, json=sending(owner, account), headers={"Idempotency-Key": "other"})
        assert new.headers["x-provider"] == "legacy"


@pytest.mark.usefixtures("worker", "ai", "onlyfans")
class TestObserved:
    """What a rollout learns: only from users whom its percentage has divided."""

    async def learned(self, router: LegacyFront, since: datetime, canary: int, baseline: int) -> Observed:
        async with asyncio.timeout(30):
            while True:
                seen = await router.ports.observations.observed(HYBRID_ORCHESTRATOR, since)
                if (seen.canary.requests, seen.baseline.requests) == (canary, baseline):
                    return seen
                await asyncio.sleep(0.1)

    async def test_both_arms(self, fronts: AsyncExitStack, legacy: Simulator, owner: str) -> None:
        router = await with_engine(fronts, legacy, Engine(connect))
        since = datetime.now(UTC) - timedelta(minutes=1)
        before = await router.ports.observations.observed(HYBRID_ORCHESTRATOR, since)
        canary, baseline = before.canary.requests, before.baseline.requests
        await router.flag(rollout_percentage=Decimal(100))
        await router.http.post(PATH, json=writing(owner))
        await router.flag(rollout_percentage=Decimal(0))
        await router.http.post(PATH, json=writing(owner))
        # None of these is evidence about the percentage.
        await router.http.post(PATH, json={"user_id": owner, "action": "x"})
        sends = sending(owner, "acct_a")
        await router.http.post(PATH, json=sends | {"payload": sends["payload"] | {"accountId": None}})
        await router.flag(user_whitelist=(owner,))
        await router.http.post(PATH, json=writing(owner))
        await router.flag(rollout_percentage=Decimal(100), user_blacklist=(owner,))
        await router.http.post(PATH, json=writing(owner))
        seen = await self.learned(router, since, canary + 1, baseline + 1)
        assert seen.canary.cost.count == before.canary.cost.count + 1

    async def test_a_fallback_is_an_error_of_the_canary(
        self, fronts: AsyncExitStack, legacy: Simulator, ports: Ports, owner: str
    ) -> None:
        router = await without_engine(fronts, legacy)
        since = datetime.now(UTC) - timedelta(minutes=1)
        before = await router.ports.observations.observed(HYBRID_ORCHESTRATOR, since)
        await set_flag(router.ports, HYBRID_ORCHESTRATOR, rollout_percentage=Decimal(100))
        assert fell_back(await router.http.post(PATH, json=writing(owner)))
        seen = await self.learned(router, since, before.canary.requests + 1, before.baseline.requests)
        name = "engine_unavailable"
        assert seen.canary.errors[name] == before.canary.errors.get(name, 0) + 1
