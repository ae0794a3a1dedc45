"""When a person must look before anything is sent, and what that person decided.

Human approval is the default (``strict``). Anything less is an opt-in of the account's owner, recorded with
who gave it, when and why.
"""

from datetime import datetime
from typing import Literal

from pydantic import Field

from domain.compliance import ComplianceLevel, ComplianceReport
from domain.model import AccountId, Model, Request

REVIEW_THRESHOLD = 0.8
"""``moderate``: what scores below this is reviewed."""

_AUTONOMY = {ComplianceLevel.STRICT: 0, ComplianceLevel.MODERATE: 1, ComplianceLevel.RELAXED: 2}


def needs_review(level: ComplianceLevel, report: ComplianceReport) -> bool:
    """Whether a message that no rule blocks waits for a person."""
    if level is ComplianceLevel.STRICT:
        return True
    if level is ComplianceLevel.MODERATE:
        return report.score < REVIEW_THRESHOLD
    return bool(report.violations)


class AutonomyRequest(Request):
    """The owner of an account allows campaigns with less review than ``strict``."""

    level: ComplianceLevel = Field(description="the most relaxed level that campaigns of the account may ask for")
    reason: str = Field(min_length=3, max_length=500, examples=["Texts were reviewed for three months."])


class AutonomyOptIn(Model):
    """What is on record for an account."""

    account_id: AccountId
    level: ComplianceLevel = ComplianceLevel.STRICT
    reason: str = ""
    granted_by: str = ""
    granted_at: datetime | None = None

    def allows(self, level: ComplianceLevel) -> bool:
        """Whether a campaign at ``level`` may run on the account."""
        return _AUTONOMY[level] <= _AUTONOMY[self.level]


class PageKey(Model):
    """One page of one account's part of a campaign, counted from 0."""

    account_id: AccountId
    page: int = Field(ge=0)


class ReviewDecision(Model):
    """Approve or reject drafted pages; sent as a signal by API, Temporal UI or CLI.

    ``pages`` empty means every page that waits now; ``scope: campaign`` also covers all pages to come.
    """

    pages: tuple[PageKey, ...] = ()
    scope: Literal["pages", "campaign"] = "pages"
    decided_by: str = "temporal-signal"
    comment: str = Field(default="", max_length=500)


class ReviewRequest(Request):
    """The body of ``approve`` and ``reject``; an empty one decides every page that waits now."""

    pages: tuple[PageKey, ...] = ()
    scope: Literal["pages", "campaign"] = "pages"
    comment: str = Field(default="", max_length=500)
