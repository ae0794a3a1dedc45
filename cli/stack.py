"""``huntaze up``: the embedded stack, started, shown and kept running. The demo starts the same one."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cli.console import Complaint, stdout
from cli.environment import DIRECTORY, EXAMPLE_AUDIENCE, Directory, in_force, require_embedded, settings_now

if TYPE_CHECKING:
    from local.stack import Stack

T = TypeVar("T")

HEALTH = "/api/health/hybrid-orchestrator"

RealAi = Annotated[
    bool,
    typer.Option("--real-ai", help="use the real AI services whose keys are set; the OnlyFans side stays simulated"),
]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="0: any free one")]


class Interrupted(Exception):
    """Ctrl-C or SIGTERM: everything was stopped in order."""


def up(
    port_api: Port = 0,
    port_temporal: Port = 0,
    port_temporal_ui: Port = 0,
    port_redis: Port = 0,
    port_moto: Port = 0,
    port_onlyfans: Port = 0,
    port_ai: Port = 0,
    port_legacy: Port = 0,
    directory: Directory = DIRECTORY,
    real_ai: RealAi = False,
) -> None:
    """Start the embedded stack and keep it running until Ctrl-C."""
    ports = {
        "api": port_api,
        "temporal": port_temporal,
        "temporal-ui": port_temporal_ui,
        "redis": port_redis,
        "moto": port_moto,
        "onlyfans": port_onlyfans,
        "ai": port_ai,
        "legacy": port_legacy,
    }
    try:
        run(_keep_up(directory, ports, real_ai))
    except Interrupted:
        print("stopped")


async def _keep_up(directory: Path, ports: Mapping[str, int], real_ai: bool) -> None:
    async with started(directory, ports=ports, real_ai=real_ai) as stack:
        show_addresses(stack)
        _show_first_steps(directory)
        failure = await stack.wait_failed()
        raise Complaint(str(failure), remedy=f"see {directory / 'logs'}; everything else was stopped")


@asynccontextmanager
async def started(
    directory: Path,
    *,
    ports: Mapping[str, int] | None = None,
    real_ai: bool = False,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator["Stack"]:
    """The whole stack with its tables; what keeps it from starting becomes a complaint.

    ``env``: overrides for API and worker.
    """
    require_embedded()
    from local.stack import Stack, StackOptions

    print(f"starting the embedded stack (logs in {directory / 'logs'}) ...", flush=True)
    options = StackOptions(
        directory=directory,
        ports=ports or {},
        env=env or {},
        use_real=real_ai,
        keep_data=False,
        migrate=_create_tables,
    )
    async with AsyncExitStack() as context:
        with _start_complaints(directory):
            stack = await context.enter_async_context(Stack(options))
        yield stack


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run until done, Ctrl-C or SIGTERM; the latter two unwind every context first, then raise ``Interrupted``."""

    async def supervised() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio.run made one
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main

    try:
        return asyncio.run(supervised())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Interrupted from None


def show_addresses(stack: "Stack") -> None:
    """Every address as a table."""
    from rich.table import Table

    table = Table(title="the embedded stack", title_justify="left", show_header=False)
    api = stack.env["HUNTAZE_API_HOST"] + ":" + stack.env["HUNTAZE_API_PORT"]
    table.add_row("health of every part", f"http://{api}{HEALTH}")
    table.add_row("status of campaigns", f"http://{api}/api/v2/campaigns/status")
    for name, url in stack.addresses.items():
        table.add_row(name, url)
    stdout().print(table)


def _show_first_steps(directory: Path) -> None:
    from cli.audience import accounts_of, read_audience

    accounts = accounts_of(read_audience(EXAMPLE_AUDIENCE)) if EXAMPLE_AUDIENCE.exists() else ("acct_luna",)
    where = "" if directory == DIRECTORY else f" --directory {directory}"
    owned = " ".join(f"--account {account}" for account in accounts)
    print(
        "in another terminal:\n"
        f"  huntaze token --user developer --role agency {owned}{where}\n"
        f"  huntaze campaign start --audience {_short(EXAMPLE_AUDIENCE)} "
        f'--brief "Spring sale: the new photo set, warm and personal."{where}\n'
        f"  huntaze campaign approve ID{where}      a person's approval is the default\n"
        f"  huntaze campaign watch ID{where}\n"
        f"  huntaze doctor{where}\n"
        "Ctrl-C stops everything.",
        flush=True,
    )


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


async def _create_tables(env: Mapping[str, str]) -> None:
    from adapters.bootstrap import open_tables

    with in_force(env):
        async with open_tables(settings_now()) as tables:
            await tables.migrate()


@contextmanager
def _start_complaints(directory: Path) -> Iterator[None]:
    from local.ports import PortInUseError
    from local.process import ProcessError
    from local.state import StackRunningError

    try:
        yield
    except (StackRunningError, PortInUseError, ValueError) as error:
        raise Complaint(str(error)) from error
    except FileNotFoundError as error:
        raise Complaint(str(error), remedy="huntaze doctor shows which programs are missing") from error
    except ProcessError as error:
        raise Complaint(str(error), remedy=f"the whole logs are in {directory.resolve() / 'logs'}") from error
    except OSError as error:
        raise Complaint(f"{error.strerror}: {error.filename}", remedy="choose another --directory") from error
