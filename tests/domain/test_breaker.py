"""The breaker as a pure machine: when it opens, who probes, and whose outcome counts."""

from collections.abc import Sequence

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.breaker import (
    PROBE_CHECK_MS,
    Admission,
    BreakerPolicy,
    BreakerState,
    BreakerStatus,
    admit,
    failed,
    succeeded,
    view,
)

POLICY = BreakerPolicy()
START = 1_000_000
CLOSED, OPEN, HALF_OPEN = BreakerStatus.CLOSED, BreakerStatus.OPEN, BreakerStatus.HALF_OPEN


def after_failures(moments: Sequence[int], state: BreakerState | None = None) -> BreakerState:
    """The state after a call failed at each of these moments."""
    state = state or BreakerState()
    for moment in moments:
        _, admission = admit(state, POLICY, moment)
        state = failed(state, POLICY, admission, moment)
    return state


@pytest.fixture
def opened() -> BreakerState:
    """Open from ``START`` on."""
    return after_failures([START] * 5)


def probing(state: BreakerState, now_ms: int) -> tuple[BreakerState, Admission]:
    state, admission = admit(state, POLICY, now_ms)
    assert admission.probe
    return state, admission


class TestOpening:
    @pytest.mark.parametrize(
        ("moments", "expected"),
        [
            ([0, 0, 0, 0], CLOSED),
            ([0, 0, 0, 0, 0], OPEN),
            ([0, 20_000, 40_000, 50_000, 59_999], OPEN),
            ([0, 20_000, 40_000, 50_000, 60_000], CLOSED),
            ([0, 20_000, 40_000, 50_000, 60_000, 61_000], OPEN),
            ([0, 15_000, 30_000, 45_000, 60_000, 75_000, 90_000], CLOSED),
        ],
    )
    def test_by_five_failures_within_any_minute(self, moments: list[int], expected: BreakerStatus) -> None:
        state = after_failures([START + moment for moment in moments])
        assert state.status(START + moments[-1]) is expected

    def test_successes_between_failures_do_not_forgive_them(self) -> None:
        state = BreakerState()
        for _ in range(5):
            _, admission = admit(state, POLICY, START)
            state = succeeded(state, admission)
            state = failed(state, POLICY, admission, START)
        assert state.status(START) is OPEN

    def test_nobody_is_admitted_for_thirty_seconds(self, opened: BreakerState) -> None:
        state, last = admit(opened, POLICY, START + 29_999)
        assert (last.allowed, last.status, last.retry_after_ms) == (False, OPEN, 1)
        assert state.rejected == 1
        assert opened.status(START + 30_000) is HALF_OPEN


class TestProbe:
    def test_there_is_one_at_a_time(self, opened: BreakerState) -> None:
        state, _ = probing(opened, START + 30_000)
        state, second = admit(state, POLICY, START + 30_001)
        assert (second.allowed, second.status, second.retry_after_ms) == (False, HALF_OPEN, PROBE_CHECK_MS)
        _, late = admit(state, POLICY, START + 89_999)
        assert (late.allowed, late.retry_after_ms) == (False, 1)

    def test_its_success_closes_and_forgets(self, opened: BreakerState) -> None:
        state, probe = probing(opened, START + 30_000)
        state = succeeded(state, probe)
        assert (state.status(START + 30_001), state.closed) == (CLOSED, 1)
        assert after_failures([START + 30_001] * 4, state).status(START + 30_001) is CLOSED

    def test_its_failure_opens_again(self, opened: BreakerState) -> None:
        state, probe = probing(opened, START + 30_000)
        state = failed(state, POLICY, probe, START + 31_000)
        assert (state.status(START + 60_999), state.status(START + 61_000)) == (OPEN, HALF_OPEN)
        assert state.opened == 2
        probing(state, START + 61_000)

    def test_one_that_is_not_heard_of_is_given_up(self, opened: BreakerState) -> None:
        state, first = probing(opened, START + 30_000)
        state, second = probing(state, START + 90_000)
        assert first.ticket != second.ticket
        assert succeeded(state, first) == state
        assert failed(state, POLICY, first, START + 90_001) == state
        assert succeeded(state, second).status(START + 90_002) is CLOSED

    def test_one_that_was_given_up_still_decides_while_there_is_no_other(self, opened: BreakerState) -> None:
        state, probe = probing(opened, START + 30_000)
        assert succeeded(state, probe).status(START + 95_000) is CLOSED

    def test_its_outcome_counts_once(self, opened: BreakerState) -> None:
        state, probe = probing(opened, START + 30_000)
        state = failed(state, POLICY, probe, START + 30_001)
        assert succeeded(state, probe) == state
        assert failed(state, POLICY, probe, START + 40_000) == state


