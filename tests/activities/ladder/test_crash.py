"""An attempt after a crash buys nothing twice."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig

from activities.ladder import earlier as look_up
from adapters.bootstrap import Ports
from domain.errors import ProviderError, ProviderFault
from domain.provider import FallbackReason, Provider
from domain.routing import RouteReason
from tests.activities.ladder.asking import AZURE, CHEAPER, OPENAI, Begin, attempts, billed, booked, killed_during
from tests.local import Simulator


class TestNothingIsBoughtTwice:
    async def test_an_attempt_after_a_crash_finds_what_was_bought(
        self, begin: Begin, ports: Ports, ai: Simulator
    ) -> None:
        asking = await begin()
        await ai.fault("hang", dialect="openai", bill=True, count=1)
        await killed_during(asking, 1, ai)
        buffer = MetricBuffer(10_000)
        asking.meter = Runtime(telemetry=TelemetryConfig(metrics=buffer)).metric_meter
        answer = await asking.ask(attempt=2, run="r1", running_s=5)
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

    async def test_a_call_that_still_runs_is_waited_for(self, begin: Begin, ports: Ports, ai: Simulator) -> None:
        asking = await begin()
        await ai.fault("latency", dialect="openai", endpoint="chat", latency_ms=1500, count=1)
        await killed_during(asking, 1, ai)
        answer = await asking.ask(attempt=2, run="r1", running_s=30)
        assert answer.target.key == OPENAI
        assert await attempts(ai, "openai") == 1
        assert await booked(ports, asking) == await billed(ports, ai) > 0

    async def test_one_that_would_have_been_given_up_is_not(self, begin: Begin, ai: Simulator) -> None:
        asking = await begin()
        await ai.fault("hang", dialect="openai", count=1)
        await killed_during(asking, 1, ai)
        assert (await asking.ask(attempt=2, run="r1", running_s=0.3)).target.key == OPENAI
        assert await attempts(ai, "openai") == 2

    async def test_the_time_for_an_answer_begins_after_the_wait(self, begin: Begin) -> None:
        asking = await begin(deadline_s=0.5)
        assert (await asking.ask(attempt=2, running_s=0.8)).target.key == OPENAI

    async def test_nobody_is_waited_for_once_it_is_stopped(self, begin: Begin, ai: Simulator) -> None:
        asking = await begin()
        waiting = asyncio.create_task(asking.ask(attempt=2, running_s=600))
        async with asyncio.timeout(20):
            while not [call for call in (await ai.get("calls"))["calls"] if call["endpoint"] == "stored"]:
                await asyncio.sleep(0.01)
            asking.ladder.stop()
            with pytest.raises(ProviderError):
                await waiting
        assert await attempts(ai, "openai") == 0

    async def test_what_is_cheap_does_not_wait(self, begin: Begin) -> None:
        asking = await begin()
        async with asyncio.timeout(20):
            await asking.ask(replace(asking.question(), waits=False), attempt=2, running_s=600)

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
