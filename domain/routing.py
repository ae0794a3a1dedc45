"""Which model is asked for what, in which order, and why: policy as data and one pure decision.

``docs/decisions`` says why content planning starts at Azure and messages at OpenAI: the customer wants it so.
"""

from collections import Counter
from collections.abc import Iterable, Set
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from domain.errors import ProviderFault
from domain.experiment import weighted
from domain.model import Model, Request
from domain.provider import FallbackReason, IntentType, PreferredProvider, Provider

_NEVER_ASKED = frozenset({IntentType.CAMPAIGN_EXECUTION, IntentType.DIRECT_MESSAGE})
"""Their parts are asked for as other intents."""

CACHE = "cache"
"""In place of a target: what was paid for before."""

ROUTES_KEPT = 100
"""Different routes that a result tells apart by whom they passed over; more are counted by who answered alone."""


class Capability(StrEnum):
    """What a model has to be able to do."""

    STRUCTURED_OUTPUT = "structured_output"
    MODERATION = "moderation"


class Target(Request):
    """One model at one provider. ``model`` is what the API is asked for: at Azure the name of a deployment.

    ``weight``: its share of the traffic among the targets of a route that have one; 0: only when others can't.
    """

    provider: Provider
    model: str = Field(min_length=1)
    priced_as: str = Field(default="", description="the model whose list price applies; by default this one")
    weight: int = Field(default=0, ge=0)
    capabilities: frozenset[Capability] = frozenset({Capability.STRUCTURED_OUTPUT})
    context_tokens: int = Field(default=128_000, ge=1)

    @property
    def key(self) -> str:
        """Its name in breakers, metrics and results."""
        return f"{self.provider}/{self.model}"

    @property
    def kept_key(self) -> str:
        """The name of the breaker for looking up the answers that it keeps: that says nothing about new ones."""
        return f"{self.key}/kept"

    @property
    def price_name(self) -> str:
        """What the price book knows it as."""
        return self.priced_as or self.model


class Experiment(Request):
    """An A/B test over the first choice of one intent: arms by name, each a target with a weight."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    intent: IntentType
    arms: dict[str, Target] = Field(min_length=2)

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if not any(target.weight for target in self.arms.values()):
            raise ValueError("arms: at least one arm needs a weight above 0")
        return self


class RoutingPolicy(Request):
    """For each intent the targets in order, and what is cheaper than any of them when money runs short."""

    routes: dict[IntentType, tuple[Target, ...]]
    cheaper: tuple[Target, ...] = ()
    experiments: tuple[Experiment, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [intent for intent in IntentType if not self.routes.get(intent)]
        if missing:
            raise ValueError(f"routes: {', '.join(missing)} needs at least one target")
        for intent, route in self.routes.items():
            if not any(Capability.STRUCTURED_OUTPUT in target.capabilities for target in route):
                raise ValueError(f"routes: {intent} needs at least one target with structured_output")
            if repeated := _repeated(target.key for target in route):
                raise ValueError(f"routes: {intent} names {', '.join(repeated)} more than once")
        if repeated := _repeated(experiment.name for experiment in self.experiments):
            raise ValueError(f"experiments: {', '.join(repeated)} is there more than once")
        if unasked := [each.name for each in self.experiments if each.intent in _NEVER_ASKED]:
            raise ValueError(f"experiments: {', '.join(unasked)} learns nothing: no model is asked for that intent")
        if repeated := _repeated(experiment.intent for experiment in self.experiments):
            raise ValueError(f"experiments: {', '.join(repeated)} has more than one")
        return self

    def options(self, intent: IntentType) -> tuple[Target, ...]:
        """Every target that a question of this intent may come to."""
        arms = [target for each in self.experiments if each.intent is intent for target in each.arms.values()]
        return (*self.routes[intent], *arms, *self.cheaper)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every target once, with all that is said of it anywhere."""
        arms = [target for experiment in self.experiments for target in experiment.arms.values()]
        listed = [target for route in self.routes.values() for target in route]
        found: dict[str, Target] = {}
        for target in (*listed, *self.cheaper, *arms):
            known = found.get(target.key, target)
            found[target.key] = known.model_copy(update={"capabilities": known.capabilities | target.capabilities})
        return tuple(found.values())


class RouteReason(StrEnum):
    """Why a target was asked. ``cached``: nobody could be, and what was paid for before served."""

    POLICY = "policy"
    PREFERENCE = "preference"
    EXPERIMENT = "experiment"
    FALLBACK = "fallback"
    CHEAPER = "cheaper"
    CACHED = "cached"


class Candidate(Model):
    """One target with the reason for its place."""

    target: Target
    reason: RouteReason


class PassedOver(Model):
    """A target that stood before the one that answered, and why it did not: by the policy, or when its turn came."""

    target: str = Field(examples=["azure/gpt-4o"])
    reason: FallbackReason | ProviderFault


