"""Budgets: how much may be spent by a request, a campaign, a user and everybody, in integer micro-dollars (µ$).

Money is reserved in every budget at once before a call, at the most that the call can cost, and committed at what it
did cost. ``committed + reserved`` never exceeds a cap. A reservation whose owner died runs out after a minute.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from domain.alert import Alert, AlertKind, Severity
from domain.cost import dollars_from_micros, micros_from_dollars
from domain.errors import CostLimitExceeded
from domain.model import Model, Request

LEASE_MS = 60_000
"""How long a reservation counts when nobody commits or refunds it."""


EVERYBODY = "global"
"""The subject of what is set for the whole installation."""

USER_FIELDS = ("campaign", "user_day", "user_month")
"""The caps that can be set for one user; the others concern everybody."""

Dollars = Annotated[Decimal | None, Field(ge=0, le=1_000_000, description="US dollars; null: no limit, 0: nothing")]


class BudgetScope(StrEnum):
    """Whose money: ``request`` is the caller's own ``maxCost``, ``campaign`` what an installation allows one."""

    REQUEST = "request"
    CAMPAIGN = "campaign"
    USER_DAY = "user_day"
    USER_MONTH = "user_month"
    GLOBAL_DAY = "global_day"
    GLOBAL_MONTH = "global_month"


class Budget(Model):
    """One cap: ``subject`` is a campaign id or a user id ("" for everybody), ``period`` a UTC day or month."""

    scope: BudgetScope
    subject: str = ""
    period: str = Field(default="", examples=["2026-11-22", "2026-11"])
    cap_micros: int | None = Field(default=None, ge=0, description="µ$; null: no limit, 0: nothing")

    @property
    def account(self) -> str:
        """Whose money it is a cap on, in which period; several budgets may share one."""
        match self.scope:
            case BudgetScope.REQUEST | BudgetScope.CAMPAIGN:
                return f"campaign:{self.subject}"
            case BudgetScope.USER_DAY | BudgetScope.USER_MONTH:
                return f"user:{self.subject}:{self.period}"
            case BudgetScope.GLOBAL_DAY | BudgetScope.GLOBAL_MONTH:
                return f"global:{self.period}"

    @property
    def days(self) -> tuple[str, str]:
        """The first and the last day of its period, for a ledger that is kept by days."""
        monthly = self.scope in {BudgetScope.USER_MONTH, BudgetScope.GLOBAL_MONTH}
        return (f"{self.period}-01", f"{self.period}-31") if monthly else (self.period, self.period)


class BudgetCaps(Model):
    """Caps in US dollars; null is no limit, 0 is nothing."""

    campaign: Dollars = None
    user_day: Dollars = None
    user_month: Dollars = None
    global_day: Dollars = None
    global_month: Dollars = None


class BudgetChange(Request):
    """Everything that is set for one user, or for everybody; what is left out follows the defaults."""

    campaign: Dollars = None
    user_day: Dollars = None
    user_month: Dollars = None
    global_day: Dollars = None
    global_month: Dollars = None
    reason: str = Field(min_length=3, max_length=500, examples=["The quarter's marketing budget."])

    def caps(self) -> BudgetCaps:
        """The caps alone."""
        return BudgetCaps(**{name: getattr(self, name) for name in BudgetCaps.model_fields})

    def set_fields(self) -> tuple[str, ...]:
        """The names of the caps that were given, null included, in their usual order."""
        return tuple(name for name in BudgetCaps.model_fields if name in self.model_fields_set)


class BudgetSettings(Model):
    """What was set for a user, or for everybody (``subject`` "global"), by whom, when and why.

    Of ``caps`` only ``set_fields`` were set; ``in_force`` says what applies.
    """

    subject: str
    caps: BudgetCaps = BudgetCaps()
    set_fields: tuple[str, ...] = Field(default=(), description="those that were set; the others have their default")
    revision: int = 0
    changed_by: str = ""
    changed_at: datetime | None = None
    reason: str = ""


class BudgetStanding(Model):
    """How a budget stands, in µ$."""

    budget: Budget
    committed_micros: int = 0
    reserved_micros: int = 0

    @property
    def remaining_micros(self) -> int | None:
        """What may still be reserved; ``None``: no limit."""
        cap = self.budget.cap_micros
        return None if cap is None else max(0, cap - self.committed_micros - self.reserved_micros)


