"""What endpoints ask for by type: the caller, the ports, Temporal, and a request that the caller may see."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.authentication import TokenVerifier, Unauthenticated
from api.background import Background
from api.engine import Engine, EngineQueues
from api.trace import Trace, trace_of
from domain.access import ALL_ROLES, STAFF, Principal, Role
from domain.campaign import CampaignRecord, campaign_of, workflow_id_for
from domain.errors import Forbidden, NotFound
from domain.model import AccountId
from domain.ports import SendQueues
from domain.provider import IntentType

bearer = HTTPBearer(bearerFormat="JWT", auto_error=False, description="claims: sub, role, accounts, iss, aud, exp")


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _ports(request: Request) -> Ports:
    ports: Ports = request.app.state.ports
    return ports


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _queues(request: Request) -> SendQueues:
    return EngineQueues(_engine(request))


def _background(request: Request) -> Background:
    background: Background = request.app.state.background
    return background


def _trace(request: Request) -> Trace:
    return trace_of(request.scope)


async def authenticated(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
) -> Principal:
    """The principal of the request's token."""
    if credentials is None:
        raise Unauthenticated("the request carries no bearer token", presented=False)
    verifier: TokenVerifier = request.app.state.verifier
    return await verifier.verify(credentials.credentials)


def allow(roles: frozenset[Role]) -> Callable[[Principal], Awaitable[Principal]]:
    """A dependency that admits only ``roles``."""

    async def admitted(principal: Annotated[Principal, Depends(authenticated)]) -> Principal:
        if principal.role not in roles:
            raise Forbidden(f"This needs one of the roles: {', '.join(sorted(roles))}.")
        return principal

    return admitted


SettingsNow = Annotated[Settings, Depends(_settings)]
PortsNow = Annotated[Ports, Depends(_ports)]
EngineNow = Annotated[Engine, Depends(_engine)]
QueuesNow = Annotated[SendQueues, Depends(_queues)]
BackgroundNow = Annotated[Background, Depends(_background)]
TraceNow = Annotated[Trace, Depends(_trace)]
Caller = Annotated[Principal, Depends(allow(ALL_ROLES))]
"""Any role; what it sees and may touch is narrowed by ownership."""

Staff = Annotated[Principal, Depends(allow(STAFF))]
"""Operators and administrators."""

Administrator = Annotated[Principal, Depends(allow(frozenset({Role.ADMIN})))]


def require_account(caller: Principal, account_id: str) -> None:
    """Raises ``Forbidden`` for an account that is not the caller's; staff may act on all of them."""
    if caller.foreign_accounts([account_id]):
        raise Forbidden("The account is not among the token's claim accounts.", field="accountId")


async def _own_account(account_id: Annotated[AccountId, Path(alias="accountId")], caller: Caller) -> str:
    require_account(caller, account_id)
    return account_id


OwnAccount = Annotated[str, Depends(_own_account)]
"""The account that the path names, if the caller may act on it."""


async def find_visible(ports: Ports, caller: Principal, given: str) -> CampaignRecord:
    """The request with this campaign id or workflow id; ``NotFound`` also when it is somebody else's."""
    campaign = campaign_of(given)
    record = await ports.campaigns.get(campaign or given) if _is_id(campaign or given) else None
    wrong_kind = record is not None and (
        record.type is IntentType.DIRECT_MESSAGE
        or (campaign is not None and workflow_id_for(record.type, campaign) != given)
    )
    if record is None or wrong_kind or not caller.may_see(record.owner):
        raise NotFound(
            "There is no such campaign among those that you may see; list yours at /api/v2/campaigns/status."
        )
    return record


async def find_message(ports: Ports, caller: Principal, given: str) -> CampaignRecord:
    """The record of a single message; ``NotFound`` also when it is somebody else's, or no single message."""
    record = await ports.campaigns.get(given) if _is_id(given) else None
    if record is None or record.type is not IntentType.DIRECT_MESSAGE or not caller.may_see(record.owner):
        raise NotFound("There is no such single message among those that you may see.")
    return record


async def _visible(
    ports: PortsNow,
    caller: Caller,
    campaign_id: Annotated[str, Path(alias="campaignId", description="campaign id or workflow id", max_length=100)],
) -> CampaignRecord:
    return await find_visible(ports, caller, campaign_id)


async def _visible_message(
    ports: PortsNow,
    caller: Caller,
    message_id: Annotated[str, Path(alias="messageId", max_length=100)],
) -> CampaignRecord:
    return await find_message(ports, caller, message_id)


VisibleMessage = Annotated[CampaignRecord, Depends(_visible_message)]
"""The single message that the path names, if the caller may see it."""

VisibleCampaign = Annotated[CampaignRecord, Depends(_visible)]
"""The request that the path names, if the caller may see it."""


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
