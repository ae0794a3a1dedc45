"""What operators set for accounts, and what may stop a send."""

import asyncio
from typing import Any

import pytest

from adapters.account import DynamoAccounts
from adapters.campaign import DynamoCampaigns
from adapters.dynamodb import Dynamo, plain
from adapters.review import DynamoAutonomy
from domain.campaign import CampaignStanding, CampaignStatus
from domain.delivery import AccountControl, AccountState
from domain.rate_limit import AccountLimits, AccountTier, Cap, MessageType
from domain.review import AutonomyOptIn
from tests.domain.builders import NOW, a_campaign, a_record, an_account


@pytest.fixture
def account() -> str:
    return an_account()


@pytest.fixture
def accounts(dynamo: Dynamo) -> DynamoAccounts:
    return DynamoAccounts(dynamo)


def a_control(account: str, revision: int = 1, state: AccountState = AccountState.PAUSED) -> AccountControl:
    return AccountControl(
        account_id=account,
        state=state,
        reason="holiday",
        changed_by="operator-1",
        changed_at=NOW,
        session_changed_at=NOW,
        revision=revision,
    )


def some_limits(account: str, revision: int = 1, **changes: object) -> AccountLimits:
    fields: dict[str, object] = {
        "account_id": account,
        "tier": AccountTier.POWER,
        "connected_at": NOW,
        "account": (Cap(limit=None, seconds=60), Cap(limit=0, seconds=0.5)),
        "recipient": (),
        "message_types": {MessageType.WELCOME: (Cap(limit=3, seconds=3_600),)},
        "pacing_ms": 1_500,
        "revision": revision,
        "changed_by": "operator-1",
        "changed_at": NOW,
        "reason": "asked for by the platform",
    }
    return AccountLimits.model_validate(fields | changes)


class TestControl:
    async def test_an_account_that_nobody_touched_is_active(self, accounts: DynamoAccounts, account: str) -> None:
        assert await accounts.control(account) == AccountControl(account_id=account)

    async def test_what_was_stored_comes_back_whole(self, accounts: DynamoAccounts, account: str) -> None:
        assert await accounts.put_control(a_control(account))
        assert await accounts.control(account) == a_control(account)

    async def test_of_several_at_once_one_is_faster(self, accounts: DynamoAccounts, account: str) -> None:
        for revision in (1, 2):
            offers = [
                a_control(account, revision).model_copy(update={"changed_by": f"operator-{number}"})
                for number in range(5)
            ]
            answers = await asyncio.gather(*(accounts.put_control(offer) for offer in offers))
            assert sorted(answers) == [False] * 4 + [True]
            assert await accounts.control(account) == offers[answers.index(True)]

    @pytest.mark.parametrize("revision", [1, 3])
    async def test_a_revision_that_does_not_follow_is_refused(
        self, accounts: DynamoAccounts, account: str, revision: int
    ) -> None:
        await accounts.put_control(a_control(account))
        late = a_control(account, revision, AccountState.ACTIVE)
        assert not await accounts.put_control(late)
        assert await accounts.control(account) == a_control(account)

    async def test_the_first_change_is_the_first_revision(self, accounts: DynamoAccounts, account: str) -> None:
        assert not await accounts.put_control(a_control(account, 2))
        assert await accounts.control(account) == AccountControl(account_id=account)

    async def test_every_change_is_kept_and_a_lost_race_is_none(
        self, accounts: DynamoAccounts, dynamo: Dynamo, account: str
    ) -> None:
        await accounts.put_control(a_control(account))
        await accounts.put_control(a_control(account, 2, AccountState.ACTIVE))
        await accounts.put_control(a_control(account, 2, AccountState.DRAINING))
        items = [
            plain(item)
            async for item in dynamo.query(
                TableName=dynamo.table("accounts"),
                KeyConditionExpression="accountId = :account AND begins_with(#item, :control)",
                ExpressionAttributeNames={"#item": "item"},
                ExpressionAttributeValues={":account": {"S": account}, ":control": {"S": "control#"}},
            )
        ]
        assert [(item["revision"], item["state"], item["changedBy"]) for item in items] == [
            (1, "paused", "operator-1"),
            (2, "active", "operator-1"),
        ]