def budgets(
    caps: BudgetCaps, *, owner: str, campaign_id: str, max_cost_micros: int | None, now: datetime
) -> tuple[Budget, ...]:
    """Every budget that a call for this campaign is charged to; days and months are UTC."""
    utc = now.astimezone(UTC)
    day, month = utc.strftime("%Y-%m-%d"), utc.strftime("%Y-%m")
    shapes: Mapping[BudgetScope, tuple[str, str, int | None]] = {
        BudgetScope.REQUEST: (campaign_id, "", max_cost_micros),
        BudgetScope.CAMPAIGN: (campaign_id, "", _micros(caps.campaign)),
        BudgetScope.USER_DAY: (owner, day, _micros(caps.user_day)),
        BudgetScope.USER_MONTH: (owner, month, _micros(caps.user_month)),
        BudgetScope.GLOBAL_DAY: ("", day, _micros(caps.global_day)),
        BudgetScope.GLOBAL_MONTH: ("", month, _micros(caps.global_month)),
    }
    return tuple(
        Budget(scope=scope, subject=subject, period=period, cap_micros=cap)
        for scope, (subject, period, cap) in shapes.items()
    )


def in_force(defaults: BudgetCaps, everybody: BudgetSettings, user: BudgetSettings) -> BudgetCaps:
    """The installation's defaults, under what was set for everybody, under what was set for the user."""
    for_all = {name: getattr(everybody.caps, name) for name in everybody.set_fields}
    own = {name: getattr(user.caps, name) for name in user.set_fields if name in USER_FIELDS}
    return defaults.model_copy(update=for_all | own)


def denial(budget: Budget, *, remaining_micros: int, needed_micros: int) -> CostLimitExceeded:
    """The refusal of a call that may cost more than a budget has left."""
    period = f" of {budget.period}" if budget.period else ""
    cap = dollars_from_micros(budget.cap_micros or 0)
    return CostLimitExceeded(
        f"the budget {budget.scope}{period} has ${dollars_from_micros(remaining_micros):.6f} of ${cap:.6f} left, and "
        f"the call may cost ${dollars_from_micros(needed_micros):.6f}",
        scope=budget.scope,
        remaining_micros=remaining_micros,
    )


def exhausted_alert(charged: Sequence[Budget], refusal: CostLimitExceeded, at: datetime) -> Alert | None:
    """The event of a budget that denied something, the same for the whole period of that budget.

    ``None`` for a request's own ``maxCost``: it does what its caller asked for.
    """
    budget = next((each for each in charged if each.scope == refusal.scope), None)
    if budget is None or budget.scope is BudgetScope.REQUEST:
        return None
    everybody = budget.scope in {BudgetScope.GLOBAL_DAY, BudgetScope.GLOBAL_MONTH}
    whose = "everybody" if everybody else budget.subject
    period = f" in {budget.period}" if budget.period else ""
    return Alert(
        alert_id=f"{AlertKind.BUDGET_EXHAUSTED}-{budget.scope}-{budget.account}",
        kind=AlertKind.BUDGET_EXHAUSTED,
        severity=Severity.CRITICAL if everybody else Severity.WARNING,
        at=at,
        detail=f"{budget.scope} of {whose}{period}: {_dollars(budget.cap_micros or 0)}",
    )


def unknown_price_alert(provider: str, model: str, at: datetime) -> Alert:
    """The event of a model that the price book does not know, the same for a whole UTC day."""
    day = at.astimezone(UTC).strftime("%Y-%m-%d")
    return Alert(
        alert_id=f"{AlertKind.UNKNOWN_PRICE}-{provider}/{model}-{day}",
        kind=AlertKind.UNKNOWN_PRICE,
        severity=Severity.WARNING,
        at=at,
        detail=f"{provider}/{model} is booked at the highest known prices: set it in HUNTAZE_PRICES",
    )


def _micros(dollars: Decimal | None) -> int | None:
    return None if dollars is None else micros_from_dollars(dollars)


def _dollars(micros: int) -> str:
    """With cents, and with as much more as there is."""
    dollars = dollars_from_micros(micros)
    return f"${dollars:,.2f}" if micros % 10_000 == 0 else f"${dollars:,.6f}".rstrip("0")
