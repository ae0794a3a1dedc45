"""What the demo can show, as data: what goes wrong, what the campaign asks for, and what must have come of it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from domain.campaign import OnBudget
from domain.compliance import MAX_ALIKE, ComplianceLevel
from domain.cost import micros_from_dollars
from domain.delivery import Message, MessageStatus
from domain.errors import ErrorType
from domain.provider import PreferredProvider
from local.demo import Evidence

OUTAGE: Mapping[str, object] = {"kind": "server_error", "status": 503}
"""What a provider that is down answers."""

WRITING = '"recipients": ['
"""In every prompt that asks for messages, and in no prompt that asks for a plan."""

BLAST = "near-identical-blast"
"""The rule that lets a person look when many fans are to get the same text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing to show. ``env`` and ``faults`` are for the stack and the AI simulator, ``request`` for the API."""

    watch_for: str
    broken: Callable[[Evidence], Iterator[str]]
    """Every promise of this scenario that the evidence contradicts, in a sentence each."""
    env: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[Mapping[str, object], ...] = ()
    level: ComplianceLevel = ComplianceLevel.RELAXED
    request: Mapping[str, object] = field(default_factory=dict)
    at_least: int = 1
    """Fans without whom there is nothing to be seen."""
    fans: int | None = None
    """So many of the audience, at most; ``None``: everybody."""
    simulated_only: bool = False
    """Nobody can make a real service fail, or knows beforehand what it will bill."""

    def audience(self, members: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Whom the campaign writes to: the first of those that were given."""
        return list(members[: self.fans])


MAX_COST = Decimal("0.002")
"""US dollars: enough for what the plan may cost at most, and then for some of two dozen messages, not for all."""


def _no_fallback(evidence: Evidence) -> Iterator[str]:
    if evidence.fault_armed and not evidence.result.fallback_count:
        yield "Azure failed on purpose, but no fallback is on record"


def _not_cached(evidence: Evidence) -> Iterator[str]:
    result = evidence.result
    if result.cached != result.audience:
        yield f"nobody could write to {result.audience} fans, but {result.cached} general texts are on record"
    if unmarked := sum(message.origin is None or not message.origin.cached for message in _sent(evidence)):
        yield f"{unmarked} messages were sent that are not marked as general texts"
    if evidence.billed_calls is not None and evidence.billed_calls != 1:
        yield f"the plan is all that was to be paid for, but {evidence.billed_calls} calls were billed"
    alike = Counter(message.text for message in evidence.messages if message.text)
    most = max(alike.values(), default=0)
    flagged = [message for message in evidence.messages if is_blast(message)]
    if most > MAX_ALIKE + 1 and not flagged:
        yield f"{most} fans were to get the same text, and nobody was asked"
    if unseen := sum(message.status is MessageStatus.SENT and message.review is None for message in flagged):
        yield f"{unseen} near-identical messages were sent without a person's word"


def _not_reviewed(evidence: Evidence) -> Iterator[str]:
    reviewed = evidence.reviewed
    if reviewed is None:
        yield "nothing waited for a person"
        return
    if unseen := sum(message.review is None for message in _sent(evidence)):
        yield f"{unseen} messages were sent without a person's word"
    by_id = {message.message_id: message for message in evidence.messages}
    if reviewed.edited is not None:
        edited = by_id[reviewed.edited]
        if evidence.arrived.get((edited.account_id, edited.recipient_id)) != (reviewed.edited_text,):
            yield "the edited text did not arrive as it was edited"
    if reviewed.rejected is not None:
        rejected = by_id[reviewed.rejected]
        if rejected.status is not MessageStatus.REJECTED:
            yield f"the rejected message ended as {rejected.status}"
        if (rejected.account_id, rejected.recipient_id) in evidence.arrived:
            yield "the rejected message arrived"


def _over_budget(evidence: Evidence) -> Iterator[str]:
    most = micros_from_dollars(MAX_COST)
    spent = max(evidence.result.detailed_costs.total_cost_micros, evidence.billed_micros or 0)
    if spent > most:
        yield f"{spent} micro-dollars were spent, more than maxCost ({most})"
    skipped = [message for message in evidence.messages if message.status is MessageStatus.SKIPPED]
    if not evidence.sent:
        yield "the money was used up before anything could be sent"
    if not skipped:
        yield "the money was to be used up in the middle, but nobody was skipped"
    limit = str(ErrorType.COST_LIMIT_EXCEEDED)
    if otherwise := sum(message.reason != limit for message in skipped):
        yield f"{otherwise} messages were skipped for another reason than {limit}"


def is_blast(message: Message) -> bool:
    """Whether a person had to look because too many fans were to get the same text."""
    report = message.compliance
    return report is not None and any(violation.rule_id == BLAST for violation in report.violations)


def _sent(evidence: Evidence) -> Iterator[Message]:
    return (message for message in evidence.messages if message.status is MessageStatus.SENT)


SCENARIOS: Mapping[str, Scenario] = {
    "fallback": Scenario(
        watch_for="Azure OpenAI will answer the planning call with 503, twice: watch for the fallback to OpenAI",
        # One repetition is made before the other provider is asked.
        faults=({**OUTAGE, "dialect": "azure", "count": 2},),
        broken=_no_fallback,
    ),
    "cached": Scenario(
        watch_for=(
            "once the plan is made, both providers will answer every call with 503: watch for the plan's general "
            "texts, and for a person who is asked about texts that too many fans would get"
        ),
        env={"HUNTAZE_DRAFT_PATIENCE_S": "0"},
        faults=({**OUTAGE, "only_contains": WRITING},),
        simulated_only=True,
        broken=_not_cached,
    ),
    "review": Scenario(
        watch_for="nothing will be sent before a person has seen it: the demo plays that person",
        level=ComplianceLevel.STRICT,
        at_least=2,
        fans=8,
        broken=_not_reviewed,
    ),
    "budget": Scenario(
        watch_for=f"the campaign may cost ${MAX_COST}, too little for everybody: watch it stop before it is exceeded",
        # A call a fan, one after the other: the money ends between two fans.
        env={"HUNTAZE_MESSAGES_PER_CALL": "1", "HUNTAZE_GENERATION_CONCURRENCY": "1"},
        request={
            "maxCost": str(MAX_COST),
            "onBudget": str(OnBudget.STOP),
            "preferredProvider": str(PreferredProvider.OPENAI),
        },
        at_least=24,
        fans=24,
        simulated_only=True,
        broken=_over_budget,
    ),
}
"""By the name that the command line knows them by."""
