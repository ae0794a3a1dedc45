"""What a rollout does to the world: it looks, writes the flag, tells of its decisions, and finds what to recall."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from temporalio import activity

from activities.failure import translated
from domain.alert import Alert
from domain.audit import AuditEntry
from domain.campaign import CampaignRecord
from domain.errors import Conflict, DependencyUnavailable, NotFound
from domain.flag import Flag, RollbackTriggers, steered
from domain.model import Model
from domain.observation import Observed
from domain.ports import Alerts, AuditLog, CampaignFilter, CampaignStore, FlagStore, Observations
from domain.provider import IntentType
from domain.rollout_request import RolloutRequest, refusal_to_start

LISTED_AT_ONCE = 200

_WRITES = 8
"""How often a write is tried at once when somebody else is faster; then Temporal tries again."""

_REVISIONS = 10
"""How far back a repeated beginning looks for its own."""


class FlagLook(Model):
    """As much of a flag as a rollout needs. ``steered``: by the rollout that asks."""

    enabled: bool
    percentage: Decimal
    steered: bool
    revision: int
    changed_by: str
    reason: str
    triggers: RollbackTriggers


class LookRequest(Model):
    """Which flag, and from when on its requests count."""

    flag: str
    rollout_id: str
    since: datetime


class RolloutLook(Model):
    """What there is to see."""

    flag: FlagLook
    observed: Observed


class BeginRequest(Model):
    """The first write of a rollout."""

    request: RolloutRequest
    rollout_id: str
    actor: str


class SteerRequest(Model):
    """A later write. ``releases``: the last one, after which people set the percentage again."""

    flag: str
    rollout_id: str
    percentage: Decimal
    actor: str
    action: str
    reason: str
    evidence: dict[str, Any] | None = None
    releases: bool = False


class Announcement(Model):
    """A decision that took effect."""

    entry: AuditEntry
    alert: Alert | None = None


class RoutedSince(Model):
    """Campaigns that a flag led to this system since a moment; ``cursor`` continues the list."""

    flag: str
    since: datetime
    cursor: str | None = None


class RoutedCampaigns(Model):
    """A part of the list; ``cursor`` ``None`` ends it."""

    campaign_ids: tuple[str, ...]
    cursor: str | None = None


class RolloutActivities:
    """Methods of a rollout; each may be repeated."""

    def __init__(
        self,
        flags: FlagStore,
        observations: Observations,
        audit: AuditLog,
        alerts: Alerts,
        campaigns: CampaignStore,
    ) -> None:
        self._flags = flags
        self._observations = observations
        self._audit = audit
        self._alerts = alerts
        self._campaigns = campaigns

    @activity.defn(name="rollout.begin")
    @translated
    async def begin(self, request: BeginRequest) -> FlagLook:
        """Put the flag on the first step. The workflow id is the flag's, so no other rollout runs: one that still
        stands in the flag was ended from outside, and is replaced.

        A flag that this rollout had before, and has no more, was taken from it: it stays as it is.
        """
        wanted = request.request
        for _ in range(_WRITES):
            present = await self._flag(wanted.flag)
            if present.rollout_id == request.rollout_id:
                return _look(present, request.rollout_id)
            revisions = await self._flags.history(wanted.flag, limit=_REVISIONS)
            if any(revision.rollout_id == request.rollout_id for revision in revisions):
                raise Conflict(f"the flag was taken from the rollout by {present.changed_by}: {present.reason}")
            free = present.model_copy(update={"rollout_id": ""})
            if refused := refusal_to_start(free, wanted):
                raise Conflict(refused)
            change = steered(
                free,
                wanted.steps[0],
                rollout_id=request.rollout_id,
                actor=request.actor,
                at=datetime.now(UTC),
                reason=wanted.reason,
                action="rollout_started",
            )
            if await self._flags.put(change.flag, change.entry):
                return _look(change.flag, request.rollout_id)
        raise _busy(wanted.flag)

    @activity.defn(name="rollout.steer")
    @translated
    async def steer(self, request: SteerRequest) -> FlagLook:
        """Write the percentage, whatever else people have changed meanwhile, as long as this rollout steers the flag.

        Only a release ends that, so a flag that is not steered any more has been released: by an earlier attempt of
        this very write, or by somebody's emergency rollback. Either way there is nothing left to write.
        """
        for _ in range(_WRITES):
            present = await self._flag(request.flag)
            done = present.rollout_percentage == request.percentage and not request.releases
            if present.rollout_id != request.rollout_id or done:
                return _look(present, request.rollout_id)
            change = steered(
                present,
                request.percentage,
                rollout_id=request.rollout_id,
                actor=request.actor,
                at=datetime.now(UTC),
                reason=request.reason,
                action=request.action,
                evidence=request.evidence,
                releases=request.releases,
            )
            if await self._flags.put(change.flag, change.entry):
                return _look(change.flag, request.rollout_id)
        raise _busy(request.flag)

    @activity.defn(name="rollout.look")
    @translated
    async def look(self, request: LookRequest) -> RolloutLook:
        """The flag as it is, and everything observed since the beginning."""
        return RolloutLook(
            flag=_look(await self._flag(request.flag), request.rollout_id),
            observed=await self._observations.observed(request.flag, request.since),
        )

    @activity.defn(name="rollout.announce")
    @translated
    async def announce(self, made: Announcement) -> None:
        """Into the audit log and, where somebody should look, the alert store."""
        await self._audit.record(made.entry)
        if made.alert is not None:
            await self._alerts.raise_alert(made.alert)

    @activity.defn(name="rollout.routed_campaigns")
    @translated
    async def routed_campaigns(self, request: RoutedSince) -> RoutedCampaigns:
        """Those whose messages may still be sent, or be young enough to be unsent."""
        listing = await self._campaigns.list(
            CampaignFilter(type=IntentType.CAMPAIGN_EXECUTION, created_after=request.since),
            limit=LISTED_AT_ONCE,
            cursor=request.cursor,
        )
        ours = [record.campaign_id for record in listing.campaigns if _routed_by(record, request.flag)]
        return RoutedCampaigns(campaign_ids=tuple(ours), cursor=listing.cursor)

    async def _flag(self, name: str) -> Flag:
        flag = await self._flags.get(name)
        if flag is None:
            raise NotFound(f"there is no flag {name}: create it first")
        return flag


def _look(flag: Flag, rollout_id: str) -> FlagLook:
    return FlagLook(
        enabled=flag.enabled,
        percentage=flag.rollout_percentage,
        steered=flag.rollout_id == rollout_id,
        revision=flag.revision,
        changed_by=flag.changed_by,
        reason=flag.reason,
        triggers=flag.rollback_triggers,
    )


def _routed_by(record: CampaignRecord, flag: str) -> bool:
    return record.routed_by == flag


def _busy(flag: str) -> DependencyUnavailable:
    return DependencyUnavailable(f"others change the flag {flag} at this moment", retry_after_s=0.2)
