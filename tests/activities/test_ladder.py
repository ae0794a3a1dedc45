"""The ladder by itself: what each class of error leads to, who is asked next, and that every cent is booked once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from temporalio.common import MetricMeter
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig
from temporalio.testing import ActivityEnvironment

from activities.ladder import Answered, Ladder, LadderPorts, Question, descent
from activities.ladder import earlier as look_up
from activities.ladder.reconciliation import Findings, reconcile
from adapters.bootstrap import Ports
from adapters.breaker import RedisBreaker
from adapters.prompt import FilePrompts
from adapters.provider import open_models
from adapters.settings import Settings
from api.intake import accept
from domain.access import Principal, Role
from domain.alert import AlertKind
from domain.breaker import BreakerPolicy
from domain.budget import BudgetScope, budgets
from domain.campaign import CampaignRecord
from domain.compliance import ComplianceLevel
from domain.cost import CostHold, CostTotals, Usage, dollars_from_micros
from domain.errors import CostLimitExceeded, ProviderError, ProviderFault
from domain.experiment import Metric, MetricTotals
from domain.progress import Tally
from domain.prompt import Variant, read_batch
from domain.provider import (
    ContentPlan,
    FallbackReason,
    IntentType,
    PreferredProvider,
    Provider,
    WritingTask,
)
from domain.rate_limit import MessageType
from domain.review import AutonomyOptIn
from domain.routing import Experiment, PassedOver, RouteReason, Target
from tests.adapters.canned import canned
from tests.domain.builders import recipients
from tests.local import Simulator
from tests.workflows.launcher import intent
from worker import generation

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

    async def ask(self, question: Question[Texts] | None = None, *, attempt: int = 1, run: str = "") -> Answered[Texts]:
        ladder = Ladder(self.record, self.ports, Tally(), attempt=attempt, run=run or str(uuid4()))
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


@pytest.fixture
async def begin(ports: Ports, settings: Settings, ai: Simulator, redis: Redis) -> Begin:
    """Starts a request; ``changes`` are those of the ladder's ports."""

    async def started(*, max_cost: str | None = None, preferred: str = "auto", **changes: Any) -> Asking:
        wanted = intent(1).model_copy(
            update={
                "max_cost": None if max_cost is None else Decimal(max_cost),
                "preferred_provider": PreferredProvider(preferred),
            }
        )
        account = wanted.only_fans_context.account_id
        await ports.autonomy.put(
            AutonomyOptIn(account_id=account, level=ComplianceLevel.RELAXED, granted_at=datetime.now(UTC))
        )
        owner = Principal(user_id=f"owner-{uuid4()}", role=Role.OPERATOR)
        record, _ = await accept(wanted, str(uuid4()), owner, ports, settings, datetime.now(UTC))
        clock = Clock()
        breaker = RedisBreaker(redis, BreakerPolicy(), clock_ms=clock)
        return Asking(replace(generation(ports, settings).ladder, **{"breaker": breaker, **changes}), record, clock)

    return started


async def booked(ports: Ports, asking: Asking) -> int:
    """What the ledger has for the request, in µ$."""
    return (await ports.costs.campaign_totals(asking.record.campaign_id)).cost_micros


async def billed(ports: Ports, ai: Simulator) -> int:
    """What the simulator's own book comes to at our prices, in µ$."""
    return sum(
        ports.prices.price(Provider(entry["dialect"]), entry["model"]).micros(
            Usage(input_tokens=entry["input_tokens"], output_tokens=entry["output_tokens"])
        )
        for entry in (await ai.get("usage"))["requests"]
    )


class TestTheUsualWay:
    async def test_the_first_of_the_route_answers(self, begin: Begin, ports: Ports, ai: Simulator) -> None:
        asking = await begin()
        answer = await asking.ask()
        assert (answer.target.key, len(answer.value)) == (OPENAI, 2)
        assert asking.steps == []
        (route,) = asking.tally.routes
        assert (route.target, route.reason) == (OPENAI, RouteReason.POLICY)
        assert await booked(ports, asking) == await billed(ports, ai) > 0

    async def test_a_preference_goes_first(self, begin: Begin) -> None:
        asking = await begin(preferred="azure")
        assert (await asking.ask()).target.key == AZURE
        assert asking.tally.routes[0].reason is RouteReason.PREFERENCE


