"""Flags over HTTP: staff see them, administrators change them, and every decision can be explained."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.app import create_app
from api.flag import SENTENCES, override_in_force, rules
from domain.flag import Flag, FlagConditions, FlagOverride, FlagReason, FlagSubject, steered
from domain.flag_evaluation import bucket, evaluate
from tests.api.conftest import served
from tests.api.identity import SECRET, bearer

FLAGS = "/api/admin/feature-flags"
ADMIN = bearer("root", "admin")

Headers = dict[str, str]


def change(**settings: Any) -> dict[str, Any]:
    return {"reason": "Because of a test.", **settings}


async def in_force(api: httpx.AsyncClient, flag: dict[str, Any]) -> None:
    """Wait until the API decides by this revision of a flag: a busy store may not be read at once."""
    while True:
        snapshot = (await api.get(FLAGS, headers=ADMIN)).json()["snapshot"]
        if snapshot["revisions"].get(flag["name"]) == flag["revision"]:
            return
        await asyncio.sleep(0.05)


@pytest.fixture
def name() -> str:
    """A flag of this test alone."""
    return f"flag-{uuid4().hex[:12]}"


@pytest.fixture
def url(name: str) -> str:
    return f"{FLAGS}/{name}"


class TestChange:
    async def test_a_flag_is_created_and_read(
        self, api: httpx.AsyncClient, staff: Headers, name: str, url: str
    ) -> None:
        wanted = change(
            enabled=True,
            rolloutPercentage=12.34,
            userWhitelist=["u1"],
            conditions={"userTier": ["vip"], "accountAge": 7},
        )
        created = await api.put(url, json=wanted, headers=ADMIN)
        assert (created.status_code, created.headers["etag"]) == (201, '"1"')
        found = await api.get(url, headers=staff)
        assert (found.status_code, found.headers["etag"], found.headers["cache-control"]) == (200, '"1"', "no-store")
        flag = found.json()
        assert flag == created.json()
        assert (flag["name"], flag["rolloutPercentage"], flag["changedBy"], flag["reason"], flag["rolloutId"]) == (
            name,
            12.34,
            "root",
            "Because of a test.",
            "",
        )
        assert flag["conditions"] == {"userTier": ["vip"], "accountAge": 7, "region": [], "platform": []}

    async def test_what_is_left_out_has_its_default(self, api: httpx.AsyncClient, url: str) -> None:
        await api.put(url, json=change(enabled=True, rolloutPercentage=50, userBlacklist=["u1"]), headers=ADMIN)
        replaced = await api.put(url, json=change(enabled=True), headers=ADMIN)
        assert (replaced.status_code, replaced.headers["etag"]) == (200, '"2"')
        assert (replaced.json()["rolloutPercentage"], replaced.json()["userBlacklist"]) == (0, [])

    async def test_it_is_listed_with_the_snapshots_standing(
        self, api: httpx.AsyncClient, staff: Headers, name: str, url: str
    ) -> None:
        await in_force(api, (await api.put(url, json=change(), headers=ADMIN)).json())
        listed = (await api.get(FLAGS, headers=staff)).json()
        assert [flag["revision"] for flag in listed["flags"] if flag["name"] == name] == [1]
        assert [flag["name"] for flag in listed["flags"]] == sorted(flag["name"] for flag in listed["flags"])
        assert listed["snapshot"]["loaded"]
        assert listed["snapshot"]["revisions"][name] == 1
        assert listed["overrides"] == {}

    async def test_every_revision_is_on_record(self, api: httpx.AsyncClient, staff: Headers, url: str) -> None:
        for percentage in (1, 2, 3):
            await api.put(url, json=change(rolloutPercentage=percentage), headers=ADMIN)
        history = (await api.get(f"{url}/history", params={"limit": 2}, headers=staff)).json()["history"]
        assert [(flag["revision"], flag["rolloutPercentage"], flag["changedBy"]) for flag in history] == [
            (3, 3, "root"),
            (2, 2, "root"),
        ]

    async def test_changes_at_the_same_time_all_count(self, api: httpx.AsyncClient, url: str) -> None:
        answers = await asyncio.gather(
            *(api.put(url, json=change(rolloutPercentage=n), headers=ADMIN) for n in (1, 2, 3))
        )
        assert sorted(answer.json()["revision"] for answer in answers) == [1, 2, 3]
        assert sorted(answer.status_code for answer in answers) == [200, 200, 201]


class TestConditionalChange:
    async def test_a_change_of_something_that_changed_is_412(self, api: httpx.AsyncClient, url: str) -> None:
        new = ADMIN | {"If-Match": '"0"'}
        assert (await api.put(url, json=change(), headers=new)).status_code == 201
        refused = await api.put(url, json=change(), headers=new)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (412, "If-Match")
        assert "at revision 1 by now" in refused.json()["detail"]
        assert (await api.put(url, json=change(), headers=ADMIN | {"If-Match": '"1"'})).status_code == 200

    async def test_only_one_creates_it(self, api: httpx.AsyncClient, url: str) -> None:
        only_new = ADMIN | {"If-None-Match": "*"}
        answers = await asyncio.gather(*(api.put(url, json=change(), headers=only_new) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [201, 412, 412]
        refused = next(answer for answer in answers if answer.status_code == 412)
        assert refused.json()["errors"][0]["field"] == "If-None-Match"

    async def test_whatever_revision_there_is_means_that_there_is_one(self, api: httpx.AsyncClient, url: str) -> None:
        existing = ADMIN | {"If-Match": "*"}
        assert (await api.put(url, json=change(), headers=existing)).status_code == 412
        await api.put(url, json=change(), headers=ADMIN)
        assert (await api.put(url, json=change(), headers=existing)).status_code == 200

    @pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
    async def test_a_header_that_means_nothing_is_named(self, api: httpx.AsyncClient, url: str, header: str) -> None:
        refused = await api.put(url, json=change(), headers=ADMIN | {header: "x"})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, header)


class TestSteeredByARollout:
    @pytest.fixture
    async def steered_url(self, api: httpx.AsyncClient, ports: Ports, name: str, url: str) -> str:
        """A flag whose percentage a rollout has set to 25."""
        await api.put(url, json=change(enabled=True, rolloutPercentage=5), headers=ADMIN)
        present = await ports.flag_store.get(name)
        assert present is not None
        flag, entry = steered(
            present, Decimal(25), rollout_id="rollout-1", actor="rollout-1", at=present.changed_at, reason="step"
        )
        assert await ports.flag_store.put(flag, entry)
        return url

    async def test_its_percentage_is_not_for_people(self, api: httpx.AsyncClient, steered_url: str) -> None:
        refused = await api.put(steered_url, json=change(enabled=True, rolloutPercentage=50), headers=ADMIN)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "rolloutPercentage")
        assert "rollout-1" in refused.json()["detail"]
        assert (await api.get(steered_url, headers=ADMIN)).json()["rolloutPercentage"] == 25

    async def test_everything_else_is(self, api: httpx.AsyncClient, steered_url: str) -> None:
        wanted = change(enabled=True, rolloutPercentage=25, userBlacklist=["u1"])
        changed = await api.put(steered_url, json=wanted, headers=ADMIN)
        assert (changed.status_code, changed.json()["rolloutId"]) == (200, "rollout-1")

    async def test_it_can_be_turned_off(self, api: httpx.AsyncClient, steered_url: str) -> None:
        off = await api.put(steered_url, json=change(enabled=False), headers=ADMIN)
        assert (off.status_code, off.json()["enabled"], off.json()["rolloutPercentage"]) == (200, False, 25)


class TestRefusals:
    @pytest.mark.parametrize(
        ("wrong", "field", "says"),
        [
            ({"rolloutPercentage": 101}, "rolloutPercentage", "100"),
            ({"rolloutPercentage": 0.001}, "rolloutPercentage", "0.01"),
            ({"userWhitelist": ["u1"], "userBlacklist": ["u1"]}, "userBlacklist", "u1"),
            ({"userWhitelist": [""]}, "userWhitelist[0]", ""),
            ({"conditions": {"tier": ["vip"]}}, "conditions.tier", "spelling"),
            ({"conditions": {"accountAge": -1}}, "conditions.accountAge", "0"),
            ({"rollbackTriggers": {"errorRateThreshold": 0}}, "rollbackTriggers.errorRateThreshold", "0"),
            ({"reason": ""}, "reason", "3"),
            ({"enable": True}, "enable", "spelling"),
            ({"name": "another-flag"}, "name", "path"),
        ],
    )
    async def test_what_is_wrong_is_named_with_the_remedy(
        self, api: httpx.AsyncClient, url: str, wrong: dict[str, Any], field: str, says: str
    ) -> None:
        refused = await api.put(url, json=change() | wrong, headers=ADMIN)
        assert refused.status_code == 422
        (error,) = refused.json()["errors"]
        assert error["field"] == field
        assert says in error["message"]
        assert (await api.get(url, headers=ADMIN)).status_code == 404

    async def test_half_of_a_surrogate_pair_is_no_json(self, api: httpx.AsyncClient, url: str) -> None:
        """RFC 8259, section 8.2: nothing says what it means, and nothing could write it again."""
        content = b'{"reason": "Because of a test.", "userWhitelist": ["\\ud800"]}'
        headers = ADMIN | {"Content-Type": "application/json"}
        refused = await api.put(url, content=content, headers=headers)
        assert (refused.status_code, "not JSON" in refused.json()["detail"]) == (400, True)

    async def test_the_longest_lists_can_be_replaced_by_others(self, api: httpx.AsyncClient, url: str) -> None:
        for prefix in "ab":
            ids = [f"{prefix}{number:09d}" for number in range(16_000)]
            wanted = change(userWhitelist=ids[:8_000], userBlacklist=ids[8_000:])
            assert (await api.put(url, json=wanted, headers=ADMIN)).is_success
        wanted["userWhitelist"] = [f"{number}" for number in range(10_001)]
        refused = await api.put(url, json=wanted, headers=ADMIN)
        (error,) = refused.json()["errors"]
        assert (refused.status_code, error["field"]) == (422, "userWhitelist")
        assert "choose larger groups with conditions" in error["message"]
        # Every process of the following tests would read them.
        assert (await api.put(url, json=change(), headers=ADMIN)).is_success

    async def test_the_paths_name_may_be_repeated(self, api: httpx.AsyncClient, name: str, url: str) -> None:
        assert (await api.put(url, json=change(name=name), headers=ADMIN)).status_code == 201

    async def test_a_reason_is_required(self, api: httpx.AsyncClient, url: str) -> None:
        refused = await api.put(url, json={"enabled": True}, headers=ADMIN)
        assert refused.json()["errors"] == [{"field": "reason", "message": "this field is required"}]

    async def test_a_name_has_a_form(self, api: httpx.AsyncClient) -> None:
        assert (await api.put(f"{FLAGS}/Flag_1", json=change(), headers=ADMIN)).status_code == 422

    @pytest.mark.parametrize("path", ["", "/history", "/evaluate?userId=u1"])
    async def test_an_unknown_flag_is_404(self, api: httpx.AsyncClient, staff: Headers, url: str, path: str) -> None:
        refused = await api.get(f"{url}{path}", headers=staff)
        assert refused.status_code == 404
        assert FLAGS in refused.json()["detail"]

    async def test_roles(self, api: httpx.AsyncClient, caller: Headers, staff: Headers, url: str) -> None:
        assert (await api.put(url, json=change(), headers=staff)).status_code == 403
        for path in (FLAGS, url, f"{url}/history", f"{url}/evaluate?userId=u1"):
            assert (await api.get(path, headers=caller)).status_code == 403
            assert (await api.get(path)).status_code == 401

    async def test_the_store_away_is_503(self, offline: httpx.AsyncClient, url: str) -> None:
        for path in (FLAGS, f"{url}/evaluate?userId=u1"):
            refused = await offline.get(path, headers=ADMIN)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0


class TestExplain:
    async def test_the_rules_in_order_and_which_one_decides(
        self, api: httpx.AsyncClient, staff: Headers, name: str, url: str
    ) -> None:
        conditions = {"userTier": ["vip"], "platform": ["onlyfans"]}
        wanted = change(enabled=True, rolloutPercentage=100, conditions=conditions)
        await in_force(api, (await api.put(url, json=wanted, headers=ADMIN)).json())
        known = {"userId": "u1", "userTier": "vip", "platform": ["x", "onlyfans"]}
        found = (await api.get(f"{url}/evaluate", params=known, headers=staff)).json()
        assert (found["enabled"], found["reason"], found["explanation"]) == (
            True,
            "in_rollout",
            SENTENCES[FlagReason.IN_ROLLOUT],
        )
        assert (found["bucket"], found["rolloutPercentage"], found["revision"], found["override"]) == (
            bucket(name, "u1"),
            100,
            1,
            None,
        )
        assert [rule["rule"] for rule in found["rules"]] == list(FlagReason)[2:]
        assert [rule["rule"] for rule in found["rules"] if rule["decides"]] == ["in_rollout"]
        assert found["snapshot"]["ageMs"] >= 0
        refused = (await api.get(f"{url}/evaluate", params={"userId": "u1"}, headers=staff)).json()
        tier = next(rule for rule in refused["rules"] if rule["decides"])
        assert (refused["enabled"], tier["rule"]) == (False, "condition_user_tier")
        assert tier["detail"] == "the tier must be one of vip; it is not known"

    @pytest.mark.parametrize(
        ("query", "field"), [({}, "userId"), ({"userId": "u1", "accountAge": "old"}, "accountAge")]
    )
    async def test_a_wrong_question_is_named(
        self, api: httpx.AsyncClient, staff: Headers, url: str, query: dict[str, str], field: str
    ) -> None:
        refused = await api.get(f"{url}/evaluate", params=query, headers=staff)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)

    @pytest.mark.parametrize(
        ("variable", "value", "override", "enabled", "reason"),
        [
            ("PERCENTAGE", "100", {"enabled": None, "percentage": 100}, True, "in_rollout"),
            ("ENABLED", "false", {"enabled": False, "percentage": None}, False, "forced_off"),
            ("ENABLED", "true", {"enabled": True, "percentage": None}, False, "not_in_rollout"),
        ],
    )
    async def test_what_the_environment_forces_is_told(
        self,
        api: httpx.AsyncClient,
        staff: Headers,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
        value: str,
        override: dict[str, Any],
        enabled: bool,
        reason: str,
    ) -> None:
        name = "hybrid-orchestrator"
        wanted = change(rolloutPercentage=0, enabled=variable != "ENABLED")
        flag = (await api.put(f"{FLAGS}/{name}", json=wanted, headers=ADMIN)).json()
        monkeypatch.setenv(f"HYBRID_ORCHESTRATOR_{variable}", value)
        app = create_app(Settings(jwt_secret=SecretStr(SECRET)))
        async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as forced:
            assert (await forced.get(FLAGS, headers=staff)).json()["overrides"] == {name: override}
            await in_force(forced, flag)
            why = (await forced.get(f"{FLAGS}/{name}/evaluate", params={"userId": "u1"}, headers=staff)).json()
        assert (why["enabled"], why["reason"], why["override"]) == (enabled, reason, override)
        assert [rule["rule"] for rule in why["rules"] if rule["decides"]] == [reason]
        assert why["explanation"].startswith(f"{SENTENCES[FlagReason(reason)]} The environment of this process ")

    @pytest.mark.parametrize(
        ("percentage", "enabled", "says"),
        [("", False, "for nobody, because it names no percentage"), ("100", True, "for 100 % of users")],
    )
    async def test_without_the_flag_the_environment_decides_alone_and_that_is_told(
        self, alone: None, monkeypatch: pytest.MonkeyPatch, percentage: str, enabled: bool, says: str
    ) -> None:
        """The deny list too is unknown then."""
        monkeypatch.setenv("HYBRID_ORCHESTRATOR_ENABLED", "true")
        if percentage:
            monkeypatch.setenv("HYBRID_ORCHESTRATOR_PERCENTAGE", percentage)
        name = "hybrid-orchestrator"
        app = create_app(Settings(jwt_secret=SecretStr(SECRET)))
        async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as forced:
            why = (await forced.get(f"{FLAGS}/{name}/evaluate", params={"userId": "u1"}, headers=ADMIN)).json()
        assert (why["enabled"], why["rules"], why["revision"]) == (enabled, [], 0)
        assert (why["bucket"], why["rolloutPercentage"]) == (
            bucket(name, "u1"),
            int(percentage) if percentage else None,
        )
        assert f"turns it on, {says}; the flag is not known here" in why["explanation"]


USERS = st.sampled_from(["u1", "u2", "u3", "u4"])
WORDS = st.sampled_from(["a", "b", "c"])
FEW_WORDS = st.lists(WORDS, max_size=2).map(tuple)


@st.composite
def flags(draw: st.DrawFn) -> Flag:
    users = draw(st.lists(USERS, unique=True, max_size=3))
    split = draw(st.integers(0, len(users)))
    age = draw(st.none() | st.integers(0, 3))
    return Flag.model_validate(
        {
            "name": "a-flag",
            "enabled": draw(st.booleans()),
            "rollout_percentage": Decimal(draw(st.integers(0, 10_000))) / 100,
            "user_whitelist": users[:split],
            "user_blacklist": users[split:],
            "conditions": FlagConditions(
                user_tier=draw(FEW_WORDS), account_age=age, region=draw(FEW_WORDS), platform=draw(FEW_WORDS)
            ),
            "salt": "a-flag",
            "changed_by": "ana",
            "changed_at": "2026-11-22T00:00:00Z",
            "reason": "test",
        }
    )


OVERRIDES = st.builds(
    FlagOverride,
    enabled=st.none() | st.booleans(),
    percentage=st.none() | st.integers(0, 100).map(Decimal),
)
SUBJECTS = st.builds(
    FlagSubject,
    user_id=USERS,
    tier=st.none() | WORDS,
    account_age_days=st.none() | st.integers(0, 3),
    region=st.none() | WORDS,
    platforms=FEW_WORDS,
)


class TestOverrides:
    @pytest.mark.parametrize(
        ("override", "says"),
        [
            (FlagOverride(), ""),
            (FlagOverride(enabled=False, percentage=Decimal(5)), "turns it off for everybody."),
            (FlagOverride(enabled=True), "turns it on."),
            (FlagOverride(percentage=Decimal("0.5")), "sets its percentage to 0.5 %."),
            (FlagOverride(enabled=True, percentage=Decimal(100)), "turns it on and sets its percentage to 100 %."),
        ],
    )
    def test_in_words(self, override: FlagOverride, says: str) -> None:
        assert override_in_force(override, known=True) == (f"The environment of this process {says}" if says else "")


class TestRules:
    @given(flag=flags(), override=OVERRIDES, subject=SUBJECTS)
    def test_they_tell_what_the_flag_decides(self, flag: Flag, override: FlagOverride, subject: FlagSubject) -> None:
        found = rules(flag, override, subject)
        decision = evaluate(flag, subject, override)
        (decisive,) = [rule for rule in found if rule.decides]
        assert decisive.rule == decision.reason
        assert decisive == next(rule for rule in found if rule.matched)
        assert SENTENCES[decision.reason].startswith("On" if decision.enabled else "Off")
