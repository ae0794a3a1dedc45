"""Tables, conversions, and calls in any number."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from adapters.dynamodb import TABLES, Dynamo, DynamoDependency, chunks, from_item, open_dynamo, to_item, value
from adapters.settings import Settings
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


class TestChunks:
    @given(st.lists(st.integers()), st.integers(min_value=1, max_value=7))
    def test_nothing_is_lost_and_only_the_last_is_short(self, items: list[int], size: int) -> None:
        found = list(chunks(items, size))
        assert [item for chunk in found for item in chunk] == items
        assert all(len(chunk) == size for chunk in found[:-1])
        assert all(found)