class TestOneStory:
    """The result names everybody who stood before the one that answered, and what really was in the way."""

    async def test_an_open_breaker(self, begin: Begin, ai: Simulator) -> None:
        asking = await begin(preferred="azure")
        for _ in range(5):
            await asking.ports.breaker.failed(AZURE, await asking.ports.breaker.admit(AZURE))
        await asking.ask()
        (route,) = asking.tally.routes
        assert (route.target, route.reason) == (OPENAI, RouteReason.FALLBACK)
        assert route.passed_over == (PassedOver(target=AZURE, reason=FallbackReason.BREAKER_OPEN),)

    async def test_an_outage(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("server_error", status=503, dialect="openai")
        asking = await begin()
        await asking.ask()
        assert asking.tally.routes[0].passed_over == (PassedOver(target=OPENAI, reason=ProviderFault.TRANSIENT),)

    async def test_a_budget(self, begin: Begin) -> None:
        asking = await begin(max_cost="0.000340")
        await asking.ask()
        (route,) = asking.tally.routes
        assert (route.target, route.reason) == (CHEAPER, RouteReason.CHEAPER)
        assert route.passed_over == (PassedOver(target=OPENAI, reason=FallbackReason.BUDGET),)

    async def test_a_small_context_sends_the_prompt_to_a_larger_one_as_it_is(
        self, begin: Begin, ports: Ports, ai: Simulator
    ) -> None:
        small = Target(provider=Provider.OPENAI, model="gpt-4o-mini", context_tokens=600)
        azure = ports.routing.routes[IntentType.MESSAGE_GENERATION][1]
        routes = dict.fromkeys(IntentType, (small, azure))
        asking = await begin(routing=ports.routing.model_copy(update={"routes": routes}))
        answer = await asking.ask()
        assert (answer.target.key, asking.steps) == (AZURE, [])
        assert "/" not in answer.prompt_version
        (route,) = asking.tally.routes
        assert route.passed_over == (PassedOver(target=OPENAI, reason=ProviderFault.CONTEXT_LENGTH),)

    async def test_metrics_tell_it_too(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("server_error", status=503, dialect="azure")
        asking = await begin(preferred="azure")
        buffer = MetricBuffer(10_000)
        asking.meter = Runtime(telemetry=TelemetryConfig(metrics=buffer)).metric_meter
        for number in range(6):
            await asking.ask(asking.question(str(number)))
        await ai.http.delete("/_control/faults")
        asking.clock.now_ms += 30_001
        await asking.ask(asking.question("after"))
        counted: Counter[tuple[str, ...]] = Counter()
        for update in buffer.retrieve_updates():
            labels = {str(name): str(value) for name, value in update.attributes.items()}
            if labels.get("target") == AZURE:
                told = labels.get("to", "") if "breaker" in update.metric.name else labels.get("reason", "")
                counted[update.metric.name, told] += int(update.value)
        assert {name: number for name, number in counted.items() if "status" not in name[0]} == {
            # Each question asks twice; the third one finds the breaker open when it repeats its call.
            ("huntaze_breaker_failures", ""): 5,
            ("huntaze_breaker_transitions", "open"): 1,
            ("huntaze_breaker_rejections", ""): 4,
            ("huntaze_breaker_transitions", "half_open"): 1,
            ("huntaze_breaker_transitions", "closed"): 1,
            ("huntaze_provider_passed_over", "transient"): 2,
            ("huntaze_provider_passed_over", "breaker_open"): 4,
            ("huntaze_provider_fallbacks", "transient"): 2,
            ("huntaze_provider_fallbacks", "breaker_open"): 4,
            ("huntaze_provider_answers", "preference"): 1,
            ("huntaze_provider_latency", ""): counted["huntaze_provider_latency", ""],
        }

    async def test_the_gauge_shows_a_breaker_as_it_was_left(self, begin: Begin, ai: Simulator, redis: Redis) -> None:
        clock, buffer = Clock(), MetricBuffer(10_000)
        asking = await begin(breaker=RedisBreaker(redis, BreakerPolicy(failures=1), clock_ms=clock))
        asking.meter = Runtime(telemetry=TelemetryConfig(metrics=buffer)).metric_meter

        async def shown() -> int | float:
            await asking.ask()
            name = "huntaze_breaker_status"
            updates = [each for each in buffer.retrieve_updates() if each.metric.name == name]
            return [each.value for each in updates if each.attributes["target"] == OPENAI][-1]

        await ai.fault("unauthorized", dialect="openai")
        assert await shown() == 2
        await ai.http.delete("/_control/faults")
        clock.now_ms += 30_001
        assert await shown() == 0


class TestErrorClasses:
    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ({"kind": "rate_limited", "retry_after_s": 30}, ProviderFault.THROTTLED),
            ({"kind": "server_error", "status": 503}, ProviderFault.TRANSIENT),
            ({"kind": "unauthorized"}, ProviderFault.AUTH),
            ({"kind": "connection_reset"}, ProviderFault.TRANSIENT),
        ],
    )
    async def test_an_outage_falls_back(
        self, begin: Begin, ports: Ports, ai: Simulator, fault: dict[str, Any], reason: ProviderFault
    ) -> None:
        await ai.fault(**fault, dialect="openai")
        asking = await begin()
        assert (await asking.ask()).target.key == AZURE
        assert asking.steps == [("gpt-4o-mini", AZURE, reason)]
        assert await booked(ports, asking) == await billed(ports, ai)

    async def test_a_hanging_provider_is_left_after_the_time_out(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("hang", dialect="openai")
        asking = await begin(call_timeout_s=0.3)
        assert (await asking.ask()).target.key == AZURE
        assert asking.steps == [("gpt-4o-mini", AZURE, ProviderFault.TIMEOUT)]
        assert asking.tally.unresolved == 1

    async def test_a_short_trouble_is_waited_out(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("server_error", dialect="openai", count=1)
        asking = await begin()
        assert (await asking.ask()).target.key == OPENAI
        assert asking.steps == []

    @pytest.mark.parametrize(("retry_after_s", "answered_by", "calls"), [(0.2, OPENAI, (2, 0)), (2.5, AZURE, (1, 1))])
    async def test_only_a_short_wait_is_waited_out(
        self, begin: Begin, ai: Simulator, retry_after_s: float, answered_by: str, calls: tuple[int, int]
    ) -> None:
        await ai.fault("rate_limited", retry_after_s=retry_after_s, dialect="openai", count=1)
        assert (await (await begin()).ask()).target.key == answered_by
        assert (await attempts(ai, "openai"), await attempts(ai, "azure")) == calls

    async def test_a_bad_request_is_neither_repeated_nor_shopped_around(
        self, begin: Begin, settings: Settings, ai: Simulator
    ) -> None:
        async with canned(400, {"error": {"message": "Unknown parameter."}}) as openai:
            nearby = settings.model_copy(update={"openai_base_url": f"{openai.url}/v1"})
            async with open_models(nearby) as models:
                asking = await begin(models=models)
                with pytest.raises(ProviderError) as refused:
                    await asking.ask()
        assert refused.value.fault is ProviderFault.INVALID_REQUEST
        assert asking.steps == [("gpt-4o-mini", "none", ProviderFault.INVALID_REQUEST)]
        assert (openai.requests, await attempts(ai, "azure")) == (1, 0)

    async def test_a_rejected_key_is_an_alert(self, begin: Begin, ports: Ports, ai: Simulator) -> None:
        await ai.fault("unauthorized", dialect="openai")
        before = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        await (await begin()).ask()
        kinds = {alert.kind for alert in await ports.alerts.since(before)}
        assert AlertKind.PROVIDER_AUTH in kinds

    async def test_a_refusal_is_rewritten_once_by_the_same_provider(
        self, begin: Begin, ports: Ports, ai: Simulator
    ) -> None:
        await ai.fault("content_filter", dialect="openai", unless_contains="stopped by a content filter")
        asking = await begin()
        answer = await asking.ask()
        assert answer.target.key == OPENAI
        assert answer.prompt_version.endswith("/safe")
        assert asking.steps == [("gpt-4o-mini", "rewrite", ProviderFault.CONTENT_POLICY)]
        assert await booked(ports, asking) == await billed(ports, ai)

    async def test_a_refusal_is_never_shopped_around_and_trips_no_breaker(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai")
        asking = await begin()
        for _ in range(6):
            with pytest.raises(ProviderError) as refused:
                await asking.ask()
            assert refused.value.fault is ProviderFault.CONTENT_POLICY
        assert [to for _, to, _ in asking.steps] == ["rewrite", "none"]
        assert {call["dialect"] for call in (await ai.get("calls"))["calls"] if call["endpoint"] == "chat"} == {
            "openai"
        }
        (view,) = await asking.ports.breaker.views([OPENAI])
        assert (view.status, view.failures) == ("closed", 0)

    async def test_a_malformed_answer_is_repaired_once_and_paid_for(
        self, begin: Begin, ports: Ports, ai: Simulator
    ) -> None:
        await ai.fault("malformed_json", dialect="openai", count=1)
        asking = await begin()
        answer = await asking.ask()
        assert (answer.target.key, answer.prompt_version.endswith("/repair")) == (OPENAI, True)
        assert asking.steps == [("gpt-4o-mini", "repair", ProviderFault.MALFORMED_OUTPUT)]
        assert len((await ai.get("usage"))["requests"]) == 2
        assert await booked(ports, asking) == await billed(ports, ai)

    async def test_what_stays_malformed_goes_to_the_next(self, begin: Begin, ports: Ports, ai: Simulator) -> None:
        await ai.fault("malformed_json", dialect="openai")
        asking = await begin()
        assert (await asking.ask()).target.key == AZURE
        assert [to for _, to, _ in asking.steps] == ["repair", AZURE]
        assert await booked(ports, asking) == await billed(ports, ai)

    async def test_what_is_too_long_is_shortened_once(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("context_length", dialect="openai", unless_contains="at most 120 characters")
        asking = await begin()
        answer = await asking.ask()
        assert (answer.target.key, answer.prompt_version.endswith("/short")) == (OPENAI, True)
        assert asking.steps == [("gpt-4o-mini", "shorten", ProviderFault.CONTEXT_LENGTH)]

    async def test_nobody_can(self, begin: Begin, ports: Ports, ai: Simulator) -> None:
        await ai.fault("server_error", status=503)
        asking = await begin()
        with pytest.raises(ProviderError) as failed:
            await asking.ask()
        assert failed.value.fault is ProviderFault.TRANSIENT
        assert [to for _, to, _ in asking.steps] == [AZURE, "none"]
        assert await booked(ports, asking) == 0

    async def test_one_deadline_bounds_the_chain(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("hang")
        asking = await begin(call_timeout_s=20, deadline_s=0.5)
        with pytest.raises(ProviderError) as failed:
            await asyncio.wait_for(asking.ask(), 10)
        assert failed.value.fault is ProviderFault.TIMEOUT
        assert asking.steps[-1][2] == FallbackReason.DEADLINE


REWRITE = "stopped by a content filter"
"""Only the safe wording holds it."""


class TestRefusals:
    """After a refusal the same provider is asked once more, in a tamer wording, and nobody else ever."""

    @pytest.fixture
    async def refusing(self, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai", unless_contains=REWRITE)

    async def refused(self, asking: Asking, ai: Simulator) -> list[tuple[str, str]]:
        """The steps of a question that ends as a refusal, without a call to Azure."""
        with pytest.raises(ProviderError) as error:
            await asking.ask()
        assert error.value.fault is ProviderFault.CONTENT_POLICY
        assert await attempts(ai, "azure") == 0
        return [(to, reason) for _, to, reason in asking.steps]

    @pytest.mark.usefixtures("refusing")
    async def test_an_outage_of_the_rewrite_is_repeated_there(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("server_error", status=503, dialect="openai", only_contains=REWRITE)
        steps = await self.refused(await begin(), ai)
        assert steps == [("rewrite", ProviderFault.CONTENT_POLICY), ("none", ProviderFault.TRANSIENT)]
        assert await attempts(ai, "openai") == 3

    @pytest.mark.usefixtures("refusing")
    async def test_a_short_outage_of_the_rewrite_is_no_harm(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("server_error", status=503, dialect="openai", only_contains=REWRITE, count=1)
        answer = await (await begin()).ask()
        assert (answer.target.key, answer.prompt_version.endswith("/safe")) == (OPENAI, True)

    @pytest.mark.usefixtures("refusing")
    async def test_a_rewrite_that_times_out(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("hang", dialect="openai", only_contains=REWRITE, hang_s=5)
        steps = await self.refused(await begin(call_timeout_s=1), ai)
        assert steps == [("rewrite", ProviderFault.CONTENT_POLICY), ("none", ProviderFault.TIMEOUT)]

    @pytest.mark.usefixtures("refusing")
    async def test_a_breaker_that_opens_on_the_rewrite(self, begin: Begin, ai: Simulator, redis: Redis) -> None:
        await ai.fault("server_error", status=503, dialect="openai", only_contains=REWRITE)
        easily = RedisBreaker(redis, BreakerPolicy(failures=1), clock_ms=Clock())
        steps = await self.refused(await begin(breaker=easily), ai)
        assert steps == [("rewrite", ProviderFault.CONTENT_POLICY), ("none", FallbackReason.BREAKER_OPEN)]

    @pytest.mark.usefixtures("refusing")
    async def test_a_rewrite_that_is_not_affordable(self, begin: Begin, ports: Ports, ai: Simulator) -> None:
        prompt = (await begin()).question().prompt(Variant.USUAL)
        tokens = ports.tokens.of_prompt(prompt, "gpt-4o-mini")
        most = ports.prices.price(Provider.OPENAI, "gpt-4o-mini").most(tokens, prompt.max_output_tokens)
        steps = await self.refused(await begin(max_cost=str(dollars_from_micros(most))), ai)
        assert steps == [("rewrite", ProviderFault.CONTENT_POLICY), ("none", FallbackReason.BUDGET)]
        assert {entry["model"] for entry in (await ai.get("usage"))["requests"]} == {"gpt-4o-mini"}

    async def test_a_refusal_of_another_wording_is_rewritten_as_well(
        self, begin: Begin, ports: Ports, ai: Simulator
    ) -> None:
        await ai.fault("malformed_json", dialect="openai", count=1)
        await ai.fault("content_filter", dialect="openai", unless_contains=REWRITE)
        asking = await begin()
        answer = await asking.ask()
        assert (answer.target.key, answer.prompt_version.endswith("/safe")) == (OPENAI, True)
        assert [to for _, to, _ in asking.steps] == ["repair", "rewrite"]
        assert await booked(ports, asking) == await billed(ports, ai)

    async def test_a_rewrite_that_is_malformed_is_not_repaired(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai", count=1)
        await ai.fault("malformed_json", dialect="openai", count=1)
        steps = await self.refused(await begin(), ai)
        assert steps == [("rewrite", ProviderFault.CONTENT_POLICY), ("none", ProviderFault.MALFORMED_OUTPUT)]
        assert await attempts(ai, "openai") == 2


class TestOutages:
    """One request a second for 60 s, on the breaker's clock."""

    async def test_503_reaches_azure_five_times_and_then_one_probe_every_30_s(
        self, begin: Begin, ai: Simulator
    ) -> None:
        await ai.fault("server_error", status=503, dialect="azure")
        asking = await begin(preferred="azure")
        for second in range(60):
            assert (await asking.ask(asking.question(str(second)))).target.key == OPENAI
            asking.clock.now_ms += 1_000
        assert await attempts(ai, "azure") <= 5 + 2
        assert await attempts(ai, "openai") == 60
        await ai.http.delete("/_control/faults")
        asking.clock.now_ms += 30_000
        assert (await asking.ask(asking.question("after"))).target.key == AZURE
        (view,) = await asking.ports.breaker.views([AZURE])
        assert view.status == "closed"

    async def test_a_hanging_azure_holds_up_the_first_five_callers_only(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("hang", dialect="azure", hang_s=5)
        asking = await begin(preferred="azure", call_timeout_s=0.2)
        waited = []
        for second in range(60):
            assert (await asking.ask(asking.question(str(second)))).target.key == OPENAI
            waited.append(asking.steps[0][2])
            asking.clock.now_ms += 1_000
        timeout, rejected = ProviderFault.TIMEOUT, FallbackReason.BREAKER_OPEN
        # The one in the second half minute is the probe: it waits, but for less long.
        assert waited == [timeout] * 5 + [rejected] * 29 + [timeout] + [rejected] * 25
        assert await attempts(ai, "azure") == 6

    async def opened(self, asking: Asking) -> None:
        """After five failures of calls to Azure the breaker asks for a probe."""
        for _ in range(5):
            await asking.ports.breaker.failed(AZURE, await asking.ports.breaker.admit(AZURE))
        asking.clock.now_ms += 30_001

    async def test_a_probe_of_a_hanging_azure_waits_for_less_long_than_a_call_may(
        self, begin: Begin, ai: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(descent, "PROBE_TIMEOUT_S", 0.2)
        await ai.fault("hang", dialect="azure", hang_s=600)
        asking = await begin(preferred="azure", call_timeout_s=600, deadline_s=600)
        await self.opened(asking)
        async with asyncio.timeout(60):
            assert (await asking.ask()).target.key == OPENAI
        assert asking.steps == [("gpt-4o", OPENAI, ProviderFault.TIMEOUT)]
        assert await attempts(ai, "azure") == 1

    async def test_an_azure_that_is_slow_but_well_closes_its_breaker(
        self, begin: Begin, ai: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(descent, "PROBE_TIMEOUT_S", 0.05)
        await ai.fault("latency", dialect="azure", latency_ms=500)
        asking = await begin(preferred="azure")
        await self.opened(asking)
        answered_by = []
        for number in range(descent.PATIENT_PROBE):
            answered_by.append((await asking.ask(asking.question(str(number)))).target.key)
            asking.clock.now_ms += 30_001
        assert answered_by == [OPENAI] * (descent.PATIENT_PROBE - 1) + [AZURE]
        (view,) = await asking.ports.breaker.views([AZURE])
        assert view.status == "closed"

    async def test_recovery_is_found_by_a_single_probe_of_many_callers(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("server_error", status=503, dialect="azure")
        asking = await begin(preferred="azure")
        for number in range(5):
            await asking.ask(asking.question(f"before {number}"))
        before = await attempts(ai, "azure")
        await ai.http.delete("/_control/faults")
        await ai.fault("latency", dialect="azure", latency_ms=300)
        asking.clock.now_ms += 30_001
        ladders = [Ladder(asking.record, asking.ports, Tally(), attempt=1, run=str(uuid4())) for _ in range(20)]
        answers = await asyncio.gather(
            *(
                ActivityEnvironment().run(ladder.ask, asking.question(f"many {number}"))
                for number, ladder in enumerate(ladders)
            )
        )
        assert sorted(answer.target.key for answer in answers) == [AZURE] + [OPENAI] * 19
        assert await attempts(ai, "azure") == before + 1


async def attempts(ai: Simulator, dialect: str) -> int:
    """Chat completions that reached a provider."""
    calls = (await ai.get("calls"))["calls"]
    return sum(call["attempts"] for call in calls if (call["dialect"], call["endpoint"]) == (dialect, "chat"))


class TestMoney:
    async def test_too_little_left_means_a_cheaper_model(self, begin: Begin, ports: Ports, ai: Simulator) -> None:
        asking = await begin(max_cost="0.000340")
        answer = await asking.ask()
        assert answer.target.key == CHEAPER
        assert asking.steps == [("gpt-4o-mini", CHEAPER, FallbackReason.BUDGET)]
        assert await booked(ports, asking) == await billed(ports, ai)

    async def test_nothing_left_means_no_call(self, begin: Begin, ai: Simulator) -> None:
        asking = await begin(max_cost="0.000001")
        with pytest.raises(CostLimitExceeded) as short:
            await asking.ask()
        assert short.value.scope == "request"
        assert (await ai.get("usage"))["requests"] == []

    async def test_an_unknown_model_costs_the_most_and_is_an_alert(
        self, begin: Begin, ports: Ports, ai: Simulator
    ) -> None:
        unknown = ports.routing.routes[IntentType.MESSAGE_GENERATION][0].model_copy(
            update={"priced_as": f"never-heard-of-{uuid4()}"}
        )
        routes = dict.fromkeys(IntentType, (unknown,))
        asking = await begin(routing=ports.routing.model_copy(update={"routes": routes, "cheaper": ()}))
        before = datetime.now(UTC)
        await asking.ask()
        assert await booked(ports, asking) > 10 * await billed(ports, ai)
        assert await self.told_of(unknown, ports, before)

    async def test_a_limit_that_an_unknown_price_exceeds_has_an_alert_that_says_why(
        self, begin: Begin, ports: Ports, ai: Simulator
    ) -> None:
        unknown = Target(provider=Provider.OPENAI, model="gpt-4o-mini", priced_as=f"never-heard-of-{uuid4()}")
        routes = dict.fromkeys(IntentType, (unknown,))
        policy = ports.routing.model_copy(update={"routes": routes, "cheaper": ()})
        asking = await begin(routing=policy, max_cost="0.000500")
        before = datetime.now(UTC)
        with pytest.raises(CostLimitExceeded):
            await asking.ask()
        assert (await ai.get("usage"))["requests"] == []
        assert await self.told_of(unknown, ports, before)

    async def told_of(self, unknown: Target, ports: Ports, before: datetime) -> bool:
        return any(
            alert.kind is AlertKind.UNKNOWN_PRICE and unknown.price_name in alert.detail
            for alert in await ports.alerts.since(before)
        )


class TestExperiments:
    """An arm is charged with its own answers, whenever they arrive."""

    @pytest.fixture
    def experiment(self, ports: Ports) -> Experiment:
        arm = Target(provider=Provider.OPENAI, model="gpt-4o-mini", weight=1)
        other = Target(provider=Provider.AZURE, model="gpt-4o")
        name, asked_for = f"arms-{uuid4()}", IntentType.MESSAGE_GENERATION
        return Experiment(name=name, intent=asked_for, arms={"present": arm, "candidate": other})

    async def observed(self, ports: Ports, experiment: Experiment) -> dict[Metric, MetricTotals]:
        """Of the arm that has all the traffic."""
        (totals,) = await ports.experiments.results(experiment.name)
        assert totals.arm == "present"
        return totals.metrics

    async def test_an_answer_adds_its_cost_and_latency_to_its_arm(
        self, begin: Begin, ports: Ports, experiment: Experiment
    ) -> None:
        asking = await begin(routing=ports.routing.model_copy(update={"experiments": (experiment,)}))
        answer = await asking.ask()
        assert (answer.experiment, answer.arm) == (experiment.name, "present")
        observed = await self.observed(ports, experiment)
        assert observed[Metric.COST_MICROS].mean == await booked(ports, asking)
        assert observed[Metric.LATENCY_MS].count == 1

    async def test_one_of_somebody_else_adds_nothing(
        self, begin: Begin, ports: Ports, ai: Simulator, experiment: Experiment
    ) -> None:
        await ai.fault("server_error", status=503, dialect="openai")
        asking = await begin(routing=ports.routing.model_copy(update={"experiments": (experiment,)}))
        assert (await asking.ask()).arm == ""
        assert await ports.experiments.results(experiment.name) == []

    async def test_one_that_a_later_attempt_finds_adds_its_cost_once(
        self, begin: Begin, ports: Ports, ai: Simulator, experiment: Experiment
    ) -> None:
        asking = await begin(routing=ports.routing.model_copy(update={"experiments": (experiment,)}), call_timeout_s=1)
        await ai.fault("hang", dialect="openai", bill=True, count=1, hang_s=5)
        await ai.fault("server_error", status=503, dialect="azure")
        with pytest.raises(ProviderError):
            await asking.ask(run="r1")
        for attempt in (2, 3):
            assert (await asking.ask(attempt=attempt, run="r1")).arm == "present"
        observed = await self.observed(ports, experiment)
        assert (observed[Metric.COST_MICROS].count, set(observed)) == (1, {Metric.COST_MICROS})
        assert observed[Metric.COST_MICROS].mean == await booked(ports, asking)


class TestNothingIsBoughtTwice:
    async def test_an_attempt_after_a_crash_finds_what_was_bought(
        self, begin: Begin, ports: Ports, ai: Simulator
    ) -> None:
        asking = await begin()
        await ai.fault("hang", dialect="openai", bill=True, count=1)
        first = asyncio.create_task(asking.ask(run="r1"))
        async with asyncio.timeout(20):
            while not (await ai.get("usage"))["requests"]:
                await asyncio.sleep(0.02)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        buffer = MetricBuffer(10_000)
        asking.meter = Runtime(telemetry=TelemetryConfig(metrics=buffer)).metric_meter
        answer = await asking.ask(attempt=2, run="r1")
        assert answer.target.key == OPENAI
        (route,) = asking.tally.routes
        assert (route.target, route.reason, asking.tally.providers) == (OPENAI, RouteReason.POLICY, (Provider.OPENAI,))
        counted = [each.metric.name for each in buffer.retrieve_updates() if "provider" in each.metric.name]
        assert counted == ["huntaze_provider_answers"]
        assert len((await ai.get("usage"))["requests"]) == 1
        assert await booked(ports, asking) == await billed(ports, ai) > 0

    async def test_an_answer_that_was_useless_is_booked_but_not_used(
        self, begin: Begin, ports: Ports, ai: Simulator
    ) -> None:
        asking = await begin()
        await ai.fault("malformed_json", count=4)
        with pytest.raises(ProviderError):
            await asking.ask(run="r1")
        answer = await asking.ask(attempt=2, run="r1")
        assert len(answer.value) == 2
        assert await booked(ports, asking) == await billed(ports, ai)

    async def test_nothing_is_bought_while_the_provider_cannot_say_what_was(
        self, begin: Begin, ai: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(look_up, "PATIENCE_S", 0.3)
        monkeypatch.setattr(look_up, "PAUSE_S", 0.05)
        await ai.fault("server_error", status=503, endpoint="stored", dialect="openai")
        asking = await begin()
        with pytest.raises(ProviderError) as unsaid:
            await asking.ask(attempt=2)
        assert unsaid.value.fault is ProviderFault.TRANSIENT
        assert asking.steps == [("gpt-4o-mini", "none", FallbackReason.LOOK_UP)]
        assert (await ai.get("usage"))["requests"] == []

    async def test_it_is_asked_again_until_it_can(
        self, begin: Begin, ports: Ports, ai: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(look_up, "PAUSE_S", 0.05)
        asking = await begin(call_timeout_s=0.5)
        await ai.fault("hang", dialect="openai", bill=True, count=1)
        await ai.fault("server_error", status=503, dialect="azure", endpoint="chat")
        with pytest.raises(ProviderError):
            await asking.ask(run="r1")
        await ai.fault("server_error", status=503, endpoint="stored", dialect="openai", count=2)
        assert (await asking.ask(attempt=2, run="r1")).target.key == OPENAI
        assert len((await ai.get("usage"))["requests"]) == 1
        assert await booked(ports, asking) == await billed(ports, ai) > 0

    async def test_an_outage_of_one_provider_does_not_keep_the_other_from_writing(
        self, begin: Begin, ai: Simulator
    ) -> None:
        await ai.fault("server_error", status=503, dialect="openai")
        asking = await begin()
        for _ in range(5):
            await asking.ports.breaker.failed(OPENAI, await asking.ports.breaker.admit(OPENAI))
            cheaper = await asking.ports.breaker.admit(CHEAPER)
            await asking.ports.breaker.failed(CHEAPER, cheaper)
        assert (await asking.ask(attempt=2)).target.key == AZURE

    async def test_a_key_that_may_not_list_answers_is_an_alert_and_no_obstacle(
        self, begin: Begin, ports: Ports, ai: Simulator
    ) -> None:
        await ai.fault("unauthorized", endpoint="stored")
        before = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        assert (await (await begin()).ask(attempt=2)).target.key == OPENAI
        assert f"{OPENAI}/kept" in {alert.detail for alert in await ports.alerts.since(before)}


class TestHeld:
    """What a call of unknown outcome may have cost is nobody else's to spend, until the provider tells."""

    async def standing(self, ports: Ports, asking: Asking) -> tuple[int, int]:
        """Committed and reserved for the request's own limit, in µ$."""
        record = asking.record
        charged = budgets(
            await ports.budget_store.caps(record.owner),
            owner=record.owner,
            campaign_id=record.campaign_id,
            max_cost_micros=record.max_cost_micros,
            now=datetime.now(UTC),
        )
        (request,) = await ports.budgets.standings([each for each in charged if each.scope is BudgetScope.REQUEST])
        return request.committed_micros, request.reserved_micros

    async def long_ago(self, ports: Ports, hold: CostHold) -> None:
        """As if the call had been made so long ago that no answer can be on its way."""
        await ports.costs.release(hold)
        await ports.costs.hold(hold.model_copy(update={"settles_at": datetime.now(UTC) - timedelta(seconds=1)}))

    async def settle(self, ports: Ports, asking: Asking) -> Findings:
        return await ActivityEnvironment().run(reconcile, asking.record, asking.ports)

    @pytest.fixture
    async def timed_out(self, begin: Begin, ai: Simulator, request: pytest.FixtureRequest) -> Asking:
        """OpenAI was not waited for; whether its answer was made and billed is the parameter."""
        await ai.fault("hang", dialect="openai", bill=request.param, hang_s=2)
        asking = await begin(call_timeout_s=0.3, max_cost="1")
        await asking.ask()
        await ai.http.delete("/_control/faults")
        return asking

    @pytest.mark.parametrize("timed_out", [True], indirect=True)
    async def test_an_answer_that_is_found_costs_what_it_did(
        self, timed_out: Asking, ports: Ports, ai: Simulator
    ) -> None:
        committed, reserved = await self.standing(ports, timed_out)
        assert reserved > 0
        assert await self.settle(ports, timed_out) == Findings(found=1)
        assert await self.standing(ports, timed_out) == (await billed(ports, ai), 0)
        assert await booked(ports, timed_out) > committed

    @pytest.mark.parametrize("timed_out", [False], indirect=True)
    async def test_one_that_was_never_made_is_free_when_it_can_come_no_more(
        self, timed_out: Asking, ports: Ports
    ) -> None:
        committed, reserved = await self.standing(ports, timed_out)
        assert await self.settle(ports, timed_out) == Findings(held=1)
        assert await self.standing(ports, timed_out) == (committed, reserved)
        (hold,) = await ports.costs.holds(timed_out.record.campaign_id)
        await self.long_ago(ports, hold)
        assert await self.settle(ports, timed_out) == Findings()
        assert await self.standing(ports, timed_out) == (committed, 0)
        assert await ports.costs.holds(timed_out.record.campaign_id) == []

    async def test_it_is_not_granted_again_before(self, begin: Begin, ports: Ports, ai: Simulator) -> None:
        """The limit is enough for one call, and not for another one while the first may have been billed."""
        await ai.fault("hang", hang_s=2)
        asking = await begin(call_timeout_s=0.3, max_cost="0.000500")
        with pytest.raises((ProviderError, CostLimitExceeded)):
            await asking.ask()
        committed, reserved = await self.standing(ports, asking)
        assert committed == 0
        assert 0 < reserved <= 500
        assert await ports.costs.campaign_totals(asking.record.campaign_id) == CostTotals(held_micros=reserved)
        await ai.http.delete("/_control/faults")
        asking.clock.now_ms += 60_000
        with pytest.raises(CostLimitExceeded):
            await asking.ask(asking.question(fans=6))

    async def test_where_nothing_is_kept_it_stays_counted(
        self, begin: Begin, ports: Ports, settings: Settings, ai: Simulator
    ) -> None:
        await ai.fault("hang", dialect="openai", hang_s=2)
        async with open_models(settings.model_copy(update={"provider_keeps_answers": False})) as models:
            asking = await begin(call_timeout_s=0.3, max_cost="1", models=models)
            await asking.ask()
        (hold,) = await ports.costs.holds(asking.record.campaign_id)
        await self.long_ago(ports, hold)
        assert await self.settle(ports, asking) == Findings()
        assert (await ports.costs.campaign_totals(asking.record.campaign_id)).held_micros == hold.micros
