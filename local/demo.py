"""The demo's evidence: what the simulators saw, set against what the product says, and the verdict over both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from adapters.cost import ListPrices
from adapters.settings import Environment, Settings
from domain.campaign import CampaignStatus
from domain.cost import Usage
from domain.delivery import TERMINAL, MessageStatus
from domain.progress import ClosingCheck, WorkflowResult
from domain.provider import Provider
from domain.rate_limit import ACCOUNT_CEILING

PLANNING_FAILURE: Mapping[str, object] = {"dialect": "azure", "kind": "server_error", "status": 503, "count": 1}
"""Azure answers the first call, which plans the campaign, with 503: OpenAI has to step in."""

AI_LATENCY_MS = 30


@dataclass(frozen=True, slots=True)
class AccountDelivery:
    """What the OnlyFans simulator accepted for one account; ``busiest``: most messages in any window."""

    accepted: int
    busiest: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both sides of the story.

    ``billed`` and ``billed_micros`` (at list price, each call rounded up) come from the AI simulator's book; they
    are None when a real service was used, whose book we can't read.
    """

    result: WorkflowResult
    deliveries: Mapping[str, AccountDelivery]
    duplicates: int
    billed: Usage | None
    billed_micros: int | None
    fault_armed: bool

    @property
    def sent(self) -> int:
        """Messages sent, as the product says."""
        return self.result.outcomes.get(MessageStatus.SENT, 0)

    @property
    def accepted(self) -> int:
        """Messages accepted, as the simulator says."""
        return sum(delivery.accepted for delivery in self.deliveries.values())

    @property
    def lost(self) -> int:
        """Messages that the product calls sent and that never arrived; one that came twice makes up for none."""
        return self.sent - (self.accepted - self.duplicates)

    @property
    def recorded(self) -> Usage:
        """Tokens in the product's ledger."""
        costs = self.result.detailed_costs
        return Usage(input_tokens=costs.input_tokens, output_tokens=costs.output_tokens)

    @property
    def adds_up(self) -> bool:
        """sent + skipped + failed + cancelled + rejected = audience."""
        return ClosingCheck(audience=self.result.audience, outcomes=self.result.outcomes).balanced


def what_does_not_hold(evidence: Evidence) -> tuple[str, ...]:
    """Every promise that was broken, in a sentence each; nothing when all of them hold."""
    result, most = evidence.result, ACCOUNT_CEILING.limit or 0
    broken: list[str] = []
    if result.status is not CampaignStatus.COMPLETED:
        broken.append(f"the campaign ended as {result.status}{f' ({result.reason})' if result.reason else ''}")
    if not evidence.adds_up:
        ended = sum(number for status, number in result.outcomes.items() if status in TERMINAL)
        still_open = sum(result.outcomes.values()) - ended
        rest = f", {still_open} are still open" if still_open else ""
        broken.append(f"the audience is {result.audience}, but {ended} recipients are accounted for{rest}")
    if evidence.duplicates:
        broken.append(f"{evidence.duplicates} messages arrived twice")
    if evidence.lost > 0:
        broken.append(f"{evidence.lost} messages count as sent, but never arrived")
    if evidence.lost < 0:
        broken.append(f"{-evidence.lost} messages arrived that do not count as sent")
    broken += [
        f"{account} got {delivery.busiest} messages in {ACCOUNT_CEILING.seconds:g} s, more than {most}"
        for account, delivery in sorted(evidence.deliveries.items())
        if delivery.busiest > most
    ]
    if evidence.billed is not None and evidence.billed != evidence.recorded:
        broken.append(f"the AI simulator billed {tokens(evidence.billed)}, the ledger has {tokens(evidence.recorded)}")
    recorded_micros = result.detailed_costs.total_cost_micros
    if evidence.billed_micros is not None and evidence.billed_micros != recorded_micros:
        broken.append(
            f"the AI simulator's calls cost {evidence.billed_micros} micro-dollars, the ledger has {recorded_micros}"
        )
    if evidence.fault_armed and not result.fallback_count:
        broken.append("Azure failed on purpose, but no fallback is on record")
    return tuple(broken)


def tokens(usage: Usage) -> str:
    """Tokens in words."""
    return f"{usage.input_tokens} tokens in and {usage.output_tokens} out"


class Simulators:
    """The control endpoints of the OnlyFans and the AI simulator."""

    def __init__(self, addresses: Mapping[str, str], env: Mapping[str, str]) -> None:
        self._onlyfans = addresses["OnlyFans simulator"]
        self._ai = addresses["AI simulator"]
        self.azure = env["AZURE_OPENAI_ENDPOINT"].startswith(self._ai)
        """Whether Azure is simulated."""
        self.openai = env["OPENAI_BASE_URL"].startswith(self._ai)
        """Whether OpenAI is simulated."""

    async def prepare(self) -> None:
        """Every simulated AI answer takes a moment; the first one of Azure fails."""
        await _ask("POST", f"{self._ai}/_control/latency", {"ms": AI_LATENCY_MS})
        if self.azure:
            await _ask("POST", f"{self._ai}/_control/faults", PLANNING_FAILURE)

    async def testify(self, result: WorkflowResult) -> Evidence:
        """What the simulators' own books say about a run that has ended."""
        report = await _ask("GET", f"{self._onlyfans}/_control/report?window={ACCOUNT_CEILING.seconds:g}")
        billed: Usage | None = None
        billed_micros: int | None = None
        if self.azure and self.openai:
            calls = (await _ask("GET", f"{self._ai}/_control/usage"))["requests"]
            billed = sum((_usage_of(call) for call in calls), Usage())
            billed_micros = list_price_micros(calls)
        return Evidence(
            result=result,
            deliveries={
                name: AccountDelivery(accepted=account["accepted"], busiest=account["max_in_window"])
                for name, account in report["accounts"].items()
            },
            duplicates=report["totals"]["duplicate_count"],
            billed=billed,
            billed_micros=billed_micros,
            fault_armed=self.azure,
        )


def list_price_micros(calls: Iterable[Mapping[str, Any]]) -> int:
    """What billed calls cost, in µ$: from the simulator's book alone, without the ledger's sums."""
    settings, prices = Settings(environment=Environment.DEVELOPMENT), ListPrices()
    # An Azure deployment may have any name; its price is that of the model behind it.
    priced_as = {Provider.AZURE: settings.azure_openai_model, Provider.OPENAI: settings.openai_model}
    return sum(
        prices.price(provider, priced_as[provider]).micros(_usage_of(call))
        for call in calls
        for provider in (Provider(call["dialect"]),)
    )


def _usage_of(call: Mapping[str, Any]) -> Usage:
    return Usage(input_tokens=call["input_tokens"], output_tokens=call["output_tokens"])


async def _ask(method: str, url: str, body: object = None) -> Any:
    # A proxy never leads to this machine.
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        response = await http.request(method, url, json=body)
        response.raise_for_status()
        return response.json()
