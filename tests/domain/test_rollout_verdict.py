"""What observations mean: four verdicts, each with the figures it rests on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.flag import RollbackTriggers
from domain.observation import ArmCounts, Observed
from domain.rollout import Judgement, RolloutState, Verdict, advanced, next_action
from domain.rollout_request import Guardrails
from domain.rollout_verdict import FALSE_ROLLBACKS, look, needed_evidence
from tests.domain.rollouts import after, arm, observed, started

LOOK_S = 30
ALL = Guardrails(
    error_rate=5, p95_latency_ms=1_000, p95_latency_ratio=1.25, compliance_score=0.9, cost_per_request_micros=1_000
)
WELL = arm(30, 0, score=1.0, cost=800)
BASELINE = arm(570, 12)


def watched(state: RolloutState, looks: int, canary: ArmCounts, baseline: ArmCounts = BASELINE) -> RolloutState:
    """After so many further looks, between two of which this came."""
    for _ in range(looks):
        now = after((state.evidence.looks + 1) * LOOK_S)
        more = Observed(canary=canary, baseline=baseline, fresh_at=now)
        state, _ = look(state, state.evidence.seen + more, now)
    return state


def judged(state: RolloutState) -> Judgement:
    assert state.judgement is not None
    return state.judgement


class TestPass:
    def test_time_samples_and_health(self) -> None:
        state = watched(started(guardrails=ALL), 20, WELL)
        assert judged(state).verdict is Verdict.PASS
        assert judged(state).reasons == (
            "600 requests of the canary at 5 % within every guardrail",
            "canary 0.0 % errors (0 of 600)",
            "baseline 2.1 % errors (240 of 11,400)",
        )

    def test_the_whole_of_the_traffic_needs_no_baseline(self) -> None:
        state = watched(started(steps=["100"], guardrails=ALL), 20, WELL, ArmCounts())
        assert judged(state).verdict is Verdict.PASS

    def test_no_guardrails_at_all(self) -> None:
        state = watched(started(guardrails=Guardrails(error_rate_increase=False)), 20, arm(30, 30))
        assert judged(state).verdict is Verdict.PASS


class TestInsufficient:
    def test_before_the_bake_time_is_over(self) -> None:
        state = watched(started(), 19, WELL)
        assert judged(state).verdict is Verdict.INSUFFICIENT
        assert judged(state).reasons == ("570 of 600 s at 5 %",)

    @pytest.mark.parametrize(
        ("canary", "baseline", "reason"),
        [
            (arm(2), BASELINE, "40 of 100 requests of the canary"),
            (WELL, arm(4), "80 of 100 requests of the baseline"),
        ],
    )
    def test_before_there_are_samples(self, canary: ArmCounts, baseline: ArmCounts, reason: str) -> None:
        state = watched(started(), 20, canary, baseline)
        assert judged(state).verdict is Verdict.INSUFFICIENT
        assert judged(state).reasons == (reason,)

    @pytest.mark.parametrize(
        ("rails", "canary", "reason"),
        [
            (Guardrails(compliance_score=0.9), arm(30), "0 of 100 compliance scores of the canary"),
            (Guardrails(cost_per_request_micros=1_000), arm(30), "0 of 100 costs of the canary"),
        ],
    )
    def test_a_guardrail_that_nobody_measures(self, rails: Guardrails, canary: ArmCounts, reason: str) -> None:
        state = watched(started(guardrails=rails), 20, canary)
        assert judged(state).verdict is Verdict.INSUFFICIENT
        assert judged(state).reasons == (reason,)

    def test_nothing_was_ever_observed(self) -> None:
        state, judgement = look(started(), Observed(), after(3_600))
        assert judgement.verdict is Verdict.INSUFFICIENT
        assert state.judgement == judgement

    def test_suspicion_is_not_promoted(self) -> None:
        state = watched(started(), 20, WELL)
        while judged(state).verdict is Verdict.PASS:
            state = watched(state, 1, arm(30, 2))
        assert judged(state).verdict is Verdict.INSUFFICIENT
        assert "not promoted from 20 on" in judged(state).reasons[0]

    def test_an_estimate_outside_of_a_guardrail_is_not_promoted(self) -> None:
        """5.7 % of 105 requests say little against a limit of 5 %, but nothing for it either."""
        rails = Guardrails(error_rate=5, error_rate_increase=False)
        state = watched(started(guardrails=rails), 15, arm(5))
        state = watched(state, 6, arm(5, 1))
        assert judged(state).verdict is Verdict.INSUFFICIENT
        assert judged(state).reasons == (
            "canary 5.7 % errors (6 of 105), at most 5 % allowed: not promoted outside of a guardrail",
        )


class TestWindow:
    """What the flag's ``timeWindowMinutes`` mean."""

    RAILS = Guardrails(error_rate=5, error_rate_increase=False)
    TOLD = (
        "in the last 5 min: canary 6.0 % errors (18 of 300), at most 5 % allowed: not promoted outside of a guardrail"
    )

    def test_what_is_above_a_threshold_lately_is_not_promoted(self) -> None:
        """2.6 % of the step, but 6 % of its last 5 minutes."""
        state = watched(started(guardrails=self.RAILS), 30, arm(30))
        state = watched(watched(state, 8, arm(30, 2)), 2, arm(30, 1))
        assert judged(state).reasons == (self.TOLD,)
        assert judged(state).figures["window"]["canary"]["errorRate"] == pytest.approx(0.06)

    def test_it_moves_on(self) -> None:
        state = watched(watched(started(guardrails=self.RAILS), 30, arm(30)), 8, arm(30, 2))
        state = watched(state, 10, arm(30))
        assert judged(state).verdict is Verdict.PASS

    @pytest.mark.parametrize(("minutes", "requests"), [(1, 60), (5, 300), (60, 3_600)])
    def test_its_length_is_the_flags(self, minutes: int, requests: int) -> None:
        triggers = RollbackTriggers(error_rate_threshold=5, time_window_minutes=minutes)
        state = watched(started(triggers), 130, WELL)
        assert requests <= state.evidence.recent.requests <= requests * 1.1
        assert len(state.evidence.marks) <= 12

    def test_it_never_reaches_back_before_the_step(self) -> None:
        state = watched(started(guardrails=self.RAILS), 20, arm(30))
        state = advanced(state, next_action(state, judged(state), after(600)), after(600))
        assert state.evidence.recent.requests == 0
        assert watched(state, 3, arm(30)).evidence.recent.requests == 90

    def test_few_requests_say_nothing(self) -> None:
        """One failure among 19 is 5.3 %."""
        state = watched(started(guardrails=self.RAILS), 200, arm(2))
        state = watched(state, 9, arm(2))
        state = watched(state, 1, arm(1, 1))
        assert state.evidence.recent.requests == 19
        assert judged(state).verdict is Verdict.PASS


