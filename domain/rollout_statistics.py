"""Evidence that may be looked at as often as one likes: test supermartingales ("e-processes").

Under the null hypothesis such a process starts at 1 and is expected never to grow, so that by Ville's inequality it
ever reaches ``1 / alpha`` with a probability of at most ``alpha``, however often and whenever somebody looks. The
derivations and sources are in docs/rollout-statistics.md.

Every process here is a mixture: over several effects (one column each) and over the moment from which the effect
exists, so that hours of health do not have to be outweighed before a later failure shows.
"""

from collections.abc import Sequence
from math import exp, log

from domain.model import Model

ODDS: tuple[float, ...] = (1.5, 2.0, 4.0, 12.0, 100.0)
"""The effects that are looked for: by how much the odds of a failure may have grown."""

STAKES: tuple[float, ...] = (0.2, 0.5, 0.9)
"""The parts of the evidence that are staked on the next block's mean being too high."""

CEILING = 1e9
"""Where a process is cut off. Cutting keeps it a supermartingale, and nothing asks for more."""

LEAST_SHARE = 1e-6
"""The least and, from 1, the greatest probability that is worked with."""


class Process(Model):
    """A mixture of test supermartingales: ``active`` is what each effect's has come to, the ones of all moments so far
    together."""

    active: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """The evidence: to be compared with ``1 / alpha``."""
        return sum(self.active) / len(self.active) if self.active else 0.0

    def after(self, logs: Sequence[float], weight: float) -> "Process":
        """With one more block. ``logs``: the logarithm of the block's e-value for each effect; ``weight``: of an
        effect that begins with this block."""
        active = self.active or (0.0,) * len(logs)
        return Process(
            active=tuple(
                min(CEILING, (each + weight) * exp(min(value, 50.0))) for each, value in zip(active, logs, strict=True)
            )
        )


def beginning_weight(look: int, *, first_of_step: bool, steps: int) -> float:
    """The weight of an effect that begins at this look (from 1 on): half of all weight is for the first looks of the
    steps, when more users get the new system, the other half for any look, 1 / (look · (look + 1)). In sum 1."""
    return (1 / (2 * steps) if first_of_step else 0.0) + 1 / (2 * look * (look + 1))


def above_threshold(failed: float, requests: int, threshold: float) -> tuple[float, ...]:
    """Log e-values of one block against "the mean of values from 0 to 1 is at most ``threshold``", an effect each.

    ``failed`` is the block's sum: a number of failures, or of fractions of one. A Bernoulli likelihood ratio; with
    fractions it remains an e-value, because e^(ηx) is at most the chord 1 - x + x·e^η.
    """
    base = _share(threshold)
    failed = min(max(failed, 0.0), float(requests))
    return tuple(
        failed * log(worse / base) + (requests - failed) * log((1 - worse) / (1 - base))
        for worse in (_raised(base, odds) for odds in ODDS)
    )


def above_baseline(
    failed: int, requests: int, baseline_failed: int, baseline_requests: int, expected: float | None
) -> tuple[float, ...]:
    """Log e-values of one block against "the canary fails no more often than the baseline", an effect each.

    ``expected``: the baseline's rate as learned from earlier blocks alone. It makes the test strong, not valid: a
    wrong one costs time. ``None``, or an arm without requests: the block says nothing. The two-sample e-value of
    Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for optional stopping".
    """
    if expected is None or requests <= 0 or baseline_requests <= 0:
        return (0.0,) * len(ODDS)
    base = _share(expected)
    failed, baseline_failed = min(failed, requests), min(baseline_failed, baseline_requests)
    together = requests + baseline_requests
    logs = []
    for odds in ODDS:
        worse = _raised(base, odds)
        pooled = (requests * worse + baseline_requests * base) / together
        logs.append(
            failed * log(worse / pooled)
            + (requests - failed) * log((1 - worse) / (1 - pooled))
            + baseline_failed * log(base / pooled)
            + (baseline_requests - baseline_failed) * log((1 - base) / (1 - pooled))
        )
    return tuple(logs)


def mean_above(total: int, count: int, limit: int) -> tuple[float, ...]:
    """Log e-values of one block against "the mean of values from 0 on is at most ``limit``", a stake each.

    1 + stake · (mean / limit - 1): exact for values of any distribution, because its expectation is at most 1.
    """
    if count <= 0:
        return (0.0,) * len(STAKES)
    return tuple(log(1 + stake * (max(total, 0) / count / limit - 1)) for stake in STAKES)


def _raised(share: float, odds: float) -> float:
    """The probability whose odds are ``odds`` times those of ``share``."""
    return _share(share * odds / (1 + share * (odds - 1)))


def _share(value: float) -> float:
    return min(max(value, LEAST_SHARE), 1 - LEAST_SHARE)