class TestLimits:
    async def test_an_account_that_nobody_touched_follows_the_policy(
        self, accounts: DynamoAccounts, account: str
    ) -> None:
        assert await accounts.limits(account) == AccountLimits(account_id=account)
        assert await accounts.limits_history(account, limit=5) == []

    async def test_what_was_stored_comes_back_whole(self, accounts: DynamoAccounts, account: str) -> None:
        assert await accounts.put_limits(some_limits(account))
        assert await accounts.limits(account) == some_limits(account)

    async def test_a_lost_race_is_told_and_changes_nothing(self, accounts: DynamoAccounts, account: str) -> None:
        offers = [some_limits(account, pacing_ms=number) for number in (1, 2, 3)]
        answers = await asyncio.gather(*(accounts.put_limits(offer) for offer in offers))
        assert sorted(answers) == [False, False, True]
        winner = offers[answers.index(True)]
        assert await accounts.limits(account) == winner
        assert await accounts.limits_history(account, limit=5) == [winner]

    async def test_the_history_is_newest_first_and_as_long_as_asked_for(
        self, accounts: DynamoAccounts, account: str
    ) -> None:
        changes = [some_limits(account, revision, pacing_ms=revision) for revision in range(1, 13)]
        for change in changes:
            assert await accounts.put_limits(change)
        assert await accounts.limits_history(account, limit=100) == list(reversed(changes))
        assert await accounts.limits_history(account, limit=3) == list(reversed(changes))[:3]

    async def test_other_things_of_the_account_stay_apart(
        self, accounts: DynamoAccounts, autonomy: DynamoAutonomy, account: str
    ) -> None:
        await autonomy.put(AutonomyOptIn(account_id=account, granted_by="luna", granted_at=NOW))
        await accounts.put_limits(some_limits(account))
        assert await accounts.control(account) == AccountControl(account_id=account)
        assert await accounts.limits_history(account, limit=5) == [some_limits(account)]


class TestGate:
    async def test_of_what_nobody_touched_it_shows_the_defaults(self, accounts: DynamoAccounts, account: str) -> None:
        found = await accounts.read(account, [a_campaign()])
        assert found.control == AccountControl(account_id=account)
        assert found.limits == AccountLimits(account_id=account)
        assert found.campaigns == {}

    async def test_everything_that_may_stop_a_send(
        self, accounts: DynamoAccounts, campaigns: DynamoCampaigns, account: str
    ) -> None:
        records = [await campaigns.create(a_record(a_campaign()), ()) for _ in range(3)]
        await campaigns.set_status(records[0].campaign_id, CampaignStatus.PAUSED, "holiday")
        await accounts.put_control(a_control(account))
        await accounts.put_limits(some_limits(account))
        asked = [records[0].campaign_id, records[1].campaign_id, records[0].campaign_id, a_campaign()]
        found = await accounts.read(account, asked)
        assert (found.control, found.limits) == (a_control(account), some_limits(account))
        assert {key: record.status for key, record in found.campaigns.items()} == {
            records[0].campaign_id: CampaignStatus.PAUSED,
            records[1].campaign_id: CampaignStatus.PLANNING,
        }

    @pytest.mark.parametrize(
        ("wish", "of_the_part"),
        [
            (CampaignStatus.PAUSED, CampaignStatus.PAUSED),
            (CampaignStatus.CANCELLING, CampaignStatus.CANCELLING),
            (CampaignStatus.COMPLETED, CampaignStatus.RUNNING),
        ],
    )
    async def test_what_stops_a_campaign_stops_its_dead_letter_that_is_sent_once_more(
        self,
        accounts: DynamoAccounts,
        campaigns: DynamoCampaigns,
        account: str,
        wish: CampaignStatus,
        of_the_part: CampaignStatus,
    ) -> None:
        whole = await campaigns.create(a_record(a_campaign(), status=CampaignStatus.RUNNING), ())
        fields: dict[str, Any] = {"part_of": whole.campaign_id, "status": CampaignStatus.RUNNING}
        part = await campaigns.create(a_record(a_campaign(), **fields), ())
        if wish.is_final:
            await campaigns.set_status(whole.campaign_id, wish, "")
        else:
            await campaigns.want(whole.campaign_id, wish)
        found = (await accounts.read(account, [part.campaign_id])).campaigns
        assert {key: standing.status for key, standing in found.items()} == {part.campaign_id: of_the_part}
        await campaigns.mark_recalled(whole.campaign_id, NOW)
        found = (await accounts.read(account, [part.campaign_id])).campaigns
        assert found[part.campaign_id].status is CampaignStatus.CANCELLED

    async def test_a_campaign_that_was_erased_stops_nothing(
        self, accounts: DynamoAccounts, campaigns: DynamoCampaigns, account: str
    ) -> None:
        fields: dict[str, Any] = {"part_of": a_campaign(), "status": CampaignStatus.RUNNING}
        part = await campaigns.create(a_record(a_campaign(), **fields), ())
        found = (await accounts.read(account, [part.campaign_id])).campaigns
        assert found[part.campaign_id].status is CampaignStatus.RUNNING

    async def test_without_campaigns(self, accounts: DynamoAccounts, account: str) -> None:
        await accounts.put_control(a_control(account))
        found = await accounts.read(account, ())
        assert (found.control, found.campaigns) == (a_control(account), {})

    async def test_more_campaigns_than_one_call_takes(
        self, accounts: DynamoAccounts, campaigns: DynamoCampaigns, account: str
    ) -> None:
        records = [await campaigns.create(a_record(a_campaign()), ()) for _ in range(2)]
        await accounts.put_control(a_control(account))
        asked = [records[0].campaign_id, *(a_campaign() for _ in range(150)), records[1].campaign_id]
        found = await accounts.read(account, asked)
        assert found.control == a_control(account)
        standings = (CampaignStanding.model_validate(record.model_dump()) for record in records)
        assert found.campaigns == {standing.campaign_id: standing for standing in standings}
