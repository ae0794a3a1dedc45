"""DynamoDB: the tables, and calls that do not block the event loop.

boto3 is synchronous; a bounded pool of threads around it is as fast as an asynchronous client and keeps the
official SDK. Items are the models' JSON, attribute by attribute, so that they can be read in the console.
"""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError
from pydantic import BaseModel

from adapters.settings import Settings
from adapters.tables import EXPIRING, EXPIRY, TABLES
from domain.errors import DependencyUnavailable

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

TRANSACTION_ITEMS = 100
BATCH_WRITE_ITEMS = 25
BATCH_GET_ITEMS = 100
"""Limits of DynamoDB for one call (Amazon DynamoDB Developer Guide, "Quotas")."""

_CONFLICT_ATTEMPTS = 12
_serializer = TypeSerializer()
_deserializer = TypeDeserializer()


class Dynamo:
    """One client, its threads, and the names of the tables."""

    def __init__(self, client: "DynamoDBClient", executor: ThreadPoolExecutor, prefix: str) -> None:
        self.client = client
        # botocore makes the classes of a client's errors when they are first asked for: two threads that do so at once
        # get two classes each, and an error of the one is not caught as the other.
        self._errors = client.exceptions
        self._executor = executor
        self._prefix = prefix

    def table(self, name: str) -> str:
        """The full name of a table of ``TABLES``."""
        return f"{self._prefix}{name}"

    async def call(self, method: Callable[..., T], **arguments: Any) -> T:
        """Run one client method in a thread; raises ``DependencyUnavailable`` when there is no answer."""
        try:
            return await self.run(lambda: method(**arguments))
        except (HTTPClientError, EndpointConnectionError) as error:
            raise DependencyUnavailable("the store can't be reached; try again in a moment", retry_after_s=5) from error

    async def run(self, work: Callable[[], T]) -> T:
        """Run anything that would hold up the event loop in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def transact(self, items: Sequence[Item]) -> None:
        """Write all items or none; conflicts with other transactions are repeated with full jitter.

        Raises ``botocore`` ``TransactionCanceledException`` when a condition does not hold.
        """
        for attempt in range(_CONFLICT_ATTEMPTS):
            try:
                await self.call(self.client.transact_write_items, TransactItems=items)
            except self._errors.TransactionCanceledException as error:
                codes = {reason.get("Code") for reason in cancellation_reasons(error)}
                transient = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
                if "ConditionalCheckFailed" in codes or not codes & transient or attempt == _CONFLICT_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
            else:
                return

    async def transact_each(self, steps: Mapping[K, Sequence[Item]]) -> frozenset[K]:
        """Make many independent steps in as few transactions as they fit in; returns the ones that were made.

        A step is written whole or not at all. One whose condition does not hold is left out, and the others of its
        transaction are tried again without it.
        """
        made: set[K] = set()
        for transaction in _transactions(steps):
            pending = transaction
            while pending:
                try:
                    await self.transact([item for name in pending for item in steps[name]])
                    made.update(pending)
                    break
                except self._errors.TransactionCanceledException as error:
                    refused = _refused(pending, steps, error)
                    if not refused:
                        raise
                    pending = [name for name in pending if name not in refused]
        return frozenset(made)

    async def get(self, table: str, key: Item) -> Item | None:
        """One item, read consistently."""
        answer = await self.call(self.client.get_item, TableName=self.table(table), Key=key, ConsistentRead=True)
        return answer.get("Item")

    async def query(self, *, start: Item | None = None, **arguments: Any) -> AsyncIterator[Item]:
        """Every item of a query over all its pages, from behind the key ``start`` on."""
        async for item in self._pages(self.client.query, start, arguments):
            yield item

    async def scan(self, **arguments: Any) -> AsyncIterator[Item]:
        """Every item of a table over all pages; what is written meanwhile may or may not be among them."""
        async for item in self._pages(self.client.scan, None, arguments):
            yield item

    async def _pages(
        self, read: Callable[..., Any], start: Item | None, arguments: dict[str, Any]
    ) -> AsyncIterator[Item]:
        while True:
            page = await self.call(read, **arguments, **({"ExclusiveStartKey": start} if start else {}))
            for item in page["Items"]:
                yield item
            start = page.get("LastEvaluatedKey")
            if not start:
                return

    async def batch_get(self, table: str, keys: Sequence[Item]) -> list[Item]:
        """The items that exist under ``keys``, read consistently."""
        return (await self.batch_get_across([(table, key) for key in keys])).get(table, [])

    async def batch_get_across(
        self, keys: Iterable[tuple[str, Item]], fields: Mapping[str, Sequence[str]] | None = None
    ) -> dict[str, list[Item]]:
        """The items that exist under keys of several tables, by table; up to 100 in one call, each consistent.

        ``fields``: of the items of a table, only these attributes.
        """
        found: dict[str, list[Item]] = {}
        for chunk in chunks(keys, BATCH_GET_ITEMS):
            names = {self.table(table): table for table, _ in chunk}
            wanted: Any = {
                full: {
                    "Keys": [key for owner, key in chunk if owner == table],
                    "ConsistentRead": True,
                    **_projection((fields or {}).get(table, ())),
                }
                for full, table in names.items()
            }
            attempt = 0
            while wanted:
                answer = await self.call(self.client.batch_get_item, RequestItems=wanted)
                for full, items in answer["Responses"].items():
                    found.setdefault(names[full], []).extend(items)
                wanted = answer.get("UnprocessedKeys")
                attempt = await _pause_if(wanted, attempt)
        return found

    async def batch_put(self, table: str, items: Sequence[Item]) -> None:
        """Write items without conditions."""
        for chunk in chunks(items, BATCH_WRITE_ITEMS):
            wanted: Any = {self.table(table): [{"PutRequest": {"Item": item}} for item in chunk]}
            attempt = 0
            while wanted:
                answer = await self.call(self.client.batch_write_item, RequestItems=wanted)
                wanted = answer.get("UnprocessedItems")
                attempt = await _pause_if(wanted, attempt)

    async def migrate(self) -> tuple[str, ...]:
        """Create the tables that are missing and have DynamoDB delete what expires; returns the new tables' names."""
        existing = await self.call(self._table_names)
        missing = [name for name in TABLES if self.table(name) not in existing]
        for name in missing:
            try:
                await self.call(self.client.create_table, TableName=self.table(name), **TABLES[name])
            except self._errors.ResourceInUseException:
                continue
        waiter = self.client.get_waiter("table_exists")
        for name in missing:
            await self.call(waiter.wait, TableName=self.table(name), WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        for name in sorted(EXPIRING):
            await self._delete_expired(self.table(name))
        return tuple(self.table(name) for name in missing)

    def _table_names(self) -> set[str]:
        """All tables of the account; DynamoDB lists a hundred at a time."""
        pages = self.client.get_paginator("list_tables").paginate()
        return {name for page in pages for name in page["TableNames"]}

    async def _delete_expired(self, table: str) -> None:
        answer = await self.call(self.client.describe_time_to_live, TableName=table)
        if answer["TimeToLiveDescription"].get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}:
            return
        await self.call(
            self.client.update_time_to_live,
            TableName=table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRY},
        )


