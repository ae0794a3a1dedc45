"""Where requests stand: one, a list, or a stream of events."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from pydantic.alias_generators import to_camel
from sse_starlette import EventSourceResponse, ServerSentEvent

from adapters.bootstrap import Ports
from api.dependencies import Caller, EngineNow, PortsNow, VisibleCampaign, find_visible
from api.engine import Engine
from api.openapi import EVENT_STREAM, problems
from api.views import CampaignPage, CampaignSummary, CampaignView, final_result, view
from domain.access import Principal
from domain.campaign import CampaignRecord, CampaignStatus
from domain.errors import Forbidden, InvalidRequest
from domain.model import Request
from domain.ports import CampaignFilter
from domain.progress import CampaignProgress
from domain.provider import IntentType

router = APIRouter(prefix="/api/v2/campaigns", tags=["campaigns"])

POLL_S = 0.5
"""How often a stream asks the workflow."""

POLLS_UNTIL_STORE = 10
"""After how many unchanged answers of the workflow a stream asks the store."""

PING_S = 10
"""How often a silent stream shows that it is alive, so that proxies keep it open."""


class StatusQuery(Request):
    """One request by ``workflowId``, or a list by the other parameters."""

    workflow_id: str | None = Field(default=None, max_length=100, description="workflow id or campaign id")
    status: CampaignStatus | None = None
    type: IntentType | None = None
    created_after: datetime | None = Field(default=None, description="UTC where no offset is given")
    created_before: datetime | None = Field(default=None, description="UTC where no offset is given")
    owner: str | None = Field(default=None, max_length=255, description="staff only: whose; without it, everybody's")
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=1_000)

    def require_one_question(self) -> None:
        """Refuse what would be ignored: one request is not filtered."""
        others = sorted(self.model_fields_set - {"workflow_id"})
        if self.workflow_id is not None and others:
            field = to_camel(others[0])
            raise InvalidRequest(
                f"workflowId asks for one request and takes no filter; remove {field}, or leave workflowId out",
                field=field,
            )

    def filters(self, caller: Principal) -> CampaignFilter:
        """The filter for the store, narrowed to what the caller may see."""
        if self.owner is not None and not caller.may_see(self.owner):
            raise Forbidden("Only staff may list the campaigns of others; leave owner out.", field="owner")
        return CampaignFilter(
            owner=self.owner if caller.is_staff else caller.user_id,
            status=self.status,
            type=self.type,
            created_after=_utc(self.created_after, "createdAfter"),
            created_before=_utc(self.created_before, "createdBefore"),
        )


@router.get("/status", summary="One request, or your list", responses=problems(401, 403, 404, 422))
async def status(
    query: Annotated[StatusQuery, Query()], caller: Caller, ports: PortsNow, engine: EngineNow
) -> CampaignView | CampaignPage:
    """With ``workflowId``: the request, its progress and, at the end, its result. Without: a list, newest first."""
    query.require_one_question()
    if query.workflow_id is not None:
        return await view(await find_visible(ports, caller, query.workflow_id), ports, engine)
    listing = await ports.campaigns.list(query.filters(caller), limit=query.limit, cursor=query.cursor)
    return CampaignPage(
        campaigns=tuple(CampaignSummary.of(record) for record in listing.campaigns), next_cursor=listing.cursor
    )


@router.get(
    "/{campaignId}/events",
    summary="Live progress as server-sent events",
    response_class=EventSourceResponse,
    responses=EVENT_STREAM | problems(401, 403, 404, 422),
)
async def events(record: VisibleCampaign, ports: PortsNow, engine: EngineNow) -> EventSourceResponse:
    """``progress`` whenever something changed, ``done`` with the result at the end, then the stream closes."""
    return EventSourceResponse(_events(record, ports, engine), ping=PING_S)


async def _events(record: CampaignRecord, ports: Ports, engine: Engine) -> AsyncIterator[ServerSentEvent]:
    shown: CampaignProgress | None = None
    quiet = 0
    while True:
        progress = await engine.progress(record)
        quiet += 1
        if progress is not None and progress != shown:
            shown, quiet = progress, 0
            yield ServerSentEvent(event="progress", data=progress.model_dump_json())
        # A worker that is away, or a workflow that was ended from outside, says nothing; the store knows.
        ask_store = progress is None or progress.status.is_final or quiet % POLLS_UNTIL_STORE == POLLS_UNTIL_STORE - 1
        if ask_store and (result := await final_result(record.campaign_id, ports)):
            yield ServerSentEvent(event="done", data=result.model_dump_json())
            return
        await asyncio.sleep(POLL_S)


def _utc(moment: datetime | None, field: str) -> datetime | None:
    if moment is None:
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidRequest(
            "this moment is outside of the calendar; use one such as 2026-11-01T00:00:00Z", field=field
        ) from error
