"""Budgets: how they stand, what administrators set, and who set it."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import Field

from api.body import JsonBody
from api.dependencies import Caller, PortsNow, SettingsNow, allow, find_visible
from api.examples import BUDGET
from api.openapi import body as documented
from api.openapi import problems
from api.refusals import MalformedRequest, PreconditionFailed
from domain.access import Principal, Role
from domain.budget import (
    EVERYBODY,
    USER_FIELDS,
    BudgetCaps,
    BudgetChange,
    BudgetScope,
    BudgetSettings,
    BudgetStanding,
    budgets,
    in_force,
)
from domain.cost import dollars_from_micros
from domain.errors import Conflict, Forbidden, InvalidRequest
from domain.model import Model, Request

router = APIRouter(prefix="/api/v2/budgets", tags=["costs"])

ATTEMPTS = 5
"""How often a change is tried again when somebody else was faster."""

_REVISION = re.compile(r'^(?:W/)?"?(\d{1,9})"?$')
_OF_CAMPAIGN = (BudgetScope.REQUEST, BudgetScope.CAMPAIGN)
_OF_EVERYBODY = (BudgetScope.GLOBAL_DAY, BudgetScope.GLOBAL_MONTH)

Administrator = Annotated[Principal, Depends(allow(frozenset({Role.ADMIN})))]
Subject = Annotated[str, Path(max_length=255, description="a user's id, or `global` for everybody")]


class BudgetQuery(Request):
    """Whose budgets."""

    user: str | None = Field(default=None, max_length=255, description="staff only: whose; default: the caller's")
    campaign_id: str | None = Field(default=None, max_length=100, description="with the budgets of this campaign")


class HistoryQuery(Request):
    """How far back."""

    limit: int = Field(default=20, ge=1, le=100)


class StandingView(Model):
    """One budget. Money in exact integer micro-dollars, and in US dollars for display; no cap: null."""

    scope: BudgetScope
    subject: str = Field(description="user or campaign; empty: everybody")
    period: str = Field(description="UTC day or month; empty: no period", examples=["2026-11-22", "2026-11"])
    cap_micros: int | None
    committed_micros: int = Field(description="spent, by the ledger")
    reserved_micros: int = Field(description="set aside for calls under way")
    remaining_micros: int | None
    cap: float | None
    committed: float
    reserved: float
    remaining: float | None

    @classmethod
    def of(cls, standing: BudgetStanding) -> "StandingView":
        """From a standing."""
        cap, remaining = standing.budget.cap_micros, standing.remaining_micros
        return cls(
            scope=standing.budget.scope,
            subject=standing.budget.subject,
            period=standing.budget.period,
            cap_micros=cap,
            committed_micros=standing.committed_micros,
            reserved_micros=standing.reserved_micros,
            remaining_micros=remaining,
            cap=None if cap is None else dollars_from_micros(cap),
            committed=dollars_from_micros(standing.committed_micros),
            reserved=dollars_from_micros(standing.reserved_micros),
            remaining=None if remaining is None else dollars_from_micros(remaining),
        )


class BudgetsView(Model):
    """A user's budgets now. ``exhausted``: every scope that has nothing left for this user, everybody's included."""

    user: str
    budgets: tuple[StandingView, ...] = Field(description="everybody's are shown to staff only")
    exhausted: tuple[BudgetScope, ...]


class BudgetSettingsView(BudgetSettings):
    """What was set for a subject, and the caps that are in force with it."""

    in_force: BudgetCaps


class BudgetHistory(Model):
    """What was set, newest first; the first entry is in force now."""

    history: tuple[BudgetSettings, ...]


@router.get("", summary="How budgets stand", responses=problems(401, 403, 404, 422, 503))
async def standings(query: Annotated[BudgetQuery, Query()], caller: Caller, ports: PortsNow) -> BudgetsView:
    """Committed, reserved and remaining by scope, now."""
    user = query.user or caller.user_id
    if not caller.may_see(user):
        raise Forbidden("Only staff may see the budgets of others; leave user out.", field="user")
    campaign_id, max_cost_micros = "", None
    if query.campaign_id is not None:
        record = await find_visible(ports, caller, query.campaign_id)
        if query.user not in (None, record.owner):
            raise InvalidRequest("The campaign is somebody else's; leave user out.", field="user")
        user, campaign_id, max_cost_micros = record.owner, record.campaign_id, record.max_cost_micros
    charged = budgets(
        await ports.budget_store.caps(user),
        owner=user,
        campaign_id=campaign_id,
        max_cost_micros=max_cost_micros,
        now=datetime.now(UTC),
    )
    asked = [budget for budget in charged if campaign_id or budget.scope not in _OF_CAMPAIGN]
    found = await ports.budgets.standings(asked)
    return BudgetsView(
        user=user,
        budgets=tuple(map(StandingView.of, _shown(found, caller))),
        exhausted=tuple(standing.budget.scope for standing in found if standing.remaining_micros == 0),
    )


@router.get("/{subject}", summary="What is set for a user or everybody", responses=problems(401, 403, 422))
async def settings_of(
    subject: Subject, caller: Caller, ports: PortsNow, settings: SettingsNow, response: Response
) -> BudgetSettingsView:
    """Caps in US dollars; `setFields` were set here, the others follow what is set for everybody, or the defaults."""
    _require_sight(caller, subject)
    found = await ports.budget_store.settings(subject)
    everybody = found if subject == EVERYBODY else await ports.budget_store.settings(EVERYBODY)
    response.headers["ETag"] = f'"{found.revision}"'
    return _view(found, in_force(settings.budgets, everybody, found))


@router.put(
    "/{subject}",
    summary="Replace what is set for a user or everybody",
    responses=problems(400, 401, 403, 409, 412, 413, 422),
    openapi_extra=documented(BudgetChange, BUDGET),
)
async def change(
    subject: Subject,
    caller: Administrator,
    ports: PortsNow,
    settings: SettingsNow,
    body: Annotated[BudgetChange, Depends(JsonBody(BudgetChange))],
    response: Response,
    if_match: Annotated[str | None, Header(description="the revision that the change is based on")] = None,
) -> BudgetSettingsView:
    """Administrators only. In force within a second; what is left out follows everybody's caps, or the defaults."""
    foreign = [name for name in body.set_fields() if name not in USER_FIELDS]
    if subject != EVERYBODY and foreign:
        field = str(BudgetChange.model_fields[foreign[0]].alias or foreign[0])
        raise InvalidRequest(f"{field} concerns everybody: set it at /api/v2/budgets/global", field=field)
    expected = _revision(if_match)
    for _ in range(ATTEMPTS):
        present = await ports.budget_store.settings(subject)
        if expected is not None and present.revision != expected:
            raise PreconditionFailed(
                f"The budgets are at revision {present.revision} by now; read them, and send that as If-Match.",
                field="If-Match",
            )
        changed = BudgetSettings(
            subject=subject,
            caps=body.caps(),
            set_fields=body.set_fields(),
            revision=present.revision + 1,
            changed_by=caller.user_id,
            changed_at=datetime.now(UTC),
            reason=body.reason,
        )
        if await ports.budget_store.put(changed):
            response.headers["ETag"] = f'"{changed.revision}"'
            everybody = changed if subject == EVERYBODY else await ports.budget_store.settings(EVERYBODY)
            return _view(changed, in_force(settings.budgets, everybody, changed))
    raise Conflict("Others change these budgets at this moment; read them and try again.")


