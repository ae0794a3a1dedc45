"""Flags on a real Redis and store: one winner, one transaction, and snapshots that follow whatever goes away."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import structlog
from pydantic import SecretStr
from structlog.testing import capture_logs

from adapters import flag as flags
from adapters import flag_snapshot
from adapters.audit import DynamoAudit, audit_items
from adapters.dynamodb import Dynamo, open_dynamo, to_item, value
from adapters.flag import DynamoFlags, stored_flags
from adapters.flag_snapshot import FlagSnapshot, open_flags
from adapters.redis import open_redis
from adapters.settings import Settings
from domain.errors import DependencyUnavailable
from domain.flag import (
    HYBRID_ORCHESTRATOR,
    MAX_LISTED,
    MAX_LISTED_BYTES,
    Flag,
    FlagChange,
    FlagConfig,
    FlagReason,
    FlagSubject,
    changed,
)
from domain.ports import FlagStore
from local.process import child_environment
from local.redis import serving, serving_cluster
from local.stack import Stack

SOMEBODY = FlagSubject(user_id="u1")
ITEM_BYTES, TRANSACTION_BYTES = 400_000, 4_000_000
LONG_S = 30
"""Only a change that never arrives takes so long."""


@pytest.fixture(autouse=True)
def fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger keeps the configuration that it was first used under, of which there are several in a session."""
    for module in (flags, flag_snapshot):
        monkeypatch.setattr(module, "log", structlog.get_logger())


@pytest.fixture
def name() -> str:
    return f"flag-{uuid4().hex[:12]}"


@pytest.fixture
def own(settings: Settings, dynamo: Dynamo) -> Settings:
    """The module's tables."""
    return settings.model_copy(update={"table_prefix": dynamo.table("")})


@pytest.fixture
async def store(own: Settings, dynamo: Dynamo) -> AsyncIterator[DynamoFlags]:
    async with open_redis(own) as redis:
        yield DynamoFlags(dynamo, redis)


def change(present: Flag | None, name: str, *, actor: str = "ada", **settings: Any) -> FlagChange:
    config = FlagConfig.model_validate({"name": name, "enabled": True, **settings})
    return changed(present, config, actor=actor, at=datetime.now(UTC), reason="a test")


async def put(store: FlagStore, present: Flag | None, name: str, **settings: Any) -> Flag:
    flag, entry = change(present, name, **settings)
    assert await store.put(flag, entry)
    return flag