class TestLateOutcomes:
    """Of calls that were admitted before the breaker opened."""

    @pytest.fixture
    def early(self) -> Admission:
        return admit(BreakerState(), POLICY, START)[1]

    def test_a_failure_does_not_prolong_the_opening(self, opened: BreakerState, early: Admission) -> None:
        assert failed(opened, POLICY, early, START + 20_000) == opened

    def test_no_outcome_ends_a_probe(self, opened: BreakerState, early: Admission) -> None:
        state, _ = probing(opened, START + 30_000)
        assert failed(state, POLICY, early, START + 30_001) == state
        assert succeeded(state, early) == state

    def test_a_failure_does_not_count_once_the_breaker_has_closed_again(
        self, opened: BreakerState, early: Admission
    ) -> None:
        state, probe = probing(opened, START + 30_000)
        state = succeeded(state, probe)
        for _ in range(5):
            state = failed(state, POLICY, early, START + 31_000)
        assert (state.status(START + 31_000), state.failures) == (CLOSED, ())

    def test_nothing_comes_of_a_call_that_was_not_allowed(self, opened: BreakerState) -> None:
        state, denied = admit(opened, POLICY, START + 1)
        assert failed(state, POLICY, denied, START + 2) == state
        assert succeeded(state, denied) == state


class TestView:
    def test_of_one_that_was_never_used(self) -> None:
        seen = view("azure/gpt-4o", BreakerState(), POLICY, START)
        assert (seen.status, seen.failures, seen.open_for_ms, seen.shared) == (CLOSED, 0, None, True)

    def test_of_an_open_one(self, opened: BreakerState) -> None:
        state, _ = admit(opened, POLICY, START + 1_000)
        seen = view("azure/gpt-4o", state, POLICY, START + 1_000, shared=False)
        assert (seen.status, seen.failures, seen.open_for_ms) == (OPEN, 5, 29_000)
        assert (seen.opened, seen.closed, seen.rejected, seen.shared) == (1, 0, 1, False)

    def test_failures_leave_the_window(self) -> None:
        state = after_failures([START, START + 1])
        assert view("azure/gpt-4o", state, POLICY, START + 60_000).failures == 1


SMALL = BreakerPolicy(failures=3, window_ms=10, open_ms=5, probe_ms=8)


class AnyOrderOfEvents(RuleBasedStateMachine):
    """Closed: everybody, until there are too many failures. Open: nobody. Half open: one."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100
        self.state = BreakerState()
        self.under_way: list[Admission] = []
        self.probe_since: int | None = None
        self.failures: list[int] = []

    @property
    def status(self) -> BreakerStatus:
        return self.state.status(self.now)

    @rule(milliseconds=st.integers(1, 12))
    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds

    @rule()
    def ask(self) -> None:
        status = self.status
        self.state, admission = admit(self.state, SMALL, self.now)
        undecided = self.probe_since is not None and self.now - self.probe_since < SMALL.probe_ms
        free = status is HALF_OPEN and not undecided
        assert (admission.status, admission.probe, admission.allowed) == (status, free, free or status is CLOSED)
        if admission.allowed:
            self.under_way.append(admission)
        if admission.probe:
            self.probe_since = self.now

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 9), success=st.booleans())
    def hear(self, which: int, success: bool) -> None:
        admission = self.under_way.pop(which % len(self.under_way))
        status, opened = self.status, self.state.opened
        if success:
            self.state = succeeded(self.state, admission)
        else:
            self.state = failed(self.state, SMALL, admission, self.now)
            if status is CLOSED and not admission.probe and admission.ticket == opened:
                self.failures.append(self.now)
        if self.status is not status:
            assert admission.probe or status is CLOSED
            self.probe_since = None
            assert (status is CLOSED) == (len(self.recent) == SMALL.failures)
            self.failures.clear()

    @property
    def recent(self) -> list[int]:
        return [moment for moment in self.failures if self.now - moment < SMALL.window_ms]

    @invariant()
    def closed_means_few_failures(self) -> None:
        if self.status is CLOSED:
            assert len(self.recent) < SMALL.failures
        assert len(self.state.failures) <= SMALL.failures


TestAnyOrderOfEvents = AnyOrderOfEvents.TestCase
