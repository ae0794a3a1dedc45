"""A request: its identity, what makes it complete, and how its audience is cut into pages."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.alternative import AlternativeAction, DeliveryTerms, DeliveryTimes
from domain.campaign import (
    AudiencePage,
    CampaignInput,
    CampaignStatus,
    WorkflowIntent,
    campaign_id,
    campaign_of,
    duplicate_recipients,
    fingerprint,
    lanes_of,
    mass_message_key,
    paginate,
    workflow_id_for,
)
from domain.provider import IntentType
from tests.domain.builders import NOW, a_record, an_intent

ACCOUNTS = ("acct_a", "acct_b", "acct_c")
ids = st.text("abc12-_", min_size=1, max_size=4)
members = st.fixed_dictionaries(
    {"recipientId": ids, "name": st.text(st.characters(categories=["L"]), min_size=1, max_size=8)},
    optional={
        "accountId": st.sampled_from(ACCOUNTS),
        "tier": st.sampled_from(["vip", "standard"]),
        "language": st.sampled_from(["en", "fr-CA"]),
        "spend": st.decimals(min_value=0, max_value=10_000, places=2).map(str),
        "lastSeen": st.dates().map(str),
    },
)
audiences = st.lists(members, min_size=1, max_size=30)
intents = audiences.map(lambda audience: an_intent(audience=audience))
page_sizes = st.integers(min_value=1, max_value=7)


class TestPaginate:
    @given(intents, page_sizes)
    def test_every_recipient_is_there_once_with_everything_that_was_said_of_them_in_the_callers_order(
        self, intent: WorkflowIntent, page_size: int
    ) -> None:
        home = intent.only_fans_context.account_id
        pages = paginate(intent, page_size)
        for account in intent.accounts():
            expected = [
                member.model_dump(exclude={"account_id"})
                for member in intent.audience
                if (member.account_id or home) == account
            ]
            found = [
                recipient.model_dump() for page in pages if page.account_id == account for recipient in page.recipients
            ]
            assert found == expected

    @given(intents, page_sizes)
    def test_pages_are_full_but_for_the_last_of_each_account_and_counted_from_zero(
        self, intent: WorkflowIntent, page_size: int
    ) -> None:
        by_account: dict[str, list[AudiencePage]] = {}
        for page in paginate(intent, page_size):
            by_account.setdefault(page.account_id, []).append(page)
        for pages in by_account.values():
            assert [page.page for page in pages] == list(range(len(pages)))
            assert all(len(page.recipients) == page_size for page in pages[:-1])
            assert 1 <= len(pages[-1].recipients) <= page_size

    @given(intents, page_sizes)
    def test_a_page_survives_the_way_through_json(self, intent: WorkflowIntent, page_size: int) -> None:
        for page in paginate(intent, page_size):
            assert AudiencePage.model_validate_json(page.model_dump_json()) == page


class TestLanesOf:
    @given(intents, page_sizes)
    def test_lanes_add_up_to_the_audience_and_its_pages(self, intent: WorkflowIntent, page_size: int) -> None:
        pages = paginate(intent, page_size)
        lanes = lanes_of(pages)
        assert sum(lane.audience for lane in lanes) == len(intent.audience)
        assert sum(lane.pages for lane in lanes) == len(pages)
        assert all(lane.pages == -(-lane.audience // page_size) for lane in lanes)

    @given(intents, page_sizes)
    def test_each_account_that_has_recipients_has_one_lane(self, intent: WorkflowIntent, page_size: int) -> None:
        lanes = lanes_of(paginate(intent, page_size))
        home = intent.only_fans_context.account_id
        assert Counter(lane.account_id for lane in lanes) == Counter(
            {member.account_id or home for member in intent.audience}
        )


class TestDuplicateRecipients:
    @given(intents)
    def test_a_repetition_is_told_with_its_first_occurrence(self, intent: WorkflowIntent) -> None:
        home = intent.only_fans_context.account_id
        keys = [(member.account_id or home, member.recipient_id) for member in intent.audience]
        expected = tuple((index, keys.index(key)) for index, key in enumerate(keys) if keys.index(key) != index)
        assert duplicate_recipients(intent) == expected

    def test_the_same_fan_on_two_accounts_is_no_repetition(self) -> None:
        fan = {"recipientId": "1", "name": "Maya"}
        assert duplicate_recipients(an_intent(audience=[fan, fan | {"accountId": "acct_other"}])) == ()

    def test_naming_the_home_account_changes_nothing(self) -> None:
        fan = {"recipientId": "1", "name": "Maya"}
        assert duplicate_recipients(an_intent(audience=[fan, fan | {"accountId": "acct_luna"}])) == ((1, 0),)


class TestCampaignId:
    @given(st.text(), st.text())
    def test_the_same_caller_with_the_same_key_means_the_same_request(self, owner: str, key: str) -> None:
        assert campaign_id(owner, key) == campaign_id(owner, key)

    @given(st.tuples(st.text("ab/", min_size=1), st.text("ab/", min_size=1)), st.tuples(st.text("ab/"), st.text("ab/")))
    def test_another_caller_or_another_key_means_another_request(
        self, one: tuple[str, str], other: tuple[str, str]
    ) -> None:
        assert (campaign_id(*one) == campaign_id(*other)) == (one == other)

    def test_a_slash_in_a_callers_name_does_not_lead_to_somebody_elses_request(self) -> None:
        assert campaign_id("agency", "luna/1") != campaign_id("agency/luna", "1")


class TestWorkflowId:
    @pytest.mark.parametrize("intent", IntentType)
    def test_it_names_the_request(self, intent: IntentType) -> None:
        assert campaign_of(workflow_id_for(intent, "c-1")) == "c-1"

    def test_only_a_campaign_is_called_one(self) -> None:
        assert workflow_id_for(IntentType.CAMPAIGN_EXECUTION, "c-1") == "campaign-c-1"
        assert workflow_id_for(IntentType.CONTENT_PLANNING, "c-1") == "generation-c-1"

    def test_another_workflow_belongs_to_no_request(self) -> None:
        assert campaign_of("send-queue-acct_luna") is None


CHANGES: list[dict[str, Any]] = [
    {"brief": "Something else"},
    {"priority": "high"},
    {"maxCost": "1.50"},
    {"preferredProvider": "azure"},
    {"clientVersion": "2"},
    {"featureFlags": {"new": True}},
    {"delivery": {"notBefore": "2026-12-01T08:00:00Z"}},
    {"delivery": {"expiresAt": "2026-12-01T08:00:00Z"}},
    {"delivery": {"deadline": "2026-12-01T08:00:00Z", "onDeadline": "skip"}},
    {"delivery": {"deadline": "2026-12-01T08:00:00Z", "onDeadline": "mass_message", "alternativeText": "Hello all"}},
    {"delivery": {"deadline": "2026-12-01T08:00:00Z", "onDeadline": "mass_message", "alternativeText": "Hi all"}},
    {"onlyFansContext": {"accountId": "acct_other"}},
    {"onlyFansContext": {"accountId": "acct_luna", "messageType": "welcome"}},
    {"onlyFansContext": {"accountId": "acct_luna", "complianceLevel": "relaxed"}},
    {"onlyFansContext": {"accountId": "acct_luna", "recipientId": "7"}},
    {"audience": [{"recipientId": "2", "name": "Maya"}]},
    {"audience": [{"recipientId": "1", "name": "Mia"}]},
    {"audience": [{"recipientId": "1", "name": "Maya", "accountId": "acct_other"}]},
    {"audience": [{"recipientId": "1", "name": "Maya", "spend": "5"}]},
]


class TestFingerprint:
    def test_the_key_and_the_time_of_asking_are_no_part_of_it(self) -> None:
        asked = fingerprint(an_intent())
        assert fingerprint(an_intent(requestId="k-1", timestamp=NOW)) == asked
        assert fingerprint(an_intent(requestId="k-2", timestamp=NOW + timedelta(1))) == asked

    @pytest.mark.parametrize("change", CHANGES, ids=str)
    def test_anything_else_changes_it(self, change: dict[str, Any]) -> None:
        assert fingerprint(an_intent(**change)) != fingerprint(an_intent())

    def test_no_two_requests_share_one(self) -> None:
        assert len({fingerprint(an_intent(**change)) for change in CHANGES}) == len(CHANGES)

    def test_what_a_default_says_may_be_said_aloud(self) -> None:
        assert fingerprint(an_intent(priority="medium", platforms=["onlyfans"])) == fingerprint(an_intent())

    def test_the_same_moment_in_another_time_zone_is_the_same(self) -> None:
        one, other = {"notBefore": "2026-12-01T08:00:00Z"}, {"notBefore": "2026-12-01T09:00:00+01:00"}
        assert fingerprint(an_intent(delivery=one)) == fingerprint(an_intent(delivery=other))

    def test_the_order_of_a_json_objects_fields_does_not_matter(self) -> None:
        one, other = {"new": True, "old": False}, {"old": False, "new": True}
        assert fingerprint(an_intent(featureFlags=one)) == fingerprint(an_intent(featureFlags=other))


FAN = {"recipientId": "1", "name": "Maya"}


class TestWorkflowIntent:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"audience": []}, "audience: campaign_execution needs at least one recipient"),
            ({"brief": " \n"}, "brief: campaign_execution needs a brief that says what it is about"),
            ({"type": "message_generation", "audience": []}, "audience: message_generation needs at least one"),
            (
                {"type": "message_generation", "audience": [FAN, FAN]},
                "audience: message_generation writes to exactly one recipient; use campaign_execution for more",
            ),
            ({"type": "message_generation", "brief": ""}, "brief: message_generation needs a brief"),
            ({"type": "content_planning"}, "audience: content_planning takes no audience"),
            ({"type": "content_planning", "audience": [], "brief": ""}, "brief: content_planning needs a brief"),
            ({"type": "content_validation", "text": "Hi"}, "audience: content_validation takes no audience"),
            (
                {"type": "content_validation", "audience": [], "text": " "},
                "text: content_validation needs the text to validate",
            ),
            (
                {"type": "message_generation", "delivery": {"notBefore": "2026-12-01T08:00:00Z"}},
                "delivery: message_generation sends nothing; only campaign_execution does",
            ),
            ({"platforms": ["fansly"]}, "supported platforms: onlyfans"),
            ({"platforms": []}, "supported platforms: onlyfans"),
        ],
    )
    def test_what_is_missing_or_too_much_is_named_with_its_remedy(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            an_intent(**change)

    @pytest.mark.parametrize(
        "change",
        [
            {},
            {"type": "message_generation"},
            {"type": "content_planning", "audience": []},
            {"type": "content_validation", "audience": [], "brief": "", "text": "Is this fine?"},
        ],
    )
    def test_each_type_is_complete_with_what_it_needs(self, change: dict[str, Any]) -> None:
        assert an_intent(**change).type == change.get("type", "campaign_execution")

    @pytest.mark.parametrize(
        ("change", "place"),
        [
            ({"breif": "x"}, ("breif",)),
            ({"onlyFansContext": {"accountId": "luna"}}, ("onlyFansContext", "accountId")),
            ({"onlyFansContext": {"accountId": "acct_l", "kind": 1}}, ("onlyFansContext", "kind")),
            ({"audience": [FAN, {"recipientId": "a b", "name": "M"}]}, ("audience", 1, "recipientId")),
            ({"audience": [FAN | {"spend": "-1"}]}, ("audience", 0, "spend")),
            ({"audience": [FAN | {"language": "english"}]}, ("audience", 0, "language")),
            ({"maxCost": 0}, ("maxCost",)),
            ({"requestId": "has space"}, ("requestId",)),
            ({"brief": "x" * 2_001}, ("brief",)),
        ],
    )
    def test_a_bad_field_is_named_by_its_place(self, change: dict[str, Any], place: tuple[str | int, ...]) -> None:
        with pytest.raises(ValidationError) as refused:
            an_intent(**change)
        assert [error["loc"] for error in refused.value.errors()] == [place]

    def test_a_refusal_does_not_repeat_what_was_written(self) -> None:
        with pytest.raises(ValidationError) as refused:
            an_intent(audience=[FAN | {"name": "Secretname" * 9}])
        assert "Secretname" not in str(refused.value)

    @given(st.decimals(min_value=Decimal("0.000001"), max_value=1_000_000, places=8))
    def test_a_cost_limit_in_micro_dollars_is_never_above_the_callers(self, dollars: Decimal) -> None:
        micros = an_intent(maxCost=str(dollars)).max_cost_micros
        assert micros is not None
        assert 0 <= dollars * 1_000_000 - micros < 1

    def test_without_a_cost_limit_there_is_none(self) -> None:
        assert an_intent().max_cost_micros is None

    def test_every_account_that_would_speak_is_named_once(self) -> None:
        audience = [FAN, FAN | {"accountId": "acct_b"}, FAN | {"accountId": "acct_b"}]
        assert an_intent(audience=audience).accounts() == ("acct_b", "acct_luna")


class TestCampaignInput:
    def test_no_text_enters_a_history(self) -> None:
        times = DeliveryTimes(deadline=NOW, on_deadline=AlternativeAction.MASS_MESSAGE, not_before=NOW, expires_at=NOW)
        record = a_record("c-1", delivery=DeliveryTerms(times=times, alternative_text="Hello everybody"))
        campaign = CampaignInput.of(record, "t-1")
        assert "everybody" not in campaign.model_dump_json()
        assert campaign.delivery == times


class TestMassMessageKey:
    def test_it_belongs_to_one_account_of_one_campaign(self) -> None:
        keys = {mass_message_key(campaign, account) for campaign in ("c-1", "c-2") for account in ("acct_a", "acct_b")}
        assert len(keys) == 4
        assert mass_message_key("c-1", "acct_a") in keys


class TestCampaignStatus:
    def test_exactly_three_ends_are_final(self) -> None:
        final = {status for status in CampaignStatus if status.is_final}
        assert final == {CampaignStatus.COMPLETED, CampaignStatus.CANCELLED, CampaignStatus.FAILED}