class TestBroken:
    def test_observations_that_could_not_be_read(self) -> None:
        state = watched(started(), 20, WELL)
        after_it, judgement = look(state, None, after(630))
        assert judgement.verdict is Verdict.BROKEN
        assert after_it.evidence == state.evidence

    def test_observations_that_stopped(self) -> None:
        state = watched(started(), 20, WELL)
        _, soon = look(state, state.evidence.seen, after(690))
        _, late = look(state, state.evidence.seen, after(691))
        assert soon.verdict is Verdict.PASS
        assert late.verdict is Verdict.BROKEN
        assert late.reasons == ("nothing was counted for 91 s, when about 1,820 requests were due",)

    def test_few_requests_may_pause(self) -> None:
        state = watched(started(min_samples=1), 20, arm(1), arm(1))
        _, judgement = look(state, state.evidence.seen, after(780))
        assert judgement.verdict is Verdict.PASS

    @pytest.mark.parametrize(
        ("canary", "baseline", "reason"),
        [
            (ArmCounts(), arm(60), "the canary had none of 1,200 requests, where about 60 were due"),
            (arm(60), ArmCounts(), "the baseline had none of 1,200 requests, where about 1,140 were due"),
        ],
    )
    def test_an_arm_that_gets_nothing(self, canary: ArmCounts, baseline: ArmCounts, reason: str) -> None:
        state = watched(started(), 20, canary, baseline)
        assert judged(state).verdict is Verdict.BROKEN
        assert judged(state).reasons == (reason,)


