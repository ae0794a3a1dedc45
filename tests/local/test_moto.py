"""The embedded DynamoDB: a transaction is all or nothing, and costs what it touches."""

import gc
import json
from typing import Any

import pytest
from moto.dynamodb.exceptions import MultipleTransactionsException, TransactionCanceledException
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table

from local.moto import touch_little

Items = dict[str, dict[str, Any]]


def s(text: str) -> dict[str, str]:
    return {"S": text}


def key(name: str) -> dict[str, Any]:
    return {"owner": s("luna"), "name": s(name)}


def put(name: str, content: str) -> dict[str, Any]:
    return {"Put": {"TableName": "things", "Item": {**key(name), "content": s(content)}}}


def update(name: str, content: str) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": "things",
            "Key": key(name),
            "UpdateExpression": "SET content = :content",
            "ExpressionAttributeValues": {":content": s(content)},
        }
    }


def delete(name: str) -> dict[str, Any]:
    return {"Delete": {"TableName": "things", "Key": key(name)}}


def check(name: str) -> dict[str, Any]:
    """That an item is there."""
    return {
        "ConditionCheck": {
            "TableName": "things",
            "Key": key(name),
            "ConditionExpression": "attribute_exists(content)",
            "ExpressionAttributeNames": {},
            "ExpressionAttributeValues": {},
        }
    }


def content(backend: DynamoDBBackend) -> Items:
    return {
        item.range_key.value: item.to_json()["Attributes"]
        for item in backend.tables["things"].all_items()
        if item.range_key is not None
    }


@pytest.fixture(autouse=True)
def no_table_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    touch_little()

    def refuse(self: Table, memo: dict[int, Any]) -> Table:
        raise AssertionError(f"the whole table {self.name} was copied")

    monkeypatch.setattr(Table, "__deepcopy__", refuse, raising=False)


