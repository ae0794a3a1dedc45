"""moto's server, one request at a time, at the cost of what a request touches and not of all that is stored.

AWS serialises transactions; moto's threads do not: two at once can undo each other's writes without an error.
Taking one request at a time gives the embedded DynamoDB the atomicity that the product relies on.

moto undoes a failed transaction from copies of all tables that it names, made before each transaction: every write
would cost as much as there is stored. Here it keeps the tables, and only the items that the transaction names are
copied and, if it fails, put back. Attributes are answered as they are stored.

moto also sorts all items of a table for each page of a query; here it looks at those of the partition that is asked
for.
"""

import argparse
import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from inspect import signature
from types import SimpleNamespace
from typing import Any

from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb import models
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import SecondaryIndex, Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from local.wsgi import serve

Transaction = list[dict[str, Any]]

_Place = tuple[Table, DynamoType, DynamoType | None]
"""Where an item is or would be: its table, its hash key and its range key."""

_RangeCondition = tuple[str, str, list[DynamoType]]


def touch_little() -> None:
    """Change moto in this process, once and for good."""
    if not isinstance(vars(models)["copy"], SimpleNamespace):
        _answer_as_stored()
        _undo_by_item()
        _query_by_partition()
        # moto remembers every copy that it ever made of an item, for a way of resetting it that is not used here.
        Item.instances_tracked = deque(maxlen=0)  # type: ignore[attr-defined]


def _answer_as_stored() -> None:
    """An attribute's value is stored as it is answered: nothing in it has to be looked up in the service's shapes."""
    serialize = BaseJSONSerializer._serialize_type_structure

    def serialize_structure(own: BaseJSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue" and value is not None:
            serialized[key] = value if isinstance(value, dict) else value.to_json()
        else:
            serialize(own, serialized, value, shape, key)

    BaseJSONSerializer._serialize_type_structure = serialize_structure  # type: ignore[assignment, method-assign]


def _undo_by_item() -> None:
    transact = DynamoDBBackend.transact_write_items

    def transact_write_items(backend: DynamoDBBackend, transact_items: Transaction) -> None:
        before = [(place, copy.deepcopy(_item_at(*place))) for place in _places(backend, transact_items)]
        try:
            transact(backend, transact_items)
        except Exception:
            for place, item in before:
                _put_back(*place, item)
            raise

    # What moto itself keeps of a table and puts back is the table as it is.
    vars(models)["copy"] = SimpleNamespace(deepcopy=_deepcopy_but_tables)
    DynamoDBBackend.transact_write_items = transact_write_items  # type: ignore[assignment, method-assign]


def _query_by_partition() -> None:
    query_all = Table.query
    index_at = list(signature(query_all).parameters).index("index_name") - 2

    def query(table: Table, hash_key: DynamoType | None, *arguments: Any, **conditions: Any) -> Any:
        index = arguments[index_at]
        is_global = index is not None and index not in {local.name for local in table.indexes or ()}
        if hash_key is None or table.range_key_attr is None or is_global:
            return query_all(table, hash_key, *arguments, **conditions)
        asked_for = _asked_for(table, hash_key, conditions.get("range_key_conditions") or ())
        # What moto goes through, and sorts again: with nothing left to do for it.
        table.all_items = lambda: asked_for  # type: ignore[method-assign]
        try:
            return query_all(table, hash_key, *arguments, **conditions)
        finally:
            del table.all_items

    Table.query = query  # type: ignore[assignment, method-assign]
    SecondaryIndex.project = _project  # type: ignore[assignment, method-assign]


def _asked_for(table: Table, hash_key: DynamoType, conditions: Iterable[_RangeCondition]) -> list[Item]:
    """A partition in its order, without what the equalities among the conditions leave out."""
    found = iter(table.items.get(hash_key, {}).values())
    for name, comparison, wanted in conditions:
        if comparison in {"=", "EQ"}:
            found = filter(_equals(name, wanted[0].cast_value), found)
    return sorted(found, key=_range_value)


def _range_value(item: Item) -> Any:
    return None if item.range_key is None else item.range_key.cast_value


def _equals(name: str, wanted: object) -> Callable[[Item], bool]:
    return lambda item: name in item.attrs and item.attrs[name].cast_value == wanted


def _project(index: SecondaryIndex, item: Item) -> Item:
    """What an index holds of an item; moto gives copies, so the rest can simply go."""
    if index.projection.get("ProjectionType") != "ALL":
        held = {*index.table_key_attrs, *index.schema_key_attrs, *index.projection.get("NonKeyAttributes", ())}
        for name in item.attrs.keys() - held:
            del item.attrs[name]
    return item


def _deepcopy_but_tables(original: Any) -> Any:
    # The records of a stream are no items: such a table is put back as a whole.
    if isinstance(original, Table) and original.stream_shard is None:
        return original
    return copy.deepcopy(original)


def _places(backend: DynamoDBBackend, transact_items: Transaction) -> Iterator[_Place]:
    """Of everything that a transaction names and that can exist; moto refuses the rest by itself."""
    for operation in transact_items:
        arguments = next(iter(operation.values()))
        table = backend.tables.get(arguments.get("TableName"))
        key = arguments.get("Item") or arguments.get("Key") or {}
        if table is None or table.hash_key_attr not in key:
            continue
        if table.range_key_attr is None:
            yield table, DynamoType(key[table.hash_key_attr]), None
        elif table.range_key_attr in key:
            yield table, DynamoType(key[table.hash_key_attr]), DynamoType(key[table.range_key_attr])


def _item_at(table: Table, hash_key: DynamoType, range_key: DynamoType | None) -> Item | None:
    return table.get_item(hash_key, range_key)


def _put_back(table: Table, hash_key: DynamoType, range_key: DynamoType | None, item: Item | None) -> None:
    if item is None:
        table.delete_item(hash_key, range_key)
    elif range_key is None:
        table.items[hash_key] = item  # type: ignore[assignment]
    else:
        table.items[hash_key][range_key] = item


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m local.moto")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    touch_little()
    dispatcher = DomainDispatcherApplication(create_backend_app)
    # It goes through the addresses of all services otherwise, for each request.
    dispatcher.get_backend_for_host = lru_cache(maxsize=256)(dispatcher.get_backend_for_host)  # type: ignore[method-assign]
    serve(dispatcher, arguments.host, arguments.port)


if __name__ == "__main__":
    main()