class DynamoDependency:
    """DynamoDB as seen by the health check."""

    name = "dynamodb"

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    async def check(self) -> Mapping[str, str]:
        """The status of the campaigns table; raises when it is missing or unreachable."""
        answer = await self._dynamo.call(self._dynamo.client.describe_table, TableName=self._dynamo.table("campaigns"))
        return {"table": self._dynamo.table("campaigns"), "state": answer["Table"].get("TableStatus", "unknown")}


@asynccontextmanager
async def open_dynamo(
    settings: Settings, *, threads: int | None = None, timeout_s: float = 10, attempts: int = 4
) -> AsyncIterator[Dynamo]:
    """A client with as many connections as threads (by default ``settings.store_threads``), SDK retries in the standard
    mode. ``timeout_s``: for one answer; ``attempts``: the first one included."""
    threads = threads or settings.store_threads
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="dynamodb") as executor:
        config = Config(
            max_pool_connections=threads,
            connect_timeout=min(3, timeout_s),
            read_timeout=timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
        )
        client = await asyncio.get_running_loop().run_in_executor(
            executor, lambda: boto3.client("dynamodb", config=config)
        )
        try:
            yield Dynamo(client, executor, settings.table_prefix)
        finally:
            client.close()


def to_item(model: BaseModel, **keys: Any) -> Item:
    """A model as an item: its JSON fields and the given keys; empty values are left out."""
    document = {**json.loads(model.model_dump_json(by_alias=True), parse_float=Decimal), **keys}
    return {name: _serializer.serialize(value) for name, value in document.items() if value is not None}


def from_item(model: type[M], item: Mapping[str, Any]) -> M:
    """The model that ``to_item`` stored."""
    return model.model_validate({name: _deserializer.deserialize(value) for name, value in item.items()})


def value(raw: Any) -> Item:
    """One attribute value."""
    return dict(_serializer.serialize(raw))


def plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as plain Python values."""
    return {name: _deserializer.deserialize(attribute) for name, attribute in item.items()}


def cancellation_reasons(error: ClientError) -> list[dict[str, Any]]:
    """Why a transaction was cancelled, item by item."""
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
    return reasons


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """``items`` in lists of at most ``size``."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def sortable(moment: datetime) -> str:
    """A moment as text of one width, so that the order of texts is the order of moments."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def to_cursor(position: object) -> str:
    """A place in a list, as callers hand it back."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def from_cursor(cursor: str) -> Any:
    """What ``to_cursor`` was given; raises ``ValueError`` for what it did not make."""
    return json.loads(base64.urlsafe_b64decode(cursor.encode()))


def _transactions(steps: Mapping[K, Sequence[Item]]) -> Iterator[list[K]]:
    """The names of the steps, in lists whose items fit into one transaction."""
    names: list[K] = []
    size = 0
    for name, items in steps.items():
        if names and size + len(items) > TRANSACTION_ITEMS:
            yield names
            names, size = [], 0
        names.append(name)
        size += len(items)
    if names:
        yield names


def _refused(names: Iterable[K], steps: Mapping[K, Sequence[Item]], error: ClientError) -> set[K]:
    """The steps that held a condition which did not hold."""
    owners = [name for name in names for _ in steps[name]]
    reasons = cancellation_reasons(error)
    return {
        name for name, reason in zip(owners, reasons, strict=True) if reason.get("Code") == "ConditionalCheckFailed"
    }


def _projection(fields: Sequence[str]) -> Item:
    if not fields:
        return {}
    names = {f"#field{number}": name for number, name in enumerate(fields)}
    return {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}


async def _pause_if(unprocessed: object, attempt: int) -> int:
    if unprocessed:
        await asyncio.sleep(random.uniform(0, min(2.0, 0.05 * 2**attempt)))
    return attempt + 1
