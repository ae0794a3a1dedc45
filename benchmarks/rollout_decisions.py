"""How often a healthy rollout is rolled back, and how soon a failing one: by the verdict, and by plain thresholds.

The rollouts run through the real state machine, 5 → 25 → 50 → 100 % with 10 minutes on each step and a look every 30 s,
on simulated traffic of 20 requests/s in which every request is independent: 2 % errors, log-normal latencies (median
400 ms, p95 911 ms), gamma distributed costs. The plain rules look at the last minute of the same traffic, as common
canary controllers do: too high a rate is a failed check, and a number of failed checks in a row is a rollback. All
traffic is seeded: a run repeats exactly.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from math import inf, log
from random import Random
from statistics import NormalDist, median
from typing import Final

from benchmarks.report import Options, Report, options, table
from domain.flag import RollbackTriggers
from domain.observation import LATENCY_BOUNDS_MS, ArmCounts, Observed, Sums
from domain.rollout import RolloutPhase, RolloutState, advanced, begin, next_action, percentage
from domain.rollout_request import Guardrails, RolloutRequest
from domain.rollout_verdict import look

BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
LOOK_S: Final = 30
PER_LOOK: Final = 600
STEPS: Final = (5, 25, 50, 100)
LOOKS_PER_STEP: Final = 20
MEDIAN_MS, SPREAD, P95_MS = 400.0, 0.5, 911.0
COST_SHAPE, COST_MICROS = 4.0, 2_000
GUARDRAILS: Final = Guardrails(
    error_rate=5,
    p95_latency_ms=1_500,
    p95_latency_ratio=1.25,
    compliance_score=0.95,
    cost_per_request_micros=3_000,
)


@dataclass(frozen=True)
class Behaviour:
    """How an arm answers. ``lost``: the share of requests whose compliance score is 0.8 instead of 1."""

    errors: float = 0.02
    slower: float = 1.0
    lost: float = 0.1
    cost: float = COST_MICROS


HEALTHY: Final = Behaviour()


@dataclass(frozen=True)
class Scenario:
    """What happens: the canary is like the baseline before look ``since``; ``None``: always. ``held``: the first step
    ends only by a person. ``users``: so many equally busy ones, each with an error rate of its own (exponentially
    distributed), instead of requests that are all alike."""

    name: str
    canary: Behaviour
    baseline: Behaviour = HEALTHY
    since: int | None = 0
    steps: tuple[int, ...] = STEPS
    held: bool = False
    looks: int = 240
    users: int | None = None
    guardrails: Guardrails = GUARDRAILS

    def harmful(self, number: int) -> bool:
        """Whether the canary is the worse one at a look, from 0."""
        return self.since is not None and number >= self.since


@dataclass(frozen=True)
class Outcome:
    """``stopped``: the look at which it was rolled back, from 1; ``at``: the percentage then; ``rightly``: the canary
    was the worse one; ``requests``: those of the canary while it was."""

    stopped: int | None
    at: int
    requests: int
    rightly: bool
    completed: bool


@dataclass
class Traffic:
    """What one rollout meets: for the same look and percentage always the same."""

    scenario: Scenario
    seed: str
    made: dict[tuple[int, int], Observed] = field(default_factory=dict)

    def block(self, number: int, share: int) -> Observed:
        """Both arms between two looks."""
        if (number, share) not in self.made:
            random = Random(f"{self.seed}/{number}/{share}")
            canary = binomial(random, PER_LOOK, share / 100)
            harmful, baseline = self.scenario.harmful(number), self.scenario.baseline
            self.made[number, share] = Observed(
                baseline=counts(random, PER_LOOK - canary, self.of_users(baseline, 100 - share)),
                canary=counts(random, canary, self.of_users(self.scenario.canary if harmful else baseline, share)),
                fresh_at=BEGAN + timedelta(seconds=(number + 1) * LOOK_S),
            )
        return self.made[number, share]

    def of_users(self, behaviour: Behaviour, share: int) -> Behaviour:
        """With the mean error rate of the users that are in an arm of this share."""
        users = (self.scenario.users or 0) * share / 100
        if not users:
            return behaviour
        mean = Random(f"{self.seed}/users/{share}").gammavariate(users, behaviour.errors / users)
        return replace(behaviour, errors=min(mean, 1.0))


def counts(random: Random, requests: int, behaviour: Behaviour) -> ArmCounts:
    """Independent requests of an arm."""
    if not requests:
        return ArmCounts()
    failed = binomial(random, requests, behaviour.errors)
    lost = binomial(random, requests, behaviour.lost)
    cost = random.gammavariate(requests * COST_SHAPE, behaviour.cost / COST_SHAPE)
    bounds = classes(behaviour.slower)
    return ArmCounts(
        requests=requests,
        errors={"server_error": failed} if failed else {},
        latencies=dict(Counter(bisect(bounds, random.random()) for _ in range(requests))),
        cost=Sums(count=requests, total=round(cost)),
        compliance=Sums(count=requests, total=requests * 1_000_000 - lost * 200_000),
    )


def binomial(random: Random, trials: int, share: float) -> int:
    """Successes among the trials, by the gaps between them."""
    if share > 0.5:
        return trials - binomial(random, trials, 1 - share)
    if share <= 0:
        return 0
    successes, place, step = 0, 0, log(1 - share)
    while True:
        place += int(log(1 - random.random()) / step) + 1
        if place > trials:
            return successes
        successes += 1


@cache
def classes(slower: float) -> Sequence[float]:
    """The share of requests up to each latency class."""
    normal = NormalDist(log(MEDIAN_MS * slower), SPREAD)
    return [normal.cdf(log(bound)) for bound in LATENCY_BOUNDS_MS]


def by_verdict(scenario: Scenario, traffic: Traffic) -> Outcome:
    """Through the state machine of the product."""
    steps = tuple(Decimal(step) for step in scenario.steps)
    request = RolloutRequest(
        flag="simulated",
        steps=steps,
        bake_seconds=LOOKS_PER_STEP * LOOK_S,
        manual_gates=steps[:1] if scenario.held else (),
        guardrails=scenario.guardrails,
        reason="A simulation.",
    )
    state = begin(request, RollbackTriggers(), "simulated", BEGAN)
    observed, harmed = Observed(), 0
    for number in range(scenario.looks):
        share = int(percentage(state))
        block = traffic.block(number, share)
        observed = observed + block
        harmed += block.canary.requests if scenario.harmful(number) else 0
        state = looked(state, observed, BEGAN + timedelta(seconds=(number + 1) * LOOK_S))
        if state.phase is RolloutPhase.ROLLED_BACK:
            return Outcome(number + 1, share, harmed, scenario.harmful(number), completed=False)
        if state.phase.is_final:
            return Outcome(None, share, harmed, rightly=False, completed=True)
    return Outcome(None, int(percentage(state)), harmed, rightly=False, completed=False)


def looked(state: RolloutState, observed: Observed, now: datetime) -> RolloutState:
    """One look, and what follows from it."""
    state, judgement = look(state, observed, now)
    return advanced(state, next_action(state, judgement, now), now)


Check = Callable[[ArmCounts, ArmCounts], bool]
"""Whether the last minute of canary and baseline is a failed check."""


def above_5_percent(canary: ArmCounts, _: ArmCounts) -> bool:
    return (canary.error_rate or 0) > 0.05


def above_the_baseline(canary: ArmCounts, baseline: ArmCounts) -> bool:
    return (canary.error_rate or 0) > 1.5 * (baseline.error_rate or inf)


def slower_than_the_baseline(canary: ArmCounts, baseline: ArmCounts) -> bool:
    return (canary.quantile(0.95) or 0) > 1.25 * (baseline.quantile(0.95) or inf)


@dataclass(frozen=True)
class PlainRule:
    """Rolled back when ``in_a_row`` checks failed one after the other."""

    name: str
    meaning: str
    check: Check
    in_a_row: int

    def judged(self, scenario: Scenario, traffic: Traffic) -> Outcome:
        """The same rollout under this rule."""
        position, failed, harmed, last = 0, 0, 0, Observed()
        for number in range(scenario.looks):
            share = scenario.steps[position]
            block = traffic.block(number, share)
            minute, last = last + block, block
            harmed += block.canary.requests if scenario.harmful(number) else 0
            failed = failed + 1 if self.check(minute.canary, minute.baseline) else 0
            if failed >= self.in_a_row:
                return Outcome(number + 1, share, harmed, scenario.harmful(number), completed=False)
            if not scenario.held and (number + 1) % LOOKS_PER_STEP == 0:
                position, failed, last = position + 1, 0, Observed()
                if position == len(scenario.steps):
                    return Outcome(None, share, harmed, rightly=False, completed=True)
        return Outcome(None, scenario.steps[position], harmed, rightly=False, completed=False)


RULES: Final = (
    PlainRule("> 5 %", "error rate above 5 %, once", above_5_percent, 1),
    PlainRule("> 5 %, 3 x", "error rate above 5 %, 3 checks in a row", above_5_percent, 3),
    PlainRule("> 1.5 b, 3 x", "error rate above 1.5 times the baseline's, 3 in a row", above_the_baseline, 3),
    PlainRule("p95, 3 x", "p95 above 1.25 times the baseline's, 3 in a row", slower_than_the_baseline, 3),
)

AT_THE_LIMITS: Final = Behaviour(errors=0.05)
PLUS_TWO: Final = Behaviour(errors=0.04)
SCENARIOS: Final = {
    "healthy": (Scenario("no difference (A/A)", HEALTHY, since=None), 1_000, 150),
    "limits": (
        Scenario(
            "no difference, every value at its limit, 2 h at 25 %",
            AT_THE_LIMITS,
            AT_THE_LIMITS,
            since=None,
            steps=(25, 100),
            held=True,
            guardrails=Guardrails(
                error_rate=5,
                p95_latency_ms=P95_MS,
                p95_latency_ratio=1,
                compliance_score=0.98,
                cost_per_request_micros=COST_MICROS,
            ),
        ),
        100,
        10,
    ),
    "users": (Scenario("no difference (A/A), but 400 users who differ", HEALTHY, since=None, users=400), 300, 30),
    "few_users": (Scenario("no difference (A/A), but 40 users who differ", HEALTHY, since=None, users=40), 200, 20),
    "plus2": (Scenario("errors 2 % + 2 points", PLUS_TWO), 300, 50),
    "plus2_held": (Scenario("errors 2 % + 2 points, held at 5 %", PLUS_TWO, held=True), 300, 40),
    "outage": (Scenario("all requests of the canary fail", Behaviour(errors=1.0)), 300, 100),
    "slow": (Scenario("latency + 50 %", Behaviour(slower=1.5)), 300, 40),
    "late": (
        Scenario("errors 2 % + 8 points after 2 h at 5 %", Behaviour(errors=0.1), since=240, held=True, looks=480),
        100,
        8,
    ),
}


def main(chosen: Options) -> None:
    report = Report("rollout_decisions")
    rows: list[tuple[object, ...]] = []
    legend: list[tuple[str, str]] = []
    for key, (scenario, full, quick) in SCENARIOS.items():
        number = quick if chosen.quick else full
        judged = simulated(key, scenario, number)
        rows.append((f"[bold]{key}", *[""] * (len(COLUMNS) - 1)))
        rows += [row(scenario, name, outcomes) for name, outcomes in judged]
        legend.append((key, f"{number:,} rollouts: {scenario.name}"))
        figures(report, key, judged)
    table("what happens", ("scenario", "meaning"), legend)
    table(
        "who judges",
        ("judge", "meaning"),
        [("verdict", "this product"), *((rule.name, rule.meaning) for rule in RULES)],
    )
    table("rolled back, in % of the rollouts; then of those rightly, from where the failure begins", COLUMNS, rows)
    report.at_most("healthy_rolled_back", 0.01)
    report.at_most("limits_rolled_back", 0.01)
    report.at_least("healthy_completed", 0.95)
    report.at_least("plus2_rolled_back", 0.95)
    report.at_least("plus2_held_rolled_back", 0.95)
    report.at_least("outage_rolled_back", 1.0)
    report.at_most("outage_median_requests", 60)
    report.at_least("slow_rolled_back", 0.99)
    report.at_least("late_rolled_back", 0.99)
    report.finish(chosen)


COLUMNS: Final = ("judge", "falsely", "rightly", "at 5 %", "p50 min", "p90 min", "requests")


def simulated(key: str, scenario: Scenario, number: int) -> list[tuple[str, list[Outcome]]]:
    """Every judge on the same traffic."""
    names = ["verdict", *(rule.name for rule in RULES)]
    outcomes: list[tuple[str, list[Outcome]]] = [(name, []) for name in names]
    for each in range(number):
        traffic = Traffic(scenario, f"{key}/{each}")
        judged = [by_verdict(scenario, traffic), *(rule.judged(scenario, traffic) for rule in RULES)]
        for (_, kept), outcome in zip(outcomes, judged, strict=True):
            kept.append(outcome)
    return outcomes


def row(scenario: Scenario, name: str, outcomes: Sequence[Outcome]) -> tuple[object, ...]:
    """A line of the table; "at 5 %" is a part of "rightly"."""
    stopped = [outcome for outcome in outcomes if outcome.stopped]
    rightly = [outcome for outcome in stopped if outcome.rightly]
    delays = delays_min(scenario, rightly)
    return (
        name,
        share(len(stopped) - len(rightly), outcomes),
        share(len(rightly), outcomes),
        share(sum(outcome.at == STEPS[0] for outcome in rightly), outcomes),
        f"{median(delays):.1f}" if delays else "",
        f"{percentile(delays, 0.9):.1f}" if delays else "",
        f"{median(outcome.requests for outcome in rightly):,.0f}" if rightly else "",
    )


def share(number: int, outcomes: Sequence[Outcome]) -> str:
    return f"{100 * number / len(outcomes):.1f}"


def delays_min(scenario: Scenario, rightly: Iterable[Outcome]) -> list[float]:
    """From the beginning of the failure, in order."""
    return sorted(((outcome.stopped or 0) - (scenario.since or 0)) * LOOK_S / 60 for outcome in rightly)


def percentile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def figures(report: Report, key: str, judged: Sequence[tuple[str, Sequence[Outcome]]]) -> None:
    """The verdict's figures in full, of the plain rules how often they rolled back."""
    scenario, outcomes = SCENARIOS[key][0], judged[0][1]
    rightly = [outcome for outcome in outcomes if outcome.rightly]
    report.figure(f"{key}_rollouts", len(outcomes))
    report.figure(f"{key}_rolled_back", stopped_share(outcomes, falsely=scenario.since is None))
    report.figure(f"{key}_completed", sum(outcome.completed for outcome in outcomes) / len(outcomes))
    if delays := delays_min(scenario, rightly):
        report.figure(f"{key}_falsely_rolled_back", stopped_share(outcomes, falsely=True))
        report.figure(f"{key}_rolled_back_at_5", sum(each.at == STEPS[0] for each in rightly) / len(outcomes))
        report.figure(f"{key}_median_min", median(delays))
        report.figure(f"{key}_p90_min", percentile(delays, 0.9))
        report.figure(f"{key}_median_requests", median(outcome.requests for outcome in rightly))
        for minutes in (10, 30, 60):
            report.figure(f"{key}_within_{minutes}_min", sum(delay <= minutes for delay in delays) / len(outcomes))
    for number, (_, plain) in enumerate(judged[1:], start=1):
        report.figure(f"{key}_rolled_back_by_rule_{number}", stopped_share(plain, falsely=scenario.since is None))


def stopped_share(outcomes: Sequence[Outcome], *, falsely: bool) -> float:
    """Of the rollouts, those rolled back while the canary was no worse, or was."""
    return sum(bool(each.stopped) and each.rightly is not falsely for each in outcomes) / len(outcomes)


if __name__ == "__main__":
    main(options(__doc__ or ""))
