"""The end of a campaign as evidence: a failure of what a flag led here counts for the rollout's new side, once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.campaign import CampaignActivities, StatusChange
from adapters.bootstrap import Ports
from adapters.settings import Settings
from domain.campaign import CampaignRecord, CampaignStatus
from domain.observation import Arm, ArmCounts, Observation, latency_class
from domain.progress import CampaignOutcome, Tally
from tests.domain.builders import a_campaign, a_record

S = CampaignStatus
NOBODY_ELSE = "nobody_else"
"""The error of an observation that a test makes itself."""


class Ending:
    """The activities that end a campaign, and a flag of this test alone."""

    def __init__(self, ports: Ports, settings: Settings) -> None:
        self.flag = f"flag-{uuid4().hex[:12]}"
        self._ports = ports
        self._activities = CampaignActivities(
            ports.campaigns,
            ports.messages,
            ports.costs,
            ports.limiter,
            ports.accounts,
            ports.alerts,
            ports.observations,
            policy=settings.limit_policy,
        )

    async def record(self, **changes: Any) -> CampaignRecord:
        """A stored campaign for nobody, that the flag led here an hour ago."""
        asked_at = datetime.now(UTC) - timedelta(hours=1)
        routed: dict[str, Any] = {"routed_by": self.flag, "arm": "canary", "created_at": asked_at}
        return await self._ports.campaigns.create(a_record(a_campaign(), **routed | changes), [])

    async def finish(self, record: CampaignRecord, status: CampaignStatus, reason: str = "", audience: int = 0) -> None:
        """The last activity of a campaign; with an audience, whose messages nobody has, it stores no end."""
        outcome = CampaignOutcome(
            campaign_id=record.campaign_id,
            status=status,
            reason=reason,
            tally=Tally(),
            started_at=record.created_at,
            finished_at=record.created_at + timedelta(seconds=90),
            audience=audience,
        )
        await ActivityEnvironment().run(self._activities.finish, outcome)

    async def set_status(self, record: CampaignRecord, status: CampaignStatus, reason: str) -> None:
        change = StatusChange(campaign_id=record.campaign_id, status=status, reason=reason, revision=10**14)
        await ActivityEnvironment().run(self._activities.set_status, change)

    async def observed(self) -> ArmCounts:
        """What the new side of the flag has: everything before this moment, which ends with one more observation."""
        now = datetime.now(UTC)
        last = Observation(flag=self.flag, arm=Arm.BASELINE, at=now, latency_ms=1, error=NOBODY_ELSE)
        self._ports.observations.record(last)
        async with asyncio.timeout(30):
            while True:
                found = await self._ports.observations.observed(self.flag, now - timedelta(hours=2))
                if NOBODY_ELSE in found.baseline.errors:
                    return found.canary
                await asyncio.sleep(0.02)


@pytest.fixture
def ending(ports: Ports, settings: Settings) -> Ending:
    return Ending(ports, settings)


async def test_a_failure_counts_with_its_class_and_the_whole_time(ending: Ending) -> None:
    record = await ending.record()
    await ending.finish(record, S.FAILED, "provider_unavailable")
    found = await ending.observed()
    assert (found.requests, found.errors) == (1, {"provider_unavailable": 1})
    assert found.latencies == {latency_class(90_000): 1}


async def test_so_does_one_that_is_found_out_when_the_books_are_closed(ending: Ending) -> None:
    record = await ending.record()
    await ending.finish(record, S.COMPLETED, audience=2)
    await ending.set_status(record, S.FAILED, "closing_identity_violated")
    assert (await ending.observed()).errors == {"closing_identity_violated": 1}


async def test_a_persons_words_are_no_class(ending: Ending) -> None:
    await ending.finish(await ending.record(), S.FAILED, "Maya asked us to stop")
    assert (await ending.observed()).errors == {"failed": 1}


async def test_no_other_end_counts(ending: Ending) -> None:
    for status in (S.COMPLETED, S.CANCELLED):
        await ending.finish(await ending.record(), status)
    for status in (S.RUNNING, S.PAUSED, S.CANCELLING):
        await ending.set_status(await ending.record(), status, "")
    assert await ending.observed() == ArmCounts()


async def test_nor_does_a_failure_of_what_no_percentage_led_here(ending: Ending) -> None:
    for arm in ("", "baseline"):
        await ending.finish(await ending.record(arm=arm), S.FAILED)
    await ending.set_status(await ending.record(routed_by="", arm=""), S.FAILED, "timeout")
    assert await ending.observed() == ArmCounts()


async def test_what_had_another_end_before_does_not_count(ending: Ending) -> None:
    """Given back to the legacy system, or recalled; a workflow that still runs comes to its own end later."""
    given_back = {"status": S.CANCELLED, "status_reason": "answered_by_legacy"}
    await ending.finish(await ending.record(**given_back), S.FAILED)
    await ending.set_status(await ending.record(**given_back), S.FAILED, "timeout")
    assert await ending.observed() == ArmCounts()
