"""What the ladder needs, what it is asked, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from domain.ports import (
    Alerts,
    Breaker,
    Budgets,
    BudgetStore,
    CostStore,
    Experiments,
    LanguageModel,
    PriceBook,
    Refusals,
    Tokens,
)
from domain.prompt import Prompt, Variant
from domain.provider import IntentType
from domain.routing import RoutingPolicy, Target

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class LadderPorts:
    """What the ladder needs. Times in seconds."""

    models: Mapping[str, LanguageModel]
    routing: RoutingPolicy
    prices: PriceBook
    tokens: Tokens
    costs: CostStore
    budgets: Budgets
    budget_store: BudgetStore
    breaker: Breaker
    refusals: Refusals
    experiments: Experiments
    alerts: Alerts
    call_timeout_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Question(Generic[R]):
    """What is wanted: for which intent and purpose, how it is asked, how an answer is read.

    ``unit`` makes weights and experiments stick; ``key`` tells this question from others of the same purpose.
    ``about``: what a refusal of this question is kept under, by default its key. ``looks``: refusals are looked up at
    the first attempt, too, since another activity may have asked before; ``asked_anew``: one has, and somebody wants it
    asked once more. ``waits``: calls that may still run are waited for.
    """

    intent: IntentType
    purpose: str
    unit: str
    prompt: Callable[[Variant], Prompt]
    read: Callable[[str], R]
    key: str = ""
    about: tuple[str, ...] = ()
    looks: bool = False
    asked_anew: bool = False
    waits: bool = True


@dataclass(frozen=True, slots=True)
class Answered(Generic[R]):
    """An answer, who gave it, and the arm of an experiment that it counts for."""

    value: R
    target: Target
    prompt_version: str
    experiment: str = ""
    arm: str = ""
