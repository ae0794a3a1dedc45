"""When the new system can't: the legacy system answers, and never both of them act."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError

from adapters.bootstrap import Ports
from adapters.temporal import connect
from api.engine import Engine, EngineUnavailable
from domain.campaign import CampaignRecord, CampaignStatus, campaign_id, campaign_workflow_id
from domain.flag import HYBRID_ORCHESTRATOR
from domain.flag_evaluation import BUCKETS, bucket
from domain.legacy_answer import ANSWERED_BY_LEGACY
from domain.observation import Observed
from domain.ports import CampaignFilter
from tests.api.identity import SECRET, bearer, claims, identity_provider
from tests.api.legacy import PATH, LegacyFront, front, set_flag
from tests.api.outage import Line, line_to
from tests.local import Simulator, running

Headers = dict[str, str]

FEW = Decimal("0.01")
"""A percentage that no user of a test is among, but one in ten thousand."""


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


def come_back(answer: httpx.Response) -> bool:
    """Nobody has acted, and the client may ask again: said as the legacy system would."""
    body = answer.json()
    return (
        (answer.status_code, body["status"], body["data"]) == (503, "error", None)
        and int(answer.headers["retry-after"]) > 0
        and answer.headers["x-api-version"] == "v1-legacy-compatible"
    )


@asynccontextmanager
async def silence(port: int) -> AsyncIterator[None]:
    """A server that takes everything and says nothing."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


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

    async def test_a_send_that_may_have_been_ours_before_is_nobodys_until_that_is_known(
        self, fronts: AsyncExitStack, legacy: Simulator, line: Line, ports: Ports, owner: str, account: str
    ) -> None:
        router = await self.cut_off(fronts, legacy, line, ports, "somebody else")
        key = {"Idempotency-Key": "k"}
        assert come_back(await router.http.post(PATH, json=sending(owner, account), headers=key))
        assert await router.asked() == []
        for taken in (
            await router.http.post(PATH, json=sending(owner, account)),
            await router.http.post(PATH, json=writing(owner), headers=key),
        ):
            assert (taken.status_code, taken.headers["x-provider"]) == (200, "legacy")

    async def test_half_a_list_is_no_list(
        self, fronts: AsyncExitStack, legacy: Simulator, line: Line, ports: Ports, owner: str
    ) -> None:
        router = await self.cut_off(fronts, legacy, line, ports, owner)
        answer = await router.http.get(f"{PATH}?user_id={owner}")
        assert (answer.status_code, answer.json()["data"]) == (503, None)


class TestAStoreThatSaysNothing:
    async def test_nobody_waits_for_it(
        self, fronts: AsyncExitStack, legacy: Simulator, monkeypatch: pytest.MonkeyPatch, owner: str, account: str
    ) -> None:
        async with line_to(os.environ["AWS_ENDPOINT_URL"]) as line:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")
            router = await with_engine(fronts, legacy, Engine(refused))
            await router.flag(user_whitelist=("somebody else",))
            await line.cut()
            async with silence(line.port):
                monkeypatch.setattr("api.legacy.LOOK_S", 0.3)
                key = {"Idempotency-Key": "k"}
                answer = await router.http.post(PATH, json=sending(owner, account), headers=key, timeout=5)
                assert come_back(answer)
                assert await router.asked() == []


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
class TestARampInBetween:
    @pytest.mark.parametrize("before", [Decimal(0), FEW])
    async def test_a_repetition_stays_with_the_legacy_system(
        self, fronts: AsyncExitStack, legacy: Simulator, temporal: Client, owner: str, account: str, before: Decimal
    ) -> None:
        router = await with_engine(fronts, legacy, Engine(connect))
        await router.flag(rollout_percentage=before)
        key = {"Idempotency-Key": "k"}
        first = await router.http.post(PATH, json=sending(owner, account), headers=key)
        await router.flag(rollout_percentage=Decimal(100))
        # What the legacy system has done is neither a failure of ours nor a conflict.
        again = await router.http.post(PATH, json=sending(owner, account), headers=key)
        assert first.headers["x-provider"] == again.headers["x-provider"] == "legacy"
        assert len(await router.asked()) == 2
        with pytest.raises(RPCError):
            await temporal.get_workflow_handle(campaign_workflow_id(campaign_id(owner, "k"))).describe()
        # What is on record about it is in nobody's list.
        assert (await router.ports.campaigns.list(CampaignFilter(owner=owner), limit=1, cursor=None)).campaigns == ()

    async def test_only_what_may_send_is_put_on_record(
        self, fronts: AsyncExitStack, legacy: Simulator, ports: Ports, owner: str, account: str
    ) -> None:
        router = await with_engine(fronts, legacy, Engine(connect))
        await router.flag(rollout_percentage=FEW)
        await router.http.post(PATH, json=writing(owner), headers={"Idempotency-Key": "k"})
        await router.flag(enabled=False)
        await router.http.post(PATH, json=sending(owner, account), headers={"Idempotency-Key": "k"})
        assert await ports.campaigns.get(campaign_id(owner, "k")) is None


