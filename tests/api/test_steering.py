"""Pause, cancel and recall hold from the answer on, whoever is there to carry them out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.delivery import DeliveryActivities, DeliveryPorts
from adapters.bootstrap import Ports
from adapters.settings import Settings
from adapters.temporal import TemporalSendQueues, connect
from api.app import create_app
from api.engine import Engine
from api.intake import accept
from domain.access import Principal, Role
from domain.campaign import CampaignInput, CampaignRecord, CampaignStatus, campaign_workflow_id
from domain.delivery import Delivered, Message, MessageStatus, message_id, send_queue_id
from domain.progress import CampaignRun
from domain.rate_limit import LimitPolicy
from domain.send_queue import Candidate, DeliveryReport, DeliveryRound, EnqueueBatch
from tests.api.conftest import served
from tests.api.identity import SECRET, bearer
from tests.api.test_engine_outage import refused
from tests.api.test_progress import CAMPAIGNS
from tests.local import Simulator
from tests.workflows.launcher import Handle, intent
from workflows.campaign import CampaignWorkflow
from workflows.delivery import SendQueueWorkflow
from workflows.policies import ORCHESTRATION

STAFF = bearer("staff", "operator")
Change = Callable[[], Awaitable[object]]


@pytest.fixture
async def record(ports: Ports, settings: Settings) -> CampaignRecord:
    """A running campaign of four fans, by the store."""
    staff = Principal(user_id="staff", role=Role.OPERATOR)
    strict = intent(4, compliance="strict")
    stored, _ = await accept(strict, str(uuid4()), staff, ports, settings, datetime.now(UTC))
    await ports.campaigns.set_status(stored.campaign_id, CampaignStatus.RUNNING, "", revision=1, heard=0)
    return stored


@pytest.fixture
async def messages(ports: Ports, record: CampaignRecord) -> list[Message]:
    """Its messages, all of which wait to be sent."""
    account = record.lanes[0].account_id
    queued = [
        Message(
            message_id=message_id(record.campaign_id, account, recipient),
            campaign_id=record.campaign_id,
            account_id=account,
            recipient_id=recipient,
            page=0,
            message_type=record.message_type,
            status=MessageStatus.QUEUED,
            text="Hello Maya, spring is here.",
            updated_at=datetime.now(UTC),
        )
        for recipient in ("1", "2", "3", "4")
    ]
    await ports.messages.create_many(queued)
    return queued


@pytest.fixture
async def unattended(temporal: Client, record: CampaignRecord) -> AsyncIterator[Handle]:
    """Its workflow, which takes signals, and for which no worker is there."""
    handle = await temporal.start_workflow(
        CampaignWorkflow.run,
        CampaignRun(input=CampaignInput.of(record, "trace")),
        id=campaign_workflow_id(record.campaign_id),
        task_queue=f"nobody-{uuid4()}",
    )
    yield handle
    await handle.terminate()


async def deliver(ports: Ports, messages: list[Message], during_the_second: Change | None = None) -> DeliveryReport:
    """One round of a delivery worker; ``during_the_second``: what somebody does during its second call."""

    class InterruptedGateway:
        calls = 0

        async def send(self, **arguments: Any) -> Delivered:
            self.calls += 1
            if self.calls == 2 and during_the_second is not None:
                await during_the_second()
            return await ports.gateway.send(**arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(ports.gateway, name)

    sending = DeliveryPorts(
        messages=ports.messages,
        gate=ports.gate,
        accounts=ports.accounts,
        limiter=ports.limiter,
        gateway=InterruptedGateway(),
        alerts=ports.alerts,
        policy=LimitPolicy(),
        lease_ms=60_000,
        send_timeout_s=30,
        grace_s=3,
    )
    asked = tuple(Candidate(campaign_id=each.campaign_id, message_id=each.message_id) for each in messages)
    request = DeliveryRound(account_id=messages[0].account_id, candidates=asked)
    return await ActivityEnvironment().run(DeliveryActivities(sending).deliver, request)


async def accepted(onlyfans: Simulator, messages: Sequence[Message]) -> int:
    """Of the account of these; what others wait with may be sent at any time."""
    accounts = (await onlyfans.get("report"))["accounts"]
    return int(accounts.get(messages[0].account_id, {"accepted": 0})["accepted"])


@asynccontextmanager
async def without_engine(connecting: Callable[[], Awaitable[Client]]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API whose engine is as ``connecting`` says."""
    app = create_app(Settings(jwt_secret=SecretStr(SECRET)))
    app.state.engine = Engine(connecting)
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        yield client


