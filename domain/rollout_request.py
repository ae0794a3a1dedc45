"""What people ask of rollouts: to start one, on which terms, and to take part in it; and why one can't start. Pure."""

from decimal import Decimal
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from domain.flag import HYBRID_ORCHESTRATOR, Flag, FlagName, FlagOverride, Percentage, RollbackTriggers
from domain.model import Model, Request

OBSERVED_FLAGS = (HYBRID_ORCHESTRATOR,)
"""The flags whose requests the product itself observes. Of any other, somebody's own code has to record them."""


class Guardrails(Request):
    """What must hold for the canary; ``null``: not looked at, or, of the error rate and the p95, the flag's trigger."""

    error_rate: float | None = Field(default=None, gt=0, lt=100, description="percent; default: the flag's trigger")
    error_rate_increase: bool = Field(default=True, description="the canary may not fail more often than the baseline")
    p95_latency_ms: float | None = Field(default=None, gt=0, description="default: the flag's trigger")
    p95_latency_ratio: float | None = Field(default=None, ge=1, le=100, description="canary to baseline")
    compliance_score: float | None = Field(default=None, gt=0, le=1, description="the least mean score")
    cost_per_request_micros: int | None = Field(default=None, gt=0, description="the highest mean, in µ$")
    without: tuple[Literal["errorRate", "p95LatencyMs"], ...] = Field(
        default=(), max_length=2, description="the flag's triggers that this rollout does not look at"
    )

    @model_validator(mode="after")
    def _either_set_or_left_out(self) -> Self:
        for name, value in (("errorRate", self.error_rate), ("p95LatencyMs", self.p95_latency_ms)):
            if name in self.without and value is not None:
                raise ValueError(f"without: {name} has a value")
        return self

    def over(self, triggers: RollbackTriggers) -> "Guardrails":
        """With the flag's own triggers where nothing is said here. A trigger of 100 % never fires."""
        rate, p95 = triggers.error_rate_threshold, triggers.latency_threshold
        if "errorRate" in self.without or (rate is not None and rate >= 100):
            rate = None
        if "p95LatencyMs" in self.without:
            p95 = None
        return self.model_copy(
            update={"error_rate": self.error_rate or rate, "p95_latency_ms": self.p95_latency_ms or p95}
        )

    def in_force(self) -> tuple[str, ...]:
        """The names of those that are looked at."""
        return tuple(name for name in type(self).model_fields if name != "without" and getattr(self, name))


class RolloutRequest(Request):
    """What an operator asks for."""

    flag: FlagName
    steps: tuple[Percentage, ...] = Field(
        default=(Decimal(5), Decimal(25), Decimal(50), Decimal(100)),
        min_length=1,
        max_length=20,
        description="percentages, each higher than the one before; the last may be below 100",
        json_schema_extra={"default": [5, 25, 50, 100]},
    )
    bake_seconds: int = Field(default=600, ge=1, le=604_800, description="the least time on each step")
    min_samples: int = Field(
        default=100, ge=1, le=1_000_000, description="requests of each arm on each step, of the canary alone at 100 %"
    )
    max_wait_seconds: int = Field(
        default=21_600, ge=1, description="without a pass on a step before it is paused; never before bake_seconds"
    )
    look_seconds: float = Field(default=30, ge=0.2, le=3_600)
    manual_gates: tuple[Percentage, ...] = Field(default=(), description="steps that end only by a person's promote")
    guardrails: Guardrails = Guardrails()
    recall_on_rollback: bool = Field(
        default=False, description="a rollback by itself also takes back messages that may still be unsent"
    )
    reason: str = Field(min_length=3, max_length=500)

    @model_validator(mode="after")
    def _climbs(self) -> Self:
        if any(step <= 0 for step in self.steps):
            raise ValueError("steps: each must be above 0")
        if any(later <= earlier for earlier, later in zip(self.steps, self.steps[1:], strict=False)):
            raise ValueError("steps: each must be higher than the one before it")
        if not set(self.manual_gates) <= set(self.steps):
            raise ValueError("manualGates: each must be one of the steps")
        return self


class RolloutControl(Model):
    """The optional argument of the signals and updates ``pause``, ``resume``, ``promote`` and ``rollback``.

    ``from`` makes a repeated ``promote`` harmless: it is refused when the rollout stands elsewhere by now.
    """

    requested_by: str = "temporal-signal"
    reason: str = Field(default="", max_length=500)
    from_percentage: Percentage | None = Field(default=None, alias="from")


class RollbackRequest(RolloutControl):
    """``gradual``: down the steps that were climbed, one each ``bake_seconds``. ``recall``: take back what may still
    be unsent."""

    gradual: bool = False
    recall: bool = False


class Control(StrEnum):
    """What a person may ask of a running rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


def refusal_to_start(flag: Flag, request: RolloutRequest) -> str | None:
    """Why a rollout of this flag can't begin; ``None``: it can."""
    if not flag.enabled:
        return f"the flag {flag.name} is disabled: enable it first"
    if flag.rollout_id:
        return f"the rollout {flag.rollout_id} already steers the flag {flag.name}"
    if flag.rollout_percentage > request.steps[0]:
        return f"the flag {flag.name} stands at {flag.rollout_percentage} %: the first step must not be below it"
    return None


def refusal_by_environment(flag: str, override: FlagOverride | None) -> str | None:
    """Why a rollout would steer nothing while the environment overrides the flag; ``None``: it would."""
    variable = flag.replace("-", "_").upper()
    if override is not None and override.enabled is False:
        return f"the environment turns the flag {flag} off: unset {variable}_ENABLED first"
    if override is not None and override.percentage is not None:
        return f"the environment sets the flag {flag} to {override.percentage} %: unset {variable}_PERCENTAGE first"
    return None
