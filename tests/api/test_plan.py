"""A person plans a campaign: read, checked, stored once, followed."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.intake import accept
from domain.access import Principal, Role
from domain.campaign import CampaignStatus, WorkflowIntent
from tests.api.conftest import Intent
from tests.api.identity import bearer
from tests.api.test_progress import CAMPAIGNS, progress_when, start, until_done
from tests.local import Simulator

Headers = dict[str, str]

PLAN: dict[str, Any] = {
    "theme": "Spring colours",
    "tone": "calm",
    "angle": "behind the scenes",
    "callToAction": "Have a look.",
    "talkingPoints": ["three weeks of work"],
    "generalTexts": [{"language": "en", "text": "The new set is up. Have a look!"}],
}


Stored = Callable[..., Awaitable[str]]


@pytest.fixture
def stored(owner: str, account: str, intent: Intent, ports: Ports, settings: Settings) -> Stored:
    """Stores a campaign whose workflow was never started, so that nobody plans it; the address of its plan."""

    async def store(**changes: Any) -> str:
        caller = Principal(user_id=owner, role=Role.CREATOR, accounts=frozenset({account}))
        wanted = WorkflowIntent.model_validate(intent(audience=2, **changes))
        asked_at = datetime.now(UTC) - timedelta(hours=2)
        record, _ = await accept(wanted, str(uuid4()), caller, ports, settings, asked_at)
        return f"{CAMPAIGNS}/{record.campaign_id}/plan"

    return store


@pytest.fixture
async def campaign(stored: Stored) -> str:
    return await stored()


async def awaited(api: httpx.AsyncClient, caller: Headers, url: str) -> dict[str, Any]:
    """What the campaign says of the plan that it waits for, as soon as it does."""
    async with asyncio.timeout(60):
        while True:
            progress = (await api.get(url, headers=caller)).json()["progress"]
            if progress and (found := progress["planAwaited"]):
                return dict(found)
            await asyncio.sleep(0.2)


class TestAPlan:
    @pytest.mark.usefixtures("worker")
    async def test_of_a_person_takes_the_place_of_one_that_was_refused(
        self, api: httpx.AsyncClient, caller: Headers, intent: Intent, ai: Simulator
    ) -> None:
        brief = f"Nobody has planned this: {uuid4()}"
        await ai.fault("content_filter", dialect="azure", count=2, only_contains=brief)
        accepted = await start(api, caller, intent(audience=2, brief=brief))
        url = f"{CAMPAIGNS}/{accepted['campaignId']}"
        assert (await awaited(api, caller, accepted["statusUrl"]))["reason"] == "compliance_violation"
        assert (await api.get(f"{url}/plan", headers=caller)).status_code == 404

        written = await api.put(f"{url}/plan", json=PLAN, headers=caller)
        assert written.status_code == 200
        assert {name: written.json()[name] for name in PLAN} == PLAN
        assert (await api.get(f"{url}/plan", headers=caller)).json() == written.json()

        await progress_when(api, caller, accepted["statusUrl"], awaitingReview=2, planAwaited=None)
        await api.post(f"{url}/approve", headers=caller)
        assert (await until_done(api, caller, f"{url}/events"))[-1][1]["outcomes"] == {"sent": 2}

    async def test_says_who_wrote_it_and_is_written_once(
        self, api: httpx.AsyncClient, caller: Headers, campaign: str
    ) -> None:
        first = await api.put(campaign, json=PLAN, headers=caller)
        again = await api.put(campaign, json=PLAN, headers=caller)
        assert first.json() == again.json()
        assert first.json()["author"] is None
        assert first.json()["writtenBy"]
        other = await api.put(campaign, json={**PLAN, "theme": "Autumn"}, headers=caller)
        assert other.status_code == 409
        assert first.json()["writtenBy"] in other.json()["detail"]
        assert (await api.get(campaign, headers=caller)).json() == first.json()

    async def test_is_not_taken_by_a_campaign_that_has_ended(
        self, api: httpx.AsyncClient, caller: Headers, campaign: str, ports: Ports
    ) -> None:
        campaign_id = campaign.split("/")[-2]
        assert await ports.campaigns.set_status(campaign_id, CampaignStatus.CANCELLED, "test") is not None
        refused = await api.put(campaign, json=PLAN, headers=caller)
        assert refused.status_code == 409
        assert "ended" in refused.json()["detail"]

    async def test_is_of_no_use_to_one_that_is_being_cancelled(
        self, api: httpx.AsyncClient, caller: Headers, campaign: str, ports: Ports
    ) -> None:
        assert await ports.campaigns.want(campaign.split("/")[-2], CampaignStatus.CANCELLING) is not None
        assert (await api.put(campaign, json=PLAN, headers=caller)).status_code == 409

    @pytest.mark.parametrize(
        ("name", "terms"), [("expiresAt", {}), ("deadline", {"onDeadline": "skip"})], ids=["expired", "late"]
    )
    async def test_is_of_no_use_when_its_time_is_over(
        self, api: httpx.AsyncClient, caller: Headers, stored: Stored, name: str, terms: dict[str, str]
    ) -> None:
        passed = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        refused = await api.put(await stored(delivery={name: passed, **terms}), json=PLAN, headers=caller)
        assert refused.status_code == 409
        assert name in refused.json()["detail"]

    async def test_is_nobody_elses_business(self, api: httpx.AsyncClient, campaign: str) -> None:
        stranger = bearer("stranger", accounts=("acct_elsewhere",))
        assert (await api.get(campaign, headers=stranger)).status_code == 404
        assert (await api.put(campaign, json=PLAN, headers=stranger)).status_code == 404

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"theme": "  "}, "theme"),
            ({"tone": None}, "tone"),
            ({"calltoaction": "x"}, "calltoaction"),
            ({"talkingPoints": ["x"] * 11}, "talkingPoints"),
            ({"talkingPoints": ["x" * 501]}, "talkingPoints[0]"),
            ({"generalTexts": [{"language": "english", "text": "Hello."}]}, "generalTexts[0].language"),
            ({"generalTexts": [{"language": "en", "text": ""}]}, "generalTexts[0].text"),
            ({"generalTexts": [{"language": "en", "text": "Hello."}] * 2}, "generalTexts"),
        ],
    )
    async def test_that_can_not_be_followed_is_422_and_names_the_field(
        self, api: httpx.AsyncClient, caller: Headers, campaign: str, change: dict[str, Any], field: str
    ) -> None:
        refused = await api.put(campaign, json={**PLAN, **change}, headers=caller)
        assert refused.status_code == 422
        assert [error["field"] for error in refused.json()["errors"]] == [field]
        assert (await api.get(campaign, headers=caller)).status_code == 404

    async def test_whose_general_text_breaks_a_rule_is_422_with_the_remedy(
        self, api: httpx.AsyncClient, caller: Headers, campaign: str
    ) -> None:
        texts = [*PLAN["generalTexts"], {"language": "de", "text": "Zahl mir lieber direkt über PayPal!"}]
        refused = await api.put(campaign, json={**PLAN, "generalTexts": texts}, headers=caller)
        assert refused.status_code == 422
        assert {error["field"] for error in refused.json()["errors"]} == {"generalTexts[1].text"}
        assert (await api.get(campaign, headers=caller)).status_code == 404

    @pytest.mark.parametrize("text", ["Hi Maya, the new set is up.", "Spring is here. " * 61], ids=["a name", "long"])
    async def test_whose_general_text_could_not_go_to_everybody_is_422(
        self, api: httpx.AsyncClient, caller: Headers, campaign: str, text: str
    ) -> None:
        plan = {**PLAN, "generalTexts": [{"language": "en", "text": text}]}
        refused = await api.put(campaign, json=plan, headers=caller)
        assert refused.status_code == 422
        assert [error["field"] for error in refused.json()["errors"]] == ["generalTexts[0].text"]
