"""A running campaign, a message of it, and a delivery round by itself."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.delivery import DeliveryActivities, DeliveryPorts
from adapters.bootstrap import Ports
from adapters.onlyfans import OnlyFansGateway
from adapters.settings import Settings
from api.intake import accept
from domain.access import Principal, Role
from domain.campaign import CampaignRecord, CampaignStatus
from domain.compliance import ComplianceLevel
from domain.delivery import Message
from domain.rate_limit import LimitPolicy
from domain.review import AutonomyOptIn
from domain.send_queue import Candidate, DeliveryReport, DeliveryRound
from tests.activities.delivery.messages import Deliver, queue
from tests.workflows.launcher import intent

OPERATOR = Principal(user_id="operator", role=Role.OPERATOR)


@pytest.fixture
async def record(ports: Ports, settings: Settings) -> CampaignRecord:
    """A running campaign with a new account."""
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
    """One message that waits."""
    return (await queue(ports, record, "1000"))[0]


@pytest.fixture
async def deliver(ports: Ports, settings: Settings) -> Deliver:
    """Runs one round."""
    # The first call of a client takes longer than a short time-out allows.
    assert isinstance(ports.gateway, OnlyFansGateway)
    await ports.gateway.check()

    async def run(
        *messages: Message, lease_ms: int = 15_000, timeout_s: float = 10, **changes: object
    ) -> DeliveryReport:
        given = DeliveryPorts(
            messages=ports.messages,
            gate=ports.gate,
            accounts=ports.accounts,
            limiter=ports.limiter,
            gateway=ports.gateway,
            alerts=ports.alerts,
            policy=LimitPolicy(),
            lease_ms=lease_ms,
            send_timeout_s=timeout_s,
            grace_s=timeout_s / 10,
        )
        activities = DeliveryActivities(replace(given, **changes))  # type: ignore[arg-type]
        candidates = tuple(
            Candidate(campaign_id=message.campaign_id, message_id=message.message_id) for message in messages
        )
        request = DeliveryRound(account_id=messages[0].account_id, candidates=candidates)
        return await ActivityEnvironment().run(activities.deliver, request)

    return run
