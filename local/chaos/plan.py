"""What a chaos run does and when: everything that is drawn follows from its seed."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from domain.rate_limit import LimitPolicy

WORKERS: Final = ("worker", "worker-2")

TIME_SCALE: Final = 1 / 60
"""A minute of the limits passes in a second, an hour in a minute."""

SYSTEM_WINDOW_S: Final = 1_200
"""Unscaled. The system layer's limit in it is what keeps the campaign running as long as there is trouble."""

FAULTS: Final[tuple[Mapping[str, object], ...]] = (
    {"kind": "accept_then_timeout", "probability": 0.05},
    {"kind": "server_error", "probability": 0.05},
    {"kind": "rate_limited", "probability": 0.05, "retry_after_s": 1},
    {"kind": "connection_reset", "probability": 0.01},
    {"kind": "connection_reset", "probability": 0.01, "after_accept": True},
)
"""What the gateway does to sends: 5 % each, and 2 % resets, half of them after the message was accepted."""


class Trouble(StrEnum):
    """What is done to the servers."""

    KILL_WORKER = "worker killed"
    FLUSH_REDIS = "Redis flushed"
    RESTART_REDIS = "Redis killed and restarted"
    RESTART_TEMPORAL = "Temporal killed and restarted"


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of trouble: ``after_s`` the one before; a part that is killed stays away for ``away_s``."""

    trouble: Trouble
    part: str
    after_s: float
    away_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A chaos run. ``pace_s``: the mean time between two steps; ``within_s``: when it is given up."""

    recipients: int = 1_000
    accounts: int = 10
    kills: int = 30
    flushes: int = 2
    redis_restarts: int = 1
    temporal_restarts: int = 1
    seed: int = 1
    pace_s: float = 7.0
    within_s: float = 600.0

    @property
    def wanted(self) -> Mapping[Trouble, int]:
        """How often each trouble is to happen."""
        return {
            Trouble.KILL_WORKER: self.kills,
            Trouble.FLUSH_REDIS: self.flushes,
            Trouble.RESTART_REDIS: self.redis_restarts,
            Trouble.RESTART_TEMPORAL: self.temporal_restarts,
        }

    def steps(self) -> tuple[Step, ...]:
        """The trouble in its order."""
        dice = random.Random(self.seed)
        troubles = [trouble for trouble, times in self.wanted.items() for _ in range(times)]
        dice.shuffle(troubles)
        return tuple(
            Step(
                trouble=trouble,
                part=_part(trouble, dice),
                after_s=self.pace_s * dice.uniform(0.4, 1.6),
                away_s=dice.uniform(0, 2),
            )
            for trouble in troubles
        )

    def faults(self) -> tuple[Mapping[str, object], ...]:
        """The gateway's faults, each with a seed of its own."""
        return tuple({**fault, "seed": self.seed + number} for number, fault in enumerate(FAULTS))

    @property
    def policy(self) -> LimitPolicy:
        """The limits before they are scaled: every layer has windows, and every layer binds now and then."""
        lasts_s = self.pace_s * sum(self.wanted.values())
        in_window = max(1, round(self.recipients * SYSTEM_WINDOW_S * TIME_SCALE / lasts_s))
        return LimitPolicy.model_validate(
            {
                "tiers": {"established": [{"limit": 10, "seconds": 60}, {"limit": 80, "seconds": 3_600}]},
                "message_types": {
                    "promotional": [{"limit": 12, "seconds": 120}, {"limit": 2_000, "seconds": 86_400}],
                },
                "system": [{"limit": in_window, "seconds": SYSTEM_WINDOW_S}, {"limit": 1_000, "seconds": 60}],
            }
        )

    def environment(self) -> Mapping[str, str]:
        """Settings of the product's processes."""
        return {
            "HUNTAZE_RATE_LIMITS": json.dumps(self.policy.model_dump(mode="json", by_alias=True)),
            "HUNTAZE_LIMIT_TIME_SCALE": repr(TIME_SCALE),
            "HUNTAZE_SEND_TIMEOUT_S": "1",
            "HUNTAZE_LEASE_GRACE_S": "1",
            "HUNTAZE_PAGE_SIZE": "25",
        }


def _part(trouble: Trouble, dice: random.Random) -> str:
    match trouble:
        case Trouble.KILL_WORKER:
            return dice.choice(WORKERS)
        case Trouble.RESTART_TEMPORAL:
            return "temporal"
        case _:
            return "redis"
