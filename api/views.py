"""What the API answers about requests, in the field names of its clients."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from adapters.bootstrap import Ports
from api.engine import Engine
from domain.campaign import CampaignRecord, CampaignStatus, workflow_id_for
from domain.compliance import ComplianceLevel
from domain.cost import CostTotals, dollars_from_micros
from domain.delivery import Message, MessageStatus, Priority
from domain.errors import ErrorType
from domain.model import Model
from domain.progress import CampaignProgress, DetailedCosts, WorkflowResult
from domain.provider import IntentType, PreferredProvider
from domain.rate_limit import MessageType

CAMPAIGNS = "/api/v2/campaigns"


class Accepted(Model):
    """A request that was stored and is being worked on."""

    request_id: str
    campaign_id: str
    workflow_id: str
    status: CampaignStatus
    status_url: str
    events_url: str

    @classmethod
    def of(cls, record: CampaignRecord) -> "Accepted":
        """The answer to the caller who made the request."""
        workflow_id = workflow_id_for(record.type, record.campaign_id)
        return cls(
            request_id=record.request_id,
            campaign_id=record.campaign_id,
            workflow_id=workflow_id,
            status=record.status,
            status_url=f"{CAMPAIGNS}/status?workflowId={workflow_id}",
            events_url=f"{CAMPAIGNS}/{record.campaign_id}/events",
        )


class CampaignSummary(Model):
    """A request as stored, without its audience."""

    campaign_id: str
    workflow_id: str
    request_id: str
    owner: str
    type: IntentType
    status: CampaignStatus
    status_reason: str
    created_at: datetime
    message_type: MessageType
    compliance_level: ComplianceLevel
    priority: Priority
    preferred_provider: PreferredProvider
    max_cost: float | None = Field(description="US dollars")
    brief: str
    account_id: str
    account_ids: tuple[str, ...]
    audience_size: int
    client_version: str

    @classmethod
    def of(cls, record: CampaignRecord) -> "CampaignSummary":
        """The public part of a record."""
        same = {name: getattr(record, name) for name in cls.model_fields if name in CampaignRecord.model_fields}
        limit = record.max_cost_micros
        return cls(
            **same | {"status": record.in_force},
            workflow_id=workflow_id_for(record.type, record.campaign_id),
            max_cost=None if limit is None else dollars_from_micros(limit),
            account_ids=tuple(lane.account_id for lane in record.lanes) or (record.account_id,),
        )


class CampaignView(Model):
    """Where one request stands. ``live``: the progress comes from the running workflow, else from the store."""

    campaign: CampaignSummary
    live: bool
    progress: CampaignProgress | None = Field(description="null for single-shot requests, which have no recipients")
    result: WorkflowResult | None = Field(default=None, description="once the status is final")


class CampaignPage(Model):
    """A part of a list, newest first; ``nextCursor`` continues it, null ends it."""

    campaigns: tuple[CampaignSummary, ...]
    next_cursor: str | None


class MessagePage(Model):
    """A part of a campaign's messages; ``nextCursor`` continues it, null ends it."""

    messages: tuple[Message, ...]
    next_cursor: str | None


class ProviderCost(Model):
    """What one provider billed."""

    provider: str
    cost: float = Field(description="US dollars")
    cost_micros: int = Field(description="µ$, exact")


class CostSum(Model):
    """A sum over the ledger."""

    total_cost: float = Field(description="US dollars")
    total_cost_micros: int = Field(description="µ$, exact")
    input_tokens: int
    output_tokens: int
    calls: int
    providers: tuple[ProviderCost, ...]

    @classmethod
    def of(cls, totals: CostTotals) -> "CostSum":
        """From stored totals."""
        return cls(
            total_cost=dollars_from_micros(totals.cost_micros),
            total_cost_micros=totals.cost_micros,
            input_tokens=totals.input_tokens,
            output_tokens=totals.output_tokens,
            calls=totals.calls,
            providers=tuple(
                ProviderCost(provider=name, cost=dollars_from_micros(micros), cost_micros=micros)
                for name, micros in sorted(totals.micros_by_provider.items())
            ),
        )


class CampaignCosts(Model):
    """What one request cost so far."""

    scope: Literal["campaign"] = "campaign"
    campaign_id: str
    total: CostSum


class DayCosts(CostSum):
    """One day's sum, UTC."""

    day: str = Field(examples=["2026-11-22"])


class PeriodCosts(Model):
    """What a caller, or everybody, spent in a period; days without costs are left out."""

    scope: Literal["owner", "global"]
    owner: str | None
    first_day: str = Field(alias="from")
    last_day: str = Field(alias="to")
    total: CostSum
    days: tuple[DayCosts, ...]


async def view(record: CampaignRecord, ports: Ports, engine: Engine) -> CampaignView:
    """The stored request with what is known of its progress now; works without Temporal."""
    final = record.status.is_final
    live = None if final else await engine.progress(record)
    result = await final_result(record.campaign_id, ports) if final else None
    progress = live
    if progress is None and record.type is IntentType.CAMPAIGN_EXECUTION:
        progress = await _stored_progress(record, ports)
    return CampaignView(campaign=CampaignSummary.of(record), live=live is not None, progress=progress, result=result)


async def final_result(campaign_id: str, ports: Ports) -> WorkflowResult | None:
    """The result of a request that has ended; one that failed before it had a result gets what is known."""
    if result := await ports.campaigns.result(campaign_id):
        return result
    record = await ports.campaigns.get(campaign_id)
    if record is None or not record.status.is_final:
        return None
    costs = DetailedCosts.of(await ports.costs.campaign_totals(campaign_id))
    return WorkflowResult(
        request_id=record.request_id,
        status=record.status,
        processing_time=0,
        provider=costs.provider,
        detailed_costs=costs,
        audience=record.audience_size,
        outcomes=await ports.messages.count_by_status(campaign_id),
        error_type=ErrorType(record.status_reason) if record.status_reason in set(ErrorType) else None,
        reason=record.status_reason,
    )


async def _stored_progress(record: CampaignRecord, ports: Ports) -> CampaignProgress:
    """Progress as the message store and the ledger have it; which pages wait is known to the workflow only."""
    counts = await ports.messages.count_by_status(record.campaign_id)
    costs = DetailedCosts.of(await ports.costs.campaign_totals(record.campaign_id))
    under_way = (MessageStatus.APPROVED, MessageStatus.QUEUED, MessageStatus.SENDING)
    return CampaignProgress(
        campaign_id=record.campaign_id,
        status=record.in_force,
        reason=record.status_reason,
        audience=record.audience_size,
        drafted=sum(counts.values()),
        awaiting_review=counts.get(MessageStatus.DRAFTED, 0),
        queued=sum(counts.get(status, 0) for status in under_way),
        sent=counts.get(MessageStatus.SENT, 0),
        failed=counts.get(MessageStatus.FAILED, 0),
        skipped=counts.get(MessageStatus.SKIPPED, 0),
        cancelled=counts.get(MessageStatus.CANCELLED, 0),
        rejected=counts.get(MessageStatus.REJECTED, 0),
        recalled=counts.get(MessageStatus.RECALLED, 0),
        accounts=(),
        pending_reviews=(),
        cost_micros=costs.total_cost_micros,
        provider=costs.provider,
    )
