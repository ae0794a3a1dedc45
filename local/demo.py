"""The demo's evidence: what the simulators saw, set against what the product says, and the verdict over both."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from adapters.price import ListPrices
from adapters.settings import Environment, Settings
from domain.campaign import CampaignStatus
from domain.cost import Usage
from domain.delivery import TERMINAL, Message, MessageStatus
from domain.progress import ClosingCheck, WorkflowResult
from domain.provider import Provider
from domain.rate_limit import ACCOUNT_CEILING

AI_LATENCY_MS = 30


@dataclass(frozen=True, slots=True)
class AccountDelivery:
    """What the OnlyFans simulator accepted for one account; ``busiest``: most messages in any window."""

    accepted: int
    busiest: int


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What the person whom the demo plays found waiting, and did about it. Everything else was approved."""

    waited: int
    edited: UUID | None = None
    edited_text: str = ""
    rejected: UUID | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both sides of the story.

    ``arrived``: the OnlyFans simulator's book, by account and fan. ``billed``, ``billed_micros`` (at list price, each
    call rounded up) and ``billed_calls`` come from the AI simulator's book; they are None when a real service was
    used, whose book we can't read.
    """

    result: WorkflowResult
    messages: Sequence[Message]
    deliveries: Mapping[str, AccountDelivery]
    arrived: Mapping[tuple[str, str], tuple[str, ...]]
    duplicates: int
    billed: Usage | None
    billed_micros: int | None
    billed_calls: int | None
    fault_armed: bool
    reviewed: Reviewed | None = None

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
    def changed_on_the_way(self) -> int:
        """Fans who got something else than the text that the product says was sent to them."""
        return sum(
            message.text not in texts
            for message in self.messages
            if message.status is MessageStatus.SENT
            and (texts := self.arrived.get((message.account_id, message.recipient_id)))
        )

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
    if evidence.changed_on_the_way:
        broken.append(f"{evidence.changed_on_the_way} fans got another text than the product says")
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

    async def prepare(self, faults: Iterable[Mapping[str, object]]) -> bool:
        """Every simulated AI answer takes a moment; arm ``faults``, if they have somebody to strike: whether they do.

        A fault that names no provider is meant for both.
        """
        await _ask("POST", f"{self._ai}/_control/latency", {"ms": AI_LATENCY_MS})
        simulated = {str(Provider.AZURE): self.azure, str(Provider.OPENAI): self.openai}
        armed = [fault for fault in faults if simulated.get(str(fault.get("dialect")), any(simulated.values()))]
        for fault in armed:
            await _ask("POST", f"{self._ai}/_control/faults", fault)
        return bool(armed)

    async def testify(
        self, result: WorkflowResult, messages: Sequence[Message], reviewed: Reviewed | None, *, fault_armed: bool
    ) -> Evidence:
        """What the simulators' own books say about a run that has ended."""
        report = await _ask("GET", f"{self._onlyfans}/_control/report?window={ACCOUNT_CEILING.seconds:g}")
        received = await _ask("GET", f"{self._onlyfans}/_control/received")
        calls: list[dict[str, Any]] | None = None
        if self.azure and self.openai:
            calls = (await _ask("GET", f"{self._ai}/_control/usage"))["requests"]
        return Evidence(
            result=result,
            messages=messages,
            deliveries={
                name: AccountDelivery(accepted=account["accepted"], busiest=account["max_in_window"])
                for name, account in report["accounts"].items()
            },
            arrived=_texts(received["received"]),
            duplicates=report["totals"]["duplicate_count"],
            billed=None if calls is None else sum((_usage_of(call) for call in calls), Usage()),
            billed_micros=None if calls is None else list_price_micros(calls),
            billed_calls=None if calls is None else len(calls),
            fault_armed=fault_armed,
            reviewed=reviewed,
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


def _texts(received: Mapping[str, Mapping[str, Iterable[Mapping[str, str]]]]) -> dict[tuple[str, str], tuple[str, ...]]:
    """What is in each fan's chat."""
    return {
        (account, chat): tuple(copy["text"] for copy in copies)
        for account, chats in received.items()
        for chat, copies in chats.items()
    }


def _usage_of(call: Mapping[str, Any]) -> Usage:
    return Usage(input_tokens=call["input_tokens"], output_tokens=call["output_tokens"])


async def _ask(method: str, url: str, body: object = None) -> Any:
    # A proxy never leads to this machine.
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        response = await http.request(method, url, json=body)
        response.raise_for_status()
        return response.json()
