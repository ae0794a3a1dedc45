"""What a policy refusal leads to."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from activities.ladder import earlier as look_up
from activities.ladder import ladder
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

    async def test_a_rewrite_that_is_malformed_is_not_repaired(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai", count=1)
        await ai.fault("malformed_json", dialect="openai", count=1)
        steps = await self.refused(await begin(), ai)
        assert steps == [("rewrite", ProviderFault.CONTENT_POLICY), ("none", ProviderFault.MALFORMED_OUTPUT)]
        assert await attempts(ai, "openai") == 2


class TestLaterOn:
    """A refusal stands for every attempt to come, and for every question about the same fans."""

    @pytest.fixture
    async def out(self, begin: Begin, redis: Redis) -> Asking:
        """Its first provider can be put out by ``put_out``."""
        return await begin(breaker=RedisBreaker(redis, BreakerPolicy(failures=1), clock_ms=Clock()))

    async def put_out(self, asking: Asking) -> None:
        breaker = asking.ports.breaker
        await breaker.failed(OPENAI, await breaker.admit(OPENAI))

    async def stands(self, asking: Asking, ai: Simulator, *, calls: int, **how: Any) -> None:
        with pytest.raises(ProviderError) as error:
            await asking.ask(**how)
        assert error.value.fault is ProviderFault.CONTENT_POLICY
        assert (await attempts(ai, "openai"), await attempts(ai, "azure")) == (calls, 0)

    async def test_an_attempt_after_a_crash_asks_nobody_else(self, out: Asking, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai", unless_contains=REWRITE)
        await ai.fault("hang", dialect="openai", only_contains=REWRITE)
        await killed_during(out, 2, ai)
        await self.put_out(out)
        await self.stands(out, ai, calls=2, attempt=2, run="r1")
        assert out.steps == [
            ("gpt-4o-mini", "rewrite", ProviderFault.CONTENT_POLICY),
            ("gpt-4o-mini", "none", FallbackReason.BREAKER_OPEN),
        ]

    async def test_it_goes_on_with_the_rewrite(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai", unless_contains=REWRITE)
        await ai.fault("hang", dialect="openai", only_contains=REWRITE, count=1)
        asking = await begin()
        await killed_during(asking, 2, ai)
        answer = await asking.ask(attempt=2, run="r1")
        assert (answer.target.key, answer.prompt_version.endswith("/safe")) == (OPENAI, True)
        assert (await attempts(ai, "openai"), await attempts(ai, "azure")) == (3, 0)
        assert asking.steps == [("gpt-4o-mini", "rewrite", ProviderFault.CONTENT_POLICY)]

    async def test_what_was_refused_in_both_wordings_is_not_asked_again(self, out: Asking, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai")
        await self.stands(out, ai, calls=2)
        await self.stands(out, ai, calls=2, attempt=2)

    async def test_whoever_asks_anew_asks_nobody_else(self, out: Asking, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai", count=2)
        await self.stands(out, ai, calls=2)
        anew = replace(out.question(), looks=True, asked_anew=True)
        await self.put_out(out)
        await self.stands(out, ai, calls=2, question=anew, run="r2")

    @pytest.mark.parametrize("attempt", [1, 2])
    async def test_whoever_asks_anew_asks_once_more(self, out: Asking, ai: Simulator, attempt: int) -> None:
        await ai.fault("content_filter", dialect="openai", count=2)
        await self.stands(out, ai, calls=2)
        anew = replace(out.question(), looks=True, asked_anew=True)
        assert (await out.ask(anew, attempt=attempt, run="r2")).prompt_version.endswith("/safe")

    async def test_it_stands_although_its_provider_is_no_choice_any_more(self, out: Asking, ai: Simulator) -> None:
        campaign = out.record.campaign_id
        step = operation_id(campaign, "write/test", "")
        await out.ports.refusals.keep(campaign, {step: Refusal(target="openai/another")})
        await self.stands(out, ai, calls=0, attempt=2)
        assert out.steps == [("another", "none", ProviderFault.CONTENT_POLICY)]

    async def test_an_attempt_is_told_of_it_where_it_could_not_be_stored(self, out: Asking, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai")
        await self.stands(out, ai, calls=2)
        known = out.ladder.refusals.all
        assert [(each.target, each.reworded) for each in known.values()] == [(OPENAI, True)]
        other = Asking(out.ports, out.record.model_copy(update={"campaign_id": str(uuid4())}), out.clock)
        told = {operation_id(other.record.campaign_id, "write/test", ""): each for each in known.values()}
        await self.stands(other, ai, calls=2, attempt=2, refusals=told)

    async def test_one_that_came_after_its_process_had_ended_is_found_in_the_list(
        self, out: Asking, ports: Ports, ai: Simulator
    ) -> None:
        await ai.fault("content_filter", dialect="openai", latency_ms=500, count=1, **{"as": "refusal"})
        await ai.fault("hang", dialect="openai", only_contains=REWRITE)
        await killed_during(out, 1, ai)
        await self.put_out(out)
        await self.stands(out, ai, calls=1, attempt=2, run="r1", running_s=2)
        assert await booked(ports, out) == await billed(ports, ai) > 0

    async def test_a_part_of_what_was_refused_is_asked_as_the_whole_was(self, out: Asking, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai", unless_contains=REWRITE)
        whole = replace(out.question(key="0/0"), about=("ana", "ben"))
        assert (await out.ask(whole)).prompt_version.endswith("/safe")
        part = replace(out.question(key="0a/1", fans=1), about=("ana",))
        assert (await out.ask(part, attempt=2)).prompt_version.endswith("/safe")
        await self.put_out(out)
        rest = replace(out.question(key="1/0"), about=("ben", "cleo"))
        await self.stands(out, ai, calls=3, question=rest, attempt=2)

    async def test_a_rewrite_that_this_execution_has_bought_is_not_bought_again(
        self, out: Asking, ai: Simulator
    ) -> None:
        await ai.fault("content_filter", dialect="openai", count=2)
        await self.stands(out, ai, calls=2, run="r1")
        await ai.fault("content_filter", dialect="openai", endpoint="chat", latency_ms=300, count=1)
        anew = replace(out.question(), looks=True, asked_anew=True)
        await killed_during(out, 3, ai, question=anew, run="r2")
        await self.stands(out, ai, calls=3, question=anew, attempt=2, run="r2", running_s=2)

    async def test_a_listed_refusal_of_the_rewrite_counts_however_many_calls_there_were(
        self, out: Asking, ai: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ladder, "CALLS_OF_A_PLAN", 0)
        await ai.fault("content_filter", dialect="openai", endpoint="chat", count=1)
        await ai.fault("content_filter", dialect="openai", endpoint="chat", latency_ms=300, count=1)
        await killed_during(out, 2, ai)
        await self.stands(out, ai, calls=2, attempt=2, run="r1", running_s=2)

    async def test_it_does_not_hold_for_others(self, begin: Begin, ai: Simulator) -> None:
        await ai.fault("content_filter", dialect="openai", count=2)
        asking = await begin()
        with pytest.raises(ProviderError):
            await asking.ask(replace(asking.question(key="0/0"), about=("ana",)))
        answer = await asking.ask(replace(asking.question(key="1/0"), about=("ben",)), attempt=2)
        assert not answer.prompt_version.endswith("/safe")

    async def test_it_stands_where_the_provider_cannot_say_what_it_has_kept(
        self, begin: Begin, ai: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(look_up, "PATIENCE_S", 0.3)
        monkeypatch.setattr(look_up, "PAUSE_S", 0.05)
        await ai.fault("content_filter", dialect="openai", endpoint="chat", unless_contains=REWRITE)
        await ai.fault("hang", dialect="openai", only_contains=REWRITE)
        asking = await begin()
        await killed_during(asking, 2, ai)
        await ai.fault("server_error", status=503, endpoint="stored", dialect="openai")
        await self.stands(asking, ai, calls=2, attempt=2, run="r1")

    async def test_the_rewrite_is_bought_once_although_an_older_word_was_carried_along(
        self, out: Asking, ai: Simulator
    ) -> None:
        await ai.fault("content_filter", dialect="openai", shown_as="error")
        await self.stands(out, ai, calls=2, run="r1")
        told = {name: each.model_copy(update={"reworded": False}) for name, each in out.ladder.refusals.all.items()}
        await self.stands(out, ai, calls=2, attempt=2, run="r1", refusals=told)
