"""Stored completions: answers that the provider was asked to keep, listed by the metadata that came with them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.ai.model import Dialect

MOST_LISTED = 100
_METADATA = re.compile(r"metadata\[(.+)\]")


@dataclass(frozen=True)
class Wanted:
    """Which answers to list; an empty model is any."""

    dialect: Dialect
    model: str
    metadata: Mapping[str, str]
    descending: bool = False


@dataclass
class StoredAnswers:
    """Bodies of chat completions with their metadata, in the order in which they were written."""

    _kept: list[tuple[Dialect, dict[str, Any]]] = field(default_factory=list)

    def keep(self, dialect: Dialect, body: dict[str, Any], metadata: Mapping[str, str]) -> None:
        """Whether or not the caller gets to see the answer."""
        self._kept.append((dialect, {**body, "metadata": dict(metadata)}))

    def page(self, wanted: Wanted, after: str, limit: int) -> dict[str, Any]:
        """At most `limit` of them, beginning behind the one with the id `after`."""
        found = list(self._matching(wanted))
        ids = [body["id"] for body in found]
        start = ids.index(after) + 1 if after in ids else 0
        listed = found[start : start + limit]
        return {
            "object": "list",
            "data": listed,
            "first_id": listed[0]["id"] if listed else None,
            "last_id": listed[-1]["id"] if listed else None,
            "has_more": start + limit < len(found),
        }

    def _matching(self, wanted: Wanted) -> Iterator[dict[str, Any]]:
        for dialect, body in reversed(self._kept) if wanted.descending else self._kept:
            if (
                dialect == wanted.dialect
                and wanted.model in ("", body["model"])
                and wanted.metadata.items() <= body["metadata"].items()
            ):
                yield body


def metadata_filter(query: Mapping[str, str]) -> dict[str, str]:
    """The pairs of `metadata[key]=value` in a query."""
    matches = ((_METADATA.fullmatch(name), value) for name, value in query.items())
    return {match[1]: value for match, value in matches if match is not None}
