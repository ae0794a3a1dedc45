"""The store of campaigns, and what is asked of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.campaign import AudiencePage, CampaignRecord, CampaignStatus
from domain.model import Model
from domain.progress import WorkflowResult
from domain.provider import ContentPlan, IntentType


class CampaignFilter(Model):
    """Which requests to list, newest first."""

    owner: str | None = None
    status: CampaignStatus | None = None
    type: IntentType | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class CampaignListing(Model):
    """One page of a list; ``cursor`` continues it, ``None`` ends it."""

    campaigns: tuple[CampaignRecord, ...]
    cursor: str | None = None


class CampaignStore(Protocol):
    """Requests, their audiences, plans and results."""

    async def create(self, record: CampaignRecord, pages: Sequence[AudiencePage]) -> CampaignRecord:
        """Store a request and its audience once; returns what is stored, which may be an earlier one."""
        ...

    async def get(self, campaign_id: str) -> CampaignRecord | None:
        """The request with its present status."""
        ...

    async def get_many(self, campaign_ids: Sequence[str]) -> Sequence[CampaignRecord]:
        """Those that exist, in no order, each with its present status."""
        ...

    async def audience_page(self, campaign_id: str, account_id: str, page: int) -> AudiencePage: ...

    async def want(self, campaign_id: str, status: CampaignStatus) -> int | None:
        """Record what somebody asks for, before the workflow is told; returns the number of the wish.

        Delivery reads this, too (``Steered.in_force``). ``None``, and nothing changes: the request has ended, or is
        being cancelled, which only another cancellation agrees with.
        """
        ...

    async def set_status(
        self,
        campaign_id: str,
        status: CampaignStatus,
        reason: str,
        *,
        revision: int | None = None,
        heard: int | None = None,
    ) -> int | None:
        """Record where the request stands; delivery reads this right before every send.

        ``heard``: the number of the last wish that this answers; a later one stays in force. ``None``: whatever was
        wished for so far is answered. Returns that number; ``None``: the change came too late.

        ``revision`` counts a workflow's changes from 1: one that is not newer than what is stored is superseded and
        changes nothing. ``None``, for when no workflow is left: the last word, whatever revision is stored.
        A final status is never replaced by it; only ``save_result`` does that.
        """
        ...

    async def mark_recalled(self, campaign_id: str, at: datetime) -> None:
        """Record that what was sent is taken back; the first time counts.

        Raises ``NotFound`` for a request that is not in the store.
        """
        ...

    async def save_plan(self, campaign_id: str, plan: ContentPlan) -> ContentPlan:
        """Keep the plan, unless there is one already; returns the one that holds."""
        ...

    async def plan(self, campaign_id: str) -> ContentPlan | None: ...

    async def save_result(self, campaign_id: str, result: WorkflowResult) -> None:
        """Record the final answer and status together."""
        ...

    async def result(self, campaign_id: str) -> WorkflowResult | None: ...

    async def list(self, filters: CampaignFilter, *, limit: int, cursor: str | None) -> CampaignListing: ...
