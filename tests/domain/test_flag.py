"""Flags: the order of the rules, ramps that take nobody's place away, and changes that say what was before."""

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.audit import LISTED
from domain.errors import Conflict
from domain.flag import (
    MAX_LISTED,
    MAX_LISTED_BYTES,
    Flag,
    FlagConditions,
    FlagConfig,
    FlagOverride,
    FlagReason,
    FlagSubject,
    changed,
    steered,
)
from domain.flag_evaluation import BUCKETS, bucket, compiled, evaluate, without_flag

_DATA = Path(__file__).parents[1] / "data"

# Computed with sha256sum and bc: see tests/data/README.md.
BUCKET_VECTORS = json.loads((_DATA / "buckets.json").read_text())
FLAG_VECTORS = json.loads((_DATA / "flags.json").read_text())

NOW = datetime(2026, 11, 22, 18, tzinfo=UTC)

steps = st.integers(0, BUCKETS).map(lambda step: Decimal(step) / 100)
names = st.sampled_from(["u1", "u2", "u3", "u4", "Zoë"])
tiers = st.sampled_from(["free", "vip"])
regions = st.sampled_from(["FR", "DE"])
platforms = st.sampled_from(["onlyfans", "fansly"])
conditions = st.builds(
    FlagConditions,
    user_tier=st.lists(tiers, max_size=2),
    account_age=st.none() | st.integers(0, 60),
    region=st.lists(regions, max_size=2),
    platform=st.lists(platforms, max_size=2),
)
subjects = st.builds(
    FlagSubject,
    user_id=names | st.text(),
    tier=st.none() | tiers,
    account_age_days=st.none() | st.integers(0, 60),
    region=st.none() | regions,
    platforms=st.lists(platforms, max_size=2).map(tuple),
)
overrides = st.builds(FlagOverride, enabled=st.none() | st.booleans(), percentage=st.none() | steps)


def flag(**settings: Any) -> Flag:
    """Enabled for nobody yet."""
    given = {"name": "canary", "enabled": True, "salt": "canary", "revision": 3, **settings}
    return Flag(changed_by="ada", changed_at=NOW, reason="a test", **given)


@st.composite
def flags(draw: st.DrawFn) -> Flag:
    sides = draw(st.dictionaries(names, st.booleans()))
    return flag(
        enabled=draw(st.booleans()),
        salt=draw(st.text(max_size=10)),
        rollout_percentage=draw(steps),
        user_whitelist=[name for name, allowed in sides.items() if allowed],
        user_blacklist=[name for name, allowed in sides.items() if not allowed],
        conditions=draw(conditions),
    )


def subject(user_id: str = "u1", **known: Any) -> FlagSubject:
    return FlagSubject(user_id=user_id, **known)


