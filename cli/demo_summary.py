"""The demo's last screen: the product's account of the run beside the simulators' own books."""

from rich.console import Console
from rich.table import Table

from cli.progress import dollars
from domain.delivery import MessageStatus
from domain.rate_limit import ACCOUNT_CEILING
from local.demo import Evidence, tokens

_ENDS = (
    MessageStatus.SENT,
    MessageStatus.SKIPPED,
    MessageStatus.FAILED,
    MessageStatus.CANCELLED,
    MessageStatus.REJECTED,
)


def show(evidence: Evidence, seconds: float, console: Console) -> None:
    """Print the summary."""
    console.print(_product(evidence, seconds))
    console.print(_platform(evidence))


def _product(evidence: Evidence, seconds: float) -> Table:
    result = evidence.result
    table = Table(title="what the product says", title_justify="left", show_header=False)
    table.add_row("status", result.status)
    ends = " + ".join(f"{result.outcomes.get(status, 0)} {status}" for status in _ENDS)
    table.add_row("audience", f"{result.audience} = {ends}: {'adds up' if evidence.adds_up else 'DOES NOT ADD UP'}")
    micros = result.detailed_costs.total_cost_micros
    table.add_row("cost", f"{dollars(micros)} ({micros} micro-dollars)")
    table.add_row("tokens", tokens(evidence.recorded))
    table.add_row("providers", str(result.provider or "none"))
    table.add_row("fallbacks", str(result.fallback_count))
    for step in result.fallback_history:
        table.add_row("", f"{step.purpose}: {step.from_provider} failed ({step.reason}), asked {step.to}")
    if result.quality_score is not None and result.compliance_score is not None:
        table.add_row("scores", f"quality {result.quality_score:.2f}, compliance {result.compliance_score:.2f}")
    table.add_row("duration", f"campaign {result.processing_time / 1000:.1f} s, whole demo {seconds:.1f} s")
    return table


def _platform(evidence: Evidence) -> Table:
    table = Table(title="what the simulators' own books say", title_justify="left", show_header=False)
    window, limit = f"{ACCOUNT_CEILING.seconds:g} s", ACCOUNT_CEILING.limit
    for account, delivery in sorted(evidence.deliveries.items()):
        busiest = f"at most {delivery.busiest} in any {window} (limit {limit})"
        table.add_row(account, f"{delivery.accepted} accepted, {busiest}")
    table.add_row("accepted", f"{evidence.accepted} messages, {evidence.duplicates} duplicates, {evidence.lost} lost")
    if evidence.billed is None:
        table.add_row("AI usage", "not compared: a real service was used")
    else:
        same = evidence.billed == evidence.recorded
        table.add_row(
            "AI usage billed", f"{tokens(evidence.billed)}: {'matches' if same else 'DIFFERS FROM'} the ledger"
        )
        same = evidence.billed_micros == evidence.result.detailed_costs.total_cost_micros
        told = f"{evidence.billed_micros} micro-dollars: {'matches' if same else 'DIFFERS FROM'} the ledger"
        table.add_row("at list price", told)
    return table
