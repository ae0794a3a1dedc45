"""When a person must look, and how much less an owner may allow."""

import pytest
from pydantic import ValidationError

from domain.compliance import ComplianceLevel, ComplianceReport, check
from domain.review import AutonomyOptIn, AutonomyRequest, needs_review

CLEAN = check("Hello Maya, the new set is here.")
ONE_WARNING = check("Hello Maya, last chance for the new set.")

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


class TestAutonomyRequest:
    def test_a_reason_is_required(self) -> None:
        with pytest.raises(ValidationError, match="reason"):
            AutonomyRequest.model_validate({"level": "relaxed"})

    def test_a_misspelt_field_is_refused_by_name(self) -> None:
        with pytest.raises(ValidationError, match="levle"):
            AutonomyRequest.model_validate({"levle": "relaxed", "reason": "three months of reviews"})
