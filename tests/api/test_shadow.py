"""Shadow mode: the client's answer is the legacy system's; ours is only compared with it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowExecutionStatus

from adapters.bootstrap import Ports, open_ports
from adapters.settings import Settings
from domain.campaign import generation_workflow_id
from domain.flag import HYBRID_SHADOW
from domain.legacy import SHADOW_USER
from domain.ports import CampaignFilter, ReviewFilter
from tests.api.identity import bearer
from tests.api.legacy import PATH, LegacyFront, front
from tests.local import Simulator, running

REPORT = "/api/admin/shadow"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def processor() -> AsyncIterator[Simulator]:
    async with running("local.legacy") as simulator:
        yield simulator


@pytest.fixture
async def router(stack: Any, processor: Simulator) -> AsyncIterator[LegacyFront]:
    """Half of the traffic could be ours; all that is not is shadowed."""
    await processor.reset()
    async with front(processor) as opened:
        await opened.flag()
        await opened.flag(HYBRID_SHADOW, rollout_percentage=Decimal(100))
        yield opened
        await opened.flag(HYBRID_SHADOW, enabled=False)


async def report(router: LegacyFront, staff: dict[str, str]) -> dict[str, Any]:
    answer = await router.http.get(REPORT, headers=staff)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def shadowed(router: LegacyFront, body: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
    """Ask, and return when its shadow run, if there is one, has ended."""
    routed = router.routed
    answer = await router.http.post(PATH, json=body, headers=headers)
    async with asyncio.timeout(30):
        while router.routed == routed:
            await asyncio.sleep(0.01)
    await router.shadow.idle()
    return answer


def request(user: str, action: str = "create_post", **payload: Any) -> dict[str, Any]:
    brief = {"brief": f"Post {uuid4()}"}
    return {"user_id": user, "action": action, "payload": {**brief, **payload}, "platform": "onlyfans"}


@pytest.mark.usefixtures("worker", "ai", "onlyfans")
async def test_both_answers_are_compared_and_the_client_gets_the_legacy_one(
    router: LegacyFront, staff: dict[str, str], owner: str
) -> None:
    before = (await report(router, staff))["parity"]["runs"]
    answer = await shadowed(router, request(owner))
    assert (answer.headers["x-provider"], answer.json()["data"]["provider"]) == ("legacy", "legacy")
    found = await report(router, staff)
    assert (found["percentage"], found["dropped"]) == (100, {})
    parity = found["parity"]
    assert parity["runs"] == before + 1
    assert parity["errors"] == {}
    fields = {each["field"]: each for each in parity["fields"]}
    assert fields["status"]["same"] >= 1
    assert fields["body.data.content"]["byType"] == fields["body.data.content"]["same"]
    assert fields["body.data.platforms"]["differentValue"] == 0
    assert parity["costMicros"] > 0
    assert "content_planning" in {each["intent"] for each in parity["intents"]}
    assert parity["fields"] == sorted(parity["fields"], key=lambda each: -_differing(each))


@pytest.mark.usefixtures("worker", "ai")
async def test_nothing_is_sent_and_nothing_enters_the_users_lists(
    router: LegacyFront, onlyfans: Simulator, ports: Any, staff: dict[str, str], owner: str, account: str
) -> None:
    sends = request(owner, "send_message", sendToOnlyFans=True, recipientId="1002003", accountId=account)
    await shadowed(router, sends)
    assert (await ports.campaigns.list(CampaignFilter(owner=owner), limit=10, cursor=None)).campaigns == ()
    shadow = (await ports.campaigns.list(CampaignFilter(owner=SHADOW_USER), limit=1, cursor=None)).campaigns[0]
    assert (shadow.type, shadow.account_id, shadow.audience_size) == ("content_planning", "acct_legacy", 0)
    assert shadow.max_cost_micros == 50_000
    for whose in (owner, SHADOW_USER):
        assert (await ports.messages.waiting(ReviewFilter(owner=whose), limit=10, cursor=None)).drafts == ()
    listed = await router.http.get("/api/v2/campaigns/status", headers=bearer(owner))
    assert listed.json()["campaigns"] == []


async def test_what_can_not_be_translated_is_counted_as_such(
    router: LegacyFront, staff: dict[str, str], owner: str
) -> None:
    await shadowed(router, request(owner, "send_message", recipientIds=["1", "2"]))
    assert "not_translatable_several_recipients" in (await report(router, staff))["parity"]["errors"]


async def test_what_the_legacy_system_refused_is_not_run(
    router: LegacyFront, staff: dict[str, str], owner: str
) -> None:
    before = (await report(router, staff))["parity"]["runs"]
    assert (await shadowed(router, {"user_id": owner, "action": "x"})).status_code == 400
    await router.direct.fault("server_error", count=1)
    assert (await shadowed(router, request(owner))).status_code == 500
    assert (await report(router, staff))["parity"]["runs"] == before


async def test_without_money_nothing_is_run(
    stack: Any, processor: Simulator, staff: dict[str, str], owner: str
) -> None:
    async with front(processor, shadow_daily_cost=Decimal(0)) as router:
        await router.flag(HYBRID_SHADOW, rollout_percentage=Decimal(100))
        await shadowed(router, request(owner))
        assert (await report(router, staff))["dropped"] == {"daily_cost": 1}
        await router.flag(HYBRID_SHADOW, enabled=False)


@pytest.mark.usefixtures("worker")
async def test_when_enough_are_running_the_rest_is_dropped_and_counted(
    stack: Any, processor: Simulator, ai: Simulator, staff: dict[str, str], owner: str
) -> None:
    async with front(processor, shadow_concurrency=1, legacy_answer_within_s=2.0) as router:
        await router.flag(HYBRID_SHADOW, rollout_percentage=Decimal(100))
        await ai.fault("hang", hang_s=30)
        routed = router.routed
        for number in (1, 2):
            # The first one waits for a model.
            assert (await router.http.post(PATH, json=request(owner))).status_code == 200
            async with asyncio.timeout(1):
                while router.routed < routed + number:
                    await asyncio.sleep(0.01)
        assert (await report(router, staff))["dropped"] == {"busy": 1}
        await router.shadow.idle()
        assert "timeout" in (await report(router, staff))["parity"]["errors"]
        await router.flag(HYBRID_SHADOW, enabled=False)


async def test_a_run_that_takes_too_long_does_not_go_on(
    stack: Any,
    processor: Simulator,
    ai: Simulator,
    temporal: Client,
    ports: Ports,
    owner: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether a worker is there or not."""
    monkeypatch.setattr("api.shadow.GRACE_S", 0.5)
    async with front(processor, legacy_answer_within_s=0.5) as router:
        await router.flag(HYBRID_SHADOW, rollout_percentage=Decimal(100))
        await ai.fault("hang", hang_s=30)
        await shadowed(router, request(owner))
        await router.flag(HYBRID_SHADOW, enabled=False)
    [record] = (await ports.campaigns.list(CampaignFilter(owner=SHADOW_USER), limit=1, cursor=None)).campaigns
    assert record.status.is_final
    run = await temporal.get_workflow_handle(generation_workflow_id(record.campaign_id)).describe()
    assert run.status is not WorkflowExecutionStatus.RUNNING