class Decision(Model):
    """Whom to ask, in order, whom not, and why. ``experiment`` and ``arm`` when an experiment chose the first."""

    intent: IntentType
    candidates: tuple[Candidate, ...]
    cheaper: tuple[Candidate, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    experiment: str = ""
    arm: str = ""


class RouteTaken(Model):
    """Who answered, why it was asked, and who was not or could not before: as results and logs tell it.

    ``target`` is ``cache`` for what was paid for before: it costs nothing more.
    """

    intent: IntentType
    target: str = Field(examples=["openai/gpt-4o-mini"])
    reason: RouteReason
    passed_over: tuple[PassedOver, ...] = ()
    experiment: str = ""
    arm: str = ""
    answers: int = 1


def route_taken(decision: Decision, candidate: Candidate, passed_over: tuple[PassedOver, ...] = ()) -> RouteTaken:
    """An answer of ``candidate``, after ``passed_over`` on the way. An arm is named when its own model answered."""
    return RouteTaken(
        intent=decision.intent,
        target=candidate.target.key,
        reason=candidate.reason,
        passed_over=(*decision.passed_over, *passed_over),
        experiment=decision.experiment,
        arm=decision.arm if candidate.reason is RouteReason.EXPERIMENT else "",
    )


def add_routes(*taken: RouteTaken) -> tuple[RouteTaken, ...]:
    """The same routes counted together."""
    counts: dict[RouteTaken, int] = {}
    for route in taken:
        alone = route if route.answers == 1 else route.model_copy(update={"answers": 1})
        if alone not in counts and len(counts) >= ROUTES_KEPT:
            alone = alone.model_copy(update={"passed_over": ()})
        counts[alone] = counts.get(alone, 0) + route.answers
    return tuple(
        route if answers == 1 else route.model_copy(update={"answers": answers}) for route, answers in counts.items()
    )


def default_policy(*, azure: Target, openai: Target, cheaper: Target) -> RoutingPolicy:
    """Planning and campaigns over several platforms start at Azure, messages and validation at OpenAI."""
    planning = (azure.model_copy(update={"weight": 1}), openai)
    writing = (openai.model_copy(update={"weight": 1}), azure)
    return RoutingPolicy(
        routes={
            IntentType.CONTENT_PLANNING: planning,
            IntentType.CAMPAIGN_EXECUTION: planning,
            IntentType.MESSAGE_GENERATION: writing,
            IntentType.CONTENT_VALIDATION: writing,
            IntentType.DIRECT_MESSAGE: writing,
        },
        cheaper=(cheaper,),
    )


def decide(
    policy: RoutingPolicy,
    intent: IntentType,
    *,
    preferred: PreferredProvider = PreferredProvider.AUTO,
    unit: str,
    needs: Set[Capability] = frozenset({Capability.STRUCTURED_OUTPUT}),
    too_small: Set[str] = frozenset(),
) -> Decision:
    """The same question has the same answer, always.

    First choice: a target of the preferred provider, else the experiment's arm for ``unit``, else by weight, sticky by
    ``unit``. Then the others in the policy's order, those of the preferred provider before the rest. Passed over are
    targets that lack a capability, and those of ``too_small`` (keys: the question does not fit into their context)
    while it fits into another one's. Whether a breaker or a budget lets a call through is asked when it is made, not
    here: it may have changed by then.
    """
    route = policy.routes[intent]
    experiment = None
    if preferred is PreferredProvider.AUTO:
        experiment = next((each for each in policy.experiments if each.intent is intent), None)
    arm = ""
    if experiment is not None:
        names = tuple(experiment.arms)
        arm = names[weighted(experiment.name, unit, tuple(experiment.arms[name].weight for name in names))]
        first, why = experiment.arms[arm], RouteReason.EXPERIMENT
    else:
        first, why = _first(route, intent, preferred, unit)
    ordered = (Candidate(target=first, reason=why), *_following(route, first, preferred))
    able = tuple(each for each in ordered if needs <= each.target.capabilities)
    candidates = tuple(each for each in able if each.target.key not in too_small) or able
    return Decision(
        intent=intent,
        candidates=candidates,
        cheaper=tuple(
            Candidate(target=target, reason=RouteReason.CHEAPER)
            for target in policy.cheaper
            if needs <= target.capabilities and target.key not in too_small
        ),
        passed_over=tuple(
            PassedOver(
                target=each.target.key,
                reason=ProviderFault.CONTEXT_LENGTH if each in able else FallbackReason.CAPABILITY,
            )
            for each in ordered
            if each not in candidates
        ),
        experiment=experiment.name if experiment is not None else "",
        arm=arm,
    )


def _first(
    route: tuple[Target, ...], intent: IntentType, preferred: PreferredProvider, unit: str
) -> tuple[Target, RouteReason]:
    if preferred is not PreferredProvider.AUTO:
        wanted = [target for target in route if target.provider == Provider(preferred)]
        if wanted:
            return wanted[0], RouteReason.PREFERENCE
    weights = tuple(target.weight for target in route)
    chosen = route[weighted(f"route:{intent}", unit, weights)] if any(weights) else route[0]
    return chosen, RouteReason.POLICY


def _following(route: tuple[Target, ...], first: Target, preferred: PreferredProvider) -> tuple[Candidate, ...]:
    others = tuple(target for target in route if target.key != first.key)
    wanted = tuple(target for target in others if target.provider.value == preferred.value)
    rest = tuple(target for target in others if target.provider.value != preferred.value)
    return (
        *(Candidate(target=target, reason=RouteReason.PREFERENCE) for target in wanted),
        *(Candidate(target=target, reason=RouteReason.FALLBACK) for target in rest),
    )


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]
