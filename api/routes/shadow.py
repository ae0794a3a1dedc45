"""Shadow mode: whether the new system answers as the old one does. Staff only."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from api.dependencies import PortsNow, allow
from api.openapi import problems
from api.shadow import ShadowRuns
from domain.access import STAFF
from domain.flag import HYBRID_SHADOW
from domain.model import Model, Moment
from domain.model import Request as Asked
from domain.shadow import KEPT_FOR, MAX_COMPARISONS, ParityReport, parity

router = APIRouter(prefix="/api/admin/shadow", tags=["legacy"], dependencies=[Depends(allow(STAFF))])

LOOKS_BACK = timedelta(days=7)


class ShadowQuery(Asked):
    """How far back."""

    since: Moment | None = Field(default=None, description="default: a week ago; at most 30 days are kept")


class ShadowReport(Model):
    """Parity of both systems. ``dropped`` counts this process's since it started, by reason."""

    percentage: float = Field(description="of legacy traffic that is run in shadow now; 0 while the flag is off")
    dropped: dict[str, int] = Field(description="answers that were not run: too many at once, or the day's money spent")
    parity: ParityReport


@router.get("", summary="Parity of the old and the new system", responses=problems(401, 403, 422, 503))
async def report(query: Annotated[ShadowQuery, Query()], request: Request, ports: PortsNow) -> ShadowReport:
    """Runs, errors, costs, latencies, and how often each field of the answers was the same."""
    shadow: ShadowRuns = request.app.state.shadow
    now = datetime.now(UTC)
    since = max(query.since or now - LOOKS_BACK, now - KEPT_FOR)
    # One more than are counted: then it is known whether there are more.
    comparisons = await ports.shadow.comparisons(since, limit=MAX_COMPARISONS + 1)
    flag = next((each for each in ports.flags.all() if each.name == HYBRID_SHADOW), None)
    return ShadowReport(
        percentage=float(flag.rollout_percentage) if flag is not None and flag.enabled else 0.0,
        dropped=dict(shadow.dropped),
        parity=await asyncio.to_thread(parity, comparisons, since),
    )
