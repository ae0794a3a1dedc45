"""The audit log in DynamoDB, for ever: a partition for each subject, and one for each month of everything."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from adapters.dynamodb import Dynamo, Item, from_cursor, plain, sortable, to_cursor, to_item, value
from domain.audit import AuditEntry, AuditListing
from domain.errors import InvalidRequest

_FIRST_MONTH = date(2026, 1, 1)
"""Nothing was audited before: where a list of everything ends."""

_DOCUMENTS = ("before", "after", "evidence")
"""Kept as JSON texts, which give back what was recorded: figures of evidence leave the range of DynamoDB's numbers."""

_MONTH = re.compile(r"month#\d{4}-(0[1-9]|1[0-2])")


class DynamoAudit:
    """``domain.ports.AuditLog``."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    async def record(self, entry: AuditEntry) -> bool:
        """Keep an entry; False when one with this id is there already."""
        return bool(await self._dynamo.transact_each({entry.entry_id: audit_items(self._dynamo, entry)}))

    async def entries(self, subject: str | None, *, limit: int, cursor: str | None) -> AuditListing:
        """Newest first; raises ``InvalidRequest`` for a cursor of another list."""
        start = None if cursor is None else _place(cursor, subject)
        found: list[Item] = []
        for scope in _scopes(subject, start):
            async for item in self._dynamo.query(
                start=start if start and start["scope"] == value(scope) else None,
                TableName=self._dynamo.table("audit"),
                KeyConditionExpression="#scope = :scope",
                ExpressionAttributeNames={"#scope": "scope"},
                ExpressionAttributeValues={":scope": value(scope)},
                ScanIndexForward=False,
                ConsistentRead=True,
                Limit=limit + 1 - len(found),
            ):
                if len(found) == limit:
                    return AuditListing(entries=_read(found), cursor=_cursor(found[-1]))
                found.append(item)
        return AuditListing(entries=_read(found))


def audit_items(dynamo: Dynamo, entry: AuditEntry) -> Sequence[Item]:
    """What a transaction has to write to keep an entry; its condition does not hold when the entry is there already."""
    # Not escaped: an escaped character may be three times as long.
    documents = {name: json.dumps(document, ensure_ascii=False) for name, document in _documents(entry).items()}
    place = f"{sortable(entry.at)}#{entry.entry_id}"
    mark: Item = {
        "TableName": dynamo.table("audit"),
        "Item": {"scope": value(f"entry#{entry.entry_id}"), "entry": value("entry"), "place": value(place)},
        "ConditionExpression": "attribute_not_exists(#scope)",
        "ExpressionAttributeNames": {"#scope": "scope"},
    }
    copies: list[Item] = [
        {
            "TableName": dynamo.table("audit"),
            "Item": to_item(entry.model_copy(update=dict.fromkeys(_DOCUMENTS)), scope=scope, entry=place, **documents),
        }
        for scope in (_of_subject(entry.subject), _of_month(entry.at.astimezone(UTC).date()))
    ]
    return [{"Put": each} for each in (mark, *copies)]


def _documents(entry: AuditEntry) -> Mapping[str, object]:
    document = entry.model_dump(mode="json", include=set(_DOCUMENTS), exclude_none=False)
    return {name: document[name] for name in _DOCUMENTS if document[name] is not None}


def _read(items: Sequence[Item]) -> tuple[AuditEntry, ...]:
    found = []
    for item in map(plain, items):
        documents = {name: json.loads(item[name]) for name in _DOCUMENTS if name in item}
        found.append(AuditEntry.model_validate({**item, **documents}))
    return tuple(found)


def _scopes(subject: str | None, start: Item | None) -> Iterator[str]:
    """The partitions of a list, from the one of ``start`` on."""
    if subject is not None:
        yield _of_subject(subject)
        return
    # A clock that is a little ahead of ours may have begun the next month.
    month = (datetime.now(UTC) + timedelta(days=1)).date().replace(day=1)
    while month >= _FIRST_MONTH:
        scope = _of_month(month)
        if start is None or scope <= start["scope"]["S"]:
            yield scope
        month = (month - timedelta(days=1)).replace(day=1)


def _of_subject(subject: str) -> str:
    return f"subject#{subject}"


def _of_month(day: date) -> str:
    return f"month#{day:%Y-%m}"


def _cursor(item: Item) -> str:
    return to_cursor([item["scope"]["S"], item["entry"]["S"]])


def _place(cursor: str, subject: str | None) -> Item:
    try:
        scope, entry = from_cursor(cursor)
        ours = _MONTH.fullmatch(scope) if subject is None else scope == _of_subject(subject)
        if not ours or not entry.encode():
            raise ValueError
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidRequest(
            "this cursor was not issued by this list; start again without it", field="cursor"
        ) from error
    return {"scope": value(scope), "entry": value(entry)}
