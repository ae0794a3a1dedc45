"""When a person must look, and how much less an owner may allow."""

from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.compliance import ComplianceLevel, ComplianceReport, check
from domain.delivery import Message, MessageOrigin, MessageReview, MessageStatus
from domain.experiment import Metric
from domain.review import (
    EXPIRY,
    REVIEWER,
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
    plan_satisfaction,
    satisfaction,
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
            (MODERATE, ComplianceReport(score=1, moderated=True), False),
            (MODERATE, ComplianceReport(score=1, moderated=False), True),
            (RELAXED, ComplianceReport(score=1, moderated=False), False),
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
    @pytest.mark.parametrize("status", sorted(set(MessageStatus) - {MessageStatus.DRAFTED}))
    def test_only_drafts_are_decided(self, verdict: Verdict, status: MessageStatus) -> None:
        decision = Decision(verdict=verdict, decided_by="luna")
        assert not decision.covers(self.DRAFT.model_copy(update={"status": status}))


class TestSeen:
    """A decision is about the texts that were there when it was made."""

    DRAFT = a_message("c", "1")
    NEW = edited(DRAFT, EditRequest(text="Hello Maya."), CLEAN, 0.5, MessageReview(decided_by="ana", decided_at=NOW))

    @pytest.mark.parametrize("verdict", [Verdict.APPROVE, Verdict.REJECT])
    @pytest.mark.parametrize(("seconds", "covered"), [(-1, False), (0, True), (1, True)])
    def test_what_was_edited_since_goes_on_waiting(self, verdict: Verdict, seconds: int, covered: bool) -> None:
        decision = Decision(verdict=verdict, decided_by="luna", decided_at=NOW + timedelta(seconds=seconds))
        assert decision.covers(self.NEW) is covered
        assert decision.covers(self.DRAFT)

    @pytest.mark.parametrize("verdict", [Verdict.APPROVE, Verdict.REJECT])
    @pytest.mark.parametrize(("revision", "covered"), [(0, False), (1, True), (2, False)])
    def test_a_revision_says_it_exactly_whatever_clocks_say(
        self, verdict: Verdict, revision: int, covered: bool
    ) -> None:
        named = {"messages": (self.NEW.message_id,), "revisions": {self.NEW.message_id: revision}}
        for seconds in (-1, 1):
            said = ReviewDecision.model_validate({**named, "decidedAt": NOW + timedelta(seconds=seconds)})
            assert said.decision(verdict).covers(self.NEW) is covered

    def test_the_clock_decides_about_every_text(self) -> None:
        assert EXPIRY.covers(self.NEW)

    def test_a_signal_without_a_moment_is_made_when_it_is_heard(self) -> None:
        assert ReviewDecision().heard_at(NOW).decided_at == NOW
        assert ReviewDecision(decided_at=NOW).heard_at(NOW + timedelta(hours=1)).decided_at == NOW


class TestSatisfaction:
    WROTE = MessageOrigin(provider="openai", model="gpt-4o", prompt_version="write.v1", experiment="models", arm="b")
    DRAFT = a_message("c", "1", origin=WROTE)

    @pytest.mark.parametrize(
        ("changes", "value"),
        [
            ({"status": MessageStatus.APPROVED}, 1.0),
            ({"status": MessageStatus.SENT}, 1.0),
            ({"status": MessageStatus.CANCELLED}, 1.0),
            ({"status": MessageStatus.REJECTED}, 0.0),
            ({"status": MessageStatus.APPROVED, "origin": WROTE.model_copy(update={"edited_by": "ana"})}, 0.5),
        ],
    )
    def test_what_a_person_decided_is_told_once_a_message(self, changes: dict[str, object], value: float) -> None:
        found = satisfaction(self.DRAFT.model_copy(update={"review": BY_LUNA, **changes}))
        assert found is not None
        assert (found.experiment, found.arm, found.values) == ("models", "b", {Metric.SATISFACTION: value})
        assert found.observation_id == f"{self.DRAFT.message_id}/review"

    def test_nobodys_decision_or_no_experiment_tells_nothing(self) -> None:
        assert satisfaction(self.DRAFT.model_copy(update={"status": MessageStatus.SKIPPED})) is None
        assert satisfaction(a_message("c", "1", review=BY_LUNA, status=MessageStatus.APPROVED)) is None

    def test_a_plan_has_one_value_of_all_that_was_decided_about_its_texts(self) -> None:
        without_arm = self.WROTE.model_copy(update={"experiment": "", "arm": ""})
        by_a_person = without_arm.model_copy(update={"provider": REVIEWER, "edited_by": "ana"})
        decided = {"review": BY_LUNA, "status": MessageStatus.APPROVED, "origin": without_arm}
        messages = [
            self.DRAFT.model_copy(update=decided),
            self.DRAFT.model_copy(update={**decided, "status": MessageStatus.REJECTED}),
            self.DRAFT.model_copy(update={**decided, "origin": by_a_person}),
            self.DRAFT,
        ]
        found = plan_satisfaction("c", "planners", "a", messages)
        assert found is not None
        assert (found.observation_id, found.experiment, found.arm) == ("c/plan/review", "planners", "a")
        assert found.values == {Metric.SATISFACTION: 0.5}

    @pytest.mark.parametrize("arm", ["", "a"])
    def test_a_plan_of_no_experiment_or_that_nobody_has_judged_has_none(self, arm: str) -> None:
        decided = self.DRAFT.model_copy(update={"review": BY_LUNA, "status": MessageStatus.APPROVED})
        assert plan_satisfaction("c", "", arm, [self.DRAFT if arm else decided]) is None


class TestEdited:
    @given(texts=st.lists(st.text("ab ", min_size=1), min_size=1, max_size=5), approve=st.booleans())
    def test_every_text_that_was_is_kept_in_its_order(self, texts: list[str], approve: bool) -> None:
        message = a_message("c", "1")
        written = [message.text, *texts]
        for text in texts:
            message = edited(message, EditRequest(text=text), CLEAN, 0.5, BY_LUNA)
        message = edited(message, EditRequest(text="Bye.", approve=approve), CLEAN, 0.5, BY_LUNA)
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

    def test_revisions_are_those_of_messages_that_are_named(self) -> None:
        named, other = str(uuid4()), str(uuid4())
        assert ReviewRequest.model_validate({"messages": [named], "revisions": {named: 3}}).revisions
        for messages in ([], [named]):
            with pytest.raises(ValidationError, match="revisions"):
                ReviewRequest.model_validate({"messages": messages, "revisions": {other: 0}})

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
