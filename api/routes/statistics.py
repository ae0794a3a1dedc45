"""How close accounts are to their limits, and how often the platform found that they went too far."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.dependencies import Caller, PortsNow, QueuesNow, SettingsNow, require_account
from api.openapi import problems
from api.outlook import waiting
from api.quota import remaining_by_layer
from domain.access import Principal
from domain.alert import Alert, AlertKind
from domain.delivery import AccountState
from domain.errors import DependencyUnavailable
from domain.model import AccountId, Model, Request
from domain.ports import SendQueues
from domain.rate_limit import Layer, MessageType, account_windows, system_windows, type_windows

router = APIRouter(prefix="/api/v2/onlyfans", tags=["limits"])

MOST_ACCOUNTS = 100
"""Accounts that one answer describes."""

TOP_ACCOUNTS = 10
_AT_ONCE = 8
"""Accounts that are asked about at the same time."""


class StatisticsQuery(Request):
    """One account, or all of the caller's."""

    account_id: AccountId | None = Field(default=None, description="staff: any account")


class Violations(Model):
    """How often the platform throttled what our limits had admitted."""

    last_minute: int
    last_hour: int
    last_day: int

    @classmethod
    def of(cls, alerts: Iterable[Alert], now: datetime) -> "Violations":
        """Counted from the alerts of the last day."""
        ages = [now - alert.at for alert in alerts]
        return cls(
            last_minute=sum(age <= timedelta(minutes=1) for age in ages),
            last_hour=sum(age <= timedelta(hours=1) for age in ages),
            last_day=sum(age <= timedelta(days=1) for age in ages),
        )


class AccountStatistics(Model):
    """One account now. ``remaining``: by layer; null when the limiter does not answer."""

    account_id: AccountId
    state: AccountState
    remaining: dict[Layer, int] | None
    remaining_by_type: dict[MessageType, int] | None
    throttled_until: datetime | None
    queue_depth: int | None = Field(description="null: the queue does not answer, or there is none yet")
    violations: Violations
    webhook_events_today: int
    webhook_events: dict[str, int] = Field(description="of today (UTC), by kind")


class TopAccount(Model):
    """An account with violations in the last day."""

    account_id: AccountId
    violations: int


class GlobalStatistics(Model):
    """Over all accounts; staff only."""

    violations: Violations
    top_accounts: tuple[TopAccount, ...] = Field(description=f"at most {TOP_ACCOUNTS}, by violations in the last day")


class Statistics(Model):
    """``more``: there are accounts that this answer leaves out; ask for them by ``accountId``."""

    accounts: tuple[AccountStatistics, ...]
    more: bool
    global_: GlobalStatistics | None = Field(default=None, alias="global", description="staff only")


@router.get("/stats", summary="Limits, queues and violations by account", responses=problems(401, 403, 422))
async def statistics(
    query: Annotated[StatisticsQuery, Query()],
    caller: Caller,
    ports: PortsNow,
    queues: QueuesNow,
    settings: SettingsNow,
) -> Statistics:
    """The accounts of the token; for staff, the one that is asked for, or those with violations in the last day."""
    if query.account_id is not None:
        require_account(caller, query.account_id)
    now = datetime.now(UTC)
    whose = None if caller.is_staff else query.account_id
    violations = await _violations(ports, now, whose)
    accounts = _accounts(query.account_id, caller, violations)
    turn = asyncio.Semaphore(_AT_ONCE)

    async def described(account_id: str) -> AccountStatistics:
        async with turn:
            return await _account(account_id, violations.get(account_id, []), ports, queues, settings, now)

    return Statistics(
        accounts=tuple(await asyncio.gather(*(described(account_id) for account_id in accounts[:MOST_ACCOUNTS]))),
        more=len(accounts) > MOST_ACCOUNTS,
        global_=_everybody(violations, now) if caller.is_staff else None,
    )


async def _violations(ports: Ports, now: datetime, account_id: str | None) -> dict[str, list[Alert]]:
    """The last day's, by account."""
    found: dict[str, list[Alert]] = {}
    for alert in await ports.alerts.since(now - timedelta(days=1), account_id=account_id):
        if alert.kind is AlertKind.RATE_LIMIT_VIOLATION:
            found.setdefault(alert.account_id, []).append(alert)
    return found


def _accounts(asked: str | None, caller: Principal, violations: Mapping[str, list[Alert]]) -> list[str]:
    if asked is not None:
        return [asked]
    known = set(caller.accounts) | (violations.keys() if caller.is_staff else set())
    return sorted(account_id for account_id in known if account_id)


def _everybody(violations: Mapping[str, list[Alert]], now: datetime) -> GlobalStatistics:
    counts = Counter({account_id: len(alerts) for account_id, alerts in violations.items()})
    return GlobalStatistics(
        violations=Violations.of((alert for alerts in violations.values() for alert in alerts), now),
        top_accounts=tuple(
            TopAccount(account_id=account_id, violations=count)
            for account_id, count in counts.most_common(TOP_ACCOUNTS)
        ),
    )


async def _account(
    account_id: str, violations: list[Alert], ports: Ports, queues: SendQueues, settings: Settings, now: datetime
) -> AccountStatistics:
    control, limits, outlook, events = await asyncio.gather(
        ports.accounts.control(account_id),
        ports.accounts.limits(account_id),
        waiting(account_id, ports, queues),
        ports.inbox.counts(account_id, now.date().isoformat()),
    )
    policy = settings.limit_policy
    by_type = {kind: type_windows(policy, limits, kind) for kind in MessageType}
    shared = (*account_windows(policy, limits, now), *system_windows(policy))
    throttled_until = outlook.throttled_until if outlook is not None else None
    remaining: dict[Layer, int] | None = None
    remaining_by_type: dict[MessageType, int] | None = None
    try:
        usage = await ports.limiter.usage(account_id, (*shared, *(each for kind in by_type.values() for each in kind)))
    except DependencyUnavailable:
        pass
    else:
        layers = remaining_by_layer(usage)
        # Types do not share a limit, so there is no one figure for their layer.
        remaining = {layer: left for layer, left in layers.items() if layer is not Layer.MESSAGE_TYPE}
        remaining_by_type = {
            # A type without a limit has no figure.
            kind: min(left)
            for kind, windows in by_type.items()
            if (left := [each.remaining for each in usage.windows if each.subject == windows[0].subject])
        }
        if usage.held_ms:
            held_until = now + timedelta(milliseconds=usage.held_ms)
            throttled_until = max(held_until, throttled_until or held_until)
    return AccountStatistics(
        account_id=account_id,
        state=control.state,
        remaining=remaining,
        remaining_by_type=remaining_by_type,
        throttled_until=throttled_until,
        queue_depth=None if outlook is None else len(outlook.messages),
        violations=Violations.of(violations, now),
        webhook_events_today=sum(events.values()),
        webhook_events=dict(events),
    )
