"""The audit log: who changed or decided what, when, why, and what it was before. Entries are never changed."""

from datetime import datetime
from typing import Any

from pydantic import Field

from domain.model import Model


class AuditEntry(Model):
    """One change or decision. ``entry_id`` makes a repetition harmless; nothing in it is a fan's data.

    ``subject`` names what was changed as ``<concept>/<id>``, for example ``flag/hybrid-orchestrator``.
    """

    entry_id: str
    subject: str = Field(examples=["flag/hybrid-orchestrator"])
    action: str = Field(examples=["changed", "promoted", "rolled_back"])
    actor: str = Field(description="a user's id, or the part of the system that decided")
    at: datetime
    reason: str = ""
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    evidence: dict[str, Any] | None = Field(default=None, description="the figures that a decision rests on")


class AuditListing(Model):
    """Newest first; ``cursor`` continues the list, ``None`` ends it."""

    entries: tuple[AuditEntry, ...]
    cursor: str | None = None
