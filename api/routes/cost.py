"""What was spent on AI: by campaign, by day, by provider."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from api.dependencies import Caller, PortsNow, find_visible
from api.openapi import problems
from api.views import CampaignCosts, CostSum, DayCosts, PeriodCosts
from domain.cost import CostTotals
from domain.errors import Forbidden, InvalidRequest
from domain.model import Request

router = APIRouter(prefix="/api/v2/campaigns", tags=["costs"])

LONGEST_PERIOD = timedelta(days=366)


class CostQuery(Request):
    """One campaign, or a period of the caller's own, somebody's or everybody's costs."""

    campaign_id: str | None = Field(default=None, max_length=100, description="campaign id or workflow id")
    first_day: date | None = Field(default=None, alias="from", description="UTC; default: the first of this month")
    last_day: date | None = Field(default=None, alias="to", description="UTC, included; default: today")
    owner: str | None = Field(default=None, max_length=255, description="staff only: whose")
    scope: Literal["owner", "global"] = Field(default="owner", description="`global`: everybody's, staff only")

    def require_one_question(self) -> None:
        """Refuse what would be ignored: one campaign's costs are neither somebody's nor a period's."""
        others = sorted(self.model_fields_set - {"campaign_id"})
        if self.campaign_id is not None and others:
            field = str(CostQuery.model_fields[others[0]].alias or others[0])
            raise InvalidRequest(
                f"campaignId asks for one campaign and takes nothing beside it; remove {field}", field=field
            )
        if self.scope == "global" and self.owner is not None:
            raise InvalidRequest("scope=global is about everybody; remove owner, or leave scope out", field="owner")

    def period(self, today: date) -> tuple[str, str]:
        """First and last day, checked."""
        last = self.last_day or max(today, self.first_day or today)
        first = self.first_day or min(today, last).replace(day=1)
        if first > last:
            raise InvalidRequest("from must not be later than to", field="from")
        if last - first >= LONGEST_PERIOD:
            raise InvalidRequest(f"a period has at most {LONGEST_PERIOD.days} days; choose a later from", field="from")
        return first.isoformat(), last.isoformat()


@router.get("/costs", summary="Costs of a campaign or a period", responses=problems(401, 403, 404, 422))
async def costs(query: Annotated[CostQuery, Query()], caller: Caller, ports: PortsNow) -> CampaignCosts | PeriodCosts:
    """US dollars as numbers for display, and exact integer micro-dollars for sums."""
    query.require_one_question()
    if query.campaign_id is not None:
        record = await find_visible(ports, caller, query.campaign_id)
        totals = await ports.costs.campaign_totals(record.campaign_id)
        return CampaignCosts(campaign_id=record.campaign_id, total=CostSum.of(totals))
    first, last = query.period(datetime.now(UTC).date())
    if query.scope == "global":
        if not caller.is_staff:
            raise Forbidden("Only staff may see everybody's costs; leave scope out.", field="scope")
        owner, days = None, await ports.costs.global_totals(first, last)
    else:
        owner = query.owner or caller.user_id
        if not caller.may_see(owner):
            raise Forbidden("Only staff may see the costs of others; leave owner out.", field="owner")
        days = await ports.costs.user_totals(owner, first, last)
    return PeriodCosts(
        scope=query.scope,
        owner=owner,
        first_day=first,
        last_day=last,
        total=CostSum.of(sum(days.values(), CostTotals())),
        days=tuple(
            DayCosts(day=day, **dict(CostSum.of(totals)))
            for day, totals in sorted(days.items())
            if totals != CostTotals()
        ),
    )
