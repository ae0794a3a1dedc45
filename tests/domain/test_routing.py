"""Whom to ask: nobody is forgotten or asked twice, every place has its reason, and the same question its answer."""

from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.errors import ProviderFault
from domain.provider import FallbackReason, IntentType, PreferredProvider, Provider
from domain.routing import (
    ROUTES_KEPT,
    Candidate,
    Capability,
    Decision,
    Experiment,
    PassedOver,
    RouteReason,
    RouteTaken,
    RoutingPolicy,
    Target,
    add_routes,
    decide,
    default_policy,
    route_taken,
)

WRITING = IntentType.MESSAGE_GENERATION


def target(model: str = "gpt-4o", provider: Provider = Provider.OPENAI, **changes: Any) -> Target:
    return Target(provider=provider, model=model, **changes)


AZURE, OPENAI = target(provider=Provider.AZURE), target()
CHEAPER = target("gpt-4.1-nano")
DEFAULT = default_policy(azure=AZURE, openai=OPENAI, cheaper=CHEAPER)

targets = st.builds(
    Target,
    provider=st.sampled_from(Provider),
    model=st.sampled_from(["a", "b", "c", "d"]),
    weight=st.integers(0, 5),
    capabilities=st.frozensets(st.sampled_from(Capability)),
    context_tokens=st.integers(1, 1_000),
)
routes = (
    st.lists(targets, min_size=1, max_size=5, unique_by=lambda each: each.key)
    .filter(lambda chosen: any(Capability.STRUCTURED_OUTPUT in each.capabilities for each in chosen))
    .map(tuple)
)
arms = st.lists(targets, min_size=2, max_size=3).filter(lambda chosen: any(each.weight for each in chosen))


@st.composite
def policies(draw: st.DrawFn, *, experiments: bool = True) -> RoutingPolicy:
    """Any policy for writing, with an experiment or without."""
    running: tuple[Experiment, ...] = ()
    if experiments and draw(st.booleans()):
        named = {f"arm-{number}": each for number, each in enumerate(draw(arms))}
        running = (Experiment(name="test", intent=WRITING, arms=named),)
    return RoutingPolicy(routes=dict.fromkeys(IntentType, draw(routes)), cheaper=draw(routes), experiments=running)


@st.composite
def questions(draw: st.DrawFn, policy: RoutingPolicy) -> dict[str, Any]:
    """Anything that may be asked of a policy."""
    return {
        "intent": WRITING,
        "preferred": draw(st.sampled_from(PreferredProvider)),
        "unit": draw(st.text()),
        "needs": draw(st.frozensets(st.sampled_from(Capability), max_size=1)),
        "too_small": draw(st.frozensets(st.sampled_from([each.key for each in policy.targets]))),
    }


def keys(candidates: tuple[Candidate, ...]) -> list[str]:
    return [candidate.target.key for candidate in candidates]


