"""A person plans a campaign: read, checked, stored once, followed."""

import asyncio
from typing import Any

import httpx
import pytest

from adapters.bootstrap import Ports
from domain.campaign import CampaignStatus
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


@pytest.fixture
async def campaign(api: httpx.AsyncClient, caller: Headers, intent: Intent) -> str:
    """The address of a campaign that nobody has begun to plan: there is no worker."""
    accepted = await start(api, caller, intent(audience=2))
    return f"{CAMPAIGNS}/{accepted['campaignId']}/plan"


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
        await ai.fault("content_filter", dialect="azure", count=2)
        accepted = await start(api, caller, intent(audience=2))
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