@pytest.mark.usefixtures("unattended")
class TestWithNoWorkerForWorkflows:
    async def test_a_pause_takes_effect_within_one_message(
        self,
        api: httpx.AsyncClient,
        ports: Ports,
        record: CampaignRecord,
        messages: list[Message],
        onlyfans: Simulator,
    ) -> None:
        url = f"{CAMPAIGNS}/{record.campaign_id}"

        async def pause() -> None:
            paused = await api.post(f"{url}/pause", headers=STAFF)
            assert (paused.status_code, paused.json()["campaign"]["status"]) == (202, "paused")

        report = await deliver(ports, messages, pause)
        assert (await accepted(onlyfans, messages), len(report.settled)) == (2, 2)
        assert report.paused_campaigns == (record.campaign_id,)
        assert (await deliver(ports, messages[2:])).settled == ()
        assert await accepted(onlyfans, messages) == 2

        assert (await api.post(f"{url}/resume", headers=STAFF)).status_code == 202
        await deliver(ports, messages[2:])
        assert await accepted(onlyfans, messages) == 4

    @pytest.mark.parametrize("how", ["cancel", "recall"])
    async def test_nothing_is_sent_after_a_cancellation(
        self,
        api: httpx.AsyncClient,
        ports: Ports,
        record: CampaignRecord,
        messages: list[Message],
        onlyfans: Simulator,
        how: str,
    ) -> None:
        url = f"{CAMPAIGNS}/{record.campaign_id}"

        async def stop() -> None:
            headers = STAFF | {"Prefer": "wait=0"}
            assert (await api.post(f"{url}/{how}", headers=headers)).status_code == 202

        await deliver(ports, messages, stop)
        assert await accepted(onlyfans, messages) == 2
        ended = await deliver(ports, messages[2:])
        assert [each.status for each in ended.settled] == [MessageStatus.CANCELLED] * 2
        assert await accepted(onlyfans, messages) == 2

        for late in ("pause", "resume"):
            refused = await api.post(f"{url}/{late}", headers=STAFF)
            assert (refused.status_code, "being cancelled" in refused.json()["detail"]) == (409, True)
        assert (await api.post(f"{url}/cancel", headers=STAFF)).status_code == 202


class TestWithoutTheEngine:
    @pytest.mark.parametrize("how", ["pause", "cancel", "recall"])
    async def test_it_holds_although_the_answer_is_503(
        self,
        ports: Ports,
        stack: object,
        record: CampaignRecord,
        messages: list[Message],
        onlyfans: Simulator,
        how: str,
    ) -> None:
        async with without_engine(refused) as away:
            url = f"{CAMPAIGNS}/{record.campaign_id}"
            assert (await away.post(f"{url}/{how}", headers=STAFF)).status_code == 503
            status = (await away.get(f"{CAMPAIGNS}/status?workflowId={record.campaign_id}", headers=STAFF)).json()
        assert status["campaign"]["status"] == ("paused" if how == "pause" else "cancelling")
        await deliver(ports, messages)
        assert await accepted(onlyfans, messages) == 0

    async def test_the_workflow_is_told_as_soon_as_the_engine_is_back(
        self, record: CampaignRecord, unattended: Handle
    ) -> None:
        away = True

        async def coming_back() -> Client:
            return await (refused() if away else connect())

        async with without_engine(coming_back) as api:
            assert (await api.post(f"{CAMPAIGNS}/{record.campaign_id}/cancel", headers=STAFF)).status_code == 503
            away = False
            assert await signalled(unattended) == ["cancel"]


async def signalled(handle: Handle) -> list[str]:
    """The names of the signals that a workflow has got, as soon as there are any."""
    async with asyncio.timeout(60):
        while True:
            history = await handle.fetch_history()
            names = [
                event.workflow_execution_signaled_event_attributes.signal_name
                for event in history.events
                if event.HasField("workflow_execution_signaled_event_attributes")
            ]
            if names:
                return names
            await asyncio.sleep(0.1)


@pytest.mark.usefixtures("worker")
async def test_what_a_pause_has_parked_goes_on_although_no_workflow_is_left_to_say_so(
    api: httpx.AsyncClient,
    temporal: Client,
    record: CampaignRecord,
    messages: list[Message],
    onlyfans: Simulator,
) -> None:
    url, account = f"{CAMPAIGNS}/{record.campaign_id}", messages[0].account_id
    assert (await api.post(f"{url}/pause", headers=STAFF)).status_code == 409
    batch = EnqueueBatch(
        campaign_id=record.campaign_id,
        batch=0,
        priority=record.priority,
        message_type=record.message_type,
        message_ids=tuple(message.message_id for message in messages),
        reports=False,
    )
    await TemporalSendQueues(temporal, ORCHESTRATION).enqueue(account, batch)
    queue = temporal.get_workflow_handle(send_queue_id(account))
    async with asyncio.timeout(60):
        while not (await queue.query(SendQueueWorkflow.state)).paused_campaigns:
            await asyncio.sleep(0.1)
        assert await accepted(onlyfans, messages) == 0
        assert (await api.post(f"{url}/resume", headers=STAFF)).status_code == 409
        while await accepted(onlyfans, messages) < 4:
            await asyncio.sleep(0.1)
