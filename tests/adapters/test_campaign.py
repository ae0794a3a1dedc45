"""Requests in DynamoDB: created once, listed newest first, filtered, continued by cursor."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest

from adapters.account import DynamoAccounts
from adapters.campaign import DynamoCampaigns, record_key
from adapters.dynamodb import Dynamo
from domain.campaign import AudiencePage, CampaignRecord, CampaignStatus
from domain.compliance import ComplianceLevel, check
from domain.errors import InvalidRequest, NotFound
from domain.ports import CampaignFilter
from domain.progress import DetailedCosts, WorkflowResult
from domain.provider import ContentPlan, IntentType
from domain.rate_limit import MessageType
from tests.domain.builders import NOW, a_campaign, a_record, recipients

ACCOUNT = "acct_luna"


def pages_of(count: int, first: int = 1) -> tuple[AudiencePage, ...]:
    return tuple(
        AudiencePage(account_id=ACCOUNT, page=page, recipients=recipients(2, first + 2 * page)) for page in range(count)
    )


def an_owner() -> str:
    return f"user-{uuid4().hex}"


async def listed(campaigns: DynamoCampaigns, **filters: object) -> list[str]:
    """The ids of one long page."""
    listing = await campaigns.list(CampaignFilter.model_validate(filters), limit=100, cursor=None)
    assert listing.cursor is None
    return [record.campaign_id for record in listing.campaigns]


class TestCreate:
    async def test_what_was_stored_comes_back_whole(self, campaigns: DynamoCampaigns) -> None:
        pages = pages_of(3)
        record = a_record(
            a_campaign(),
            pages,
            type=IntentType.CONTENT_VALIDATION,
            message_type=MessageType.WELCOME,
            compliance_level=ComplianceLevel.RELAXED,
            max_cost_micros=1_500_000,
            text="Grüße, 你好 🎉",
            created_at=NOW + timedelta(microseconds=1),
        )
        assert await campaigns.create(record, pages) == record
        assert await campaigns.get(record.campaign_id) == record
        for page in pages:
            assert await campaigns.audience_page(record.campaign_id, ACCOUNT, page.page) == page

    async def test_a_repetition_changes_nothing(self, campaigns: DynamoCampaigns) -> None:
        first = a_record(a_campaign(), pages_of(1), brief="first", fingerprint="a" * 64)
        second = a_record(first.campaign_id, pages_of(2, 50), brief="second", fingerprint="b" * 64)
        await campaigns.create(first, pages_of(1))
        assert await campaigns.create(second, pages_of(2, 50)) == first
        assert await campaigns.get(first.campaign_id) == first
        assert await campaigns.audience_page(first.campaign_id, ACCOUNT, 0) == pages_of(1)[0]

    async def test_of_ten_at_once_with_different_bodies_one_wins_with_its_own_audience(
        self, campaigns: DynamoCampaigns
    ) -> None:
        campaign = a_campaign()
        bodies = [pages_of(2, 100 * number) for number in range(10)]
        records = [
            a_record(campaign, pages, brief=f"body {number}", fingerprint=f"{number}" * 64)
            for number, pages in enumerate(bodies)
        ]
        answers = await asyncio.gather(
            *(campaigns.create(record, pages) for record, pages in zip(records, bodies, strict=True))
        )
        winner = answers[0]
        assert winner in records
        assert answers == [winner] * 10
        for page in bodies[records.index(winner)]:
            assert await campaigns.audience_page(campaign, ACCOUNT, page.page) == page

    async def test_an_audience_of_more_pages_than_one_write_takes(self, campaigns: DynamoCampaigns) -> None:
        pages = pages_of(60)
        record = await campaigns.create(a_record(a_campaign(), pages), pages)
        assert await campaigns.audience_page(record.campaign_id, ACCOUNT, 59) == pages[59]


class TestGet:
    async def test_an_unknown_request_is_none(self, campaigns: DynamoCampaigns) -> None:
        assert await campaigns.get(a_campaign()) is None

    async def test_an_unknown_page_is_not_found(self, campaigns: DynamoCampaigns) -> None:
        record = await campaigns.create(a_record(a_campaign(), pages_of(1)), pages_of(1))
        for campaign, account, page in (
            (a_campaign(), ACCOUNT, 0),
            (record.campaign_id, ACCOUNT, 1),
            (record.campaign_id, "acct_other", 0),
        ):
            with pytest.raises(NotFound):
                await campaigns.audience_page(campaign, account, page)


class TestSetStatus:
    async def test_it_changes_status_and_reason_and_nothing_else(self, campaigns: DynamoCampaigns) -> None:
        record = await campaigns.create(a_record(a_campaign()), ())
        await campaigns.set_status(record.campaign_id, CampaignStatus.PAUSED, "holiday")
        changed = {"status": CampaignStatus.PAUSED, "status_reason": "holiday"}
        assert await campaigns.get(record.campaign_id) == record.model_copy(update=changed)

    @pytest.mark.parametrize("revision", [None, 1])
    async def test_a_request_that_is_not_there_is_not_invented(
        self, campaigns: DynamoCampaigns, revision: int | None
    ) -> None:
        campaign = a_campaign()
        with pytest.raises(Exception, match="ConditionalCheckFailed"):
            await campaigns.set_status(campaign, CampaignStatus.PAUSED, "", revision=revision)
        assert await campaigns.get(campaign) is None

    async def test_a_change_that_comes_late_is_superseded(self, campaigns: DynamoCampaigns) -> None:
        campaign = (await campaigns.create(a_record(a_campaign()), ())).campaign_id
        for revision, status, expected in (
            (1, CampaignStatus.RUNNING, CampaignStatus.RUNNING),
            (3, CampaignStatus.CANCELLING, CampaignStatus.CANCELLING),
            (2, CampaignStatus.PAUSED, CampaignStatus.CANCELLING),
            (3, CampaignStatus.RUNNING, CampaignStatus.CANCELLING),
            (4, CampaignStatus.CANCELLED, CampaignStatus.CANCELLED),
        ):
            await campaigns.set_status(campaign, status, f"revision {revision}", revision=revision)
            assert await status_of(campaigns, campaign) is expected

    async def test_the_last_word_is_past_every_revision(self, campaigns: DynamoCampaigns) -> None:
        campaign = (await campaigns.create(a_record(a_campaign()), ())).campaign_id
        await campaigns.set_status(campaign, CampaignStatus.RUNNING, "", revision=7)
        await campaigns.set_status(campaign, CampaignStatus.CANCELLED, "workflow_was_not_running")
        await campaigns.set_status(campaign, CampaignStatus.FAILED, "", revision=1_000_000)
        assert await status_of(campaigns, campaign) is CampaignStatus.CANCELLED

    @pytest.mark.parametrize("final", [status for status in CampaignStatus if status.is_final])
    @pytest.mark.parametrize("revision", [None, 9])
    async def test_what_is_final_never_goes_on(
        self, campaigns: DynamoCampaigns, final: CampaignStatus, revision: int | None
    ) -> None:
        campaign = (await campaigns.create(a_record(a_campaign()), ())).campaign_id
        await campaigns.set_status(campaign, final, "", revision=1)
        for status in CampaignStatus:
            if status is not final:
                await campaigns.set_status(campaign, status, "late", revision=revision)
        assert await status_of(campaigns, campaign) is final


class TestWant:
    @pytest.fixture
    async def campaign(self, campaigns: DynamoCampaigns) -> str:
        """A campaign that runs, by its workflow's word."""
        created = await campaigns.create(a_record(a_campaign()), ())
        await campaigns.set_status(created.campaign_id, CampaignStatus.RUNNING, "", revision=1, heard=0)
        return created.campaign_id

    async def test_a_pause_is_in_force_before_anybody_has_carried_it_out(
        self, campaigns: DynamoCampaigns, dynamo: Dynamo, campaign: str
    ) -> None:
        assert await campaigns.want(campaign, CampaignStatus.PAUSED) == 1
        assert await status_of(campaigns, campaign) is CampaignStatus.RUNNING
        gate = await DynamoAccounts(dynamo).read(ACCOUNT, [campaign])
        assert gate.campaigns[campaign].status is CampaignStatus.PAUSED

    async def test_wishes_are_counted_from_1_and_the_last_one_counts(
        self, campaigns: DynamoCampaigns, campaign: str
    ) -> None:
        asked = (CampaignStatus.PAUSED, CampaignStatus.RUNNING, CampaignStatus.PAUSED)
        assert [await campaigns.want(campaign, each) for each in asked] == [1, 2, 3]
        assert await in_force(campaigns, campaign) is CampaignStatus.PAUSED

    async def test_of_wishes_at_once_each_has_its_own_number(self, campaigns: DynamoCampaigns, campaign: str) -> None:
        numbers = await asyncio.gather(*(campaigns.want(campaign, CampaignStatus.PAUSED) for _ in range(10)))
        assert sorted(number or 0 for number in numbers) == list(range(1, 11))

    @pytest.mark.parametrize(
        ("heard", "then"), [(0, CampaignStatus.PAUSED), (1, CampaignStatus.RUNNING), (None, CampaignStatus.RUNNING)]
    )
    async def test_a_pause_is_over_when_it_was_answered(
        self, campaigns: DynamoCampaigns, campaign: str, heard: int | None, then: CampaignStatus
    ) -> None:
        await campaigns.want(campaign, CampaignStatus.PAUSED)
        answered = await campaigns.set_status(campaign, CampaignStatus.RUNNING, "", revision=2, heard=heard)
        assert answered == (1 if heard is None else heard)
        assert await in_force(campaigns, campaign) is then

    async def test_an_answer_that_comes_late_answers_nothing(self, campaigns: DynamoCampaigns, campaign: str) -> None:
        await campaigns.want(campaign, CampaignStatus.PAUSED)
        assert await campaigns.set_status(campaign, CampaignStatus.RUNNING, "", revision=0) is None
        assert await in_force(campaigns, campaign) is CampaignStatus.PAUSED

    async def test_an_answer_that_is_given_again_answers_what_it_answered_before(
        self, campaigns: DynamoCampaigns, campaign: str
    ) -> None:
        await campaigns.want(campaign, CampaignStatus.PAUSED)
        for _ in range(2):
            assert await campaigns.set_status(campaign, CampaignStatus.RUNNING, "", revision=2) == 1
        await campaigns.want(campaign, CampaignStatus.PAUSED)
        assert await campaigns.set_status(campaign, CampaignStatus.RUNNING, "", revision=2) == 1
        assert await in_force(campaigns, campaign) is CampaignStatus.PAUSED

    @pytest.mark.parametrize("stored", [True, False])
    async def test_a_cancellation_is_never_taken_back(
        self, campaigns: DynamoCampaigns, campaign: str, stored: bool
    ) -> None:
        await campaigns.want(campaign, CampaignStatus.CANCELLING)
        status = CampaignStatus.CANCELLING if stored else CampaignStatus.RUNNING
        await campaigns.set_status(campaign, status, "", revision=2)
        for late in (CampaignStatus.RUNNING, CampaignStatus.PAUSED):
            assert await campaigns.want(campaign, late) is None
        assert await campaigns.want(campaign, CampaignStatus.CANCELLING) == 2
        assert await in_force(campaigns, campaign) is CampaignStatus.CANCELLING

    @pytest.mark.parametrize("final", [status for status in CampaignStatus if status.is_final])
    async def test_what_is_final_takes_no_wish(
        self, campaigns: DynamoCampaigns, campaign: str, final: CampaignStatus
    ) -> None:
        await campaigns.want(campaign, CampaignStatus.PAUSED)
        await campaigns.set_status(campaign, final, "", revision=2, heard=0)
        for late in (CampaignStatus.RUNNING, CampaignStatus.PAUSED, CampaignStatus.CANCELLING):
            assert await campaigns.want(campaign, late) is None
        assert await in_force(campaigns, campaign) is final

    async def test_a_request_that_is_not_there_is_not_invented(self, campaigns: DynamoCampaigns) -> None:
        missing = a_campaign()
        with pytest.raises(Exception, match="ConditionalCheckFailed"):
            await campaigns.want(missing, CampaignStatus.PAUSED)
        assert await campaigns.get(missing) is None

    async def test_a_record_of_an_earlier_release_takes_wishes_and_statuses(
        self, campaigns: DynamoCampaigns, dynamo: Dynamo, campaign: str
    ) -> None:
        await dynamo.call(
            dynamo.client.update_item,
            TableName=dynamo.table("campaigns"),
            Key=record_key(campaign),
            UpdateExpression="REMOVE wish, settled",
        )
        assert await in_force(campaigns, campaign) is CampaignStatus.RUNNING
        assert await campaigns.want(campaign, CampaignStatus.PAUSED) == 1
        assert await in_force(campaigns, campaign) is CampaignStatus.PAUSED


