"""What a chaos run does and when: everything that is drawn follows from its seed."""

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Final

from domain.rate_limit import LimitPolicy
from local.caller import recipient_id

WORKERS: Final = ("worker", "worker-2")

TIME_SCALE: Final = 1 / 60
"""A minute of the limits passes in a second, an hour in a minute."""

FAULTS: Final[tuple[Mapping[str, object], ...]] = (
    {"kind": "accept_then_timeout", "probability": 0.05},
    {"kind": "server_error", "probability": 0.05},
    {"kind": "rate_limited", "probability": 0.05, "retry_after_s": 1},
    {"kind": "connection_reset", "probability": 0.01},
    {"kind": "connection_reset", "probability": 0.01, "after_accept": True},
)
"""What the gateway does to sends: 5 % each, and 2 % resets, half of them after the message was accepted."""

REGULARS_FAULTS: Final[tuple[Mapping[str, object], ...]] = (
    {"kind": "server_error", "probability": 0.4, "count": 1},
    {"kind": "server_error", "probability": 0.4, "count": 1, "after_accept": True},
)
"""What the gateway does besides in the chat of each regular: errors after which the chat has to be read, where another
message says the same."""

SINGLES: Final = (
    "Thank you for being here, it means a lot to me.",
    "Thank you for being here, it means a lot to me.",
    "Your favourite set has a second part now.",
)
"""What each regular is sent at the same moment, besides the campaign: two messages that say the same, and another."""

AI_FAULTS: Final[tuple[Mapping[str, object], ...]] = (
    {"kind": "server_error", "status": 503, "probability": 0.05},
    {"kind": "malformed_json", "probability": 0.03, "endpoint": "chat"},
    {"kind": "connection_reset", "probability": 0.03, "endpoint": "chat", "bill": True},
    {"kind": "hang", "probability": 0.02, "endpoint": "chat", "bill": True},
)
"""What the AI providers do. What is malformed is billed, like every answer; what is reset or hangs is billed, too, and
nobody ever sees it. The 503 also meets those who ask what is kept."""

AI_USAGE_DETAILS: Final[Mapping[str, object]] = {"cached_tokens": 40, "reasoning_tokens": 7}
"""Of every answer, so that no kind of token can be forgotten in a sum."""

AI_LATENCY_MS: Final = 400
"""Of every answer: long enough for workers to be killed while they wait for one that is billed all the same."""


class Trouble(StrEnum):
    """What is done to the servers."""

    KILL_WORKER = "worker killed"
    FLUSH_REDIS = "Redis flushed"
    RESTART_REDIS = "Redis killed and restarted"
    RESTART_TEMPORAL = "Temporal killed and restarted"


@dataclass(frozen=True, slots=True)
class Regular:
    """A fan of the campaign who is sent ``SINGLES``, too, ``at_s`` after the first message."""

    account: str
    recipient: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of trouble ``at_s`` after the first message; a part that is killed stays away for ``away_s``."""

    trouble: Trouble
    part: str
    at_s: float
    away_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A chaos run. ``pace_s``: the mean time between two steps; ``within_s``: when it is given up.

    The system layer's window, of ``window_s``, keeps the campaign running until ``spare_s`` after the last step: on
    any machine there is something left to send while there is trouble. ``spare_s`` is for what is noticed late, and
    for a step that has to wait until its part has come back from the step before.
    """

    recipients: int = 1_000
    accounts: int = 10
    regulars: int = 40
    """The first fans of the audience: each is sent ``SINGLES`` besides."""
    kills: int = 30
    flushes: int = 2
    redis_restarts: int = 1
    temporal_restarts: int = 1
    seed: int = 1
    pace_s: float = 6.0
    window_s: float = 20.0
    spare_s: float = 30.0
    within_s: float = 600.0
    max_cost: str | None = "5"
    """US dollars that the campaign may cost: more than it will. With a cap, drafting pauses for a minute or so whenever
    Redis has lost its memory."""
    gateway_faults: tuple[Mapping[str, object], ...] = FAULTS
    ai_faults: tuple[Mapping[str, object], ...] = AI_FAULTS

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
        moments = accumulate(self.pace_s * dice.uniform(0.4, 1.6) for _ in troubles)
        return tuple(
            Step(trouble=trouble, part=_part(trouble, dice), at_s=moment, away_s=dice.uniform(0, 2))
            for trouble, moment in zip(troubles, moments, strict=True)
        )

    @property
    def account_ids(self) -> tuple[str, ...]:
        """The accounts, which share the fans evenly."""
        return tuple(f"acct_chaos{number}" for number in range(self.accounts))

    @property
    def messages(self) -> int:
        """How many there are in all."""
        return self.recipients + self.regulars * len(SINGLES)

    def written_besides(self) -> tuple[Regular, ...]:
        """The regulars, one after the other, as long as there is trouble."""
        last_s = max((step.at_s for step in self.steps()), default=0.0)
        return tuple(
            Regular(
                account=self.account_ids[number % self.accounts],
                recipient=recipient_id(number),
                at_s=last_s * number / self.regulars,
            )
            for number in range(self.regulars)
        )

    @property
    def needed_s(self) -> float:
        """How long the campaign has to last."""
        return max((step.at_s for step in self.steps()), default=0.0) + self.spare_s

    @property
    def in_window(self) -> int:
        """How many messages the system layer admits in any ``window_s``."""
        return max(1, (self.messages - 1) // math.ceil(self.needed_s / self.window_s))

    @property
    def least_s(self) -> float:
        """How long after the first message the last one is sent at the earliest, however fast the machine is."""
        return (self.messages - 1) // self.in_window * self.window_s

    def faults(self) -> tuple[Mapping[str, object], ...]:
        """The gateway's faults, each with a seed of its own."""
        besides = tuple(
            {**fault, "account": regular.account, "chat_id": regular.recipient}
            for regular in self.written_besides()
            for fault in REGULARS_FAULTS
        )
        return _seeded((*self.gateway_faults, *besides), self.seed)

    def faults_of_ai(self) -> tuple[Mapping[str, object], ...]:
        """The AI providers' faults, each with a seed of its own."""
        return _seeded(self.ai_faults, self.seed + len(self.faults()))

    @property
    def policy(self) -> LimitPolicy:
        """The limits before they are scaled: every layer has windows, and every layer binds now and then."""
        return LimitPolicy.model_validate(
            {
                "tiers": {"established": [{"limit": 10, "seconds": 60}, {"limit": 80, "seconds": 3_600}]},
                "message_types": {
                    "promotional": [{"limit": 12, "seconds": 120}, {"limit": 2_000, "seconds": 86_400}],
                },
                "system": [
                    {"limit": self.in_window, "seconds": round(self.window_s / TIME_SCALE)},
                    {"limit": 1_000, "seconds": 60},
                ],
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
            "HUNTAZE_PROVIDER_TIMEOUT_S": "2",
        }


def _seeded(faults: tuple[Mapping[str, object], ...], seed: int) -> tuple[Mapping[str, object], ...]:
    return tuple({**fault, "seed": seed + number} for number, fault in enumerate(faults))


def _part(trouble: Trouble, dice: random.Random) -> str:
    match trouble:
        case Trouble.KILL_WORKER:
            return dice.choice(WORKERS)
        case Trouble.RESTART_TEMPORAL:
            return "temporal"
        case _:
            return "redis"