class TestBucket:
    @pytest.mark.parametrize("vector", BUCKET_VECTORS, ids=lambda vector: f"{vector['salt']}:{vector['unit']}")
    def test_it_is_what_it_has_always_been(self, vector: dict[str, str | int]) -> None:
        assert bucket(str(vector["salt"]), str(vector["unit"])) == vector["bucket"]

    @given(salt=st.text(), unit=st.text())
    def test_it_is_one_of_ten_thousand(self, salt: str, unit: str) -> None:
        assert 0 <= bucket(salt, unit) < BUCKETS

    @given(salt=st.text(max_size=20))
    def test_units_are_spread_evenly(self, salt: str) -> None:
        """Chi-squared over 20 cells of 200 units each; 60 is exceeded by chance once in 240,000 salts."""
        cells = Counter(bucket(salt, str(unit)) * 20 // BUCKETS for unit in range(4_000))
        assert sum((cells[cell] - 200) ** 2 / 200 for cell in range(20)) < 60

    def test_salts_are_independent_of_each_other(self) -> None:
        """Half of the units of one salt's first half are in another's first half."""
        half = [unit for unit in map(str, range(10_000)) if bucket("one", unit) < BUCKETS // 2]
        both = sum(bucket("other", unit) < BUCKETS // 2 for unit in half)
        assert both / len(half) == pytest.approx(0.5, abs=0.03)


class TestEvaluate:
    @pytest.mark.parametrize("vector", FLAG_VECTORS, ids=lambda vector: f"{vector['salt']}:{vector['userId']}")
    def test_a_user_comes_in_at_the_percentage_at_which_it_always_did(self, vector: dict[str, Any]) -> None:
        first = Decimal(vector["from"])
        for percentage, enabled in ((first - Decimal("0.01"), False), (first, True), (Decimal(100), True)):
            decision = evaluate(
                flag(salt=vector["salt"], rollout_percentage=percentage), FlagSubject(user_id=vector["userId"])
            )
            assert (decision.enabled, decision.bucket) == (enabled, vector["bucket"])

    @given(flag=flags(), subject=subjects, override=overrides)
    def test_compiled_is_the_same(self, flag: Flag, subject: FlagSubject, override: FlagOverride) -> None:
        assert compiled(flag, override)(subject) == evaluate(flag, subject, override)

    @given(flag=flags(), subject=subjects, override=overrides)
    def test_the_first_rule_that_applies_decides(
        self, flag: Flag, subject: FlagSubject, override: FlagOverride
    ) -> None:
        """Forced off or disabled, then deny list, allow list, conditions, bucket: whatever the later ones would say."""
        enabled, reason = evaluate(flag, subject, override)[1:3]
        if override.enabled is False:
            assert (enabled, reason) == (False, FlagReason.FORCED_OFF)
        elif not (flag.enabled or override.enabled):
            assert (enabled, reason) == (False, FlagReason.DISABLED)
        elif subject.user_id in flag.user_blacklist:
            assert (enabled, reason) == (False, FlagReason.DENY_LIST)
        elif subject.user_id in flag.user_whitelist:
            assert (enabled, reason) == (True, FlagReason.ALLOW_LIST)
        elif reason.startswith("condition_"):
            assert not enabled
            everybody = flag.model_copy(update={"conditions": FlagConditions()})
            assert not evaluate(everybody, subject, override).reason.startswith("condition_")
        else:
            assert reason == (FlagReason.IN_ROLLOUT if enabled else FlagReason.NOT_IN_ROLLOUT)

    @given(flag=flags(), subject=subjects, lower=steps, higher=steps)
    def test_nobody_loses_it_when_the_percentage_rises(
        self, flag: Flag, subject: FlagSubject, lower: Decimal, higher: Decimal
    ) -> None:
        lower, higher = sorted((lower, higher))
        at_lower, at_higher = (
            evaluate(flag.model_copy(update={"rollout_percentage": each}), subject) for each in (lower, higher)
        )
        assert at_higher.enabled or not at_lower.enabled

    @given(salt=st.text(max_size=10), percentage=steps)
    def test_after_a_rollback_the_same_users_come_first(self, salt: str, percentage: Decimal) -> None:
        users = [str(number) for number in range(50)]

        def enabled(at: Decimal) -> list[str]:
            evaluation = compiled(flag(salt=salt, rollout_percentage=at))
            return [user for user in users if evaluation(FlagSubject(user_id=user)).enabled]

        first = enabled(percentage)
        assert enabled(Decimal(0)) == []
        assert enabled(percentage) == first
        assert enabled(Decimal(100)) == users

    @pytest.mark.parametrize("percentage", ["0.5", "5", "25", "50"])
    def test_a_percentage_reaches_that_share(self, percentage: str) -> None:
        evaluation = compiled(flag(rollout_percentage=percentage))
        share = sum(evaluation(FlagSubject(user_id=str(number))).enabled for number in range(40_000)) / 40_000
        assert share * 100 == pytest.approx(float(percentage), abs=1)

    @pytest.mark.parametrize(
        ("demanded", "reason", "fulfilled", "unfulfilled"),
        [
            ({"user_tier": ["vip"]}, FlagReason.CONDITION_USER_TIER, {"tier": "vip"}, {"tier": "VIP"}),
            (
                {"account_age": 30},
                FlagReason.CONDITION_ACCOUNT_AGE,
                {"account_age_days": 30},
                {"account_age_days": 29},
            ),
            ({"region": ["FR"]}, FlagReason.CONDITION_REGION, {"region": "FR"}, {"region": "DE"}),
            (
                {"platform": ["onlyfans"]},
                FlagReason.CONDITION_PLATFORM,
                {"platforms": ("fansly", "onlyfans")},
                {"platforms": ("fansly",)},
            ),
        ],
    )
    def test_conditions(
        self, demanded: Any, reason: FlagReason, fulfilled: dict[str, Any], unfulfilled: dict[str, Any]
    ) -> None:
        everybody_with = flag(rollout_percentage=100, conditions=demanded)
        assert evaluate(everybody_with, subject(**fulfilled)).enabled
        for not_enough in (unfulfilled, {}):
            assert evaluate(everybody_with, subject(**not_enough))[1:3] == (False, reason)

    def test_a_decision_names_its_flag_and_revision_and_a_bucket_only_where_it_counted(self) -> None:
        listed = evaluate(flag(user_whitelist=["u1"]), subject())
        assert (listed.flag, listed.bucket, listed.revision) == ("canary", -1, 3)
        assert evaluate(flag(), subject()).bucket == bucket("canary", "u1")

    def test_the_environment_turns_a_disabled_flag_on_but_not_for_its_deny_list(self) -> None:
        off = flag(enabled=False, rollout_percentage=0, user_blacklist=["u1"])
        override = FlagOverride(enabled=True, percentage=Decimal(100))
        assert evaluate(off, subject("u2"), override)[1:3] == (True, FlagReason.IN_ROLLOUT)
        assert evaluate(off, subject("u1"), override)[1:3] == (False, FlagReason.DENY_LIST)

    @given(subject=subjects, percentage=steps)
    def test_without_the_flag_the_environment_reaches_the_same_users(
        self, subject: FlagSubject, percentage: Decimal
    ) -> None:
        override = FlagOverride(enabled=True, percentage=percentage)
        alone = without_flag("canary", FlagReason.NO_SNAPSHOT, override)(subject)
        assert alone == evaluate(flag(revision=0, rollout_percentage=percentage), subject)

    @pytest.mark.parametrize("override", [FlagOverride(), FlagOverride(percentage=Decimal(100))])
    def test_without_the_flag_nobody_gets_it_who_is_not_forced_to(self, override: FlagOverride) -> None:
        decision = without_flag("canary", FlagReason.UNKNOWN_FLAG, override)(subject())
        assert decision == ("canary", False, FlagReason.UNKNOWN_FLAG, -1, 0)


class TestConfig:
    def test_a_list_names_nobody_twice(self) -> None:
        assert FlagConfig(name="canary", user_whitelist=("b", "a", "b")).user_whitelist == ("b", "a")

    def test_an_id_on_both_lists_is_refused_with_the_remedy(self) -> None:
        with pytest.raises(ValidationError, match="take each id off one of the two lists") as refused:
            FlagConfig.model_validate({"name": "canary", "userWhitelist": ["u1", "u2"], "userBlacklist": ["u2"]})
        [error] = refused.value.errors()
        assert error["loc"] == ("userBlacklist",)
        assert "u2" in error["msg"]
        assert "u1" not in error["msg"]

    def test_lists_fit_into_the_store(self) -> None:
        longest = "x" * 100
        fitting = [f"{number:06d}{longest}"[:100] for number in range(MAX_LISTED_BYTES // 100)]
        assert len(FlagConfig(name="canary", user_blacklist=tuple(fitting)).user_blacklist) == len(fitting)
        for too_long, field in (
            ({"userWhitelist": ["one"], "userBlacklist": fitting}, "userBlacklist"),
            ({"userWhitelist": ["one", *fitting]}, "userWhitelist"),
            ({"userWhitelist": [str(number) for number in range(MAX_LISTED + 1)]}, "userWhitelist"),
        ):
            with pytest.raises(ValidationError, match="take ids off, or choose larger groups") as refused:
                FlagConfig.model_validate_json(json.dumps({"name": "canary", **too_long}))
            [error] = refused.value.errors()
            assert error["loc"] == (field,)

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"name": "Canary"}, "name"),
            ({"rolloutPercentage": 0.005}, "rolloutPercentage"),
            ({"rolloutPercentage": 100.01}, "rolloutPercentage"),
            ({"rolloutPercentage": -1}, "rolloutPercentage"),
            ({"rolloutPercentage": float("nan")}, "rolloutPercentage"),
            ({"userWhitelist": [""]}, "userWhitelist"),
            ({"userWhitelist": [str(number) for number in range(MAX_LISTED + 1)]}, "userWhitelist"),
            ({"conditions": {"tier": ["vip"]}}, "conditions"),
            ({"percentage": 5}, "percentage"),
        ],
    )
    def test_what_is_wrong_is_refused_by_name(self, wrong: dict[str, Any], field: str) -> None:
        with pytest.raises(ValidationError) as refused:
            FlagConfig.model_validate({"name": "canary", **wrong})
        assert refused.value.errors()[0]["loc"][0] == field

    @given(percentage=steps)
    def test_a_percentage_is_a_number_on_the_wire_and_comes_back_exactly(self, percentage: Decimal) -> None:
        written = FlagConfig(name="canary", rollout_percentage=percentage).model_dump_json(by_alias=True)
        assert isinstance(json.loads(written)["rolloutPercentage"], int | float)
        assert FlagConfig.model_validate_json(written).rollout_percentage == percentage


class TestChange:
    def test_a_new_flag_begins_at_revision_one_with_its_name_as_its_salt(self) -> None:
        made, entry = changed(None, FlagConfig(name="canary"), actor="ada", at=NOW, reason="we begin")
        assert (made.revision, made.salt, made.changed_by, made.changed_at, made.reason) == (
            1,
            "canary",
            "ada",
            NOW,
            "we begin",
        )
        assert (entry.action, entry.before) == ("created", None)
        assert entry.after is not None
        assert entry.after["rolloutPercentage"] == 0

    def test_a_change_keeps_the_salt_and_says_what_was_before(self) -> None:
        before = flag(salt="of old", user_whitelist=["u1"])
        config = FlagConfig(name="canary", enabled=True, rollout_percentage=Decimal("12.5"), user_whitelist=("u1",))
        after, entry = changed(before, config, actor="grace", at=NOW, reason="a bit more")
        assert (after.salt, after.revision, after.rollout_percentage) == ("of old", 4, Decimal("12.5"))
        assert (entry.subject, entry.action, entry.actor, entry.reason) == (
            "flag/canary",
            "changed",
            "grace",
            "a bit more",
        )
        assert entry.before == {"rolloutPercentage": 0, "revision": 3}
        assert entry.after == {"rolloutPercentage": 12.5, "revision": 4}

    @given(before=flags(), config=flags())
    def test_before_and_after_tell_the_whole_difference(self, before: Flag, config: Flag) -> None:
        settings = {name: getattr(config, name) for name in FlagConfig.model_fields}
        after, entry = changed(before, FlagConfig(**settings), actor="ada", at=NOW, reason="a test")
        assert {name: getattr(after, name) for name in FlagConfig.model_fields} == settings
        assert entry.before is not None
        assert entry.after is not None
        old, new = (each.model_dump(mode="json", by_alias=True) for each in (before, after))
        for field in ("userWhitelist", "userBlacklist"):
            was, now = old.pop(field), new.pop(field)
            changed_list, told = entry.before.pop(field, None), entry.after.pop(field, {})
            assert (changed_list is None, told == {}) == (was == now, was == now)
            added, removed = (told.get(what, {"first": []})["first"] for what in ("added", "removed"))
            assert set(now) == set(was) - set(removed) | set(added)
        assert {**old, **entry.after} == new
        assert {**new, **entry.before} == old

    def test_of_a_long_list_the_first_who_came_and_went_are_named(self) -> None:
        here, there = ([f"{where}{number}" for number in range(1_000)] for where in ("here", "there"))
        config = FlagConfig(name="canary", enabled=True, user_whitelist=(*there, "both"))
        _, entry = changed(flag(user_whitelist=[*here, "both"]), config, actor="ada", at=NOW, reason="others")
        assert entry.before == {"userWhitelist": {"count": 1_001}, "revision": 3}
        assert entry.after == {
            "userWhitelist": {
                "count": 1_001,
                "added": {"count": 1_000, "first": there[:LISTED]},
                "removed": {"count": 1_000, "first": here[:LISTED]},
            },
            "revision": 4,
        }

    def test_while_a_rollout_steers_the_percentage_nobody_else_changes_it(self) -> None:
        held = flag(rollout_percentage=25, rollout_id="rollout-canary-7")
        more = FlagConfig(name="canary", enabled=True, rollout_percentage=Decimal(50))
        with pytest.raises(
            Conflict, match=r"rollout-canary-7 .*roll it back first, or set enabled to false"
        ) as refused:
            changed(held, more, actor="ada", at=NOW, reason="faster")
        assert refused.value.field == "rolloutPercentage"

    def test_while_a_rollout_steers_the_percentage_all_else_may_change(self) -> None:
        held = flag(rollout_percentage=25, rollout_id="rollout-canary-7")
        config = FlagConfig(name="canary", enabled=True, rollout_percentage=Decimal("25.00"), user_blacklist=("u1",))
        after, _ = changed(held, config, actor="ada", at=NOW, reason="she asked")
        assert (after.user_blacklist, after.rollout_id) == (("u1",), "rollout-canary-7")

    def test_turning_a_steered_flag_off_is_allowed_and_leaves_its_percentage(self) -> None:
        held = flag(rollout_percentage=25, rollout_id="rollout-canary-7")
        off, _ = changed(held, FlagConfig(name="canary"), actor="ada", at=NOW, reason="stop")
        assert (off.enabled, off.rollout_percentage, off.rollout_id) == (False, Decimal(25), "rollout-canary-7")

    def test_a_rollout_takes_a_flag_moves_it_and_lets_it_go(self) -> None:
        taken, _ = steered(flag(), Decimal(5), rollout_id="r1", actor="rollout", at=NOW, reason="step 1")
        assert (taken.rollout_percentage, taken.rollout_id, taken.revision) == (Decimal(5), "r1", 4)
        released, entry = steered(
            taken,
            Decimal(0),
            rollout_id="r1",
            actor="rollout",
            at=NOW,
            reason="7.1 % errors",
            action="rolled_back",
            evidence={"errors": 41},
            releases=True,
        )
        assert (released.rollout_percentage, released.rollout_id, released.revision) == (Decimal(0), "", 5)
        assert (entry.action, entry.evidence) == ("rolled_back", {"errors": 41})
        assert entry.before == {"rolloutPercentage": 5, "rolloutId": "r1", "revision": 4}
        assert entry.after == {"rolloutPercentage": 0, "rolloutId": "", "revision": 5}

    def test_two_rollouts_do_not_steer_one_flag(self) -> None:
        with pytest.raises(Conflict, match="The rollout r1 steers canary"):
            steered(flag(rollout_id="r1"), Decimal(5), rollout_id="r2", actor="rollout", at=NOW, reason="step 1")