@router.get("/{subject}/history", summary="Who set what, and why", responses=problems(401, 403, 422))
async def history(
    subject: Subject, query: Annotated[HistoryQuery, Query()], caller: Caller, ports: PortsNow
) -> BudgetHistory:
    """Every change with its author, time and reason."""
    _require_sight(caller, subject)
    return BudgetHistory(history=tuple(await ports.budget_store.history(subject, limit=query.limit)))


def _require_sight(caller: Principal, subject: str) -> None:
    if subject == EVERYBODY and not caller.is_staff:
        raise Forbidden("Only staff may see what is set for everybody.")
    if not caller.may_see(subject):
        raise Forbidden("Only staff may see the budgets of others.")


def _shown(found: Sequence[BudgetStanding], caller: Principal) -> list[BudgetStanding]:
    """What everybody spends together is for staff."""
    return [each for each in found if caller.is_staff or each.budget.scope not in _OF_EVERYBODY]


def _view(found: BudgetSettings, caps: BudgetCaps) -> BudgetSettingsView:
    return BudgetSettingsView(**found.model_dump(by_alias=False), in_force=caps)


def _revision(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    found = _REVISION.match(if_match.strip())
    if found is None:
        raise MalformedRequest('If-Match must be a revision such as "3".', field="If-Match")
    return int(found[1])
