"""A request that climbs down the ladder, and what both sides have in their books."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from temporalio.common import MetricMeter
from temporalio.testing import ActivityEnvironment

from activities.ladder import Answered, Ladder, LadderPorts, Question
from adapters.bootstrap import Ports
from adapters.prompt import FilePrompts
from domain.campaign import CampaignRecord
from domain.cost import Usage
from domain.progress import Tally
from domain.prompt import Refusal, read_batch
from domain.provider import ContentPlan, IntentType, Provider, WritingTask
from domain.rate_limit import MessageType
from tests.domain.builders import recipients
from tests.local import Simulator

OPENAI, AZURE, CHEAPER = "openai/gpt-4o-mini", "azure/gpt-4o", "openai/gpt-4.1-nano"
PLAN = ContentPlan(theme="Spring", tone="warm", angle="a", call_to_action="c")
Texts = Mapping[str, str]


@dataclass
class Clock:
    """A clock that stands still until it is told otherwise; in ms."""

    now_ms: int = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


class Asking:
    """A request of a new owner, with breakers of its own and a clock for them."""

    ladder: Ladder

    def __init__(self, ports: LadderPorts, record: CampaignRecord, clock: Clock) -> None:
        self.ports = ports
        self.record = record
        self.clock = clock
        self.tally = Tally()
        self.meter = MetricMeter.noop

    def question(self, key: str = "", fans: int = 2) -> Question[Texts]:
        prompts = FilePrompts()
        task = WritingTask(
            brief="Spring sale", message_type=MessageType.PROMOTIONAL, plan=PLAN, recipients=recipients(fans)
        )
        return Question(
            IntentType.MESSAGE_GENERATION,
            "write/test",
            "unit",
            lambda variant: prompts.write(task, variant),
            read_batch,
            key,
        )

    async def ask(
        self,
        question: Question[Texts] | None = None,
        *,
        attempt: int = 1,
        run: str = "",
        running_s: float = 0.0,
        refusals: Mapping[UUID, Refusal] | None = None,
    ) -> Answered[Texts]:
        ladder = self.ladder = Ladder(
            self.record,
            self.ports,
            Tally(),
            attempt=attempt,
            run=run or str(uuid4()),
            running_s=running_s,
            refusals=refusals or {},
        )
        environment = ActivityEnvironment()
        environment.metric_meter = self.meter
        try:
            return await environment.run(ladder.ask, question or self.question())
        finally:
            self.tally = ladder.tally

    @property
    def steps(self) -> list[tuple[str, str, str]]:
        return [(step.model, step.to, str(step.reason)) for step in self.tally.fallbacks]


Begin = Callable[..., Awaitable[Asking]]


async def booked(ports: Ports, asking: Asking) -> int:
    """What the ledger has for the request, in µ$."""
    return (await ports.costs.campaign_totals(asking.record.campaign_id)).cost_micros


async def billed(ports: Ports, ai: Simulator, dialect: str = "") -> int:
    """What the simulator's own book comes to at our prices, in µ$; of one provider, or of both."""
    return sum(
        ports.prices.price(Provider(entry["dialect"]), entry["model"]).micros(
            Usage(input_tokens=entry["input_tokens"], output_tokens=entry["output_tokens"])
        )
        for entry in (await ai.get("usage"))["requests"]
        if dialect in {"", entry["dialect"]}
    )


async def killed_during(
    asking: Asking, call: int, ai: Simulator, *, question: Question[Texts] | None = None, run: str = "r1"
) -> None:
    """The first attempt ends while OpenAI's call of this number is under way, and says nothing any more."""
    first = asyncio.create_task(asking.ask(question, run=run))
    async with asyncio.timeout(20):
        while await attempts(ai, "openai") < call:
            await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def attempts(ai: Simulator, dialect: str) -> int:
    """Chat completions that reached a provider."""
    calls = (await ai.get("calls"))["calls"]
    return sum(call["attempts"] for call in calls if (call["dialect"], call["endpoint"]) == (dialect, "chat"))
