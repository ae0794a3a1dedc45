"""An account's limits: the dry run, the change, and who changed what."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from api.body import JsonBody
from api.dependencies import OwnAccount, PortsNow, QueuesNow, SettingsNow, Staff
from api.examples import LIMITS
from api.openapi import body as documented
from api.openapi import problems
from api.quota import RateLimitView, quota, rate_limit_view
from api.revision import IfMatch, etag, replace
from domain.account_audit import limits_entry
from domain.model import Model, RecipientId, Request
from domain.rate_limit import AccountLimits, AccountLimitsRequest, MessageType

router = APIRouter(prefix="/api/v2/rate-limits", tags=["limits"])


class LimitsBody(AccountLimitsRequest):
    """All of an account's own limits, and why they change."""

    reason: str = Field(min_length=3, max_length=500, examples=["The account has grown for a year."])


class DryRunQuery(Request):
    """The message that would be sent."""

    message_type: MessageType = MessageType.CUSTOM
    recipient_id: RecipientId | None = Field(default=None, description="without one, the fan's limits are left out")


class HistoryQuery(Request):
    """How far back."""

    limit: int = Field(default=20, ge=1, le=100)


class LimitsHistory(Model):
    """What was in force, newest first; the first entry is in force now."""

    history: tuple[AccountLimits, ...]


@router.get("/{accountId}", summary="What the limits say now", responses=problems(401, 403, 422, 503))
async def dry_run(
    account_id: OwnAccount,
    query: Annotated[DryRunQuery, Query()],
    ports: PortsNow,
    settings: SettingsNow,
    response: Response,
) -> RateLimitView:
    """Takes nothing: asking never makes anybody wait longer."""
    now = datetime.now(UTC)
    control = await ports.accounts.control(account_id)
    asked = await quota(ports, settings.limit_policy, account_id, query.message_type, query.recipient_id, now)
    response.headers.update({**asked.headers(), "ETag": etag(asked.limits)})
    return rate_limit_view(asked, control, query.message_type, query.recipient_id, now)


@router.put(
    "/{accountId}",
    summary="Replace an account's own limits",
    responses=problems(400, 401, 403, 409, 412, 413, 422, 503),
    openapi_extra=documented(LimitsBody, LIMITS),
)
async def change(
    account_id: OwnAccount,
    caller: Staff,
    ports: PortsNow,
    queues: QueuesNow,
    body: Annotated[LimitsBody, Depends(JsonBody(LimitsBody))],
    response: Response,
    if_match: IfMatch = None,
) -> AccountLimits:
    """Staff only. In force from the next grant on; what is left out or null follows the installation's limits."""

    async def write(present: AccountLimits) -> AccountLimits | None:
        changed = AccountLimits(
            **body.model_dump(by_alias=False),
            account_id=account_id,
            revision=present.revision + 1,
            changed_by=caller.user_id,
            changed_at=datetime.now(UTC),
        )
        return changed if await ports.accounts.put_limits(changed, limits_entry(present, changed)) else None

    changed = await replace("limits", if_match, lambda: ports.accounts.limits(account_id), write)
    await queues.wake(account_id)
    response.headers["ETag"] = etag(changed)
    return changed


@router.get("/{accountId}/history", summary="Who changed the limits, and why", responses=problems(401, 403, 422))
async def history(account_id: OwnAccount, query: Annotated[HistoryQuery, Query()], ports: PortsNow) -> LimitsHistory:
    """Every change with its author, time and reason."""
    return LimitsHistory(history=tuple(await ports.accounts.limits_history(account_id, limit=query.limit)))
