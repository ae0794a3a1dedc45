"""The messages of a campaign: drafts for the reviewer, outcomes for the owner."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.dependencies import PortsNow, VisibleCampaign
from api.openapi import problems
from api.views import MessagePage
from domain.delivery import MessageStatus
from domain.model import AccountId, Request

router = APIRouter(prefix="/api/v2/campaigns", tags=["campaigns"])


class MessageQuery(Request):
    """Which messages."""

    status: MessageStatus | None = None
    account_id: AccountId | None = None
    limit: int = Field(default=50, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=1_000)


@router.get("/{campaignId}/messages", summary="Drafts and outcomes", responses=problems(401, 403, 404, 422))
async def messages(record: VisibleCampaign, query: Annotated[MessageQuery, Query()], ports: PortsNow) -> MessagePage:
    """With their texts: a reviewer must see what is approved."""
    listing = await ports.messages.list(
        record.campaign_id,
        status=query.status,
        account_id=query.account_id,
        limit=query.limit,
        cursor=query.cursor,
    )
    return MessagePage(messages=listing.messages, next_cursor=listing.cursor)
