"""What each class of error leads to, and who is asked next."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from activities.ladder.error_class import wait_before_repeating
from adapters.bootstrap import Ports
from adapters.provider import open_models
from adapters.settings import Settings
from domain.alert import AlertKind
from domain.errors import ProviderError, ProviderFault
from domain.provider import FallbackReason
from tests.activities.ladder.asking import AZURE, OPENAI, Begin, attempts, billed, booked
from tests.adapters.canned import canned
from tests.local import Simulator


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


def test_those_who_were_throttled_together_do_not_come_back_together() -> None:
    throttled = ProviderError("slow down", fault=ProviderFault.THROTTLED, retry_after_s=1)
    waits = [wait_before_repeating(throttled, 0, 10) for _ in range(50)]
    assert all(wait is not None and 1 <= wait <= 2 for wait in waits)
    assert len(set(waits)) == len(waits)