class TestWhoseItIs:
    """Nobody can say it: neither system acts on what may send, and no list is told to be whole."""

    async def test_while_keys_can_not_be_fetched(
        self, fronts: AsyncExitStack, legacy: Simulator, owner: str, account: str
    ) -> None:
        away = {"jwt_algorithm": "RS256", "jwt_jwks_url": "http://127.0.0.1:9/jwks.json", "jwt_secret": None}
        router = await with_engine(fronts, legacy, Engine(refused), **away)
        with identity_provider() as provider:
            token = {"Authorization": f"Bearer {provider.sign(claims(sub=owner), 'first')}"}
        await self.refuses(router, owner, account, token)

    async def test_while_the_token_is_over_and_user_ids_are_not_believed(
        self, fronts: AsyncExitStack, legacy: Simulator, owner: str, account: str
    ) -> None:
        router = await with_engine(fronts, legacy, Engine(refused), legacy_trusts_user_id=False)
        over = jwt.encode(claims(sub=owner, exp=1), SECRET, algorithm="HS256")
        await self.refuses(router, owner, account, {"Authorization": f"Bearer {over}"})

    async def refuses(self, router: LegacyFront, owner: str, account: str, token: Headers) -> None:
        key = {"Idempotency-Key": "k"}
        await router.flag(user_whitelist=(owner,))
        for refused_answer in (
            await router.http.get(f"{PATH}?user_id={owner}", headers=token),
            await router.http.post(PATH, json=sending(owner, account), headers=token | key),
        ):
            assert come_back(refused_answer)
        assert await router.asked() == []
        # What can't be done twice, or can't be repeated, is the legacy system's.
        for taken in (
            await router.http.post(PATH, json=writing(owner), headers=token | key),
            await router.http.post(PATH, json=sending(owner, account), headers=token),
            await router.http.get(f"{PATH}?user_id={uuid4()}", headers=token),
        ):
            assert (taken.status_code, taken.headers["x-provider"]) == (200, "legacy")

    async def test_while_the_flag_is_on_for_nobody_no_keys_are_fetched(
        self, fronts: AsyncExitStack, legacy: Simulator, owner: str, account: str
    ) -> None:
        with identity_provider() as provider:
            rs256 = {"jwt_algorithm": "RS256", "jwt_jwks_url": provider.url, "jwt_secret": None}
            router = await with_engine(fronts, legacy, Engine(refused), **rs256)
            token = {"Authorization": f"Bearer {provider.sign(claims(sub=owner), 'first')}"}
            key = {"Idempotency-Key": "k"}
            await router.flag()
            await router.http.get(f"{PATH}?user_id={owner}", headers=token)
            await router.http.post(PATH, json=sending(owner, account), headers=token | key)
            await router.http.post(PATH, json=writing(owner), headers=token)
            assert (provider.fetches, len(await router.asked())) == (0, 3)
            await router.flag(user_whitelist=("somebody",))
            await router.http.get(f"{PATH}?user_id={owner}", headers=token)
            assert provider.fetches == 1

    @pytest.mark.usefixtures("worker", "ai", "onlyfans")
    async def test_a_repetition_is_its_users_also_when_the_flag_is_on_for_nobody_any_more(
        self, fronts: AsyncExitStack, legacy: Simulator, owner: str, account: str
    ) -> None:
        router = await with_engine(fronts, legacy, Engine(connect), legacy_trusts_user_id=False)
        headers = bearer(owner, accounts=(account,)) | {"Idempotency-Key": "k"}
        asked = sending(owner, account)
        del asked["payload"]["accountId"]
        await router.flag(rollout_percentage=Decimal(100))
        first = await router.http.post(PATH, json=asked, headers=headers)
        await router.flag()
        again = await router.http.post(PATH, json=asked, headers=headers)
        assert (again.headers["x-provider"], again.json()["data"]["id"]) == ("hybrid", first.json()["data"]["id"])
        assert await router.asked() == []


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
        await router.flag(rollout_percentage=FEW)
        await router.http.post(PATH, json=writing(owner))
        # On for nobody, it is no experiment.
        await router.flag()
        await router.http.post(PATH, json=writing(owner))
        await router.flag(rollout_percentage=FEW)
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

    async def test_what_sends_is_evidence_at_its_end_and_its_repetition_is_none(
        self, fronts: AsyncExitStack, legacy: Simulator, owner: str, account: str
    ) -> None:
        router = await with_engine(fronts, legacy, Engine(connect))
        since = datetime.now(UTC) - timedelta(minutes=1)
        before = await router.ports.observations.observed(HYBRID_ORCHESTRATOR, since)
        await router.flag(rollout_percentage=Decimal(100))
        key = {"Idempotency-Key": str(uuid4())}
        campaign = (await router.http.post(PATH, json=sending(owner, account), headers=key)).json()["data"]["id"]
        record = await router.ports.campaigns.get(campaign)
        assert record is not None
        assert (record.routed_by, record.arm) == (HYBRID_ORCHESTRATOR, "canary")
        await router.ports.campaigns.set_status(campaign, CampaignStatus.FAILED, "timeout")
        again = await router.http.post(PATH, json=sending(owner, account), headers=key)
        assert (again.headers["x-provider"], again.json()["data"]["id"]) == ("hybrid", campaign)
        # The other arm's request is counted after whatever the repetition was counted as.
        await router.flag(rollout_percentage=Decimal(50))
        users = (uuid4().hex for _ in range(1_000))
        outside = next(user for user in users if bucket(HYBRID_ORCHESTRATOR, user) >= BUCKETS // 2)
        await router.http.post(PATH, json=writing(outside))
        await self.learned(router, since, before.canary.requests + 1, before.baseline.requests + 1)

    async def test_what_is_answered_at_its_end_is_no_evidence_twice(
        self, fronts: AsyncExitStack, legacy: Simulator, owner: str
    ) -> None:
        router = await with_engine(fronts, legacy, Engine(connect))
        await router.flag(rollout_percentage=Decimal(100))
        answer = await router.http.post(PATH, json=writing(owner))
        record = await router.ports.campaigns.get(answer.json()["data"]["id"])
        assert record is not None
        assert (record.routed_by, record.arm) == (HYBRID_ORCHESTRATOR, "")

    async def test_lists_are_evidence_too_and_so_is_a_client_that_leaves(
        self, fronts: AsyncExitStack, legacy: Simulator, owner: str
    ) -> None:
        router = await with_engine(fronts, legacy, Engine(connect))
        since = datetime.now(UTC) - timedelta(minutes=1)
        before = await router.ports.observations.observed(HYBRID_ORCHESTRATOR, since)
        await router.flag(rollout_percentage=Decimal(100))
        assert (await router.http.get(f"{PATH}?user_id={owner}")).headers["x-provider"] == "hybrid"
        await router.flag(rollout_percentage=FEW)
        assert (await router.http.get(f"{PATH}?user_id={owner}")).headers["x-provider"] == "legacy"
        await legacy.fault("server_error", status=500, count=1)
        assert (await router.http.get(f"{PATH}?user_id={owner}")).status_code == 500
        await legacy.fault("hang", hang_s=20)
        with pytest.raises(httpx.ReadTimeout):
            await router.http.post(PATH, json=writing(owner), timeout=0.3)
        seen = await self.learned(router, since, before.canary.requests + 1, before.baseline.requests + 3)
        assert seen.baseline.errors["legacy_http_500"] == before.baseline.errors.get("legacy_http_500", 0) + 1
        assert "client_gone" not in seen.baseline.errors

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
