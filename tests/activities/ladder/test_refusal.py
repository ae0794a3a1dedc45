"""What a policy refusal leads to."""

import pytest
from redis.asyncio import Redis

from adapters.bootstrap import Ports
from adapters.breaker import RedisBreaker
from domain.breaker import BreakerPolicy
from domain.cost import dollars_from_micros, operation_id
from domain.errors import ProviderError, ProviderFault
from domain.prompt import Refusal, Variant
from domain.provider import FallbackReason, Provider
from tests.activities.ladder.asking import OPENAI, Asking, Begin, Clock, attempts, billed, booked, killed_during
from tests.local import Simulator

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

    async def test_an_attempt_after_a_crash_asks_nobody_else(self, begin: Begin, ai: Simulator, redis: Redis) -> None:
        await ai.fault("content_filter", dialect="openai", unless_contains=REWRITE)
        await ai.fault("hang", dialect="openai", only_contains=REWRITE)
        easily = RedisBreaker(redis, BreakerPolicy(failures=1), clock_ms=Clock())
        asking = await begin(breaker=easily)
        await killed_during(asking, 2, ai)
        await easily.failed(OPENAI, await easily.admit(OPENAI))
        with pytest.raises(ProviderError) as error:
            await asking.ask(attempt=2, run="r1")
        assert error.value.fault is ProviderFault.CONTENT_POLICY
        assert (await attempts(ai, "openai"), await attempts(ai, "azure")) == (2, 0)

    async def test_an_attempt_after_a_crash_goes_on_with_the_rewrite(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai", unless_contains=REWRITE)
        await ai.fault("hang", dialect="openai", only_contains=REWRITE, count=1)
        asking = await begin()
        await killed_during(asking, 2, ai)
        answer = await asking.ask(attempt=2, run="r1")
        assert (answer.target.key, answer.prompt_version.endswith("/safe")) == (OPENAI, True)
        assert (await attempts(ai, "openai"), await attempts(ai, "azure")) == (3, 0)

    async def test_what_was_refused_in_both_wordings_is_not_asked_again(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai")
        asking = await begin()
        await self.refused(asking, ai)
        with pytest.raises(ProviderError) as error:
            await asking.ask(attempt=2)
        assert error.value.fault is ProviderFault.CONTENT_POLICY
        assert (await attempts(ai, "openai"), await attempts(ai, "azure")) == (2, 0)

    async def test_it_stands_although_its_provider_is_no_choice_any_more(self, begin: Begin, ai: Simulator) -> None:
        asking = await begin()
        step = operation_id(asking.record.campaign_id, "write/test", "")
        await asking.ports.refusals.keep(asking.record.campaign_id, step, Refusal(target="openai/another"))
        with pytest.raises(ProviderError) as error:
            await asking.ask(attempt=2)
        assert error.value.fault is ProviderFault.CONTENT_POLICY
        assert (await attempts(ai, "openai"), await attempts(ai, "azure")) == (0, 0)

    async def test_a_rewrite_that_is_malformed_is_not_repaired(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai", count=1)
        await ai.fault("malformed_json", dialect="openai", count=1)
        steps = await self.refused(await begin(), ai)
        assert steps == [("rewrite", ProviderFault.CONTENT_POLICY), ("none", ProviderFault.MALFORMED_OUTPUT)]
        assert await attempts(ai, "openai") == 2
