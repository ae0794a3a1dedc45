"""E-values whose expectation, computed over every outcome, is at most 1; and what they find."""

from itertools import product
from math import comb, exp
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from domain.rollout_statistics import (
    CEILING,
    ODDS,
    Process,
    above_baseline,
    above_threshold,
    beginning_weight,
    mean_above,
)

shares = st.floats(0.0005, 0.9995)
few = st.integers(1, 8)
ROUNDING = 1e-9


def chance(successes: int, trials: int, share: float) -> float:
    return comb(trials, successes) * share**successes * (1 - share) ** (trials - successes)


class TestOneBlock:
    """An e-value must not be expected to exceed 1 under any case of its null hypothesis."""

    @given(requests=few, threshold=shares, part=st.floats(0, 1))
    def test_failures_up_to_a_threshold(self, requests: int, threshold: float, part: float) -> None:
        rate = threshold * part
        for effect in range(len(ODDS)):
            expected = sum(
                chance(failed, requests, rate) * exp(above_threshold(failed, requests, threshold)[effect])
                for failed in range(requests + 1)
            )
            assert expected <= 1 + ROUNDING

    @given(threshold=shares, middle=st.floats(0, 1), low=st.floats(0, 1), high=st.floats(0, 1))
    def test_fractions_of_a_failure(self, threshold: float, middle: float, low: float, high: float) -> None:
        """Three values, 0, ``middle`` and 1, whose mean is at most the threshold."""
        mean = middle * low + (1 - low) * high
        scale = min(1.0, threshold / mean) if mean > 0 else 1.0
        outcomes = [(0.0, 1 - scale), (middle, scale * low), (1.0, scale * (1 - low) * high)]
        outcomes.append((0.0, scale * (1 - low) * (1 - high)))
        for effect in range(len(ODDS)):
            expected = sum(
                first_chance * other_chance * exp(above_threshold(first + other, 2, threshold)[effect])
                for (first, first_chance), (other, other_chance) in product(outcomes, repeat=2)
            )
            assert expected <= 1 + ROUNDING

    @given(requests=few, baseline=few, rate=shares, part=st.floats(0, 1), learned=shares)
    def test_a_canary_that_is_no_worse(
        self, requests: int, baseline: int, rate: float, part: float, learned: float
    ) -> None:
        """Whatever was learned of the baseline, and however unequal the arms are."""
        for effect in range(len(ODDS)):
            expected = sum(
                chance(failed, requests, rate * part)
                * chance(others, baseline, rate)
                * exp(above_baseline(failed, requests, others, baseline, learned)[effect])
                for failed, others in product(range(requests + 1), range(baseline + 1))
            )
            assert expected <= 1 + ROUNDING

    @given(limit=st.integers(1, 1_000), high=st.integers(2, 50), part=st.floats(0, 1))
    def test_a_mean_up_to_a_limit_even_of_rare_high_values(self, limit: int, high: int, part: float) -> None:
        """``high`` times the limit, with a probability that keeps the mean at or below it."""
        rare = part / high
        for stake in range(len(mean_above(0, 1, limit))):
            expected = sum(
                (rare if first else 1 - rare)
                * (rare if other else 1 - rare)
                * exp(mean_above((first + other) * high * limit, 2, limit)[stake])
                for first, other in product((0, 1), repeat=2)
            )
            assert expected <= 1 + ROUNDING

    @given(requests=st.integers(1, 500), baseline=st.integers(1, 500), learned=shares, data=st.data())
    def test_more_failures_of_the_canary_are_more_evidence_and_of_the_baseline_less(
        self, requests: int, baseline: int, learned: float, data: st.DataObject
    ) -> None:
        failed = data.draw(st.integers(0, requests - 1))
        others = data.draw(st.integers(0, baseline - 1))
        now = above_baseline(failed, requests, others, baseline, learned)
        worse = above_baseline(failed + 1, requests, others, baseline, learned)
        common = above_baseline(failed, requests, others + 1, baseline, learned)
        alone = above_threshold(failed, requests, learned), above_threshold(failed + 1, requests, learned)
        for effect in range(len(ODDS)):
            assert worse[effect] >= now[effect] >= common[effect]
            assert alone[1][effect] >= alone[0][effect]

    @given(failed=st.integers(0, 50), others=st.integers(0, 50), learned=shares)
    def test_an_arm_without_requests_says_nothing(self, failed: int, others: int, learned: float) -> None:
        assert not any(above_baseline(failed, 50, 0, 0, learned))
        assert not any(above_baseline(0, 0, others, 50, learned))
        assert not any(above_baseline(failed, 50, others, 50, None))
        assert not any(above_threshold(0, 0, learned))
        assert not any(mean_above(0, 0, 1))

    @given(failed=st.integers(-5, 500), requests=st.integers(0, 100), others=st.integers(0, 500), rate=st.floats(0, 1))
    def test_counts_that_contradict_each_other_are_bounded(
        self, failed: int, requests: int, others: int, rate: float
    ) -> None:
        """More failures than requests, as a memory that lost some of them may say."""
        most = above_threshold(requests, requests, rate)
        assert all(found <= bound for found, bound in zip(above_threshold(failed, requests, rate), most, strict=True))
        assert len(above_baseline(max(failed, 0), requests, others, 100, rate)) == len(ODDS)


