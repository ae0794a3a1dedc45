"""A campaign's record: its status, the end of what will not be sent, and the closing identity."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pydantic import Field
from temporalio import activity

from activities.failure import heartbeating, translated
from activities.plan import PlanCampaign
from domain.alert import Alert, AlertKind, Severity
from domain.campaign import CampaignRecord, CampaignStatus
from domain.delivery import Message, MessageStatus, message_id
from domain.errors import DependencyUnavailable, NotFound
from domain.model import AccountId, Model
from domain.observation import Arm, Observation
from domain.ports import AccountStore, Alerts, CampaignStore, CostStore, Limiter, MessageStore, Observations
from domain.progress import CampaignOutcome, ClosingCheck, DetailedCosts, WorkflowResult
from domain.provider import provider_used
from domain.rate_limit import AccountUsage, LimitPolicy, RateLimitStatus, account_windows

FAILED = "failed"
"""The class of a failure whose reason is none."""

_CLASS = re.compile(r"[a-z][a-z0-9_]{0,63}")


class StatusChange(Model):
    """What the store is to know before anything else happens.

    ``revision``: an attempt that was overtaken by a newer change changes nothing. ``None``: the last word.
    ``heard``: the last wish of the API that it answers. ``None``: whatever was wished for before.
    """

    campaign_id: str
    status: CampaignStatus
    reason: str = ""
    revision: int | None = None
    heard: int | None = None


class CloseLane(Model):
    """End every recipient of an account that is not in the send queue.

    Pages from ``from_page`` on were never drafted; with ``everything``, drafted pages before it end too.
    """

    campaign_id: str
    account_id: AccountId
    from_page: int = Field(ge=0)
    pages: int = Field(ge=1)
    outcome: MessageStatus
    reason: str
    everything: bool


class Closed(Model):
    """How many recipients of the closed pages ended how; with ``everything``, of all that were never submitted."""

    counts: dict[MessageStatus, int]


class Imbalance(Model):
    """A campaign whose recipients are not each in one terminal state, as the message store has them."""

    campaign_id: str
    check: ClosingCheck


class CampaignActivities:
    """Methods that keep the record of a campaign."""

    def __init__(
        self,
        campaigns: CampaignStore,
        messages: MessageStore,
        costs: CostStore,
        limiter: Limiter,
        accounts: AccountStore,
        alerts: Alerts,
        observations: Observations,
        *,
        policy: LimitPolicy,
    ) -> None:
        self._campaigns = campaigns
        self._messages = messages
        self._costs = costs
        self._limiter = limiter
        self._accounts = accounts
        self._alerts = alerts
        self._observations = observations
        self._policy = policy

    @activity.defn(name="campaign.has_plan")
    @translated
    async def has_plan(self, request: PlanCampaign) -> bool:
        """Whether somebody has planned it."""
        return await self._campaigns.plan(request.campaign_id) is not None

    @activity.defn(name="campaign.set_status")
    @translated
    async def set_status(self, change: StatusChange) -> int | None:
        """Delivery reads this status right before every send: a pause holds from the moment it is stored.

        Returns the number of the last wish that is answered by it.
        """
        answered = await self._campaigns.set_status(
            change.campaign_id, change.status, change.reason, revision=change.revision, heard=change.heard
        )
        if change.status is CampaignStatus.FAILED:
            record = await self._campaigns.get(change.campaign_id)
            # Not when another end was stored before.
            if record is not None and record.status is CampaignStatus.FAILED:
                self._observe_failure(record, change.reason, datetime.now(UTC))
        return answered

    @activity.defn(name="campaign.close_lane")
    @translated
    async def close_lane(self, close: CloseLane) -> Closed:
        """Idempotent: the answer is counted from the store, however often the activity was interrupted."""
        async with heartbeating():
            for page in range(close.from_page, close.pages):
                await self._end_undrafted_page(close, page)
            outlines = await self._messages.outlines(close.campaign_id, close.account_id)
            if close.everything:
                await self._messages.transition(
                    close.campaign_id,
                    [
                        outline.message_id
                        for outline in outlines
                        if outline.status in {MessageStatus.DRAFTED, MessageStatus.APPROVED}
                    ],
                    close.outcome,
                    reason=close.reason,
                )
                outlines = await self._messages.outlines(close.campaign_id, close.account_id)
        counts: dict[MessageStatus, int] = {}
        for outline in outlines:
            closed = outline.batch is None if close.everything else outline.page >= close.from_page
            if closed and outline.status.is_terminal:
                counts[outline.status] = counts.get(outline.status, 0) + 1
        return Closed(counts=counts)

    @activity.defn(name="campaign.finish")
    @translated
    async def finish(self, outcome: CampaignOutcome) -> WorkflowResult:
        """Check the closing identity against the message store and keep the result, if it holds.

        The answer's ``outcomes`` show what the store has; the caller compares them with the audience.
        """
        counts = await self._messages.count_by_status(outcome.campaign_id)
        costs = await self._costs.campaign_totals(outcome.campaign_id)
        record = await self._campaigns.get(outcome.campaign_id)
        if record is None:
            raise NotFound(f"campaign {outcome.campaign_id} is not in the store")
        tally = outcome.tally
        balanced = ClosingCheck(audience=outcome.audience, outcomes=counts).balanced
        result = WorkflowResult(
            request_id=record.request_id,
            status=outcome.status if balanced else CampaignStatus.FAILED,
            processing_time=int((outcome.finished_at - outcome.started_at).total_seconds() * 1000),
            provider=provider_used(tally.providers),
            detailed_costs=DetailedCosts.of(costs),
            rate_limit_status=await self._tightest_limit([lane.account_id for lane in record.lanes]),
            quality_score=round(tally.quality_sum / tally.scored, 4) if tally.scored else None,
            compliance_score=round(tally.compliance_sum / tally.scored, 4) if tally.scored else None,
            fallback_history=tally.fallbacks,
            fallback_count=tally.fallback_count,
            routes=tally.routes,
            cached=tally.cached,
            unresolved=tally.unresolved,
            audience=outcome.audience,
            outcomes=counts,
            alternatives=outcome.alternatives,
            plan=await self._campaigns.plan(outcome.campaign_id),
            reason=outcome.reason,
        )
        if balanced:
            await self._campaigns.save_result(outcome.campaign_id, result)
            # What was given back to the legacy system, or recalled, had its end before.
            if result.status is CampaignStatus.FAILED and record.status is not CampaignStatus.CANCELLED:
                self._observe_failure(record, outcome.reason, outcome.finished_at)
        # The plan may quote the brief: it stays in the store and out of the history.
        return result.model_copy(update={"plan": None})

    @activity.defn(name="campaign.report_imbalance")
    @translated
    async def report_imbalance(self, imbalance: Imbalance) -> None:
        """The closing identity does not hold: a person has to look, once."""
        found = {str(status): number for status, number in imbalance.check.outcomes.items()}
        await self._alerts.raise_alert(
            Alert(
                alert_id=f"closing-identity-{imbalance.campaign_id}",
                kind=AlertKind.CLOSING_IDENTITY_VIOLATED,
                severity=Severity.CRITICAL,
                at=datetime.now(UTC),
                detail=f"campaign {imbalance.campaign_id}: {imbalance.check.audience} recipients, but {found}",
            )
        )

    def _observe_failure(self, record: CampaignRecord, reason: str, ended_at: datetime) -> None:
        """Evidence for the rollout that led the request here: it was accepted, and counted as well, long before.

        Recorded only after the end is stored: an attempt that is lost afterwards counts once more when it is repeated,
        and no failure goes uncounted.
        """
        if record.routed_by and record.arm == Arm.CANARY:
            self._observations.record(
                Observation(
                    flag=record.routed_by,
                    arm=Arm.CANARY,
                    at=datetime.now(UTC),
                    latency_ms=max(0.0, (ended_at - record.created_at).total_seconds() * 1000),
                    # A person's words are no class.
                    error=reason if _CLASS.fullmatch(reason) else FAILED,
                )
            )

    async def _tightest_limit(self, accounts: Sequence[str]) -> RateLimitStatus | None:
        """Of the campaign's accounts, the one that may send the fewest messages now."""
        try:
            states = [await self._limit_of(account) for account in accounts]
        except DependencyUnavailable:
            return None
        return min(states, key=lambda state: state.remaining, default=None)

    async def _limit_of(self, account_id: str) -> RateLimitStatus:
        now = datetime.now(UTC)
        limits = await self._accounts.limits(account_id)
        return _status(await self._limiter.usage(account_id, account_windows(self._policy, limits, now)), now)

    async def _end_undrafted_page(self, close: CloseLane, page: int) -> None:
        record = await self._campaigns.get(close.campaign_id)
        audience = await self._campaigns.audience_page(close.campaign_id, close.account_id, page)
        if record is None:
            raise NotFound(f"campaign {close.campaign_id} is not in the store")
        now = datetime.now(UTC)
        messages = [
            Message(
                message_id=message_id(close.campaign_id, close.account_id, recipient.recipient_id),
                campaign_id=close.campaign_id,
                account_id=close.account_id,
                recipient_id=recipient.recipient_id,
                page=page,
                message_type=record.message_type,
                status=close.outcome,
                reason=close.reason,
                updated_at=now,
            )
            for recipient in audience.recipients
        ]
        await self._messages.create_many(messages)
        # A page whose drafting was interrupted may be there in part.
        await self._messages.transition(
            close.campaign_id, [message.message_id for message in messages], close.outcome, reason=close.reason
        )


def _status(usage: AccountUsage, now: datetime) -> RateLimitStatus:
    full = [window for window in usage.windows if window.remaining <= 0]
    waits_ms = [usage.held_ms] + [window.frees_in_ms or 0 for window in full]
    throttled = bool(full) or usage.held_ms > 0
    never = any(window.frees_in_ms is None for window in full)
    return RateLimitStatus(
        remaining=0 if throttled else min((window.remaining for window in usage.windows), default=0),
        reset_time=now + timedelta(milliseconds=max(waits_ms)) if throttled and not never else None,
        throttled=throttled,
    )