def longest(prefix: str, sign: str, length: int) -> dict[str, Any]:
    """As much as a flag may hold: ids and values of so many signs, or as many more as it takes to tell them apart."""

    def texts(kind: str, most: int, length: int) -> Iterator[str]:
        for number in range(most):
            mark = f"{prefix}{kind}{number:04d}"
            yield mark + sign * (length - len(mark))

    ids, size = [], 0
    for each in texts("u", 2 * MAX_LISTED, length):
        size += len(each.encode())
        if size > MAX_LISTED_BYTES:
            break
        ids.append(each)
    return {
        "userWhitelist": ids[: len(ids) // 2],
        "userBlacklist": ids[len(ids) // 2 :],
        "conditions": {field: list(texts(field[0], 100, 64)) for field in ("userTier", "region", "platform")},
    }


def item_bytes(attribute: Any) -> int:
    """As DynamoDB counts, with 3 bytes for every value where it documents 1 to 3."""
    [(kind, content)] = attribute.items()
    match kind:
        case "M":
            return 3 + sum(len(name.encode()) + item_bytes(each) for name, each in content.items())
        case "L":
            return 3 + sum(item_bytes(each) for each in content)
    return 3 + len(str(content).encode())


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not reached():
            await asyncio.sleep(0.005)


async def follows(snapshot: FlagSnapshot, flag: Flag) -> None:
    """Until the snapshot decides by this revision."""
    await until(lambda: snapshot.evaluate(flag.name, SOMEBODY).revision == flag.revision)


def at(settings: Settings, port: int) -> Settings:
    return settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{port}/0")})


class Line:
    """The way to a server, which can be cut, or fall silent: connections stay, and nothing passes."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._running = AsyncExitStack()
        self._pumps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def mend(self) -> None:
        server = await asyncio.start_server(self._joined, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._running.callback(server.close)

    async def cut(self) -> None:
        await self._running.aclose()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def silence(self) -> None:
        self._flowing.clear()

    def speak(self) -> None:
        self._flowing.set()

    async def _joined(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        there, forth = await asyncio.open_connection("127.0.0.1", self._to)
        for source, sink in ((here, forth), (there, back)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while read := await source.read(65_536):
                await self._flowing.wait()
                sink.write(read)
                await sink.drain()
        finally:
            sink.close()


class TestStore:
    async def test_what_was_put_is_read_back(self, store: DynamoFlags, name: str) -> None:
        flag = await put(
            store,
            None,
            name,
            rolloutPercentage=33.33,
            userWhitelist=["u1", "Zoë"],
            userBlacklist=["u2"],
            conditions={"userTier": ["vip"], "accountAge": 30},
            rollbackTriggers={"errorRateThreshold": 2.5},
        )
        assert await store.get(name) == flag
        assert flag in await store.all()
        assert await store.get("never-made") is None

    async def test_of_many_who_change_a_revision_one_wins(self, store: DynamoFlags, name: str) -> None:
        first = await put(store, None, name)
        attempts = [change(first, name, actor=f"admin {number}") for number in range(8)]
        won = await asyncio.gather(*(store.put(*attempt) for attempt in attempts))
        assert won.count(True) == 1
        winner = attempts[won.index(True)].flag
        assert await store.get(name) == winner
        assert list(await store.history(name, limit=10)) == [winner, first]

    async def test_one_of_many_creates_it(self, store: DynamoFlags, name: str) -> None:
        attempts = [change(None, name, actor=f"admin {number}") for number in range(4)]
        assert [await store.put(*attempt) for attempt in attempts] == [True, False, False, False]

    async def test_an_old_revision_is_not_stored_again(self, store: DynamoFlags, name: str) -> None:
        first = await put(store, None, name)
        stale = change(first, name, rolloutPercentage=50)
        second = await put(store, first, name, rolloutPercentage=1)
        assert not await store.put(*stale)
        assert await store.get(name) == second

    async def test_a_put_whose_answer_got_lost_can_be_repeated(self, store: DynamoFlags, name: str) -> None:
        made = change(None, name)
        assert [await store.put(*made), await store.put(*made)] == [True, True]
        assert list(await store.history(name, limit=10)) == [made.flag]

    async def test_a_change_and_its_audit_entry_are_stored_together_or_not_at_all(
        self, store: DynamoFlags, dynamo: Dynamo, name: str
    ) -> None:
        first, created = change(None, name)
        second, raised = change(first, name, rolloutPercentage=5)
        lost = change(first, name, actor="too late", rolloutPercentage=50)
        assert [await store.put(first, created), await store.put(second, raised)] == [True, True]
        assert not await store.put(*lost)
        audited = await DynamoAudit(dynamo).entries(f"flag/{name}", limit=10, cursor=None)
        assert audited.entries == (raised, created)
        # Nor a flag without its entry.
        third, entry = change(second, name, rolloutPercentage=25)
        assert not await store.put(third, entry.model_copy(update={"entry_id": raised.entry_id}))
        assert await store.get(name) == second

    async def test_history_is_newest_first_and_bounded(self, store: DynamoFlags, name: str) -> None:
        flag = await put(store, None, name)
        for percentage in range(1, 12):
            flag = await put(store, flag, name, rolloutPercentage=percentage)
        assert [each.revision for each in await store.history(name, limit=20)] == list(range(12, 0, -1))
        assert [each.rollout_percentage for each in await store.history(name, limit=2)] == [11, 10]

    @pytest.mark.parametrize(
        ("sign", "length"),
        [("a", 10), ("a", 128), ('"', 128), ("\x01", 128), ("é", 128), ("字", 128), ("😀", 128), ("😀", 1)],
    )
    async def test_the_longest_settings_can_be_replaced_by_others(
        self, store: DynamoFlags, dynamo: Dynamo, name: str, sign: str, length: int
    ) -> None:
        """DynamoDB's limits hold for the flag, its revision and an audit entry, whatever the ids consist of."""
        first = await put(store, None, name, **longest("a", sign, length))
        second = await put(store, first, name, **longest("b", sign, length))
        assert await store.get(name) == second
        [entry, _] = (await DynamoAudit(dynamo).entries(f"flag/{name}", limit=2, cursor=None)).entries
        assert entry.after is not None
        assert entry.after["userWhitelist"]["added"]["count"] == len(second.user_whitelist)
        written = [to_item(second, scope="flags", entry=name)]
        written += [each["Put"]["Item"] for each in audit_items(dynamo, entry)]
        assert all(item_bytes({"M": item}) < ITEM_BYTES for item in written)
        # The flag and its revision.
        assert sum(item_bytes({"M": item}) for item in (written[0], *written)) < TRANSACTION_BYTES
        # Every snapshot of the following tests would read it.
        await put(store, second, name)

    async def test_what_the_next_release_adds_is_no_obstacle(
        self, store: DynamoFlags, dynamo: Dynamo, name: str
    ) -> None:
        flag = change(None, name).flag
        item = to_item(flag, scope="flags", entry=name, novelty="x")
        item["conditions"]["M"]["moonPhase"] = value("full")
        await dynamo.batch_put("flags", [item])
        assert await store.get(name) == flag


class TestSnapshot:
    async def test_a_change_reaches_every_process(self, own: Settings, store: DynamoFlags, name: str) -> None:
        async with AsyncExitStack() as running:
            snapshots = [await running.enter_async_context(open_flags(own)) for _ in range(4)]
            flag = await put(store, None, name, rolloutPercentage=0)
            for percentage in (5, 100, 0):
                flag = await put(store, flag, name, rolloutPercentage=percentage)
                for each in snapshots:
                    await follows(each, flag)
                    assert each.evaluate(name, SOMEBODY).enabled is (percentage == 100)
            assert flag in snapshots[0].all()

    async def test_a_push_comes_long_before_the_poll(
        self, own: Settings, store: DynamoFlags, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(flag_snapshot, "SLOW_POLL_S", 3_600)
        async with open_flags(own) as snapshot:
            await until(lambda: snapshot.standing().pushed)
            await follows(snapshot, await put(store, None, name))

    async def test_a_push_that_got_lost_is_made_up_for(
        self, own: Settings, dynamo: Dynamo, name: str, tmp_path: Path
    ) -> None:
        """What is published at another Redis reaches nobody."""
        async with serving(tmp_path) as port, open_redis(at(own, port)) as elsewhere, open_flags(own) as snapshot:
            await until(lambda: snapshot.standing().pushed)
            await follows(snapshot, await put(DynamoFlags(dynamo, elsewhere), None, name))

    async def test_installations_that_share_a_redis_do_not_hear_each_other(
        self, own: Settings, store: DynamoFlags, name: str
    ) -> None:
        async with open_flags(own) as ours, open_flags(own.model_copy(update={"table_prefix": "other-"})) as theirs:
            await follows(ours, await put(store, None, name))
            assert not theirs.standing().loaded

    async def test_another_process_follows(self, stack: Stack, own: Settings, store: DynamoFlags, name: str) -> None:
        """It prints each revision by which it decides, and ends with the second."""
        program = (
            "import asyncio, sys\n"
            "from adapters.flag_snapshot import open_flags\n"
            "from adapters.settings import Settings\n"
            "from domain.flag import FlagSubject\n"
            "async def main():\n"
            "    async with open_flags(Settings()) as flags:\n"
            "        for revision in (1, 2):\n"
            f"            while flags.evaluate({name!r}, FlagSubject(user_id='u1')).revision != revision:\n"
            "                await asyncio.sleep(0.01)\n"
            "            print(revision, file=sys.stderr, flush=True)\n"
            "asyncio.run(main())\n"
        )
        other = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            env=child_environment({**stack.env, "HUNTAZE_TABLE_PREFIX": own.table_prefix}),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert other.stderr is not None
        async with asyncio.timeout(LONG_S):
            flag = await put(store, None, name)
            assert await other.stderr.readline() == b"1\n"
            await put(store, flag, name, rolloutPercentage=5)
            assert await other.stderr.readline() == b"2\n"
            assert await other.wait() == 0

    async def test_on_a_cluster_a_change_published_at_any_node_arrives(
        self, own: Settings, dynamo: Dynamo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(flag_snapshot, "SLOW_POLL_S", 3_600)
        monkeypatch.setattr(flags, "_PUBLISH_PAUSES_S", (0.05,) * 400)
        async with serving_cluster(tmp_path) as ports, AsyncExitStack() as running:
            snapshots = [await running.enter_async_context(open_flags(at(own, port))) for port in ports]
            await until(lambda: all(each.standing().pushed for each in snapshots))
            cluster = at(own, ports[0]).model_copy(update={"redis_cluster": True})
            store = DynamoFlags(dynamo, await running.enter_async_context(open_redis(cluster)))
            flag = await put(store, None, f"flag-{uuid4().hex[:12]}")
            for each in snapshots:
                await follows(each, flag)

    async def test_before_the_first_read_everything_is_off_and_the_standing_says_so(
        self, own: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And nothing that does not answer stands in the way of a start."""
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        async with open_flags(at(own, 9)) as snapshot:
            assert snapshot.evaluate("any", SOMEBODY) == ("any", False, FlagReason.NO_SNAPSHOT, -1, 0)
            standing = snapshot.standing()
            assert (standing.loaded, standing.age_ms, standing.pushed, standing.revisions) == (False, None, False, {})
            with pytest.raises(DependencyUnavailable):
                await snapshot.refresh()

    async def test_a_flag_that_does_not_exist_is_off(self, own: Settings) -> None:
        async with open_flags(own) as snapshot:
            await until(lambda: snapshot.standing().loaded)
            assert snapshot.evaluate("none", SOMEBODY) == ("none", False, FlagReason.UNKNOWN_FLAG, -1, 0)

    async def test_a_read_that_began_earlier_does_not_undo_a_later_one(
        self, own: Settings, store: DynamoFlags, dynamo: Dynamo, name: str
    ) -> None:
        """The first read gets its answer before the change, and hands it over after the second one is done."""
        overtaken, turn = asyncio.Event(), count()

        async def read() -> list[Flag]:
            found, first = list(await stored_flags(dynamo)), next(turn) == 0
            if first:
                read_once.set()
                await overtaken.wait()
            return found

        read_once = asyncio.Event()
        before = await put(store, None, name)
        async with open_redis(own) as redis:
            snapshot = FlagSnapshot(read, redis, "unused", {})  # type: ignore[arg-type]
            slow = asyncio.create_task(snapshot.refresh())
            await read_once.wait()
            after = await put(store, before, name, rolloutPercentage=5)
            await snapshot.refresh()
            overtaken.set()
            await slow
        assert snapshot.evaluate(name, SOMEBODY).revision == after.revision

    async def test_it_ends_at_whatever_moment_it_is_told_to(self, own: Settings, dynamo: Dynamo) -> None:
        """Also while it connects."""
        for pauses in range(60):
            async with open_redis(own) as redis:
                snapshot = FlagSnapshot(partial(stored_flags, dynamo), redis, "unused", {})  # type: ignore[arg-type]
                running = asyncio.create_task(snapshot.run())
                for _ in range(pauses):
                    await asyncio.sleep(0)
                running.cancel()
                async with asyncio.timeout(LONG_S):
                    await asyncio.wait({running})


class TestOutages:
    async def test_redis_is_killed_and_comes_back(
        self, own: Settings, dynamo: Dynamo, name: str, tmp_path: Path
    ) -> None:
        async with AsyncExitStack() as running:
            with capture_logs() as logs:
                async with serving(tmp_path) as port:
                    store = DynamoFlags(dynamo, await running.enter_async_context(open_redis(at(own, port))))
                    snapshot = await running.enter_async_context(open_flags(at(own, port)))
                    await until(lambda: snapshot.standing().pushed)
                    flag = await put(store, None, name)
                    await follows(snapshot, flag)
                await until(lambda: not snapshot.standing().pushed)
                for percentage in (5, 25):
                    flag = await put(store, flag, name, rolloutPercentage=percentage)
                    await follows(snapshot, flag)
                await running.enter_async_context(serving(tmp_path, port=port))
                await until(lambda: snapshot.standing().pushed)
                await follows(snapshot, await put(store, flag, name, rolloutPercentage=50))
            told = [entry["event"] for entry in logs if entry["event"].startswith("flags_not_pushed")]
            assert told == ["flags_not_pushed", "flags_not_pushed_over"]

    async def test_redis_hangs(self, own: Settings, store: DynamoFlags, name: str) -> None:
        """Nothing tells that the connection is dead but the silence."""
        server = urlsplit(own.redis_url.get_secret_value()).port
        assert server is not None
        async with Line(server) as line, open_flags(at(own, line.port)) as snapshot:
            flag = await put(store, None, name)
            await until(lambda: snapshot.standing().pushed)
            line.silence()
            flag = await put(store, flag, name, rolloutPercentage=5)
            await follows(snapshot, flag)
            await until(lambda: not snapshot.standing().pushed)
            flag = await put(store, flag, name, rolloutPercentage=25)
            await follows(snapshot, flag)
            line.speak()
            await until(lambda: snapshot.standing().pushed)
            await follows(snapshot, await put(store, flag, name, rolloutPercentage=50))

    async def test_a_put_does_not_wait_for_a_redis_that_is_away_and_is_pushed_when_it_is_back(
        self, own: Settings, dynamo: Dynamo, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The publisher alone has lost its connection: those who listen are told when it has it again."""
        monkeypatch.setattr(flag_snapshot, "SLOW_POLL_S", 3_600)
        monkeypatch.setattr(flags, "_PUBLISH_PAUSES_S", (0.05,) * 400)
        async with serving(tmp_path) as port, Line(port) as line, open_flags(at(own, port)) as snapshot:
            await until(lambda: snapshot.standing().pushed)
            async with open_redis(at(own, line.port)) as redis:
                store = DynamoFlags(dynamo, redis)
                before = await put(store, None, name)
                await follows(snapshot, before)
                await line.cut()
                flag = await put(store, before, name, rolloutPercentage=5)
                await line.mend()
                await follows(snapshot, flag)

    async def test_the_store_is_away_and_comes_back(
        self, own: Settings, store: DynamoFlags, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The snapshot stays, says how old it is, and follows again."""
        async with served_store(own, monkeypatch) as (line, opening), opening as snapshot:
            flag = await put(store, None, name, rolloutPercentage=100)
            await follows(snapshot, flag)
            with capture_logs() as logs:
                await line.cut()
                changed_meanwhile = await put(store, flag, name, rolloutPercentage=0)
                await until(lambda: "flags_not_read" in [entry["event"] for entry in logs])
                age = snapshot.standing().age_ms
                assert age is not None
                await until(lambda: (snapshot.standing().age_ms or 0) > age + 1_000)
                assert snapshot.evaluate(name, SOMEBODY)[1:3] == (True, FlagReason.IN_ROLLOUT)
                await line.mend()
                await follows(snapshot, changed_meanwhile)
                await until(lambda: "flags_not_read_over" in [entry["event"] for entry in logs])
            told = [entry["event"] for entry in logs if entry["event"].startswith("flags_not_read")]
            assert told == ["flags_not_read", "flags_not_read_over"]
            assert not snapshot.evaluate(name, SOMEBODY).enabled

    async def test_the_store_hangs(
        self, own: Settings, store: DynamoFlags, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with served_store(own, monkeypatch) as (line, opening), opening as snapshot:
            flag = await put(store, None, name)
            await follows(snapshot, flag)
            line.silence()
            flag = await put(store, flag, name, rolloutPercentage=5)
            with pytest.raises(DependencyUnavailable):
                await snapshot.refresh()
            line.speak()
            await follows(snapshot, flag)


@asynccontextmanager
async def served_store(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Line, AbstractAsyncContextManager[FlagSnapshot]]]:
    """A line to the store, and a snapshot that reads it through that."""
    async with open_dynamo(own) as direct:
        server = urlsplit(direct.client.meta.endpoint_url).port
    assert server is not None
    async with Line(server) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")
        yield line, open_flags(own)


class TestEmergency:
    async def test_the_environment_needs_neither_store_nor_redis(
        self, own: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("HYBRID_ORCHESTRATOR_ENABLED", "true")
        monkeypatch.setenv("HYBRID_ORCHESTRATOR_PERCENTAGE", "25.5")
        forced = Settings()
        assert forced.hybrid_orchestrator_percentage == Decimal("25.5")
        async with open_flags(at(forced, 9)) as snapshot:
            # tests/data/flags.json: 7 is in bucket 1,766, 4 in bucket 2,681.
            inside, outside = (snapshot.evaluate(HYBRID_ORCHESTRATOR, FlagSubject(user_id=user)) for user in "74")
            assert (inside.enabled, inside.bucket, outside.enabled) == (True, 1766, False)
            assert not snapshot.evaluate("another", SOMEBODY).enabled

    async def test_off_is_off_whatever_is_stored(
        self, own: Settings, store: DynamoFlags, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HYBRID_ORCHESTRATOR_ENABLED", "false")
        forced = Settings().model_copy(update={"table_prefix": own.table_prefix})
        async with open_flags(forced) as snapshot:
            flag = await put(store, None, HYBRID_ORCHESTRATOR, rolloutPercentage=100, userWhitelist=[SOMEBODY.user_id])
            await follows(snapshot, flag)
            assert snapshot.evaluate(HYBRID_ORCHESTRATOR, SOMEBODY)[1:3] == (False, FlagReason.FORCED_OFF)
