"""The demo's last screen: the product's account of the run beside the simulators' own books."""

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from cli.progress import dollars
from domain.delivery import MessageStatus
from domain.provider import FallbackStep
from domain.rate_limit import ACCOUNT_CEILING
from local.demo import Evidence, tokens
from local.scenario import MAX_COST, Scenario, is_blast

_ENDS = (
    MessageStatus.SENT,
    MessageStatus.SKIPPED,
    MessageStatus.FAILED,
    MessageStatus.CANCELLED,
    MessageStatus.REJECTED,
)


def show(evidence: Evidence, scenario: Scenario, seconds: float, console: Console) -> None:
    """Print the summary."""
    console.print(_product(evidence, scenario, seconds))
    console.print(_platform(evidence))


def _product(evidence: Evidence, scenario: Scenario, seconds: float) -> Table:
    result = evidence.result
    table = Table(title="what the product says", title_justify="left", show_header=False)
    table.add_row("status", result.status)
    ends = " + ".join(f"{result.outcomes.get(status, 0)} {status}" for status in _ENDS)
    table.add_row("audience", f"{result.audience} = {ends}: {'adds up' if evidence.adds_up else 'DOES NOT ADD UP'}")
    micros = result.detailed_costs.total_cost_micros
    limit = f", at most ${MAX_COST} allowed" if "maxCost" in scenario.request else ""
    table.add_row("cost", f"{dollars(micros)} ({micros} micro-dollars){limit}")
    table.add_row("tokens", tokens(evidence.recorded))
    table.add_row("providers", str(result.provider or "none"))
    for route in result.routes:
        table.add_row("routes", f"{route.answers} × {route.intent}: {route.target}, because of {route.reason}")
    table.add_row("fallbacks", str(result.fallback_count))
    for told, times in Counter(map(_step, result.fallback_history)).items():
        table.add_row("", f"{told}{f' ({times} times)' if times > 1 else ''}")
    for name, told in _special(evidence):
        table.add_row(name, told)
    if result.quality_score is not None and result.compliance_score is not None:
        table.add_row("scores", f"quality {result.quality_score:.2f}, compliance {result.compliance_score:.2f}")
    table.add_row("duration", f"campaign {result.processing_time / 1000:.1f} s, whole demo {seconds:.1f} s")
    return table


def _step(step: FallbackStep) -> str:
    """One step down the ladder, the same for every page."""
    purpose = step.purpose.partition("/")[0]
    who = f"{step.from_provider}/{step.model}" if step.model else "models"
    then = {"cache": "took the plan's general text", "none": "nobody was left to ask"}.get(step.to, f"asked {step.to}")
    return f"{purpose}: {who} gave no answer ({step.reason}), {then}"


def _special(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """What is not part of every campaign: general texts, a person's decisions, money that ran out."""
    result, reviewed = evidence.result, evidence.reviewed
    if result.cached:
        texts = len({message.text for message in evidence.messages if message.text})
        yield "cached", f"{result.cached} fans got a general text of the plan ({texts} different ones) for $0"
    if reviewed is not None:
        warned = sum(map(is_blast, evidence.messages))
        alike = f", {warned} of them because too many fans would get the same" if warned else ""
        yield "review", f"{reviewed.waited} drafts waited for a person{alike}"
    for message in evidence.messages:
        if message.revision:
            arrived = evidence.arrived.get((message.account_id, message.recipient_id), ())
            yield "edited", f"{message.recipient_id} got: {' / '.join(arrived) or 'nothing'}"
        if message.status is MessageStatus.REJECTED:
            arrived = evidence.arrived.get((message.account_id, message.recipient_id), ())
            yield "rejected", f"{message.recipient_id} got: {' / '.join(arrived) or 'nothing'}"
    skipped = Counter(message.reason for message in evidence.messages if message.status is MessageStatus.SKIPPED)
    for reason, number in skipped.items():
        yield "skipped", f"{number} fans: {reason}"


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
