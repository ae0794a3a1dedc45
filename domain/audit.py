"""The audit log: who changed or decided what, when, why, and what it was before. Entries are never changed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from domain.model import Model

LISTED = 25
"""Values that an entry names of those that came to a list, and of those that went: what has the list has them all."""


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


def list_change(before: Sequence[str], after: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A list that may be too long for an entry, as ``before`` and ``after`` of it: the number of its values, and then
    the number of those ``added`` and ``removed``, with the first of them."""
    changes = {"added": _missing(after, before), "removed": _missing(before, after)}
    told = {what: {"count": len(values), "first": values[:LISTED]} for what, values in changes.items() if values}
    return {"count": len(before)}, {"count": len(after), **told}


def _missing(values: Sequence[str], there: Sequence[str]) -> list[str]:
    known = frozenset(there)
    return [value for value in values if value not in known]
