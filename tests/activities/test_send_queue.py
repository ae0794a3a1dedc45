"""Whether a page would come in time, on accounts that send and on accounts that do not."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.send_queue import LookAhead, SubmissionActivities
from adapters.bootstrap import Ports
from adapters.settings import Settings
from adapters.temporal import TemporalSendQueues
from api.intake import accept
from domain.access import Principal, Role
from domain.delivery import AccountControl, AccountState
from domain.rate_limit import LimitPolicy
from tests.workflows.launcher import intent
from workflows.policies import ORCHESTRATION

STAFF = Principal(user_id="staff", role=Role.ADMIN)
PAGE = 6
MOMENT, LONG = timedelta(seconds=10), timedelta(days=3)
SOON, LATER = timedelta(minutes=30), timedelta(hours=3)


class TestOutlook:
    @pytest.mark.parametrize(
        ("state", "away", "deadline", "late"),
        [
            (AccountState.ACTIVE, LONG, SOON, False),
            (AccountState.PAUSED, MOMENT, SOON, False),
            (AccountState.PAUSED, LONG, SOON, True),
            (AccountState.PAUSED, LONG, LATER, False),
            (AccountState.SESSION_EXPIRED, LONG, SOON, True),
            (AccountState.DRAINING, LONG, SOON, True),
        ],
    )
    async def test_an_account_that_stands_still_is_back_after_as_long_again_or_an_hour(
        self,
        ports: Ports,
        settings: Settings,
        temporal: Client,
        state: AccountState,
        away: timedelta,
        deadline: timedelta,
        *,
        late: bool,
    ) -> None:
        now = datetime.now(UTC)
        terms = {"deadline": (now + deadline).isoformat(), "onDeadline": "skip"}
        record, _ = await accept(
            intent(PAGE, compliance="strict", delivery=terms), str(uuid4()), STAFF, ports, settings, now
        )
        account = record.lanes[0].account_id
        control = AccountControl(account_id=account, state=state, changed_at=now - away, revision=1)
        assert await ports.accounts.put_control(control)
        submission = SubmissionActivities(
            ports.campaigns,
            ports.messages,
            TemporalSendQueues(temporal, ORCHESTRATION),
            ports.limiter,
            ports.accounts,
            policy=LimitPolicy(),
        )
        ahead = await ActivityEnvironment().run(
            submission.outlook, LookAhead(campaign_id=record.campaign_id, account_id=account, messages=PAGE)
        )
        assert ahead.late.startswith("deadline: eta ") is late
        assert bool(ahead.late) is late
