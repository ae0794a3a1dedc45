"""Budgets: how they stand, what administrators set, and who set it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field
from pydantic.alias_generators import to_camel

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.body import JsonBody
from api.dependencies import Caller, PortsNow, SettingsNow, allow, find_visible
from api.examples import BUDGET
from api.openapi import body as documented
from api.openapi import problems
from api.revision import IfMatch, etag, replace
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
from domain.errors import Forbidden, InvalidRequest
from domain.model import Model, Request

router = APIRouter(tags=["costs"])
subjects = APIRouter(prefix="/api/v2/budgets")
users = APIRouter(prefix="/api/v2/user-budgets")
"""The same for any user's id, also one that no path can hold or that is ``global``."""

_OF_CAMPAIGN = (BudgetScope.REQUEST, BudgetScope.CAMPAIGN)
_OF_EVERYBODY = (BudgetScope.GLOBAL_DAY, BudgetScope.GLOBAL_MONTH)

Administrator = Annotated[Principal, Depends(allow(frozenset({Role.ADMIN})))]
Subject = Annotated[str, Path(max_length=255, description="a user's id, or `global` for everybody")]
User = Annotated[str, Query(min_length=1, max_length=255, description="a user's id, whatever is in it")]


class BudgetQuery(Request):
    """Whose budgets."""

    user: str | None = Field(default=None, max_length=255, description="staff only: whose; default: the caller's")
    campaign_id: str | None = Field(default=None, max_length=100, description="with the budgets of this campaign")


class HistoryQuery(Request):
    """How far back."""

    limit: int = Field(default=20, ge=1, le=100)


class UserHistoryQuery(HistoryQuery):
    """Whose, and how far back."""

    user: str = Field(min_length=1, max_length=255, description="a user's id, whatever is in it")


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


class ChangeView(Model):
    """What was set for a user, or for everybody (``subject`` "global"), by whom, when and why."""

    subject: str
    caps: BudgetCaps
    set_fields: tuple[str, ...] = Field(description="those that were set; the others have their default")
    revision: int
    changed_by: str
    changed_at: datetime | None
    reason: str

    @classmethod
    def of(cls, settings: BudgetSettings, **more: object) -> Self:
        """Fields by the names that they have on the wire."""
        names = tuple(map(to_camel, settings.set_fields))
        return cls.model_validate({**dict(settings), "set_fields": names, **more})


class BudgetSettingsView(ChangeView):
    """What was set for a subject, and the caps that are in force with it."""

    in_force: BudgetCaps


class BudgetHistory(Model):
    """What was set, newest first; the first entry is in force now."""

    history: tuple[ChangeView, ...]


@subjects.get("", summary="How budgets stand", responses=problems(401, 403, 404, 422, 503))
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


@subjects.get("/{subject}", summary="What is set for a user or everybody", responses=problems(401, 403, 422))
async def settings_of(
    subject: Subject, caller: Caller, ports: PortsNow, settings: SettingsNow, response: Response
) -> BudgetSettingsView:
    """Caps in US dollars; `setFields` were set here, the others follow what is set for everybody, or the defaults."""
    return await _settings(_user(subject), caller, ports, settings, response)


@users.get("", summary="What is set for a user", responses=problems(401, 403, 422))
async def user_settings(
    user: User, caller: Caller, ports: PortsNow, settings: SettingsNow, response: Response
) -> BudgetSettingsView:
    """As `/api/v2/budgets/{subject}`, for a user's id with any characters, or `global`."""
    return await _settings(user, caller, ports, settings, response)


@subjects.put(
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
    if_match: IfMatch = None,
) -> BudgetSettingsView:
    """Administrators only. In force within a second; what is left out follows everybody's caps, or the defaults."""
    changed = await _change(_user(subject), body, caller, ports, if_match)
    return await _in_force(_user(subject), changed, ports, settings, response)


@users.put(
    "",
    summary="Replace what is set for a user",
    responses=problems(400, 401, 403, 409, 412, 413, 422),
    openapi_extra=documented(BudgetChange, BUDGET),
)
async def change_user(
    user: User,
    caller: Administrator,
    ports: PortsNow,
    settings: SettingsNow,
    body: Annotated[BudgetChange, Depends(JsonBody(BudgetChange))],
    response: Response,
    if_match: IfMatch = None,
) -> BudgetSettingsView:
    """As `/api/v2/budgets/{subject}`, for a user's id with any characters, or `global`."""
    changed = await _change(user, body, caller, ports, if_match)
    return await _in_force(user, changed, ports, settings, response)


@subjects.get("/{subject}/history", summary="Who set what, and why", responses=problems(401, 403, 422))
async def history(
    subject: Subject, query: Annotated[HistoryQuery, Query()], caller: Caller, ports: PortsNow
) -> BudgetHistory:
    """Every change with its author, time and reason."""
    return await _history(_user(subject), query.limit, caller, ports)


@users.get("/history", summary="Who set what for a user, and why", responses=problems(401, 403, 422))
async def user_history(query: Annotated[UserHistoryQuery, Query()], caller: Caller, ports: PortsNow) -> BudgetHistory:
    """Every change with its author, time and reason."""
    return await _history(query.user, query.limit, caller, ports)


async def _settings(
    user: str | None, caller: Principal, ports: Ports, settings: Settings, response: Response
) -> BudgetSettingsView:
    _require_sight(caller, user)
    return await _in_force(user, await ports.budget_store.settings(user), ports, settings, response)


async def _in_force(
    user: str | None, found: BudgetSettings, ports: Ports, settings: Settings, response: Response
) -> BudgetSettingsView:
    everybody = found if user is None else await ports.budget_store.settings(None)
    response.headers["ETag"] = etag(found)
    return BudgetSettingsView.of(found, in_force=in_force(settings.budgets, everybody, found))


async def _change(
    user: str | None, body: BudgetChange, caller: Principal, ports: Ports, if_match: str | None
) -> BudgetSettings:
    foreign = [name for name in body.set_fields() if name not in USER_FIELDS]
    if user is not None and foreign:
        field = to_camel(foreign[0])
        raise InvalidRequest(f"{field} concerns everybody: set it at /api/v2/budgets/global", field=field)

    async def write(present: BudgetSettings) -> BudgetSettings | None:
        changed = BudgetSettings(
            subject=EVERYBODY if user is None else user,
            caps=body.caps(),
            set_fields=body.set_fields(),
            revision=present.revision + 1,
            changed_by=caller.user_id,
            changed_at=datetime.now(UTC),
            reason=body.reason,
        )
        return changed if await ports.budget_store.put(user, changed) else None

    return await replace("budgets", if_match, lambda: ports.budget_store.settings(user), write)


async def _history(user: str | None, limit: int, caller: Principal, ports: Ports) -> BudgetHistory:
    _require_sight(caller, user)
    return BudgetHistory(history=tuple(map(ChangeView.of, await ports.budget_store.history(user, limit=limit))))


def _user(subject: str) -> str | None:
    return None if subject == EVERYBODY else subject


def _require_sight(caller: Principal, user: str | None) -> None:
    if user is None and not caller.is_staff:
        raise Forbidden("Only staff may see what is set for everybody.")
    if user is not None and not caller.may_see(user):
        raise Forbidden("Only staff may see the budgets of others.")


def _shown(found: Sequence[BudgetStanding], caller: Principal) -> list[BudgetStanding]:
    """What everybody spends together is for staff."""
    return [each for each in found if caller.is_staff or each.budget.scope not in _OF_EVERYBODY]


router.include_router(subjects)
router.include_router(users)
