"""The evidence of a chaos run as tables."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from domain.delivery import TERMINAL
from local.chaos.money import Money, Spent
from local.chaos.plan import SINGLES, Plan
from local.chaos.verdict import Evidence


def header(plan: Plan) -> str:
    """What is about to happen, and what is not."""
    trouble = ", ".join(f"{times} x {name}" for name, times in plan.wanted.items() if times)
    return (
        f"chaos run with seed {plan.seed}: {plan.recipients} recipients over {plan.accounts} accounts, {plan.regulars} "
        f"of whom get {len(SINGLES)} single messages besides, two of them the same; {trouble}. "
        f"A minute of the limits passes in a second. "
        f"DynamoDB is not killed: its stand-in moto keeps everything in memory, the real one is durable."
    )


def show(evidence: Evidence, console: Console) -> None:
    """Both sides, layer by layer."""
    for table in (_done(evidence), _product(evidence), _book(evidence), _layers(evidence)):
        console.print(table)
    if evidence.money is not None:
        console.print(_money(evidence.money))


def _done(evidence: Evidence) -> Table:
    table = Table("trouble", "wanted", "happened", title="what was done", title_justify="left")
    for trouble, wanted in evidence.plan.wanted.items():
        table.add_row(trouble, str(wanted), str(evidence.troubles.get(trouble, 0)))
    for fault in evidence.faults:
        asked = f"{fault.probability:.0%} of {fault.met} calls, about {fault.probability * fault.met:.0f}"
        wanted_of_it = asked if fault.count is None else f"{fault.probability:.0%} of calls, at most {fault.count}"
        table.add_row(f"{fault.simulator}: {fault.kind}", wanted_of_it, str(fault.struck))
    return table


def _product(evidence: Evidence) -> Table:
    table = Table(title="what the product says", title_justify="left", show_header=False)
    table.add_row("status", str(evidence.status or "did not end in time"))
    ended = sum(number for status, number in evidence.outcomes.items() if status in TERMINAL)
    parts = " + ".join(f"{number} {status}" for status, number in sorted(evidence.outcomes.items()))
    table.add_row("recipients", f"{evidence.plan.recipients} = {parts or 'nothing'}" if ended else "no result")
    for (status, reason), number in sorted(Counter((told.status, told.reason) for told in evidence.told).items()):
        table.add_row(f"  {status}", f"{number}{f' ({reason})' if reason else ''}")
    besides = Counter((told.status, told.reason) for told in evidence.besides)
    table.add_row("besides", f"{len(evidence.besides)} single messages to {evidence.plan.regulars} of them")
    for (status, reason), number in sorted(besides.items()):
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
    table.add_row("one receipt for several", str(len(evidence.confused)))
    return table


def _layers(evidence: Evidence) -> Table:
    table = Table("layer", "window", "limit", "busiest", "holds", title="the fullest windows", title_justify="left")
    for busiest in evidence.busiest:
        holds = "yes" if busiest.holds else "NO"
        table.add_row(busiest.layer, f"{busiest.seconds:g} s", str(busiest.limit), str(busiest.most), holds)
    return table


def _money(money: Money) -> Table:
    columns = ("", "calls", "µ$", "tokens in", "tokens out")
    table = Table(*columns, title="money: the AI simulator's book and the ledger", title_justify="left")

    def row(name: str, spent: Spent) -> None:
        table.add_row(name, str(spent.calls), str(spent.micros), str(spent.input_tokens), str(spent.output_tokens))

    for model, spent in sorted(money.book.items()):
        row(f"{model}: book", spent)
        row(f"{model}: ledger's entries", money.entries.get(model, Spent()))
    row("book, in all", money.billed)
    row("ledger, the campaign's total", money.totals)
    row("ledger, the caller's days", money.days)
    when = "after the campaign's end" if money.outlived else "at the campaign's end"
    table.add_row(f"  found at the providers {when}", str(money.lost))
    table.add_row("  billed, but of no use", str(money.unusable))
    table.add_row("the campaign's result", "", str(money.result_micros))
    for scope, micros in money.committed.items():
        table.add_row(f"budget {scope}, committed", "", str(micros))
    table.add_row("budgets, still set aside", "", str(money.reserved))
    if money.left is not None:
        table.add_row("the rest may be set aside", "yes" if money.left.rest_granted else "NO")
        table.add_row("one µ$ more is denied", "yes" if money.left.more_denied else "NO")
    return table