class TestDecide:
    @given(data=st.data(), policy=policies())
    def test_every_target_of_the_route_is_asked_or_passed_over_once(
        self, data: st.DataObject, policy: RoutingPolicy
    ) -> None:
        question = data.draw(questions(policy))
        found = decide(policy, **question)
        named = Counter([*keys(found.candidates), *(each.target for each in found.passed_over)])
        assert set(named.values()) == {1}
        expected = {each.key for each in policy.routes[WRITING]}
        arm = {policy.experiments[0].arms[found.arm].key} if found.arm else set()
        assert named.keys() == expected | arm

    @given(data=st.data(), policy=policies())
    def test_only_who_can_is_asked(self, data: st.DataObject, policy: RoutingPolicy) -> None:
        question = data.draw(questions(policy))
        found = decide(policy, **question)
        assert all(question["needs"] <= each.target.capabilities for each in (*found.candidates, *found.cheaper))
        incapable = {each.target for each in found.passed_over if each.reason is FallbackReason.CAPABILITY}
        assert not incapable & set(keys(found.candidates))
        assert keys(found.cheaper) == [
            each.key
            for each in policy.cheaper
            if question["needs"] <= each.capabilities and each.key not in question["too_small"]
        ]

    @given(data=st.data(), policy=policies())
    def test_a_small_context_is_passed_over_for_a_larger_one_only(
        self, data: st.DataObject, policy: RoutingPolicy
    ) -> None:
        question = data.draw(questions(policy))
        found = decide(policy, **question)
        small = {each.target for each in found.passed_over if each.reason is ProviderFault.CONTEXT_LENGTH}
        asked = set(keys(found.candidates))
        assert small <= question["too_small"]
        # Where it fits nowhere everybody stays, and the question is made shorter.
        assert not asked & question["too_small"] or (asked <= question["too_small"] and not small)

    @given(data=st.data(), policy=policies())
    def test_the_same_question_has_the_same_answer(self, data: st.DataObject, policy: RoutingPolicy) -> None:
        question = data.draw(questions(policy))
        stored = RoutingPolicy.model_validate_json(policy.model_dump_json())
        assert decide(policy, **question) == decide(stored, **question)

    @given(data=st.data(), policy=policies(experiments=False))
    def test_a_preference_is_honoured_by_all_who_are_healthy(self, data: st.DataObject, policy: RoutingPolicy) -> None:
        question = data.draw(questions(policy))
        found = decide(policy, **question)
        wanted = [each.target.provider == question["preferred"] for each in found.candidates]
        assert wanted == sorted(wanted, reverse=True)
        for candidate, preferred in zip(found.candidates, wanted, strict=True):
            assert (candidate.reason is RouteReason.PREFERENCE) is preferred

    @given(data=st.data(), policy=policies(experiments=False))
    def test_without_preference_the_others_keep_the_policys_order(
        self, data: st.DataObject, policy: RoutingPolicy
    ) -> None:
        question = data.draw(questions(policy)) | {"preferred": PreferredProvider.AUTO}
        found = decide(policy, **question)
        order = [each.key for each in policy.routes[WRITING]]
        following = [order.index(each.target.key) for each in found.candidates if each.reason is RouteReason.FALLBACK]
        assert following == sorted(following)

    @pytest.mark.parametrize(
        ("intent", "first"),
        [
            (IntentType.CONTENT_PLANNING, AZURE),
            (IntentType.CAMPAIGN_EXECUTION, AZURE),
            (IntentType.MESSAGE_GENERATION, OPENAI),
            (IntentType.CONTENT_VALIDATION, OPENAI),
        ],
    )
    @pytest.mark.parametrize("unit", ["", "1002003", "campaign-1"])
    def test_the_default_policy_plans_at_azure_and_writes_at_openai(
        self, intent: IntentType, first: Target, unit: str
    ) -> None:
        found = decide(DEFAULT, intent, unit=unit)
        second = OPENAI if first is AZURE else AZURE
        assert keys(found.candidates) == [first.key, second.key]
        assert [each.reason for each in found.candidates] == [RouteReason.POLICY, RouteReason.FALLBACK]
        assert keys(found.cheaper) == [CHEAPER.key]

    def test_why_somebody_is_passed_over(self) -> None:
        route = (
            target("deaf", capabilities=frozenset()),
            target("small"),
            target("fine"),
        )
        policy = RoutingPolicy(routes=dict.fromkeys(IntentType, route))
        found = decide(policy, WRITING, unit="1", too_small={"openai/small"})
        assert keys(found.candidates) == ["openai/fine"]
        assert found.passed_over == (
            PassedOver(target="openai/deaf", reason=FallbackReason.CAPABILITY),
            PassedOver(target="openai/small", reason=ProviderFault.CONTEXT_LENGTH),
        )
        # What was met on the way comes after what the policy said.
        down = PassedOver(target="openai/fine", reason=FallbackReason.BREAKER_OPEN)
        assert route_taken(found, found.candidates[0], (down,)).passed_over == (*found.passed_over, down)

    def test_a_preference_for_a_provider_that_the_route_lacks_changes_nothing(self) -> None:
        policy = RoutingPolicy(routes=dict.fromkeys(IntentType, (OPENAI,)))
        asked = decide(policy, WRITING, unit="1", preferred=PreferredProvider.AZURE)
        assert asked == decide(policy, WRITING, unit="1")


class TestWeights:
    POLICY = RoutingPolicy(
        routes=dict.fromkeys(
            IntentType, (target("reserve"), target("one", weight=1), target("four", provider=Provider.AZURE, weight=4))
        )
    )

    def test_first_places_follow_the_weights_over_many_units(self) -> None:
        first = Counter(
            decide(self.POLICY, WRITING, unit=str(unit)).candidates[0].target.model for unit in range(5_000)
        )
        assert first.keys() == {"one", "four"}
        assert first["four"] / 5_000 == pytest.approx(0.8, abs=0.03)

    def test_intents_draw_independently(self) -> None:
        """Else the same campaigns would meet the same provider for everything."""
        pairs = Counter(
            tuple(
                decide(self.POLICY, intent, unit=str(unit)).candidates[0].target.model
                for intent in (WRITING, IntentType.CONTENT_PLANNING)
            )
            for unit in range(5_000)
        )
        assert pairs["four", "four"] / 5_000 == pytest.approx(0.64, abs=0.03)


