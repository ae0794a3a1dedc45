"""An account's send queue: what waits and why, and letting it pause, go on, or run empty."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.account import change_control, set_by
from api.body import JsonBody
from api.dependencies import Caller, OwnAccount, PortsNow, QueuesNow, SettingsNow
from api.examples import ACCOUNT_CONTROL
from api.openapi import body as documented
from api.openapi import problems
from api.outlook import expected, waiting, waiting_reason
from domain.access import Principal
from domain.delivery import AccountControl, AccountState, Priority
from domain.model import AccountId, Model, Request
from domain.ports import SendQueues
from domain.send_queue import QueueOutlook

router = APIRouter(prefix="/api/v2/queues", tags=["queues"])


class AccountControlBody(Request):
    """Why; shown to whoever asks later."""

    reason: str = Field(default="", max_length=500, examples=["The creator is on holiday until Monday."])


class QueueView(Model):
    """What waits for one account. ``live``: the queue itself has answered; else only the state is known."""

    account_id: AccountId
    state: AccountState
    state_reason: str = Field(description="why it is in this state, as whoever changed it said")
    changed_by: str
    changed_at: datetime | None
    live: bool
    depth: int
    depth_by_priority: dict[Priority, int]
    oldest_age_seconds: int | None = Field(description="how long the longest waiting message has waited")
    head_of_line_reason: str = Field(description="why nothing moves; empty when it does")
    throttled_until: datetime | None
    last_eta: datetime | None = Field(description="when the last message will be sent; null: nobody can tell")


Control = Annotated[AccountControlBody, Depends(JsonBody(AccountControlBody, optional=True))]
_CONTROL = documented(AccountControlBody, ACCOUNT_CONTROL, required=False)
_CONTROL_PROBLEMS = problems(400, 401, 403, 409, 413, 422, 503)


@router.get("/{accountId}", summary="What waits, and why", responses=problems(401, 403, 422))
async def show(account_id: OwnAccount, ports: PortsNow, queues: QueuesNow, settings: SettingsNow) -> QueueView:
    """Depth by priority, the oldest message, why the head of the line does not move, and when the last one goes."""
    return await _view(await ports.accounts.control(account_id), ports, queues, settings)


@router.post(
    "/{accountId}/pause",
    summary="Send nothing more from an account",
    responses=_CONTROL_PROBLEMS,
    openapi_extra=_CONTROL,
)
async def pause(
    account_id: OwnAccount, caller: Caller, ports: PortsNow, queues: QueuesNow, settings: SettingsNow, body: Control
) -> QueueView:
    """In force as soon as this answers, but for the one call that is at the gateway. New messages are queued."""
    return await _change(account_id, AccountState.PAUSED, body, caller, ports, queues, settings)


@router.post(
    "/{accountId}/resume",
    summary="Let an account send again",
    responses=_CONTROL_PROBLEMS,
    openapi_extra=_CONTROL,
)
async def resume(
    account_id: OwnAccount, caller: Caller, ports: PortsNow, queues: QueuesNow, settings: SettingsNow, body: Control
) -> QueueView:
    """Ends a pause, a drain, and the standstill after an expired session. What staff has set, only staff ends."""
    return await _change(account_id, AccountState.ACTIVE, body, caller, ports, queues, settings)


@router.post(
    "/{accountId}/drain",
    summary="Send what waits, take nothing new",
    responses=_CONTROL_PROBLEMS,
    openapi_extra=_CONTROL,
)
async def drain(
    account_id: OwnAccount, caller: Caller, ports: PortsNow, queues: QueuesNow, settings: SettingsNow, body: Control
) -> QueueView:
    """New single messages are refused with 409 until ``resume``."""
    return await _change(account_id, AccountState.DRAINING, body, caller, ports, queues, settings)


async def _change(
    account_id: str,
    state: AccountState,
    body: AccountControlBody,
    caller: Principal,
    ports: Ports,
    queues: SendQueues,
    settings: Settings,
) -> QueueView:
    control = await change_control(account_id, set_by(caller, state, body.reason), ports)
    # The state is in force already; the queue only has to hear of it to go on at once.
    await queues.wake(account_id)
    return await _view(control, ports, queues, settings)


async def _view(control: AccountControl, ports: Ports, queues: SendQueues, settings: Settings) -> QueueView:
    now = datetime.now(UTC)
    outlook = await waiting(control.account_id, ports, queues)
    messages = outlook.messages if outlook is not None else ()
    by_priority = Counter(message.priority for message in messages)
    oldest = min((message.arrived_at for message in messages), default=None)
    return QueueView(
        account_id=control.account_id,
        state=control.state,
        state_reason=control.reason,
        changed_by=control.changed_by,
        changed_at=control.changed_at,
        live=outlook is not None,
        depth=len(messages),
        depth_by_priority={priority: by_priority[priority] for priority in reversed(Priority)},
        oldest_age_seconds=None if oldest is None else max(0, round((now - oldest).total_seconds())),
        head_of_line_reason=waiting_reason(outlook, control) if messages or not control.state.sends else "",
        throttled_until=outlook.throttled_until if outlook is not None else None,
        last_eta=await _last_eta(outlook, control, ports, settings, now),
    )


async def _last_eta(
    outlook: QueueOutlook | None, control: AccountControl, ports: Ports, settings: Settings, now: datetime
) -> datetime | None:
    if outlook is None or not outlook.messages:
        return None
    limits = await ports.accounts.limits(control.account_id)
    moments = await expected(outlook, control, limits, settings.limit_policy, ports, now)
    known = [moment for moment in moments if moment is not None]
    return max(known) if len(known) == len(moments) else None
