"""Who is asked in the usual way, and the one story that result, metrics and gauge tell of every step."""

from collections import Counter

from redis.asyncio import Redis
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig

from adapters.bootstrap import Ports
from adapters.breaker import RedisBreaker
from domain.breaker import BreakerPolicy
from domain.errors import ProviderFault
from domain.provider import FallbackReason, IntentType, Provider
from domain.routing import PassedOver, RouteReason, Target
from tests.activities.ladder.asking import AZURE, CHEAPER, OPENAI, Begin, Clock, billed, booked
from tests.local import Simulator


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
