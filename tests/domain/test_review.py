"""When a person must look, and how much less an owner may allow."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.compliance import ComplianceLevel, ComplianceReport, check
from domain.delivery import Message, MessageReview, MessageStatus
from domain.review import (
    AutonomyOptIn,
    AutonomyRequest,
    Decision,
    EditRequest,
    ReviewDecision,
    ReviewPolicy,
    ReviewRequest,
    Verdict,
    edited,
    needs_review,
)
from tests.domain.builders import NOW, a_message

CLEAN = check("Hello Maya, the new set is here.")
ONE_WARNING = check("Hello Maya, last chance for the new set.")

EXPIRE = Verdict.EXPIRE
BLOCKING = check("Pay me on PayPal.").violations[0]
BY_LUNA = MessageReview(decided_by="luna", decided_at=NOW)

STRICT, MODERATE, RELAXED = ComplianceLevel.STRICT, ComplianceLevel.MODERATE, ComplianceLevel.RELAXED


class TestNeedsReview:
    @pytest.mark.parametrize(
        ("level", "report", "expected"),
        [
            (STRICT, CLEAN, True),
            (STRICT, ONE_WARNING, True),
            (MODERATE, CLEAN, False),
            (MODERATE, ONE_WARNING, True),
            (MODERATE, ComplianceReport(score=0.8), False),
            (MODERATE, ComplianceReport(score=0.79), True),
            (RELAXED, CLEAN, False),
            (RELAXED, ONE_WARNING, True),
            (RELAXED, ComplianceReport(score=0.1), False),
        ],
    )
    def test_strict_shows_everything_moderate_low_scores_relaxed_only_violations(
        self, level: ComplianceLevel, report: ComplianceReport, expected: bool
    ) -> None:
        assert needs_review(level, report) is expected


class TestAllows:
    @pytest.mark.parametrize(
        ("recorded", "allowed"),
        [(STRICT, {STRICT}), (MODERATE, {STRICT, MODERATE}), (RELAXED, {STRICT, MODERATE, RELAXED})],
    )
    def test_an_opt_in_covers_its_level_and_everything_stricter(
        self, recorded: ComplianceLevel, allowed: set[ComplianceLevel]
    ) -> None:
        opt_in = AutonomyOptIn(account_id="acct_luna", level=recorded)
        assert {level for level in ComplianceLevel if opt_in.allows(level)} == allowed

    def test_an_account_without_a_record_allows_only_strict(self) -> None:
        assert not AutonomyOptIn(account_id="acct_luna").allows(MODERATE)


class TestCovers:
    DRAFT = a_message("c", "1")
    UNWRITTEN = a_message("c", "2", text="", origin=None, compliance=None)
    BLOCKED = a_message("c", "3", compliance=ComplianceReport(score=0, violations=(BLOCKING,)))

    @pytest.mark.parametrize(
        ("verdict", "covered"), [(Verdict.APPROVE, ["1"]), (Verdict.REJECT, ["1", "2", "3"]), (EXPIRE, ["1", "2", "3"])]
    )
    def test_only_an_approval_leaves_out_what_could_not_be_sent(self, verdict: Verdict, covered: list[str]) -> None:
        decision = Decision(verdict=verdict, decided_by="luna")
        found = [each for each in (self.DRAFT, self.UNWRITTEN, self.BLOCKED) if decision.covers(each)]
        assert [each.recipient_id for each in found] == covered

    @pytest.mark.parametrize("verdict", Verdict)
    def test_naming_messages_leaves_out_the_others(self, verdict: Verdict) -> None:
        decision = Decision(verdict=verdict, decided_by="luna", messages=(self.UNWRITTEN.message_id,))
        assert not decision.covers(self.DRAFT)

    @pytest.mark.parametrize("verdict", Verdict)
    @pytest.mark.parametrize("status", set(MessageStatus) - {MessageStatus.DRAFTED})
    def test_only_drafts_are_decided(self, verdict: Verdict, status: MessageStatus) -> None:
        decision = Decision(verdict=verdict, decided_by="luna")
        assert not decision.covers(self.DRAFT.model_copy(update={"status": status}))


class TestEdited:
    @given(texts=st.lists(st.text("ab ", min_size=1), min_size=1, max_size=5), approve=st.booleans())
    def test_every_text_that_was_is_kept_in_its_order(self, texts: list[str], approve: bool) -> None:
        message = a_message("c", "1")
        written = [message.text, *texts]
        for text in texts:
            message = edited(message, EditRequest(text=text), check("Hello Maya."), 0.5, BY_LUNA)
        message = edited(message, EditRequest(text="Bye.", approve=approve), check("Bye."), 0.5, BY_LUNA)
        assert [each.text for each in message.earlier] == written
        assert message.revision == len(written)
        assert message.status is (MessageStatus.APPROVED if approve else MessageStatus.DRAFTED)
        assert message.origin is not None
        assert message.origin.approved_by == ("luna" if approve else "")
        assert Message.model_validate_json(message.model_dump_json()) == message


class TestRequests:
    def test_a_decision_says_in_one_way_what_it_is_about(self) -> None:
        named: dict[str, object] = {"messages": [str(uuid4())]}
        for other in ({"scope": "campaign"}, {"pages": [{"accountId": "acct_a", "page": 0}]}):
            with pytest.raises(ValidationError, match="messages"):
                ReviewRequest.model_validate(named | other)

    @pytest.mark.parametrize("hours", [0, 721])
    def test_drafts_wait_between_an_hour_and_thirty_days(self, hours: int) -> None:
        with pytest.raises(ValidationError, match="expiresAfterHours"):
            ReviewPolicy.model_validate({"expiresAfterHours": hours})

    def test_a_signal_about_messages_does_not_stand_for_the_pages_to_come(self) -> None:
        assert ReviewDecision(scope="campaign").stands
        assert not ReviewDecision(scope="campaign", messages=(uuid4(),)).stands


class TestAutonomyRequest:
    def test_a_reason_is_required(self) -> None:
        with pytest.raises(ValidationError, match="reason"):
            AutonomyRequest.model_validate({"level": "relaxed"})

    def test_a_misspelt_field_is_refused_by_name(self) -> None:
        with pytest.raises(ValidationError, match="levle"):
            AutonomyRequest.model_validate({"levle": "relaxed", "reason": "three months of reviews"})
