"""Every cent is booked once: budgets, prices, experiments, and what is held until its fate is known."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.ladder.reconciliation import Findings, reconcile
from adapters.bootstrap import Ports
from adapters.provider import open_models
from adapters.settings import Settings
from domain.alert import AlertKind
from domain.budget import BudgetScope, budgets
from domain.cost import CostHold, CostTotals
from domain.errors import CostLimitExceeded, ProviderError
from domain.experiment import Metric, MetricTotals
from domain.provider import FallbackReason, IntentType, Provider
from domain.routing import Experiment, Target
from tests.activities.ladder.asking import CHEAPER, Asking, Begin, billed, booked
from tests.local import Simulator


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

    async def test_what_it_was_billed_for_in_vain_is_part_of_its_cost(
        self, begin: Begin, ports: Ports, ai: Simulator, experiment: Experiment
    ) -> None:
        await ai.fault("malformed_json", dialect="openai", count=1)
        asking = await begin(routing=ports.routing.model_copy(update={"experiments": (experiment,)}))
        assert (await asking.ask()).arm == "present"
        observed = await self.observed(ports, experiment)
        assert (observed[Metric.COST_MICROS].count, observed[Metric.LATENCY_MS].count) == (1, 1)
        assert observed[Metric.COST_MICROS].mean == await booked(ports, asking)
        assert len((await ai.get("usage"))["requests"]) == 2

    async def test_so_it_is_when_somebody_else_answers_in_the_end(
        self, begin: Begin, ports: Ports, ai: Simulator, experiment: Experiment
    ) -> None:
        await ai.fault("malformed_json", dialect="openai", count=2)
        asking = await begin(routing=ports.routing.model_copy(update={"experiments": (experiment,)}))
        assert (await asking.ask()).arm == ""
        observed = await self.observed(ports, experiment)
        assert set(observed) == {Metric.COST_MICROS}
        assert observed[Metric.COST_MICROS].mean == await billed(ports, ai, "openai") > 0

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