async def test_the_days_money_is_a_budget_that_workers_keep_to(stack: Any, settings: Settings) -> None:
    async with open_ports(settings.model_copy(update={"shadow_daily_cost": Decimal("0.25")})) as ports:
        assert (await ports.budget_store.caps(SHADOW_USER)).user_day == Decimal("0.25")


async def test_what_would_send_is_counted_as_that_and_its_status_is_not_compared(
    router: LegacyFront, staff: dict[str, str], owner: str, account: str, worker: None, ai: Simulator
) -> None:
    before = await report(router, staff)
    await shadowed(router, request(owner, "plan_campaign", recipientIds=["1", "2"], accountId=account))
    after = await report(router, staff)
    assert answered(after, "campaign_execution") == answered(before, "campaign_execution") + 1
    [status] = [each for each in after["parity"]["fields"] if each["field"] == "body.data.status"]
    assert status["byType"] >= 1


async def test_a_user_is_in_shadow_what_the_token_says(
    router: LegacyFront, staff: dict[str, str], owner: str, caller: dict[str, str]
) -> None:
    await router.flag(rollout_percentage=Decimal("0.01"))
    sends = request(owner, "send_message", sendToOnlyFans=True, recipientId="1", accountId="acct_foreign")
    await shadowed(router, sends, caller)
    assert "not_translatable_foreign_account" in (await report(router, staff))["parity"]["errors"]


async def test_the_report_says_since_when_it_counts(router: LegacyFront, staff: dict[str, str]) -> None:
    answer = await router.http.get(REPORT, params={"since": "2001-01-01T00:00:00Z"}, headers=staff)
    parity = answer.json()["parity"]
    assert datetime.now(UTC) - datetime.fromisoformat(parity["since"]) < timedelta(days=31)
    assert not parity["truncated"]


async def test_only_staff_may_read_it(router: LegacyFront, owner: str) -> None:
    assert (await router.http.get(REPORT)).status_code == 401
    assert (await router.http.get(REPORT, headers=bearer(owner))).status_code == 403


def answered(report: dict[str, Any], intent: str) -> int:
    return sum(each["answered"] for each in report["parity"]["intents"] if each["intent"] == intent)


def _differing(field: dict[str, Any]) -> int:
    kinds = ("differentValue", "differentType", "missingInHybrid", "missingInLegacy")
    return sum(field[kind] for kind in kinds)
