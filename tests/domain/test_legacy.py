"""The translation between the legacy API and ours: total, and true to the contract in both directions."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.campaign import CampaignRecord, CampaignStatus
from domain.compliance import ComplianceLevel, check
from domain.delivery import Priority
from domain.legacy import (
    LEGACY_USER,
    NEUTRAL_ACCOUNT,
    SHADOW_USER,
    LegacyReason,
    has_dot_segments,
    is_legacy,
    platforms_of,
    user_of,
)
from domain.legacy_answer import data_of, failure, merged, message_of, status_of, success
from domain.legacy_translation import (
    ACTION_TYPES,
    LegacyCampaign,
    Translation,
    bad_request,
    may_send,
    translate,
    without_effect,
)
from domain.progress import DetailedCosts, GeneratedText, WorkflowResult
from domain.provider import ContentPlan, GeneralText, IntentType, PreferredProvider
from domain.rate_limit import MessageType

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
RESULT_KEYS = ["id", "userId", "status", "type", "createdAt", "provider", "platforms", "content"]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3)
)
payloads = st.dictionaries(
    st.sampled_from(
        [
            "contentType",
            "sendToOnlyFans",
            "recipientId",
            "recipientIds",
            "recipientName",
            "priority",
            "accountId",
            "brief",
            "text",
            "content",
            "unknown",
        ]
    ),
    anything | st.sampled_from(["acct_luna", "1002003", "urgent", True, ["1", 2]]),
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        # Most of the time one that is taken, or nothing beyond it would be tried.
        "user_id": st.sampled_from(["u1", "7", "user-42"]) | st.text(max_size=20) | anything,
        "userId": st.text(max_size=20) | anything,
        "action": st.sampled_from(list(ACTION_TYPES)) | anything,
        "payload": payloads | anything,
        "platform": st.sampled_from(["x", "onlyfans"]) | anything,
        "platforms": st.lists(st.text(max_size=10), max_size=3) | anything,
    },
)


def campaign(action: str = "create_post", platforms: tuple[str, ...] = (), **payload: Any) -> LegacyCampaign:
    return LegacyCampaign(user_id="u1", action=action, payload=payload, platforms=platforms)


def translated(asked: LegacyCampaign, accounts: frozenset[str] | None = None) -> Translation:
    found = translate(asked, accounts)
    assert isinstance(found, Translation), found
    return found


def record(kind: IntentType = IntentType.CONTENT_PLANNING, **changes: Any) -> CampaignRecord:
    fields: dict[str, Any] = {
        "campaign_id": "c1",
        "request_id": "k1",
        "owner": "u1",
        "type": kind,
        "message_type": MessageType.CUSTOM,
        "compliance_level": ComplianceLevel.STRICT,
        "priority": Priority.MEDIUM,
        "preferred_provider": PreferredProvider.AUTO,
        "brief": "b",
        "account_id": "acct_luna",
        "lanes": (),
        "audience_size": 2,
        "page_size": 5,
        "fingerprint": "f",
        "created_at": NOW,
    }
    return CampaignRecord(**fields | changes)


def result(**changes: Any) -> WorkflowResult:
    fields: dict[str, Any] = {
        "request_id": "k1",
        "status": CampaignStatus.COMPLETED,
        "processing_time": 1,
        "detailed_costs": DetailedCosts(),
    }
    return WorkflowResult(**fields | changes)


class TestWhateverArrives:
    @given(bodies | anything, st.none() | st.frozensets(st.sampled_from(["acct_luna", "acct_nova"])))
    def test_it_is_a_translation_a_reason_or_a_bad_request(self, body: Any, accounts: frozenset[str] | None) -> None:
        user_of(body, {})
        platforms_of(body)
        try:
            asked = LegacyCampaign.model_validate(body)
        except ValidationError as error:
            errors = bad_request(error)
            assert errors
            assert all(set(each) == {"field", "message"} for each in errors)
            return
        found = translate(asked, accounts)
        if isinstance(found, LegacyReason):
            return
        # Whatever is stored and sent on is text that every store takes.
        found.intent.model_dump_json().encode()
        assert found.answered_as == ACTION_TYPES.get(asked.action, IntentType.CONTENT_PLANNING)
        assert found.intent.only_fans_context.compliance_level is ComplianceLevel.STRICT
        if found.may_send:
            assert may_send(asked)
            assert found.intent.audience
            assert asked.payload.get("sendToOnlyFans") in {True, None}
            assert accounts is None or found.intent.only_fans_context.account_id in accounts
        harmless = without_effect(found)
        assert not harmless.may_send
        assert harmless.intent.only_fans_context.account_id == NEUTRAL_ACCOUNT
        # Made without validation, so it is validated here.
        type(harmless.intent).model_validate_json(harmless.intent.model_dump_json())

    @given(
        st.sampled_from(list(IntentType)),
        st.sampled_from(list(CampaignStatus)),
        st.lists(st.text(max_size=5), max_size=3),
        st.booleans(),
        st.booleans(),
    )
    def test_the_answer_always_has_the_contracts_keys(
        self, kind: IntentType, status: CampaignStatus, platforms: list[str], waiting: bool, done: bool
    ) -> None:
        data = data_of(
            record(kind, status=status),
            result(status=status) if done else None,
            user_id="u1",
            platforms=platforms,
            waiting=waiting,
        )
        assert list(data) == RESULT_KEYS
        assert all(isinstance(data[name], str) for name in RESULT_KEYS if name != "platforms")
        assert json.loads(json.dumps(data))["platforms"] == platforms


class TestRequest:
    @pytest.mark.parametrize(("action", "kind"), ACTION_TYPES.items())
    def test_actions_are_the_contracts(self, action: str, kind: IntentType) -> None:
        assert translated(campaign(action, text="Hello")).answered_as is kind

    def test_either_spelling_of_the_user_and_the_platform(self) -> None:
        asked = LegacyCampaign.model_validate({"userId": "u1", "action": "a", "payload": {}, "platform": "x"})
        assert (asked.user_id, asked.all_platforms) == ("u1", ("x",))

    def test_errors_name_fields_as_the_legacy_system_does(self) -> None:
        with pytest.raises(ValidationError) as caught:
            LegacyCampaign.model_validate({"platform": 7})
        assert [each["field"] for each in bad_request(caught.value)] == ["user_id", "action", "payload", "platform"]

    def test_the_user_is_named_in_the_body_or_the_query(self) -> None:
        assert user_of({"userId": "b"}, {"user_id": "q"}) == "b"
        assert user_of({"user_id": 7}, {"userId": "q"}) == "q"
        assert user_of([], {}) is None


class TestWhatRuns:
    def test_only_what_is_to_be_sent_to_somebody_is_a_campaign(self) -> None:
        sending = translated(campaign("send_message", sendToOnlyFans=True, recipientId=7, accountId="acct_luna"))
        assert sending.intent.type is IntentType.CAMPAIGN_EXECUTION
        assert [member.recipient_id for member in sending.intent.audience] == ["7"]
        assert translated(campaign("create_post", sendToOnlyFans=True)).intent.type is IntentType.CONTENT_PLANNING
        unsent = translated(campaign("send_message", recipientId="7"))
        assert unsent.intent.type is IntentType.MESSAGE_GENERATION

    @pytest.mark.parametrize(
        ("payload", "kind"),
        [
            ({}, IntentType.CONTENT_PLANNING),
            ({"recipientIds": ["1", "2", "1"]}, IntentType.CAMPAIGN_EXECUTION),
            ({"recipientIds": ["1"], "sendToOnlyFans": False}, IntentType.CONTENT_PLANNING),
        ],
    )
    def test_a_planned_campaign(self, payload: dict[str, Any], kind: IntentType) -> None:
        found = translated(campaign("plan_campaign", accountId="acct_luna", **payload))
        assert (found.intent.type, found.answered_as) == (kind, IntentType.CAMPAIGN_EXECUTION)
        assert len(found.intent.audience) == (2 if found.may_send else 0)

    @pytest.mark.parametrize(
        ("action", "payload", "reason"),
        [
            ("send_message", {"recipientIds": ["1", "2"]}, LegacyReason.SEVERAL_RECIPIENTS),
            ("send_message", {"recipientId": "a b"}, LegacyReason.UNUSABLE_RECIPIENT),
            ("send_message", {"recipientId": True}, LegacyReason.UNUSABLE_RECIPIENT),
            ("send_message", {"recipientIds": "1"}, LegacyReason.UNUSABLE_RECIPIENT),
            ("create_post", {"sendToOnlyFans": "yes"}, LegacyReason.UNCLEAR_WHETHER_TO_SEND),
            ("create_post", {"sendToOnlyFans": True, "recipientId": "1"}, LegacyReason.NO_ACCOUNT),
            ("validate_content", {"text": " "}, LegacyReason.NO_TEXT),
            ("validate_content", {"text": "x" * 100_000}, LegacyReason.NOT_ACCEPTED),
        ],
    )
    def test_what_is_none_of_ours(self, action: str, payload: dict[str, Any], reason: LegacyReason) -> None:
        assert translate(campaign(action, **payload), None) is reason

    @pytest.mark.parametrize("user", [SHADOW_USER, LEGACY_USER, "a" * 256, " u", "u\n", "u\x00"])
    def test_users_that_cannot_be_ours(self, user: str) -> None:
        asked = LegacyCampaign(user_id=user, action="a", payload={})
        assert translate(asked, None) is LegacyReason.UNUSABLE_USER_ID

    def test_more_recipients_than_a_campaign_takes_are_not_even_looked_at(self) -> None:
        asked = campaign("plan_campaign", accountId="acct_luna", recipientIds=["not an id", "1", "2"])
        assert translate(asked, None, max_audience=2) is LegacyReason.TOO_MANY_RECIPIENTS
        assert translate(asked, None, max_audience=3) is LegacyReason.UNUSABLE_RECIPIENT

    def test_what_may_send_is_known_without_knowing_who_asks(self) -> None:
        assert may_send(campaign("send_message", sendToOnlyFans=True, recipientId="1"))
        assert may_send(campaign("plan_campaign", recipientIds=["1"]))
        assert not may_send(campaign("plan_campaign"))
        assert not may_send(campaign("plan_campaign", recipientIds=[], sendToOnlyFans=True))
        assert not may_send(campaign("send_message", recipientId="1"))

    def test_the_account_is_named_or_the_tokens_only_one(self) -> None:
        sending = campaign("create_post", sendToOnlyFans=True, recipientId="1")
        only = translated(sending, frozenset({"acct_luna"}))
        assert only.intent.only_fans_context.account_id == "acct_luna"
        assert translate(sending, frozenset({"acct_luna", "acct_nova"})) is LegacyReason.NO_ACCOUNT
        foreign = campaign("create_post", sendToOnlyFans=True, recipientId="1", accountId="acct_nova")
        assert translate(foreign, frozenset({"acct_luna"})) is LegacyReason.FOREIGN_ACCOUNT

    def test_the_brief_says_what_is_wanted_and_where(self) -> None:
        named = translated(campaign(platforms=("x", "onlyfans"), prompt="Summer", description="Other"))
        assert named.intent.brief == "Summer (platforms: x)"
        assert named.platforms == ("x", "onlyfans")
        made = translated(campaign("create_post", contentType="story"))
        assert made.intent.brief == "create post: a warm and personal story"
        assert len(translated(campaign(brief="x" * 9_000, platforms=("x",))).intent.brief) == 2_000

    @pytest.mark.parametrize(
        ("given_priority", "priority"),
        [("HIGH", Priority.HIGH), ("urgent", Priority.CRITICAL), ("normal", Priority.MEDIUM), (3, Priority.MEDIUM)],
    )
    def test_priorities(self, given_priority: object, priority: Priority) -> None:
        assert translated(campaign(priority=given_priority)).intent.priority is priority

    @pytest.mark.parametrize(
        ("name", "used"), [("Maya", "Maya"), (None, "there"), ("<b>", "there"), ("x" * 99, "there"), (7, "there")]
    )
    def test_names(self, name: object, used: str) -> None:
        found = translated(campaign("send_message", recipientId="1", recipientName=name))
        assert found.intent.audience[0].name == used


class TestAnswer:
    def test_the_envelope_is_the_contracts(self) -> None:
        assert list(success({"id": "1"})) == ["status", "result", "data"]
        assert success({"id": "1"}, "note")["message"] == "note"
        assert failure("m") == {"status": "error", "message": "m", "data": None}
        assert failure("m", [{"field": "f", "message": "x"}])["errors"] == [{"field": "f", "message": "x"}]

    def test_statuses(self) -> None:
        assert status_of(CampaignStatus.RUNNING) == "processing"
        assert status_of(CampaignStatus.RUNNING, waiting=True) == "awaiting_review"
        assert status_of(CampaignStatus.COMPLETED, waiting=True) == "completed"
        assert status_of(CampaignStatus.FAILED) == "failed"

    def test_the_type_is_the_one_that_was_asked_for(self) -> None:
        data = data_of(record(routed_as=IntentType.CAMPAIGN_EXECUTION), None, user_id="u1", platforms=())
        assert data["type"] == "campaign_execution"

    def test_a_text_that_must_not_be_sent_is_not_handed_out(self) -> None:
        blocked = check("send it to my paypal, cashapp me")
        assert blocked.blocked
        answer = result(compliance=blocked, message=GeneratedText(recipient_id="1", text="secret"))
        data = data_of(
            record(IntentType.MESSAGE_GENERATION),
            answer.model_copy(update={"message": None}),
            user_id="u",
            platforms=(),
        )
        assert (data["status"], data["content"]) == ("failed", "")
        assert "breaks" in message_of(answer)

    def test_a_plans_content_is_its_general_text(self) -> None:
        plan = ContentPlan(theme="t", tone="", angle="a", call_to_action="c")
        assert data_of(record(), result(plan=plan), user_id="u", platforms=())["content"] == "t a c"
        written = plan.model_copy(update={"general_texts": (GeneralText(language="en", text="Hello."),)})
        assert data_of(record(), result(plan=written), user_id="u", platforms=())["content"] == "Hello."

    def test_lists_are_merged_by_time(self) -> None:
        theirs = [
            {"id": "old", "createdAt": NOW.isoformat()},
            {"id": "naive", "createdAt": (NOW + timedelta(hours=2)).replace(tzinfo=None).isoformat()},
            {"id": "never"},
        ]
        ours = [{"id": "new", "createdAt": (NOW + timedelta(hours=1)).isoformat(), "provider": "hybrid"}]
        found = merged(theirs, ours)
        assert [each["id"] for each in found] == ["naive", "new", "old", "never"]
        assert [each["provider"] for each in found] == ["legacy", "hybrid", "legacy", "legacy"]


@pytest.mark.parametrize(
    ("path", "legacy"),
    [
        ("/api/campaigns", True),
        ("/api/campaigns/", True),
        ("/api/campaigns/1/x", True),
        ("/api/campaignsx", False),
        ("/api/v2/campaigns/hybrid", False),
    ],
)
def test_which_paths_are_the_legacy_apis(path: str, legacy: bool) -> None:
    assert is_legacy(path) is legacy


@pytest.mark.parametrize(
    ("path", "climbs"),
    [
        ("/a/../b", True),
        ("/a/./b", True),
        ("/a\\..", True),
        ("/a/..;/b", True),
        ("/a/.;x=1/b", True),
        ("/a/%2e%2e/b", True),
        ("/a%2f..", True),
        ("/a/..%3bx/b", True),
        ("/a..b/.c", False),
        ("/a/b;..", False),
        ("/a/100%", False),
    ],
)
def test_paths_that_climb(path: str, climbs: bool) -> None:
    assert has_dot_segments(path) is climbs
