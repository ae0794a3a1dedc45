"""The evidence of a chaos run as tables."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from domain.delivery import TERMINAL
from local.chaos.plan import Plan
from local.chaos.verdict import Evidence


def header(plan: Plan) -> str:
    """What is about to happen, and what is not."""
    trouble = ", ".join(f"{times} x {name}" for name, times in plan.wanted.items() if times)
    return (
        f"chaos run with seed {plan.seed}: {plan.recipients} recipients over {plan.accounts} accounts; {trouble}. "
        f"A minute of the limits passes in a second. "
        f"DynamoDB is not killed: its stand-in moto keeps everything in memory, the real one is durable."
    )


def show(evidence: Evidence, console: Console) -> None:
    """Both sides, layer by layer."""
    for table in (_done(evidence), _product(evidence), _book(evidence), _layers(evidence)):
        console.print(table)


def _done(evidence: Evidence) -> Table:
    table = Table("trouble", "wanted", "happened", title="what was done", title_justify="left")
    for trouble, wanted in evidence.plan.wanted.items():
        table.add_row(trouble, str(wanted), str(evidence.troubles.get(trouble, 0)))
    for kind, probability, fired in evidence.faults:
        table.add_row(f"gateway: {kind}", f"{probability:.0%} of sends", str(fired))
    return table


def _product(evidence: Evidence) -> Table:
    table = Table(title="what the product says", title_justify="left", show_header=False)
    table.add_row("status", str(evidence.status or "did not end in time"))
    ended = sum(number for status, number in evidence.outcomes.items() if status in TERMINAL)
    parts = " + ".join(f"{number} {status}" for status, number in sorted(evidence.outcomes.items()))
    table.add_row("recipients", f"{evidence.plan.recipients} = {parts or 'nothing'}" if ended else "no result")
    for (status, reason), number in sorted(Counter((told.status, told.reason) for told in evidence.told).items()):
        table.add_row(f"  {status}", f"{number}{f' ({reason})' if reason else ''}")
    table.add_row("duration", f"{evidence.seconds:.0f} s")
    return table


def _book(evidence: Evidence) -> Table:
    table = Table(title="what the simulator's own book says", title_justify="left", show_header=False)
    table.add_row("accepted", str(len(evidence.booked)))
    table.add_row("answered again for a known key", str(evidence.replays))
    table.add_row("duplicates", str(len(evidence.duplicates)))
    table.add_row("sent, but never arrived", str(len(evidence.lost)))
    table.add_row("arrived, but not sent", str(len(evidence.unaccounted)))
    return table


def _layers(evidence: Evidence) -> Table:
    table = Table("layer", "window", "limit", "busiest", "holds", title="the fullest windows", title_justify="left")
    for busiest in evidence.busiest:
        holds = "yes" if busiest.holds else "NO"
        table.add_row(busiest.layer, f"{busiest.seconds:g} s", str(busiest.limit), str(busiest.most), holds)
    return table