@pytest.fixture
def backend() -> DynamoDBBackend:
    """Three things of one owner."""
    made = DynamoDBBackend("eu-west-1", "123456789012")
    made.create_table(
        name="things",
        schema=[{"AttributeName": "owner", "KeyType": "HASH"}, {"AttributeName": "name", "KeyType": "RANGE"}],
        throughput=None,
        attr=[{"AttributeName": "owner", "AttributeType": "S"}, {"AttributeName": "name", "AttributeType": "S"}],
        global_indexes=[],
        indexes=[
            {
                "IndexName": "by_place",
                "KeySchema": [
                    {"AttributeName": "owner", "KeyType": "HASH"},
                    {"AttributeName": "place", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["content"]},
            }
        ],
        streams=None,
        billing_mode="PAY_PER_REQUEST",
        sse_specification=None,
        tags=[],
        deletion_protection_enabled=None,
        warm_throughput=None,
    )
    for name in ("a", "b", "c"):
        made.put_item("things", {**key(name), "content": s("old")})
    return made


class TestTransaction:
    def test_all_of_it_is_written(self, backend: DynamoDBBackend) -> None:
        backend.transact_write_items([put("d", "new"), update("a", "new"), delete("b"), check("c")])
        assert {name: item["content"] for name, item in content(backend).items()} == {
            "a": s("new"),
            "c": s("old"),
            "d": s("new"),
        }

    @pytest.mark.parametrize("place", range(5))
    def test_a_condition_that_fails_anywhere_undoes_everything(self, backend: DynamoDBBackend, place: int) -> None:
        before = content(backend)
        operations = [put("d", "new"), put("a", "new"), update("b", "new"), delete("c"), update("e", "new")]
        operations.insert(place, check("missing"))
        with pytest.raises(TransactionCanceledException) as cancelled:
            backend.transact_write_items(operations)
        codes = [reason["Code"] for reason in json.loads(cancelled.value.description)["CancellationReasons"]]
        assert [code == "ConditionalCheckFailed" for code in codes] == [number == place for number in range(6)]
        assert content(backend) == before
        assert backend.get_item("things", key("d")) is None

    def test_an_item_that_is_named_twice_undoes_everything(self, backend: DynamoDBBackend) -> None:
        before = content(backend)
        with pytest.raises(MultipleTransactionsException):
            backend.transact_write_items([update("a", "new"), delete("b"), update("a", "newer")])
        assert content(backend) == before

    def test_what_fails_for_another_reason_undoes_everything(self, backend: DynamoDBBackend) -> None:
        before = content(backend)
        elsewhere = put("a", "new")
        elsewhere["Put"]["TableName"] = "nowhere"
        with pytest.raises(TransactionCanceledException):
            backend.transact_write_items([delete("a"), elsewhere])
        assert content(backend) == before

    def test_after_it_failed_it_can_be_tried_again(self, backend: DynamoDBBackend) -> None:
        with pytest.raises(TransactionCanceledException):
            backend.transact_write_items([update("a", "new"), check("d")])
        backend.put_item("things", {**key("d"), "content": s("old")})
        backend.transact_write_items([update("a", "new"), check("d")])
        assert content(backend)["a"]["content"] == s("new")

    def test_the_table_stays_the_same_one(self, backend: DynamoDBBackend) -> None:
        table = backend.tables["things"]
        with pytest.raises(TransactionCanceledException):
            backend.transact_write_items([delete("a"), check("missing")])
        assert backend.tables["things"] is table
        assert table.get_item(DynamoType(s("luna")), DynamoType(s("a"))) is not None


class TestQuery:
    @pytest.fixture
    def placed(self, backend: DynamoDBBackend) -> DynamoDBBackend:
        """Forty more things in two places, too much for one page, and one of somebody else."""
        for number in range(40):
            place = {"place": s(f"place-{number % 2}"), "text": s("x" * 60_000)}
            backend.put_item("things", {**key(f"{number:02d}"), **place, "content": s(f"{number}")})
        backend.put_item("things", {**key("99"), "owner": s("maya"), "place": s("place-0"), "content": s("hers")})
        return backend

    def walk(self, backend: DynamoDBBackend, *, forward: bool, place: str | None = None) -> list[dict[str, Any]]:
        """Every page of a query, one after the other."""
        found: list[dict[str, Any]] = []
        start: Any = None
        while True:
            items, _, start = backend.query(
                "things",
                s("luna"),
                None if place is None else "=",
                [] if place is None else [s(place)],
                None,  # type: ignore[arg-type]
                start,
                forward,
                None,
                None if place is None else "by_place",
                consistent_read=True,
                hash_key_conditions=[("owner", s("luna"))],
                range_key_conditions=[] if place is None else [("place", "=", [s(place)])],
            )
            found.extend(item.to_json()["Attributes"] for item in items)
            if start is None:
                return found

    @pytest.mark.parametrize("forward", [True, False])
    def test_every_item_of_the_partition_in_its_order(self, placed: DynamoDBBackend, forward: bool) -> None:
        names = [f"{number:02d}" for number in range(40)] + ["a", "b", "c"]
        found = self.walk(placed, forward=forward)
        assert [item["name"]["S"] for item in found] == (names if forward else names[::-1])

    def test_an_index_shows_what_it_holds_and_leaves_the_rest_alone(self, placed: DynamoDBBackend) -> None:
        before = content(placed)
        found = self.walk(placed, forward=True, place="place-1")
        assert found == [
            {**key(f"{number:02d}"), "place": s("place-1"), "content": s(f"{number}")} for number in range(1, 40, 2)
        ]
        assert content(placed) == before

    def test_a_partition_that_is_not_there_is_empty(self, placed: DynamoDBBackend) -> None:
        assert self.walk(placed, forward=True, place="nowhere") == []

    def test_what_was_read_is_not_remembered(self, placed: DynamoDBBackend) -> None:
        before = items_in_memory()
        self.walk(placed, forward=True)
        assert items_in_memory() == before


def items_in_memory() -> int:
    gc.collect()
    return sum(isinstance(thing, Item) for thing in gc.get_objects())
