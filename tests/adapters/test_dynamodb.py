"""Tables, conversions, and calls in any number."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from botocore.errorfactory import ClientExceptionsFactory
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from adapters.dynamodb import (
    Dynamo,
    DynamoDependency,
    Item,
    chunks,
    from_cursor,
    from_item,
    open_dynamo,
    sortable,
    to_cursor,
    to_item,
    value,
)
from adapters.settings import Settings
from adapters.tables import TABLES
from domain.model import Model


class Everything(Model):
    """One field of each kind that our models have."""

    some_text: str
    count: int
    share: float
    money: Decimal
    tags: tuple[str, ...]
    totals: dict[str, int]
    at: datetime | None = None
    nothing: str | None = None


class TestErrors:
    async def test_their_classes_are_made_before_threads_ask_for_them(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[int] = []
        make = ClientExceptionsFactory.create_client_exceptions

        def counted(factory: ClientExceptionsFactory, service: Any) -> Any:
            made.append(threading.get_ident())
            return make(factory, service)

        monkeypatch.setattr(ClientExceptionsFactory, "create_client_exceptions", counted)
        async with open_dynamo(settings.model_copy(update={"table_prefix": f"none-{uuid4().hex[:8]}-"})) as dynamo:
            lost = [dynamo.get("campaigns", {"campaignId": value("x"), "item": value("record")}) for _ in range(8)]
            answers = await asyncio.gather(*lost, return_exceptions=True)
            assert {type(answer) for answer in answers} == {dynamo.client.exceptions.ResourceNotFoundException}
        assert made == [threading.get_ident()]


class TestMigrate:
    async def test_the_second_time_there_is_nothing_to_do(self, settings: Settings) -> None:
        own = settings.model_copy(update={"table_prefix": f"twice-{uuid4().hex[:8]}-"})
        async with open_dynamo(own) as dynamo:
            assert sorted(await dynamo.migrate()) == sorted(dynamo.table(name) for name in TABLES)
            assert await dynamo.migrate() == ()

    async def test_only_what_is_missing_is_created(self, settings: Settings) -> None:
        own = settings.model_copy(update={"table_prefix": f"part-{uuid4().hex[:8]}-"})
        async with open_dynamo(own) as dynamo:
            await dynamo.call(dynamo.client.create_table, TableName=dynamo.table("costs"), **TABLES["costs"])
            assert dynamo.table("costs") not in await dynamo.migrate()


class TestDependency:
    async def test_it_names_the_table_and_its_state(self, dynamo: Dynamo) -> None:
        found = await DynamoDependency(dynamo).check()
        assert found == {"table": dynamo.table("campaigns"), "state": "ACTIVE"}

    async def test_without_tables_it_is_down(self, settings: Settings) -> None:
        async with open_dynamo(settings.model_copy(update={"table_prefix": "missing-"})) as dynamo:
            with pytest.raises(ClientError, match="ResourceNotFound"):
                await DynamoDependency(dynamo).check()


class TestItems:
    @given(
        st.builds(
            lambda text, count, share, money, at, tags, totals: Everything(
                some_text=text, count=count, share=share, money=money, at=at, tags=tags, totals=totals
            ),
            st.text(),
            st.integers(min_value=-(10**30), max_value=10**30),
            st.floats(min_value=-1e9, max_value=1e9).map(lambda number: round(number, 9)),
            st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**12), max_value=10**12),
            st.none() | st.datetimes(timezones=st.just(UTC)),
            st.lists(st.text()).map(tuple),
            st.dictionaries(st.text(min_size=1), st.integers(min_value=0, max_value=10**15), max_size=5),
        )
    )
    def test_a_model_survives_the_way_into_the_database_and_back(self, model: Everything) -> None:
        assert from_item(Everything, to_item(model, item="record")) == model

    def test_an_absent_value_is_no_attribute(self) -> None:
        model = Everything(some_text="", count=0, share=0, money=Decimal(0), at=None, tags=(), totals={})
        assert {"nothing", "at"} & to_item(model).keys() == set()


class TestBatch:
    @pytest.mark.parametrize("count", [0, 1, 25, 26, 130])
    async def test_as_many_as_there_are(self, dynamo: Dynamo, count: int) -> None:
        scope = uuid4().hex
        keys = [{"scope": value(scope), "entry": value(f"{number}")} for number in range(count)]
        await dynamo.batch_put("costs", keys)
        missing = {"scope": value(scope), "entry": value("missing")}
        found = await dynamo.batch_get("costs", [*keys, missing])
        assert sorted(item["entry"]["S"] for item in found) == sorted(f"{number}" for number in range(count))

    async def test_across_tables(self, dynamo: Dynamo) -> None:
        scope = uuid4().hex
        cost, alert = ({"scope": value(scope), "entry": value(entry)} for entry in ("1", "2"))
        await dynamo.batch_put("costs", [cost])
        await dynamo.batch_put("alerts", [alert])
        found = await dynamo.batch_get_across([("costs", cost), ("alerts", alert), ("costs", alert)])
        assert found == {"costs": [cost], "alerts": [alert]}


def put_new(dynamo: Dynamo, scope: str, entry: str) -> Item:
    return {
        "Put": {
            "TableName": dynamo.table("costs"),
            "Item": {"scope": value(scope), "entry": value(entry)},
            "ConditionExpression": "attribute_not_exists(entry)",
        }
    }


class TestTransactEach:
    @pytest.mark.parametrize("steps", [0, 1, 33, 34, 100])
    async def test_those_whose_conditions_hold_are_made_whole_and_no_others(self, dynamo: Dynamo, steps: int) -> None:
        """Steps of three items: 33 fit into one transaction."""
        scope = uuid4().hex
        taken = {number for number in range(steps) if number % 7 == 0}
        await dynamo.transact_each({number: [put_new(dynamo, scope, f"{number}-1")] for number in taken})
        made = await dynamo.transact_each(
            {number: [put_new(dynamo, scope, f"{number}-{part}") for part in range(3)] for number in range(steps)}
        )
        assert made == frozenset(range(steps)) - taken
        keys = [
            {"scope": value(scope), "entry": value(f"{number}-{part}")} for number in range(steps) for part in range(3)
        ]
        found = {item["entry"]["S"] for item in await dynamo.batch_get("costs", keys)}
        assert found == {f"{number}-{part}" for number in made for part in range(3)} | {
            f"{number}-1" for number in taken
        }

    async def test_what_is_no_condition_is_raised(self, dynamo: Dynamo) -> None:
        step = put_new(dynamo, uuid4().hex, "1")
        with pytest.raises(ClientError, match="ValidationException"):
            await dynamo.transact_each({"a": [step], "b": [step]})


class TestCursor:
    @given(st.text() | st.lists(st.text()))
    def test_a_position_survives(self, position: object) -> None:
        assert from_cursor(to_cursor(position)) == position


def moments() -> st.SearchStrategy[datetime]:
    """Moments with any offset."""
    zones = st.integers(min_value=-720, max_value=840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    return st.tuples(st.datetimes(timezones=st.just(UTC)), zones).map(lambda pair: pair[0].replace(tzinfo=pair[1]))


class TestSortable:
    @given(moments().filter(lambda at: 1 < at.year < 9999), moments().filter(lambda at: 1 < at.year < 9999))
    def test_the_order_of_texts_is_the_order_of_moments(self, one: datetime, other: datetime) -> None:
        assert (sortable(one) < sortable(other)) == (one < other)
        assert datetime.fromisoformat(sortable(one)) == one


class TestChunks:
    @given(st.lists(st.integers()), st.integers(min_value=1, max_value=7))
    def test_nothing_is_lost_and_only_the_last_is_short(self, items: list[int], size: int) -> None:
        found = list(chunks(items, size))
        assert [item for chunk in found for item in chunk] == items
        assert all(len(chunk) == size for chunk in found[:-1])
        assert all(found)
