"""Alerts, newest first: to everybody those of their own accounts, to staff all."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.dependencies import Caller, PortsNow, require_account
from api.openapi import problems
from domain.alert import Alert
from domain.errors import InvalidRequest
from domain.model import AccountId, Model, Request

router = APIRouter(prefix="/api/v2", tags=["alerts"])

RECENT = timedelta(days=1)
LONGEST = timedelta(days=31)


class AlertQuery(Request):
    """Which alerts."""

    since: datetime | None = Field(default=None, description="UTC where no offset is given; default: a day ago")
    account_id: AccountId | None = None
    limit: int = Field(default=100, ge=1, le=1_000)


class AlertList(Model):
    """Newest first. ``more``: older ones were left out; ask for a larger ``limit`` or a later ``since``."""

    alerts: tuple[Alert, ...]
    more: bool


@router.get("/alerts", summary="What a person should know of", responses=problems(401, 403, 422))
async def alerts(query: Annotated[AlertQuery, Query()], caller: Caller, ports: PortsNow) -> AlertList:
    """Sessions that expired, violations of limits, dead letters, and failures of the product itself."""
    if query.account_id is not None:
        require_account(caller, query.account_id)
    now = datetime.now(UTC)
    since = query.since or now - RECENT
    since = since.replace(tzinfo=UTC) if since.tzinfo is None else since
    if now - since > LONGEST:
        raise InvalidRequest(f"reaches back {LONGEST.days} days at most; choose a later moment", field="since")
    found = await ports.alerts.since(since, account_id=query.account_id)
    visible = [alert for alert in found if caller.is_staff or alert.account_id in caller.accounts]
    return AlertList(alerts=tuple(visible[: query.limit]), more=len(visible) > query.limit)
