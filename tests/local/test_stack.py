"""The embedded stack: real servers that start together, answer, and leave nothing behind."""

import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import boto3
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from domain.campaign import SEARCH_ATTRIBUTES
from local import ports
from local import redis as redis_server
from local.environment import environment, in_force
from local.process import ProcessExitedError, child_environment
from local.stack import INFRASTRUCTURE, PORTS, SIMULATORS, Stack, StackOptions
from local.state import StackRunningError, StackState, load_running

REDIS = frozenset({"redis"})

# Owns a stack with Redis on a fixed port until it is killed.
OWNER = """
import asyncio, signal, sys
from pathlib import Path
from local.stack import Stack, StackOptions

# A shell's background job, such as this test may be, inherits Ctrl-C as ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    options = StackOptions(
        directory=Path(sys.argv[1]), parts=frozenset({"redis"}), ports={"redis": int(sys.argv[2])}
    )
    async with Stack(options):
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

# Stands for the worker: ready when it says so, and looks for Redis when it is asked to end.
WORKER = """
import json, os, pathlib, signal, socket, time
from urllib.parse import urlsplit

def drain(*_):
    port = urlsplit(os.environ["HUNTAZE_REDIS_URL"]).port
    with socket.socket() as client:
        print("drained, redis is there:", client.connect_ex(("127.0.0.1", port)) == 0)
    raise SystemExit

signal.signal(signal.SIGTERM, drain)
migrated = pathlib.Path(__file__).with_name("migrated").exists()
print(json.dumps({"event": "worker.ready", "migrated": migrated}))
time.sleep(3600)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    options = StackOptions(
        directory=tmp_path_factory.mktemp("stack"),
        parts=INFRASTRUCTURE,
        synchronous="OFF",
    )
    async with Stack(options) as running:
        yield running


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((ports.HOST, 0)) as server:
        yield server.getsockname()[1]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@asynccontextmanager
