"""What reaches a provider that is away, and how its recovery is found."""

import asyncio
from uuid import uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.ladder import Ladder, error_class
from domain.errors import ProviderFault
from domain.progress import Tally
from domain.provider import FallbackReason
from tests.activities.ladder.asking import AZURE, OPENAI, Asking, Begin, attempts
from tests.local import Simulator


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
        monkeypatch.setattr(error_class, "PROBE_TIMEOUT_S", 0.2)
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
        monkeypatch.setattr(error_class, "PROBE_TIMEOUT_S", 0.05)
        await ai.fault("latency", dialect="azure", latency_ms=500)
        asking = await begin(preferred="azure")
        await self.opened(asking)
        answered_by = []
        for number in range(error_class.PATIENT_PROBE):
            answered_by.append((await asking.ask(asking.question(str(number)))).target.key)
            asking.clock.now_ms += 30_001
        assert answered_by == [OPENAI] * (error_class.PATIENT_PROBE - 1) + [AZURE]
        (view,) = await asking.ports.breaker.views([AZURE])
        assert view.status == "closed"

    async def test_recovery_is_found_by_a_single_probe_of_many_callers(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("server_error", status=503, dialect="azure")
        asking = await begin(preferred="azure")
        for number in range(5):
            await asking.ask(asking.question(f"before {number}"))
        before = await attempts(ai, "azure")
        await ai.http.delete("/_control/faults")
        await ai.fault("latency", dialect="azure", latency_ms=2_000)
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