class TestFail:
    @pytest.mark.parametrize(
        ("rails", "canary", "words"),
        [
            (Guardrails(error_rate=5, error_rate_increase=False), arm(30, 9), "at most 5 % allowed"),
            (Guardrails(), arm(30, 4), "baseline 2.1 % errors"),
            (Guardrails(p95_latency_ms=1_000, error_rate_increase=False), arm(30, slow=9), "at most 1000 ms allowed"),
            (Guardrails(p95_latency_ratio=1.25, error_rate_increase=False), arm(30, ms=600), "1.25 times as much"),
            (Guardrails(compliance_score=0.9, error_rate_increase=False), arm(30, score=0.7), "compliance 0.700"),
            (Guardrails(cost_per_request_micros=1_000, error_rate_increase=False), arm(30, cost=3_000), "3,000 µ$"),
        ],
        ids=["error_rate", "increase", "p95", "p95_ratio", "compliance", "cost"],
    )
    def test_each_guardrail(self, rails: Guardrails, canary: ArmCounts, words: str) -> None:
        """It is found within an hour, and the words name it with its figures."""
        state = started(guardrails=rails)
        while state.evidence.looks < 120 and (state.judgement is None or judged(state).verdict is not Verdict.FAIL):
            state = watched(state, 1, canary)
        assert judged(state).verdict is Verdict.FAIL
        (reason,) = judged(state).reasons
        assert words in reason
        assert "against the needed 100" in reason

    def test_a_gross_outage_within_the_first_look(self) -> None:
        state = watched(started(RollbackTriggers()), 1, arm(10, 10))
        assert judged(state).verdict is Verdict.FAIL

    def test_not_before_10_requests(self) -> None:
        state = watched(started(RollbackTriggers()), 1, arm(9, 9))
        assert judged(state).verdict is not Verdict.FAIL

    def test_an_outage_of_both_arms_is_no_fault_of_the_canary(self) -> None:
        state = watched(started(), 5, WELL)
        state = watched(state, 20, arm(30, 24), arm(570, 456))
        assert judged(state).verdict is Verdict.PASS

    def test_late_failures_count_after_hours_of_health(self) -> None:
        state = watched(started(RollbackTriggers()), 480, WELL)
        assert judged(state).verdict is Verdict.PASS
        state = watched(state, 1, arm(30, 30))
        assert judged(state).verdict is Verdict.FAIL

    def test_it_is_said_even_when_counting_broke(self) -> None:
        state = watched(started(RollbackTriggers()), 1, arm(30, 30))
        _, judgement = look(state, None, after(3_600))
        assert judgement.verdict is Verdict.FAIL


class TestEvidence:
    def test_counts_that_were_lost_are_not_counted_twice(self) -> None:
        """The memory loses its last 5 minutes, then finds them again."""
        state = watched(started(), 10, arm(30, 1))
        before = state.evidence.seen
        lost, _ = look(state, observed(arm(150, 5), arm(2_850, 60), after(330)), after(330))
        found, _ = look(lost, before, after(360))
        assert lost.evidence.seen.canary == before.canary
        assert found.evidence.seen.canary == before.canary
        assert found.evidence.step.requests == before.requests

    @given(blocks=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 570)), min_size=1, max_size=10), data=st.data())
    def test_one_more_failure_of_the_canary_is_never_less_evidence(
        self, blocks: list[tuple[int, int]], data: st.DataObject
    ) -> None:
        state = started(RollbackTriggers())
        for failed, others in blocks:
            state = watched(state, 1, arm(30, failed), arm(570, others))
        failed = data.draw(st.integers(0, 29))
        better, worse = (watched(state, 1, arm(30, number)).evidence.processes for number in (failed, failed + 1))
        assert all(worse[name].value >= better[name].value for name in better)

    def test_it_goes_on_from_what_was_written_down(self) -> None:
        state = watched(started(RollbackTriggers(), guardrails=ALL), 5, arm(30, 1, slow=2, score=0.97, cost=700))
        read = RolloutState.model_validate_json(state.model_dump_json())
        assert read == state
        assert watched(read, 1, WELL) == watched(state, 1, WELL)

    def test_every_guardrail_has_an_equal_part_of_the_false_rollbacks(self) -> None:
        assert needed_evidence(Guardrails()) == pytest.approx(1 / FALSE_ROLLBACKS)
        assert needed_evidence(ALL) == pytest.approx(6 / FALSE_ROLLBACKS)

    def test_figures_for_machines(self) -> None:
        figures = judged(watched(started(guardrails=ALL), 1, WELL)).figures
        assert figures["canary"] == {
            "requests": 30,
            "errors": {},
            "errorRate": 0.0,
            "p95LatencyMs": pytest.approx(400, rel=0.05),
            "compliance": 1.0,
            "costMicros": 800.0,
        }
        assert set(figures["evidence"]) == set(ALL.in_force())
        assert figures["neededEvidence"] == pytest.approx(600)
