"""What a rollback does when the rollout's workflow does not: it takes the flag from it, and starts the recalls."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

from adapters.bootstrap import Ports
from api.engine import Engine
from domain.campaign import CampaignRecord
from domain.errors import DependencyUnavailable
from domain.flag import Flag, steered
from domain.ports import CampaignFilter
from domain.provider import IntentType
from domain.rollout_report import COMPLETED, STARTED, released_alert, released_entry, subject
from domain.rollout_request import RollbackRequest

_WRITES = 8
_REVISIONS = 10
"""Where a rollout that was just released is still found in the flag's history."""

_LISTED_AT_ONCE = 200
_RECALLED_AT_ONCE = 8


async def release(ports: Ports, name: str, rollout_id: str, given: RollbackRequest) -> Flag | None:
    """Put the flag to 0 % so that this rollout never writes it again; ``None``: there is no such flag.

    A rollout that has not begun yet gets the flag for a moment: its beginning then finds in the history that the flag
    was taken from it, and leaves it alone. Raises ``DependencyUnavailable``.
    """
    reason = given.reason or "rolled back without its workflow"
    for _ in range(_WRITES):
        present = await ports.flag_store.get(name)
        if present is None:
            return None
        steers = present.rollout_id == rollout_id
        if not steers and await _was_released(ports, name, rollout_id):
            return present
        now = datetime.now(UTC)
        change = steered(
            present,
            Decimal(0),
            rollout_id=rollout_id,
            actor=given.requested_by,
            at=now,
            reason=reason,
            action="rolled_back",
            releases=steers,
        )
        if await ports.flag_store.put(change.flag, change.entry) and steers:
            # The flag's own entry is written; the workflow, when it is back, reports what can't be told now.
            with suppress(DependencyUnavailable):
                await ports.audit.record(released_entry(present, rollout_id, given.requested_by, reason, now))
                await ports.alerts.raise_alert(released_alert(name, rollout_id, given.requested_by, reason, now))
            return change.flag
    raise DependencyUnavailable(f"Others change the flag {name} at this moment; try again.", retry_after_s=1)


async def rolled_back_since(ports: Ports, name: str) -> datetime | None:
    """When the latest rollout of the flag began; ``None``: there was none, or it was completed."""
    cursor: str | None = None
    while True:
        listing = await ports.audit.entries(subject(name), limit=100, cursor=cursor)
        for entry in listing.entries:
            if entry.action == COMPLETED:
                return None
            if entry.action == STARTED:
                return entry.at
        cursor = listing.cursor
        if cursor is None:
            return None


async def recall(engine: Engine, ports: Ports, name: str, since: datetime) -> int:
    """Start taking back every campaign that the flag led to this system since then; how many there are."""
    room = asyncio.Semaphore(_RECALLED_AT_ONCE)

    async def one(record: CampaignRecord) -> None:
        async with room:
            await engine.recall(record)

    wanted = CampaignFilter(type=IntentType.CAMPAIGN_EXECUTION, created_after=since)
    number, cursor = 0, None
    while True:
        listing = await ports.campaigns.list(wanted, limit=_LISTED_AT_ONCE, cursor=cursor)
        ours = [record for record in listing.campaigns if record.routed_by == name]
        await asyncio.gather(*map(one, ours))
        number, cursor = number + len(ours), listing.cursor
        if cursor is None:
            return number


async def _was_released(ports: Ports, name: str, rollout_id: str) -> bool:
    """Whether the rollout has had the flag; asked when it has it no more."""
    revisions = await ports.flag_store.history(name, limit=_REVISIONS)
    return any(revision.rollout_id == rollout_id for revision in revisions)