async def in_force(campaigns: DynamoCampaigns, campaign: str) -> CampaignStatus:
    record = await campaigns.get(campaign)
    assert record is not None
    return record.in_force


async def status_of(campaigns: DynamoCampaigns, campaign: str) -> CampaignStatus:
    record = await campaigns.get(campaign)
    assert record is not None
    return record.status


class TestPlanAndResult:
    async def test_there_is_none_before_it_is_saved(self, campaigns: DynamoCampaigns) -> None:
        record = await campaigns.create(a_record(a_campaign()), ())
        assert await campaigns.plan(record.campaign_id) is None
        assert await campaigns.result(record.campaign_id) is None

    async def test_a_plan_comes_back_whole(self, campaigns: DynamoCampaigns) -> None:
        record = await campaigns.create(a_record(a_campaign()), ())
        plan = ContentPlan(theme="a", tone="b", angle="c", call_to_action="", talking_points=("d", "e"))
        assert await campaigns.save_plan(record.campaign_id, plan) == plan
        assert await campaigns.plan(record.campaign_id) == plan

    async def test_of_two_plans_at_the_same_time_the_first_holds_for_both(self, campaigns: DynamoCampaigns) -> None:
        record = await campaigns.create(a_record(a_campaign()), ())
        plans = [ContentPlan(theme=theme, tone="b", angle="c", call_to_action="d") for theme in ("one", "two")]
        told = await asyncio.gather(*(campaigns.save_plan(record.campaign_id, plan) for plan in plans))
        assert told[0] == told[1] == await campaigns.plan(record.campaign_id)

    async def test_a_result_is_saved_together_with_its_status(self, campaigns: DynamoCampaigns) -> None:
        record = await campaigns.create(a_record(a_campaign()), ())
        result = WorkflowResult(
            request_id=record.request_id,
            status=CampaignStatus.COMPLETED,
            processing_time=1_234,
            detailed_costs=DetailedCosts(total_cost=0.1 + 0.2, total_cost_micros=300_000),
            quality_score=0.8333,
            compliance=check("Last chance!!!"),
            reason="done",
        )
        await campaigns.save_result(record.campaign_id, result)
        assert await campaigns.result(record.campaign_id) == result
        stored = await campaigns.get(record.campaign_id)
        assert stored is not None
        assert (stored.status, stored.status_reason) == (CampaignStatus.COMPLETED, "done")
        for late in (CampaignStatus.RUNNING, CampaignStatus.FAILED):
            await campaigns.set_status(record.campaign_id, late, "late", revision=50)
        assert await campaigns.get(record.campaign_id) == stored


