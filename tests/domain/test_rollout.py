"""What follows from a judgement or a person's wish, and that no order of them leaves an inconsistent rollout."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.errors import Conflict
from domain.flag import Flag, FlagOverride, RollbackTriggers
from domain.observation import Observed
from domain.rollout import (
    KEPT_DECISIONS,
    Action,
    ActionKind,
    Judgement,
    RolloutPhase,
    RolloutState,
    Verdict,
    advanced,
    asked,
    found_off,
    next_action,
    percentage,
    refusal,
)
from domain.rollout_request import (
    Control,
    Guardrails,
    RollbackRequest,
    RolloutControl,
    refusal_by_environment,
    refusal_to_start,
)
from domain.rollout_verdict import look
from tests.domain.rollouts import BEGAN, after, arm, percent, request, started

PERSON = RolloutControl(requested_by="staff_7", reason="As agreed.")


def told(verdict: Verdict) -> Judgement:
    return Judgement(verdict=verdict, reasons=(f"it is {verdict}",))


def on(state: RolloutState, verdict: Verdict, now: datetime) -> RolloutState:
    """After a judgement and what follows from it."""
    judged = state.model_copy(update={"judgement": told(verdict), "judged_at": now})
    return advanced(judged, next_action(judged, told(verdict), now), now)


def wished(state: RolloutState, control: Control, now: datetime, given: RolloutControl = PERSON) -> RolloutState:
    return advanced(state, asked(state, control, given), now)


def flag(**changes: object) -> Flag:
    known = {"name": "hybrid-orchestrator", "enabled": True, "salt": "s", "changed_by": "a", "changed_at": BEGAN}
    return Flag.model_validate({**known, "reason": "A test.", **changes})


class TestRequest:
    @pytest.mark.parametrize("steps", [[], [5, 5], [25, 5], [0, 100], [5, 100.01], [-1], ["0.001"], list(range(1, 22))])
    def test_steps_climb_within_0_and_100(self, steps: list[object]) -> None:
        with pytest.raises(ValidationError):
            request(steps=steps)

    def test_gates_are_steps(self) -> None:
        with pytest.raises(ValidationError):
            request(manual_gates=[10])
        assert request(manual_gates=["25.00"]).manual_gates == (Decimal(25),)

    def test_the_flags_triggers_stand_in_for_guardrails(self) -> None:
        triggers = RollbackTriggers(error_rate_threshold=7, latency_threshold=900)
        assert Guardrails().over(triggers) == Guardrails(error_rate=7, p95_latency_ms=900)
        assert Guardrails(error_rate=2, p95_latency_ms=50).over(triggers) == Guardrails(error_rate=2, p95_latency_ms=50)

    def test_a_trigger_of_100_percent_never_fires(self) -> None:
        assert Guardrails().over(RollbackTriggers(error_rate_threshold=100)).error_rate is None

    def test_a_trigger_can_be_left_out_of_one_rollout(self) -> None:
        triggers = RollbackTriggers(error_rate_threshold=7, latency_threshold=900)
        without = Guardrails.model_validate({"without": ["errorRate", "p95LatencyMs"]})
        assert without.over(triggers).in_force() == ("error_rate_increase",)
        with pytest.raises(ValidationError, match="errorRate has a value"):
            Guardrails.model_validate({"without": ["errorRate"], "errorRate": 2})

    @pytest.mark.parametrize(
        ("override", "words"),
        [
            (None, None),
            (FlagOverride(enabled=True), None),
            (FlagOverride(percentage=Decimal(5)), "unset HYBRID_ORCHESTRATOR_PERCENTAGE"),
            (FlagOverride(enabled=False), "unset HYBRID_ORCHESTRATOR_ENABLED"),
        ],
    )
    def test_what_the_environment_overrides_is_not_steered(
        self, override: FlagOverride | None, words: str | None
    ) -> None:
        refused = refusal_by_environment("hybrid-orchestrator", override)
        assert refused is None if words is None else refused is not None and words in refused

    def test_guardrails_in_force_are_named(self) -> None:
        assert Guardrails().in_force() == ("error_rate_increase",)
        assert Guardrails(error_rate_increase=False, compliance_score=0.9).in_force() == ("compliance_score",)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({}, None),
            ({"rollout_percentage": 5}, None),
            ({"enabled": False}, "disabled"),
            ({"rollout_id": "rollout-0"}, "rollout-0"),
            ({"rollout_percentage": "5.01"}, "5.01 %"),
        ],
    )
    def test_whether_it_can_start(self, changes: dict[str, object], words: str | None) -> None:
        refused = refusal_to_start(flag(**changes), request())
        assert refused is None if words is None else refused is not None and words in refused


class TestJudged:
    def test_passes_lead_to_the_end(self) -> None:
        state, seen = started(), []
        while not state.phase.is_final:
            seen.append(percentage(state))
            state = on(state, Verdict.PASS, after(600 * len(seen)))
        assert seen == list(percent(5, 25, 50, 100))
        assert state.phase is RolloutPhase.COMPLETED
        assert percentage(state) == 100
        assert [each.kind for each in state.decisions] == [ActionKind.PROMOTE] * 3 + [ActionKind.COMPLETE]

    def test_a_partial_rollout_completes_where_it_ends(self) -> None:
        state = on(started(steps=[10]), Verdict.PASS, after(600))
        assert (state.phase, percentage(state)) == (RolloutPhase.COMPLETED, Decimal(10))

    @pytest.mark.parametrize("verdict", [Verdict.INSUFFICIENT, Verdict.BROKEN])
    def test_without_a_pass_it_waits_and_then_pauses(self, verdict: Verdict) -> None:
        state = on(started(max_wait_seconds=900), verdict, after(899))
        assert (state.phase, state.decisions) == (RolloutPhase.BAKING, ())
        state = on(state, verdict, after(900))
        assert state.phase is RolloutPhase.PAUSED
        assert percentage(state) == 5
        assert state.reason == f"no pass after 900 s at 5 %: it is {verdict}"

    def test_it_never_pauses_before_the_bake_time_is_over(self) -> None:
        state = on(started(max_wait_seconds=1), Verdict.INSUFFICIENT, after(599))
        assert state.phase is RolloutPhase.BAKING

    def test_a_gate_waits_for_a_person(self) -> None:
        state = on(started(manual_gates=[5]), Verdict.PASS, after(600))
        assert (state.phase, percentage(state)) == (RolloutPhase.GATE, Decimal(5))
        assert on(state, Verdict.PASS, after(90_000)) == state.model_copy(
            update={"judgement": told(Verdict.PASS), "judged_at": after(90_000)}
        )
        state = wished(state, Control.PROMOTE, after(90_001))
        assert (state.phase, percentage(state)) == (RolloutPhase.BAKING, Decimal(25))

    @pytest.mark.parametrize("phase", [RolloutPhase.BAKING, RolloutPhase.GATE, RolloutPhase.PAUSED])
    def test_a_failure_rolls_back_from_anywhere(self, phase: RolloutPhase) -> None:
        state = on(started().model_copy(update={"phase": phase, "position": 2}), Verdict.FAIL, after(700))
        assert (state.phase, percentage(state)) == (RolloutPhase.ROLLED_BACK, Decimal(0))
        assert state.reason == "it is fail"
        assert (state.decisions[-1].before, state.decisions[-1].after) == (Decimal(50), Decimal(0))
        assert state.decisions[-1].verdict is Verdict.FAIL

    @pytest.mark.parametrize("recall", [True, False])
    def test_a_rollback_by_itself_recalls_if_that_was_asked_for(self, recall: bool) -> None:
        state = on(started(recall_on_rollback=recall), Verdict.FAIL, after(30))
        assert (state.phase, state.recall) == (RolloutPhase.ROLLED_BACK, recall)

    def test_a_promotion_begins_the_steps_observations_anew(self) -> None:
        state, _ = look(started(), Observed(canary=arm(200), baseline=arm(3_800), fresh_at=after(600)), after(600))
        state = on(state, Verdict.PASS, after(600))
        assert state.step_since == state.waiting_since == after(600)
        assert state.evidence.step.requests == 0
        assert state.evidence.seen.requests == 4_000
        assert state.evidence.looks == 1


class TestWished:
    def test_a_pause_and_a_resume_lead_back_with_a_fresh_wait(self) -> None:
        state = wished(started(), Control.PAUSE, after(100))
        assert (state.phase, state.reason, percentage(state)) == (RolloutPhase.PAUSED, "As agreed.", Decimal(5))
        assert on(state, Verdict.PASS, after(50_000)).phase is RolloutPhase.PAUSED
        state = wished(state, Control.RESUME, after(50_000))
        assert (state.phase, state.reason, state.resume_to) == (RolloutPhase.BAKING, "", None)
        assert (state.step_since, state.waiting_since) == (after(49_900), after(50_000))
        assert on(state, Verdict.INSUFFICIENT, after(50_001)).phase is RolloutPhase.BAKING

    def test_a_pause_is_no_bake_time(self) -> None:
        state = wished(wished(started(), Control.PAUSE, after(100)), Control.RESUME, after(500))
        everything = Observed(canary=arm(200), baseline=arm(3_800), fresh_at=after(999))
        assert "599 of 600 s at 5 %" in look(state, everything, after(999))[1].reasons
        assert look(state, everything, after(1_000))[1].verdict is Verdict.PASS

    def test_after_the_flag_was_off_a_step_begins_anew(self) -> None:
        before = Observed(canary=arm(200), baseline=arm(3_800), fresh_at=after(550))
        state, _ = look(started(), before, after(550))
        state = wished(found_off(state), Control.PAUSE, after(560))
        state = wished(state, Control.RESUME, after(2_000))
        assert (state.step_since, state.evidence.step.requests, state.was_off) == (after(2_000), 0, False)
        assert state.evidence.seen.requests == 4_000
        # The weight of the step's first look is spent.
        assert state.evidence.step_looks == 1
        later = before + Observed(canary=arm(99), baseline=arm(3_800), fresh_at=after(2_600))
        _, judgement = look(state, later, after(2_600))
        assert judgement.reasons == ("99 of 100 requests of the canary",)

    def test_a_repeated_promotion_is_refused_on_the_next_step(self) -> None:
        given = RolloutControl.model_validate({"from": 5})
        state = wished(started(), Control.PROMOTE, after(1), given)
        assert percentage(state) == 25
        assert refusal(state, Control.PROMOTE, given) == "the rollout stands at 25 %, not at 5 %"

    def test_a_resume_leads_back_to_the_gate(self) -> None:
        state = on(started(manual_gates=[5]), Verdict.PASS, after(600))
        state = wished(wished(state, Control.PAUSE, after(601)), Control.RESUME, after(602))
        assert state.phase is RolloutPhase.GATE

    @pytest.mark.parametrize("verdict", [None, Verdict.INSUFFICIENT, Verdict.BROKEN, Verdict.PASS])
    def test_a_person_promotes_without_a_pass(self, verdict: Verdict | None) -> None:
        judged = None if verdict is None else told(verdict)
        state = started().model_copy(update={"judgement": judged})
        state = wished(state, Control.PROMOTE, after(1))
        assert percentage(state) == 25
        decision = state.decisions[-1]
        assert (decision.by, decision.verdict, decision.reason) == ("staff_7", verdict, "As agreed.")

    def test_nobody_promotes_over_a_failure(self) -> None:
        state = started().model_copy(update={"judgement": told(Verdict.FAIL)})
        with pytest.raises(Conflict, match="the canary fails: it is fail"):
            asked(state, Control.PROMOTE, PERSON)

    def test_a_promotion_from_the_last_step_completes(self) -> None:
        state = wished(started(steps=[10]), Control.PROMOTE, after(1))
        assert (state.phase, percentage(state)) == (RolloutPhase.COMPLETED, Decimal(10))

    def test_a_rollback_is_at_once(self) -> None:
        state = started().model_copy(update={"position": 3})
        state = wished(state, Control.ROLLBACK, after(1), RollbackRequest(reason="No.", recall=True))
        assert (state.phase, percentage(state)) == (RolloutPhase.ROLLED_BACK, Decimal(0))
        assert (state.reason, state.recall) == ("No.", True)

    def test_a_gradual_one_goes_down_the_steps(self) -> None:
        state = started().model_copy(update={"position": 3})
        state = wished(state, Control.ROLLBACK, after(0), RollbackRequest(reason="Slowly.", gradual=True, recall=True))
        seen = [percentage(state)]
        for seconds in range(30, 2_000, 30):
            state = on(state, Verdict.PASS, after(seconds))
            seen += [percentage(state)] if percentage(state) != seen[-1] else []
            assert state.reason == "Slowly."
        assert seen == list(percent(50, 25, 5, 0))
        assert [each.at for each in state.decisions] == [after(seconds) for seconds in (0, 600, 1_200, 1_800)]
        assert (state.phase, state.recall) == (RolloutPhase.ROLLED_BACK, True)

    def test_a_gradual_one_from_the_first_step_is_at_once(self) -> None:
        state = wished(started(), Control.ROLLBACK, after(1), RollbackRequest(gradual=True))
        assert (state.phase, percentage(state)) == (RolloutPhase.ROLLED_BACK, Decimal(0))

    def test_a_failure_ends_a_gradual_one(self) -> None:
        state = started().model_copy(update={"position": 3})
        state = wished(state, Control.ROLLBACK, after(0), RollbackRequest(gradual=True))
        assert on(state, Verdict.FAIL, after(1)).phase is RolloutPhase.ROLLED_BACK

    @pytest.mark.parametrize(
        ("phase", "control", "given", "words"),
        [
            (RolloutPhase.COMPLETED, Control.ROLLBACK, RollbackRequest(), "over: completed"),
            (RolloutPhase.ROLLED_BACK, Control.PAUSE, PERSON, "over: rolled back"),
            (RolloutPhase.PAUSED, Control.PAUSE, PERSON, "paused already"),
            (RolloutPhase.BAKING, Control.RESUME, PERSON, "not paused"),
            (RolloutPhase.GATE, Control.RESUME, PERSON, "not paused"),
            (RolloutPhase.ROLLING_BACK, Control.PAUSE, PERSON, "being rolled back"),
            (RolloutPhase.ROLLING_BACK, Control.PROMOTE, PERSON, "being rolled back"),
            (RolloutPhase.ROLLING_BACK, Control.RESUME, PERSON, "being rolled back"),
            (RolloutPhase.ROLLING_BACK, Control.ROLLBACK, RollbackRequest(gradual=True), "already"),
            (RolloutPhase.ROLLING_BACK, Control.ROLLBACK, RollbackRequest(), None),
            (RolloutPhase.PAUSED, Control.PROMOTE, PERSON, None),
            (RolloutPhase.GATE, Control.PAUSE, PERSON, None),
        ],
    )
    def test_refusals(self, phase: RolloutPhase, control: Control, given: RolloutControl, words: str | None) -> None:
        state = started().model_copy(update={"phase": phase})
        refused = refusal(state, control, given)
        assert refused is None if words is None else refused is not None and words in refused


wishes = st.tuples(
    st.sampled_from(Control),
    st.builds(RollbackRequest, requested_by=st.just("staff_7"), gradual=st.booleans(), recall=st.booleans()),
)
events = st.tuples(st.sampled_from(Verdict) | wishes, st.integers(0, 1_000))
rollouts = st.builds(
    started,
    steps=st.sets(st.integers(1, 100), min_size=1, max_size=6).map(sorted),
    bake_seconds=st.integers(1, 600),
    max_wait_seconds=st.integers(1, 3_000),
)


class TestAnyOrder:
    @given(state=rollouts, several=st.lists(events, max_size=40), gate=st.booleans())
    def test_the_percentage_follows_the_rules(
        self,
        state: RolloutState,
        several: list[tuple[Verdict | tuple[Control, RollbackRequest], int]],
        gate: bool,
    ) -> None:
        if gate:
            gated = state.request.model_copy(update={"manual_gates": state.request.steps[-1:]})
            state = state.model_copy(update={"request": gated})
        now = BEGAN
        for event, seconds in several:
            now += timedelta(seconds=seconds)
            before, action = state, self._happens(state, event, now)
            if isinstance(event, Verdict):
                state = state.model_copy(update={"judgement": told(event), "judged_at": now})
            state = advanced(state, action, now) if action else state
            self._consistent(before, state, event, action)
        assert RolloutState.model_validate_json(state.model_dump_json()) == state

    @staticmethod
    def _happens(state: RolloutState, event: Verdict | tuple[Control, RollbackRequest], now: datetime) -> Action | None:
        if isinstance(event, Verdict):
            return next_action(state, told(event), now)
        return None if refusal(state, *event) else asked(state, *event)

    @staticmethod
    def _consistent(
        before: RolloutState,
        state: RolloutState,
        event: Verdict | tuple[Control, RollbackRequest],
        action: Action | None,
    ) -> None:
        was, now = percentage(before), percentage(state)
        if action:
            assert now == action.percentage
        if now > was:
            assert event is Verdict.PASS or (isinstance(event, tuple) and event[0] is Control.PROMOTE)
            assert state.position == before.position + 1
        if now < was:
            rolls_back = isinstance(event, tuple) and event[0] is Control.ROLLBACK
            assert event is Verdict.FAIL or rolls_back or before.phase is RolloutPhase.ROLLING_BACK
            assert state.phase in {RolloutPhase.ROLLING_BACK, RolloutPhase.ROLLED_BACK}
        if before.phase.is_final:
            assert (state.phase, now) == (before.phase, was)
            assert state.decisions == before.decisions
        if event is Verdict.FAIL:
            assert state.phase.is_final
        assert 0 <= state.position < len(state.request.steps)
        assert (state.resume_to is not None) == (state.phase is RolloutPhase.PAUSED)
        assert (now == 0) == (state.phase is RolloutPhase.ROLLED_BACK)
        assert len(state.decisions) <= KEPT_DECISIONS

    def test_decisions_are_bounded(self) -> None:
        state = started()
        for _ in range(KEPT_DECISIONS):
            state = wished(wished(state, Control.PAUSE, BEGAN), Control.RESUME, BEGAN)
        assert len(state.decisions) == KEPT_DECISIONS
        assert state.decisions[-1].kind is ActionKind.RESUME