async def started_owner(directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A process that runs a stack, and the port of its Redis."""
    port = ports.choose(["redis"], {})["redis"]
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(directory), str(port)),
        stdout=asyncio.subprocess.PIPE,
        env=child_environment({}),
    )
    try:
        assert owner.stdout is not None
        assert await owner.stdout.readline() == b"up\n"
        yield owner, port
    finally:
        if owner.returncode is None:
            owner.kill()
            await owner.wait()


async def custom_search_attributes(env: Mapping[str, str]) -> set[str]:
    client = await Client.connect(env["TEMPORAL_ADDRESS"])
    request = ListSearchAttributesRequest(namespace=env["TEMPORAL_NAMESPACE"])
    return set((await client.operator_service.list_search_attributes(request)).custom_attributes)


class TestParts:
    async def test_redis_is_real(self, stack: Stack) -> None:
        async with Redis.from_url(stack.env["HUNTAZE_REDIS_URL"], decode_responses=True) as redis:
            script = "redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2]) return redis.call('ZCARD', KEYS[1])"
            assert await redis.eval(script, 1, "{account}:window", "1", "message") == 1
            info = await redis.info("server")
        assert int(str(info["redis_version"]).split(".")[0]) >= 7

    async def test_redis_keeps_its_data_through_a_crash(self, stack: Stack) -> None:
        async with Redis.from_url(stack.env["HUNTAZE_REDIS_URL"], decode_responses=True) as redis:
            await redis.set("kept", "yes")
            # Redis may hold a write back while the disk is busy; only what it has handed over survives.
            while int((await redis.info("persistence"))["aof_buffer_length"]) > 0:
                await asyncio.sleep(0.01)
        await stack.kill("redis")
        assert "redis" not in stack.pids
        await stack.restart("redis")
        async with Redis.from_url(stack.env["HUNTAZE_REDIS_URL"], decode_responses=True) as redis:
            assert await redis.get("kept") == "yes"

    async def test_temporal_knows_the_search_attributes(self, stack: Stack) -> None:
        assert await custom_search_attributes(stack.env) == set(SEARCH_ATTRIBUTES)
        client = await Client.connect(stack.env["TEMPORAL_ADDRESS"])
        for name in SEARCH_ATTRIBUTES:
            assert (await client.count_workflows(f"{name} = 'none'")).count == 0

    async def test_temporal_shows_its_ui(self, stack: Stack) -> None:
        assert await ports.answers_ok(port_of(stack.addresses["Temporal UI"]), "/")

    async def test_dynamodb_stores(self, stack: Stack) -> None:
        table = boto3.resource(
            "dynamodb",
            endpoint_url=stack.env["AWS_ENDPOINT_URL"],
            region_name=stack.env["AWS_REGION"],
            aws_access_key_id=stack.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=stack.env["AWS_SECRET_ACCESS_KEY"],
        ).Table("probe")

        def write_and_read() -> object:
            table.meta.client.create_table(
                TableName="probe",
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            table.put_item(Item={"id": "1"})
            return table.get_item(Key={"id": "1"})["Item"]

        assert await asyncio.to_thread(write_and_read) == {"id": "1"}

    @pytest.mark.parametrize("name", sorted(SIMULATORS))
    async def test_simulators_answer(self, tmp_path: Path, name: str) -> None:
        variable = {"onlyfans": "HUNTAZE_ONLYFANS_BASE_URL", "ai": "OPENAI_BASE_URL", "legacy": "LEGACY_BASE_URL"}
        async with Stack(StackOptions(directory=tmp_path, parts=frozenset({name}))) as stack:
            assert await ports.answers_ok(port_of(stack.env[variable[name]]), "/_control/health")


class TestState:
    async def test_a_running_stack_is_found(self, stack: Stack) -> None:
        found = load_running(stack.options.directory)
        assert found is not None
        assert found == StackState(os.getpid(), found.started_at, stack.env, stack.addresses)

    async def test_secrets_are_the_owners(self, stack: Stack) -> None:
        mode = (stack.options.directory / "stack.json").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600

    async def test_a_second_stack_is_refused(self, stack: Stack) -> None:
        with pytest.raises(StackRunningError, match=f"process {os.getpid()}.*already runs.*stop it"):
            async with Stack(stack.options):
                pass
        assert load_running(stack.options.directory) is not None

    def test_nothing_runs_on_an_unknown_directory(self, tmp_path: Path) -> None:
        assert load_running(tmp_path) is None
        assert load_running(tmp_path / "missing") is None


class TestStop:
    async def test_leaves_nothing_behind(self, tmp_path: Path) -> None:
        async with Stack(StackOptions(directory=tmp_path, parts=INFRASTRUCTURE, synchronous="OFF")) as stack:
            pids = stack.pids
            assert set(pids) == INFRASTRUCTURE
        assert all(is_gone(pid) for pid in pids.values())
        assert not any(ports.is_listening(int(port)) for port in stack._ports.values())
        assert stack.pids == {}
        assert load_running(tmp_path) is None
        assert not (tmp_path / "stack.json").exists()
        assert list((tmp_path / "runs").iterdir()) == []
        assert (tmp_path / "logs" / "redis.log").exists()

    async def test_a_killed_owner_leaves_nothing_behind(self, tmp_path: Path) -> None:
        async with started_owner(tmp_path) as (owner, port):
            assert load_running(tmp_path) is not None
            owner.kill()
            await owner.wait()
        assert load_running(tmp_path) is None
        # Waits for the old children's end: the same port and directory are free then.
        async with Stack(StackOptions(directory=tmp_path, parts=REDIS, ports={"redis": port})) as stack:
            assert stack.env["HUNTAZE_REDIS_URL"] == f"redis://127.0.0.1:{port}/0"

    async def test_an_interrupted_owner_leaves_nothing_behind(self, tmp_path: Path) -> None:
        async with started_owner(tmp_path) as (owner, port):
            owner.send_signal(signal.SIGINT)
            async with asyncio.timeout(30):
                await owner.wait()
        assert not ports.is_listening(port)
        assert list((tmp_path / "runs").iterdir()) == []

    async def test_kept_data_gets_the_search_attributes_of_a_later_release(self, tmp_path: Path) -> None:
        for attributes in ({"Old": "Keyword"}, {"Old": "Keyword", "NewList": "KeywordList"}):
            options = StackOptions(
                directory=tmp_path,
                parts=frozenset({"temporal"}),
                keep_data=True,
                synchronous="OFF",
                search_attributes=attributes,
            )
            async with Stack(options) as stack:
                assert await custom_search_attributes(stack.env) == set(attributes)


class TestProduct:
    async def test_the_worker_starts_last_and_drains_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "worker.py").write_text(WORKER)
        monkeypatch.setattr("local.stack.SOURCE", tmp_path)
        migrated: list[Mapping[str, str]] = []

        async def migrate(env: Mapping[str, str]) -> None:
            migrated.append(env)
            (tmp_path / "migrated").touch()

        options = StackOptions(directory=tmp_path, parts=frozenset({"redis", "worker"}), migrate=migrate)
        log = tmp_path / "logs" / "worker.log"
        async with Stack(options) as stack:
            first = stack.pids["worker"]
            await stack.restart("worker")
            assert stack.pids["worker"] != first
        lifetime = ['{"event": "worker.ready", "migrated": true}', "drained, redis is there: True"]
        assert log.read_text().splitlines() == lifetime * 2
        assert migrated == [stack.env]

    async def test_several_workers_are_killed_and_restarted_one_by_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "worker.py").write_text(WORKER)
        monkeypatch.setattr("local.stack.SOURCE", tmp_path)
        options = StackOptions(directory=tmp_path, parts=frozenset({"redis", "worker"}), workers=2)
        async with Stack(options) as stack:
            before = stack.pids
            assert set(before) == {"redis", "worker", "worker-2"}
            await stack.kill("worker-2")
            assert set(stack.pids) == {"redis", "worker"}
            await stack.restart("worker-2")
            assert stack.pids["worker"] == before["worker"]
            assert stack.pids["worker-2"] != before["worker-2"]
        for name in ("worker", "worker-2"):
            log = (tmp_path / "logs" / f"{name}.log").read_text()
            assert log.splitlines()[-1] == "drained, redis is there: True"

    async def test_temporal_keeps_its_workflows_through_a_crash(self, tmp_path: Path) -> None:
        options = StackOptions(directory=tmp_path, parts=frozenset({"temporal"}), keep_data=True)
        async with Stack(options) as stack:
            client = await Client.connect(stack.env["TEMPORAL_ADDRESS"])
            await client.start_workflow("Sleeper", id="sleeper", task_queue="nobody")
            await stack.kill("temporal")
            await stack.restart("temporal")
            client = await Client.connect(stack.env["TEMPORAL_ADDRESS"])
            description = await client.get_workflow_handle("sleeper").describe()
            assert description.workflow_type == "Sleeper"


class TestFailure:
    async def test_a_part_that_cannot_start_is_reported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        broken = (sys.executable, "-c", "print('no room left'); raise SystemExit(3)")
        monkeypatch.setattr(redis_server, "argv", lambda *_: broken)
        with pytest.raises(ProcessExitedError, match=r"(?s)redis exited with code 3.*no room left"):
            async with Stack(StackOptions(directory=tmp_path, parts=frozenset({"redis", "moto"}))):
                pass
        monkeypatch.undo()
        async with Stack(StackOptions(directory=tmp_path, parts=REDIS)) as stack:
            assert set(stack.pids) == REDIS

    async def test_a_part_that_crashes_is_reported(self, tmp_path: Path) -> None:
        async with Stack(StackOptions(directory=tmp_path, parts=REDIS)) as stack:
            os.kill(stack.pids["redis"], signal.SIGKILL)
            failure = await stack.wait_failed()
            assert failure.name == "redis"
            assert failure.exit_code == -signal.SIGKILL
            assert "Ready to accept connections" in str(failure)

    async def test_a_failed_migration_stops_the_start(self, tmp_path: Path) -> None:
        async def migrate(env: Mapping[str, str]) -> None:
            assert await ports.answers_ok(port_of(env["AWS_ENDPOINT_URL"]), "/moto-api/")
            raise LookupError("no such table")

        with pytest.raises(LookupError, match="no such table"):
            async with Stack(StackOptions(directory=tmp_path, parts=frozenset({"moto"}), migrate=migrate)):
                pass
        assert load_running(tmp_path) is None

    async def test_a_taken_port_is_named_with_the_remedy(self, tmp_path: Path, taken_port: int) -> None:
        with pytest.raises(ports.PortInUseError, match=rf"port {taken_port} \(for redis\) is in use: stop the"):
            async with Stack(StackOptions(directory=tmp_path, parts=REDIS, ports={"redis": taken_port})):
                pass

    def test_an_unknown_part_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"no such parts: \['kafka'\]"):
            Stack(StackOptions(parts=frozenset({"kafka"})))

    def test_an_unknown_port_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no port is called kafka"):
            ports.choose(PORTS, {"kafka": 1})


class TestEnvironment:
    PORT: ClassVar = {name: number for number, name in enumerate(PORTS, start=30_001)}

    @pytest.fixture(autouse=True)
    def _own_keys(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)  # no .env here
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"):
            monkeypatch.delenv(name, raising=False)

    def test_every_address_is_on_this_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
        monkeypatch.setenv("ONLYFANSAPI_API_KEY", "of-real")
        env = environment(self.PORT, overrides={})
        urls = [value for value in env.values() if "://" in value]
        assert len(urls) == 6
        assert {urlsplit(url).hostname for url in urls} == {"127.0.0.1"}
        assert not any("real" in value for value in env.values())

    def test_real_ai_on_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
        monkeypatch.setenv("ONLYFANSAPI_API_KEY", "of-real")
        env = environment(self.PORT, use_real=True, overrides={})
        assert env["OPENAI_API_KEY"] == "sk-real"
        assert env["OPENAI_BASE_URL"] == "https://api.openai.com/v1"
        assert env["AZURE_OPENAI_API_KEY"] == "local"
        # People are never written to from here, whatever keys there are.
        assert env["ONLYFANSAPI_API_KEY"] == "local"
        assert env["HUNTAZE_ONLYFANS_BASE_URL"].startswith("http://127.0.0.1:")

    def test_real_ai_without_a_key_is_refused(self) -> None:
        with pytest.raises(ValueError, match="set OPENAI_API_KEY"):
            environment(self.PORT, use_real=True, overrides={})

    def test_overrides_win_and_secrets_differ(self) -> None:
        first, second = (environment(self.PORT, overrides={"HUNTAZE_PAGE_SIZE": "7"}) for _ in range(2))
        assert first["HUNTAZE_PAGE_SIZE"] == "7"
        assert first["HUNTAZE_JWT_SECRET"] != second["HUNTAZE_JWT_SECRET"]

    def test_it_is_in_force_for_a_block_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_PROFILE", "own")
        monkeypatch.setenv("HUNTAZE_PAGE_SIZE", "5")
        before = dict(os.environ)
        with in_force({"HUNTAZE_PAGE_SIZE": "7"}):
            assert os.environ["HUNTAZE_PAGE_SIZE"] == "7"
            assert "AWS_PROFILE" not in os.environ
        assert dict(os.environ) == before


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