class TestExperiment:
    ARMS: ClassVar = {"now": OPENAI.model_copy(update={"weight": 3}), "new": target("gpt-5", weight=1)}
    POLICY = DEFAULT.model_copy(update={"experiments": (Experiment(name="newer", intent=WRITING, arms=ARMS),)})

    @given(unit=st.text(), small=st.frozensets(st.sampled_from(["azure/gpt-4o", "openai/gpt-4o", "openai/gpt-5"])))
    def test_an_arm_is_kept_whatever_else_changes(self, unit: str, small: frozenset[str]) -> None:
        usual = decide(self.POLICY, WRITING, unit=unit)
        other = decide(self.POLICY, WRITING, unit=unit, too_small=small)
        assert (other.experiment, other.arm) == (usual.experiment, usual.arm)
        assert usual.candidates[0] == Candidate(target=self.ARMS[usual.arm], reason=RouteReason.EXPERIMENT)

    @given(unit=st.text())
    def test_other_intents_have_no_part_in_it(self, unit: str) -> None:
        found = decide(self.POLICY, IntentType.CONTENT_PLANNING, unit=unit)
        assert found == decide(DEFAULT, IntentType.CONTENT_PLANNING, unit=unit)
        assert (found.experiment, found.arm) == ("", "")

    def test_arms_follow_their_weights(self) -> None:
        drawn = Counter(decide(self.POLICY, WRITING, unit=str(unit)).arm for unit in range(5_000))
        assert drawn["new"] / 5_000 == pytest.approx(0.25, abs=0.03)

    def test_an_answer_counts_for_an_arm_only_when_its_own_model_gave_it(self) -> None:
        unit = next(str(unit) for unit in range(100) if decide(self.POLICY, WRITING, unit=str(unit)).arm == "new")
        healthy = decide(self.POLICY, WRITING, unit=unit)
        assert [route_taken(healthy, each).arm for each in healthy.candidates] == ["new", "", ""]
        broken = decide(self.POLICY, WRITING, unit=unit, too_small={"openai/gpt-5"})
        assert [route_taken(broken, each).arm for each in broken.candidates] == ["", ""]
        assert {route_taken(broken, each).experiment for each in broken.candidates} == {"newer"}


class TestRoutes:
    def test_the_same_route_is_counted_together(self) -> None:
        one = RouteTaken(intent=WRITING, target="openai/gpt-4o", reason=RouteReason.POLICY)
        other = one.model_copy(update={"reason": RouteReason.FALLBACK})
        found = add_routes(one, other, one.model_copy(update={"answers": 3}))
        assert [(each.reason, each.answers) for each in found] == [
            (RouteReason.POLICY, 4),
            (RouteReason.FALLBACK, 1),
        ]

    def test_a_result_does_not_grow_without_end(self) -> None:
        one = RouteTaken(intent=WRITING, target="openai/gpt-4o", reason=RouteReason.FALLBACK)
        others = [PassedOver(target=f"azure/{number}", reason=ProviderFault.TIMEOUT) for number in range(300)]
        found = add_routes(*(one.model_copy(update={"passed_over": (other,)}) for other in others))
        assert len(found) == ROUTES_KEPT + 1
        assert sum(each.answers for each in found) == 300

    def test_a_decision_travels(self) -> None:
        found = decide(TestExperiment.POLICY, WRITING, unit="1")
        assert Decision.model_validate_json(found.model_dump_json()) == found


class TestPolicy:
    def test_every_target_is_named_once(self) -> None:
        named = [each.key for each in TestExperiment.POLICY.targets]
        assert sorted(named) == ["azure/gpt-4o", "openai/gpt-4.1-nano", "openai/gpt-4o", "openai/gpt-5"]

    @pytest.mark.parametrize(
        ("changes", "wrong"),
        [
            ({"routes": {}}, "needs at least one target"),
            ({"routes": dict.fromkeys(IntentType, (target("deaf", capabilities=()),))}, "structured_output"),
            ({"routes": dict.fromkeys(IntentType, (OPENAI, AZURE, OPENAI))}, "more than once"),
            ({"experiments": [TestExperiment.POLICY.experiments[0]] * 2}, "more than once"),
            (
                {"experiments": [Experiment(name="one", intent=IntentType.DIRECT_MESSAGE, arms=TestExperiment.ARMS)]},
                "learns nothing",
            ),
            (
                {
                    "experiments": [
                        Experiment(name=name, intent=WRITING, arms=TestExperiment.ARMS) for name in ("one", "two")
                    ]
                },
                "more than one",
            ),
        ],
    )
    def test_a_policy_that_can_not_be_meant_is_refused(self, changes: dict[str, Any], wrong: str) -> None:
        with pytest.raises(ValidationError, match=wrong):
            RoutingPolicy.model_validate({"routes": DEFAULT.routes} | changes)

    @pytest.mark.parametrize(
        "arms", [{"only": target("a", weight=1)}, {"none": target("a"), "has": target("b")}], ids=["one", "weightless"]
    )
    def test_an_experiment_needs_two_arms_and_some_weight(self, arms: dict[str, Target]) -> None:
        with pytest.raises(ValidationError, match="arms"):
            Experiment(name="test", intent=WRITING, arms=arms)
