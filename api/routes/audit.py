"""The audit log: who changed or decided what, when and why. Staff only."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api.dependencies import PortsNow, allow
from api.openapi import problems
from domain.access import STAFF
from domain.audit import AuditListing
from domain.model import Request

router = APIRouter(prefix="/api/admin/audit", tags=["audit"], dependencies=[Depends(allow(STAFF))])


class AuditQuery(Request):
    """Which entries."""

    subject: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z-]{0,63}/[!-~]{1,255}$",
        description="`<concept>/<id>`; default: everything",
        examples=["flag/hybrid-orchestrator"],
    )
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=2_000, description="of an earlier answer: what comes after it")


@router.get("", summary="Who changed what, and why", responses=problems(401, 403, 422, 503))
async def entries(query: Annotated[AuditQuery, Query()], ports: PortsNow) -> AuditListing:
    """Newest first, with what it was before and after, and the figures that a decision rests on."""
    return await ports.audit.entries(query.subject, limit=query.limit, cursor=query.cursor)