class TestList:
    @pytest.fixture
    def owner(self) -> str:
        return an_owner()

    @pytest.fixture
    async def records(self, campaigns: DynamoCampaigns, owner: str) -> list[CampaignRecord]:
        """Seven requests of one owner a minute apart, newest first: every second is running, one a plan."""
        made = [
            a_record(
                a_campaign(),
                owner=owner,
                status=CampaignStatus.RUNNING if number % 2 else CampaignStatus.COMPLETED,
                type=IntentType.CONTENT_PLANNING if number == 3 else IntentType.CAMPAIGN_EXECUTION,
                created_at=NOW - timedelta(minutes=number),
            )
            for number in range(7)
        ]
        for record in made:
            await campaigns.create(record, pages_of(1))
        return made

    async def test_newest_first_and_only_the_owners(
        self, campaigns: DynamoCampaigns, owner: str, records: list[CampaignRecord]
    ) -> None:
        await campaigns.create(a_record(a_campaign(), owner=an_owner()), ())
        assert await listed(campaigns, owner=owner) == [record.campaign_id for record in records]

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    @pytest.mark.parametrize("status", [None, CampaignStatus.RUNNING])
    async def test_walking_through_all_pages_shows_every_request_once(
        self,
        campaigns: DynamoCampaigns,
        owner: str,
        records: list[CampaignRecord],
        limit: int,
        status: CampaignStatus | None,
    ) -> None:
        filters = CampaignFilter(owner=owner, status=status)
        found: list[CampaignRecord] = []
        cursor: str | None = None
        while True:
            listing = await campaigns.list(filters, limit=limit, cursor=cursor)
            assert len(listing.campaigns) <= limit
            found.extend(listing.campaigns)
            cursor = listing.cursor
            if cursor is None:
                break
            assert len(listing.campaigns) == limit
        assert found == [record for record in records if status in (None, record.status)]

    async def test_by_type(self, campaigns: DynamoCampaigns, owner: str, records: list[CampaignRecord]) -> None:
        assert await listed(campaigns, owner=owner, type="content_planning") == [records[3].campaign_id]

    async def test_direct_messages_only_when_they_are_asked_for(
        self, campaigns: DynamoCampaigns, owner: str, records: list[CampaignRecord]
    ) -> None:
        direct = [
            a_record(
                a_campaign(),
                owner=owner,
                type=IntentType.DIRECT_MESSAGE,
                status=CampaignStatus.RUNNING,
                created_at=NOW + timedelta(minutes=number),
            )
            for number in range(5)
        ]
        for record in direct:
            await campaigns.create(record, ())
        everything = await campaigns.list(CampaignFilter(owner=owner), limit=7, cursor=None)
        assert list(everything.campaigns) == records
        found = await listed(campaigns, owner=owner, type="direct_message", status="running")
        assert found == [record.campaign_id for record in reversed(direct)]

    async def test_by_time_of_creation(
        self, campaigns: DynamoCampaigns, owner: str, records: list[CampaignRecord]
    ) -> None:
        after, before = NOW - timedelta(minutes=4, seconds=30), NOW - timedelta(seconds=30)
        found = await listed(campaigns, owner=owner, created_after=after, created_before=before)
        assert found == [record.campaign_id for record in records[1:5]]

    @pytest.mark.usefixtures("records")
    async def test_the_offset_of_a_bound_does_not_matter(self, campaigns: DynamoCampaigns, owner: str) -> None:
        after = (NOW - timedelta(minutes=2, seconds=30)).astimezone(timezone(timedelta(hours=2)))
        assert len(await listed(campaigns, owner=owner, created_after=after)) == 3

    @pytest.mark.parametrize("fraction", [0, 1, 500_000, 123_456])
    async def test_a_bound_at_a_whole_second_includes_what_came_within_that_second(
        self, campaigns: DynamoCampaigns, owner: str, fraction: int
    ) -> None:
        record = a_record(a_campaign(), owner=owner, created_at=NOW + timedelta(microseconds=fraction))
        await campaigns.create(record, ())
        assert await listed(campaigns, owner=owner, created_after=NOW) == [record.campaign_id]
        assert await listed(campaigns, owner=owner, created_before=NOW + timedelta(seconds=1)) == [record.campaign_id]

    async def test_the_order_is_right_within_a_second(self, campaigns: DynamoCampaigns, owner: str) -> None:
        moments = [NOW + timedelta(microseconds=number) for number in (0, 1, 10, 500_000, 999_999)]
        made = [a_record(a_campaign(), owner=owner, created_at=moment) for moment in moments]
        for record in made:
            await campaigns.create(record, ())
        assert await listed(campaigns, owner=owner) == [record.campaign_id for record in reversed(made)]

    async def test_without_an_owner_everybodys(self, campaigns: DynamoCampaigns) -> None:
        far = datetime(2031, 1, 1, tzinfo=UTC) + timedelta(seconds=uuid4().int % 10**8)
        made = [a_record(a_campaign(), owner=an_owner(), created_at=far + timedelta(hours=hour)) for hour in (0, 1)]
        for record in made:
            await campaigns.create(record, pages_of(1))
        found = await listed(campaigns, created_after=far, created_before=far + timedelta(hours=1))
        assert found == [made[1].campaign_id, made[0].campaign_id]

    @pytest.mark.parametrize(
        "cursor",
        [
            "garbage",
            "%%%",
            "é",
            "",
            base64.urlsafe_b64encode(json.dumps(str(uuid4())).encode()).decode(),
            base64.urlsafe_b64encode(json.dumps([1]).encode()).decode(),
            base64.urlsafe_b64encode(json.dumps({"a": "b", "c": "d"}).encode()).decode(),
            base64.urlsafe_b64encode(json.dumps(["", ""]).encode()).decode(),
            base64.urlsafe_b64encode(json.dumps([{}, [1]]).encode()).decode(),
        ],
        ids=["word", "signs", "not ascii", "empty", "of messages", "short", "object", "empty strings", "nested"],
    )
    async def test_a_cursor_of_somewhere_else_is_refused_by_name(
        self, campaigns: DynamoCampaigns, owner: str, cursor: str
    ) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await campaigns.list(CampaignFilter(owner=owner), limit=5, cursor=cursor)
        assert refused.value.field == "cursor"

    @pytest.mark.usefixtures("records")
    async def test_a_cursor_of_another_caller_shows_nothing_of_that_callers(
        self, campaigns: DynamoCampaigns, owner: str
    ) -> None:
        other = an_owner()
        mine = await campaigns.create(a_record(a_campaign(), owner=other, created_at=NOW - timedelta(days=1)), ())
        theirs = await campaigns.list(CampaignFilter(owner=owner), limit=2, cursor=None)
        listing = await campaigns.list(CampaignFilter(owner=other), limit=5, cursor=theirs.cursor)
        assert listing.campaigns == (mine,)