class TestProcess:
    @given(steps=st.integers(1, 20), looks=st.integers(1, 300))
    def test_the_weights_of_all_beginnings_are_at_most_1(self, steps: int, looks: int) -> None:
        firsts = set(range(1, 2 * steps + 1, 2))
        spent = sum(beginning_weight(n, first_of_step=n in firsts, steps=steps) for n in range(1, looks + 1))
        assert 0 < spent <= 1 + ROUNDING

    @given(values=st.lists(st.floats(0, 5), min_size=5, max_size=5), weight=st.floats(0, 1))
    def test_it_is_expected_to_grow_by_the_new_weight_alone(self, values: list[float], weight: float) -> None:
        """Under a bet that doubles everything with probability 1/2 and loses it otherwise, exactly fair."""
        before = Process(active=tuple(values))
        won = before.after([0.6931471805599453] * 5, weight).value
        lost = before.after([-10_000.0] * 5, weight).value
        assert abs((won + lost) / 2 - (before.value + weight)) <= 1e-6

    def test_it_is_cut_off_before_it_overflows(self) -> None:
        process = Process()
        for _ in range(100):
            process = process.after([1e6] * 5, 0.01)
        assert process.value == CEILING

    def test_false_alarms_are_as_rare_as_promised(self) -> None:
        """5 % against 95 % of the traffic at a base rate of 0.1 %, 200 looks at each of 300 histories."""
        alpha, histories = 0.1, 300
        alarms = sum(self._alarm(Random(f"null/{number}"), 1 / alpha) for number in range(histories))
        # Four standard deviations above what is promised.
        assert alarms / histories <= alpha + 4 * (alpha * (1 - alpha) / histories) ** 0.5

    def test_health_does_not_hide_what_comes_later(self) -> None:
        process = Process()
        for look in range(1, 2_000):
            healthy = above_threshold(1, 50, 0.05)
            process = process.after(healthy, beginning_weight(look, first_of_step=look == 1, steps=4))
        assert process.value < 1
        outage = above_threshold(20, 20, 0.05)
        assert process.after(outage, beginning_weight(2_000, first_of_step=False, steps=4)).value > 1_000

    @staticmethod
    def _alarm(random: Random, needed: float) -> bool:
        process, failed, seen = Process(), 0, 0
        for look in range(1, 201):
            canary = sum(random.random() < 0.001 for _ in range(5))
            others = sum(random.random() < 0.001 for _ in range(95))
            expected = (failed + 0.5) / (seen + 1) if seen >= 20 else None
            logs = above_baseline(canary, 5, others, 95, expected)
            process = process.after(logs, beginning_weight(look, first_of_step=look == 1, steps=1))
            failed, seen = failed + others, seen + 95
            if process.value >= needed:
                return True
        return False
