"""A delivery round by itself: what a slot's lease allows and what it does not."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.delivery import DeliveryActivities
from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.intake import accept
from domain.access import Principal, Role
from domain.campaign import CampaignRecord, CampaignStatus
from domain.compliance import ComplianceLevel
from domain.delivery import Message, MessageStatus, message_id
from domain.rate_limit import ACCOUNT_CEILING
from domain.review import AutonomyOptIn
from domain.send_queue import Candidate, DeliveryReport, DeliveryRound
from tests.local import Simulator
from tests.workflows.launcher import intent

OPERATOR = Principal(user_id="operator", role=Role.OPERATOR)


@pytest.fixture
async def record(ports: Ports, settings: Settings) -> CampaignRecord:
    """A running campaign with one recipient."""
    wanted = intent(1)
    account = wanted.only_fans_context.account_id
    await ports.autonomy.put(
        AutonomyOptIn(account_id=account, level=ComplianceLevel.RELAXED, granted_at=datetime.now(UTC))
    )
    stored, _ = await accept(wanted, str(uuid4()), OPERATOR, ports, settings, datetime.now(UTC))
    await ports.campaigns.set_status(stored.campaign_id, CampaignStatus.RUNNING, "")
    return stored


@pytest.fixture
async def message(ports: Ports, record: CampaignRecord) -> Message:
    """Its message, which waits."""
    account = record.lanes[0].account_id
    queued = Message(
        message_id=message_id(record.campaign_id, account, "1000"),
        campaign_id=record.campaign_id,
        account_id=account,
        recipient_id="1000",
        page=0,
        message_type=record.message_type,
        status=MessageStatus.QUEUED,
        text="Hello Maya, spring is here.",
        updated_at=datetime.now(UTC),
    )
    await ports.messages.create_many([queued])
    return queued


async def deliver(ports: Ports, message: Message, lease_ms: int) -> DeliveryReport:
    activities = DeliveryActivities(
        ports.campaigns, ports.messages, ports.limiter, ports.gateway, windows=(ACCOUNT_CEILING,), lease_ms=lease_ms
    )
    candidate = Candidate(campaign_id=message.campaign_id, message_id=message.message_id)
    request = DeliveryRound(account_id=message.account_id, candidates=(candidate,))
    return await ActivityEnvironment().run(activities.deliver, request)


class TestDeliver:
    async def test_a_message_is_sent_within_its_lease(
        self, ports: Ports, message: Message, onlyfans: Simulator
    ) -> None:
        report = await deliver(ports, message, lease_ms=15_000)
        assert [settled.status for settled in report.settled] == [MessageStatus.SENT]
        assert (await onlyfans.get("report"))["totals"]["accepted"] == 1

    async def test_a_message_whose_lease_has_run_out_is_not_sent(
        self, ports: Ports, message: Message, onlyfans: Simulator
    ) -> None:
        report = await deliver(ports, message, lease_ms=500)
        assert [deferred.message_id for deferred in report.deferred] == [message.message_id]
        assert (await onlyfans.get("report"))["totals"]["accepted"] == 0
        stored = await ports.messages.get_many(message.campaign_id, [message.message_id])
        assert stored[message.message_id].status is MessageStatus.QUEUED

    async def test_a_call_ends_with_its_lease_and_its_outcome_stays_open(
        self, ports: Ports, message: Message, onlyfans: Simulator
    ) -> None:
        await onlyfans.fault("timeout_before_accept", hang_s=30)
        report = await deliver(ports, message, lease_ms=1_500)
        assert [deferred.message_id for deferred in report.deferred] == [message.message_id]
        stored = await ports.messages.get_many(message.campaign_id, [message.message_id])
        assert stored[message.message_id].status is MessageStatus.SENDING

    async def test_what_was_erased_does_not_stop_the_queue(self, ports: Ports, onlyfans: Simulator) -> None:
        lost = Message(
            message_id=uuid4(),
            campaign_id=str(uuid4()),
            account_id="acct_erased",
            recipient_id="1",
            page=0,
            message_type=intent(1).only_fans_context.message_type,
            status=MessageStatus.QUEUED,
            updated_at=datetime.now(UTC),
        )
        report = await deliver(ports, lost, lease_ms=15_000)
        assert [settled.message_id for settled in report.settled] == [lost.message_id]
        assert (await onlyfans.get("report"))["totals"]["accepted"] == 0

    async def test_a_chat_that_is_gone_ends_what_can_no_longer_be_known(
        self, ports: Ports, record: CampaignRecord, message: Message, onlyfans: Simulator
    ) -> None:
        await ports.messages.begin_send(message, datetime.now(UTC))
        await ports.campaigns.set_status(record.campaign_id, CampaignStatus.CANCELLING, "")
        await onlyfans.fault("banned_words", endpoint="list")
        report = await deliver(ports, message, lease_ms=15_000)
        assert [settled.status for settled in report.settled] == [MessageStatus.FAILED]
        stored = await ports.messages.get_many(message.campaign_id, [message.message_id])
        assert stored[message.message_id].reason == "outcome_unknown:banned_words"
