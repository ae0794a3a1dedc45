"""A campaign's progress on a screen: a table that moves on a terminal, one line a change anywhere else."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.client import ApiClient
from cli.console import Complaint
from domain.progress import AccountProgress, CampaignProgress, WorkflowResult

SIGN_OF_LIFE_S = 15.0
"""Without a terminal, how long nothing is printed while everybody waits."""

_STATE_WIDTH = len("throttled until hh:mm:ss (in 60 s)")
_ENDS = ("failed", "skipped", "cancelled", "rejected")


def is_interactive(console: Console) -> bool:
    """Whether somebody looks: a terminal that is no build's log."""
    return console.is_terminal and not os.environ.get("CI")


async def follow(client: ApiClient, campaign_id: str, console: Console, *, plain: bool) -> WorkflowResult:
    """Show a request's progress until it ends; returns its result."""
    display = _Lines(console) if plain or not is_interactive(console) else _Screen(console)
    async with _shown(display):
        async for name, data in client.events(campaign_id):
            if name == "done":
                return WorkflowResult.model_validate(data)
            display.update(CampaignProgress.model_validate(data))
    raise Complaint("the API ended the stream of events without a result", remedy="ask for the status")


def dollars(micros: int) -> str:
    """µ$ as US dollars, to the last micro-dollar."""
    return f"${micros / 1_000_000:.6f}"


def ends(account: AccountProgress | CampaignProgress) -> str:
    """What ended otherwise than sent; empty when nothing did."""
    return ", ".join(f"{number} {name}" for name in _ENDS if (number := getattr(account, name)))


def waiting(account: AccountProgress, now: datetime) -> str:
    """Until when an account is throttled; empty when it is not, or not any more."""
    until = account.throttled_until
    if until is None or until <= now:
        return ""
    return f"throttled until {until.astimezone():%H:%M:%S} (in {round((until - now).total_seconds())} s)"


def changes(before: CampaignProgress | None, after: CampaignProgress, now: datetime) -> list[str]:
    """One line for each account that changed, or for the whole campaign when only that did."""
    known = {account.account_id: account for account in before.accounts} if before else {}
    lines = [_line(account, now) for account in after.accounts if known.get(account.account_id) != account]
    if before is None or before.status is not after.status or not lines:
        lines.insert(0, f"{after.status}: {after.sent} of {after.audience} sent, {dollars(after.cost_micros)} so far")
    return lines


def _line(account: AccountProgress, now: datetime) -> str:
    told = [f"{account.drafted} drafted"]
    if account.awaiting_review:
        told.append(f"{account.awaiting_review} await review")
    told += [f"{account.queued} queued", f"{account.sent} of {account.audience} sent"]
    told += filter(None, (ends(account), waiting(account, now)))
    return f"{account.account_id}: {', '.join(told)}"


class _Display:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = monotonic()
        self.progress: CampaignProgress | None = None

    def update(self, progress: CampaignProgress) -> None:
        self.progress = progress

    async def run(self) -> None:
        """Whatever moves by itself; cancelled at the end."""


class _Lines(_Display):
    """For logs: a line a change, and a sign of life now and then."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._printed = monotonic()

    def update(self, progress: CampaignProgress) -> None:
        for line in changes(self.progress, progress, datetime.now(UTC)):
            self._print(line)
        super().update(progress)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(1)
            if self.progress is not None and monotonic() - self._printed >= SIGN_OF_LIFE_S:
                now = datetime.now(UTC)
                waits = [
                    f"{account.account_id} {text}"
                    for account in self.progress.accounts
                    if (text := waiting(account, now))
                ]
                self._print(f"{self.progress.sent} of {self.progress.audience} sent; {'; '.join(waits) or 'waiting'}")

    def _print(self, line: str) -> None:
        self._printed = monotonic()
        self.console.print(f"{self._printed - self.started:6.1f} s  {line}", markup=False)


class _Screen(_Display):
    """For people: rich draws the table again four times a second, so the countdown moves."""

    async def run(self) -> None:
        with Live(get_renderable=self._table, console=self.console, refresh_per_second=4):
            await asyncio.Event().wait()

    def _table(self) -> Table | Text:
        elapsed = monotonic() - self.started
        progress = self.progress
        if progress is None:
            return Text(f"waiting for the first news ({elapsed:.0f} s)")
        spent, now = dollars(progress.cost_micros), datetime.now(UTC)
        table = Table(
            title=f"{progress.status} · {progress.sent} of {progress.audience} sent · {spent} · {elapsed:.0f} s",
            title_justify="left",
            box=SIMPLE_HEAD,
            pad_edge=False,
        )
        reviewed = progress.awaiting_review > 0
        table.add_column("account", no_wrap=True)
        for heading in ("drafted", *(["to review"] if reviewed else []), "queued", "sent"):
            table.add_column(heading, justify="right")
        table.add_column("now", min_width=_STATE_WIDTH)
        for account in progress.accounts:
            counts = [account.drafted, *([account.awaiting_review] if reviewed else []), account.queued]
            sent = f"{account.sent} of {account.audience}"
            table.add_row(account.account_id, *map(str, counts), sent, _state(account, now))
        return table


def _state(account: AccountProgress, now: datetime) -> Text:
    told = [text for text in (ends(account), waiting(account, now)) if text]
    if told:
        return Text(", ".join(told), "yellow")
    if account.sent == account.audience:
        return Text("done", "green")
    # The news of what was sent since the account's time came is still on its way.
    return Text("sending") if account.throttled_until else Text(account.reason.replace("_", " "))


@asynccontextmanager
async def _shown(display: _Display) -> AsyncIterator[None]:
    """Run a display for a block; the last state stays on the screen."""
    task = asyncio.create_task(display.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
