"""Flags on the command line: only what is named changes, and words for people are right."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from pydantic import SecretStr

from adapters.settings import Settings
from api.app import create_app
from cli.console import Complaint
from cli.flag import RULES, conditions_in_words, listed, override_in_words
from domain.flag import FlagReason
from local.stack import Stack
from tests.api.conftest import served
from tests.api.identity import SECRET, token


class Result(NamedTuple):
    """What a command answered."""

    exit_code: int
    stdout: str
    stderr: str


Run = Callable[..., Awaitable[Result]]


class TestLists:
    def test_whoever_is_put_on_one_leaves_the_other(self) -> None:
        present = {"userWhitelist": ["a", "b"], "userBlacklist": ["c", "d"]}
        assert listed(present, allow=["c", "e"], deny=["a"], unlist=["d"]) == {
            "userWhitelist": ["b", "c", "e"],
            "userBlacklist": ["a"],
        }

    def test_nothing_named_changes_nothing(self) -> None:
        present = {"userWhitelist": ["a"], "userBlacklist": ["b"]}
        assert listed(present, allow=[], deny=[], unlist=[]) == present

    def test_nobody_is_on_both(self) -> None:
        with pytest.raises(Complaint) as refused:
            listed({}, allow=["a"], deny=["a"], unlist=[])
        assert "--deny" in refused.value.remedy


class TestWords:
    def test_conditions(self) -> None:
        conditions: dict[str, Any] = {"userTier": ["vip", "gold"], "accountAge": 30, "region": [], "platform": []}
        assert conditions_in_words(conditions) == "tier vip or gold, age ≥ 30 days"
        assert conditions_in_words({"userTier": [], "accountAge": None, "region": [], "platform": []}) == ""
        assert conditions_in_words(conditions | {"accountAge": 0, "userTier": []}) == "age ≥ 0 days"

    def test_overrides(self) -> None:
        assert override_in_words({"enabled": False, "percentage": None}) == "off"
        assert override_in_words({"enabled": True, "percentage": 2.5}) == "on, 2.5 %"
        assert override_in_words({"enabled": None, "percentage": 0}) == "0 %"

    def test_every_rule_has_its_own(self) -> None:
        assert set(RULES) == set(FlagReason) - {FlagReason.UNKNOWN_FLAG, FlagReason.NO_SNAPSHOT}
        assert len(set(RULES.values())) == len(RULES)


class TestCommands:
    """Against the real API."""

    @pytest.fixture
    def name(self) -> str:
        """A flag of this test alone."""
        return f"flag-{uuid4().hex[:12]}"

    @pytest.fixture
    async def url(self, stack: Stack) -> AsyncIterator[str]:
        app = create_app(Settings(jwt_secret=SecretStr(SECRET)))
        async with served(app) as url:
            yield url

    @pytest.fixture
    def run(self, url: str, tmp_path: Path) -> Run:
        """``huntaze flags …`` as an administrator, in a process of its own."""
        huntaze = Path(sys.executable).with_name("huntaze")
        env = os.environ | {"HUNTAZE_API_URL": url, "HUNTAZE_TOKEN": token("root", "admin"), "COLUMNS": "200"}

        async def run(*arguments: str) -> Result:
            process = await asyncio.create_subprocess_exec(
                huntaze, "flags", *arguments, env=env, cwd=tmp_path, stdout=PIPE, stderr=PIPE
            )
            stdout, stderr = await process.communicate()
            return Result(process.returncode or 0, stdout.decode(), stderr.decode())

        return run

    async def test_only_what_is_named_changes(self, run: Run, name: str) -> None:
        first = [
            "--enable",
            "--percentage",
            "5",
            "--allow",
            "u1",
            "--deny",
            "u2",
            "--tier",
            "vip",
            "--reason",
            "Start.",
        ]
        created = await run("set", name, *first)
        assert (created.exit_code, created.stdout) == (0, f"{name}: created; revision 1 is in force: enabled, 5 %\n")
        changed = await run(
            "set", name, "--percentage", "25.5", "--allow", "u3", "--error-rate", "2", "--reason", "More."
        )
        assert changed.stdout == f"{name}: revision 2 is in force: enabled, 25.5 %\n"
        flag = json.loads((await run("get", name, "--json")).stdout)
        assert (flag["enabled"], flag["rolloutPercentage"], flag["reason"]) == (True, 25.5, "More.")
        assert (flag["userWhitelist"], flag["userBlacklist"]) == (["u1", "u3"], ["u2"])
        assert flag["conditions"]["userTier"] == ["vip"]
        assert flag["rollbackTriggers"] == {"errorRateThreshold": 2, "latencyThreshold": None, "timeWindowMinutes": 5}
        await run("set", name, "--tier", "any", "--unlist", "u1", "--error-rate", "none", "--reason", "Everybody.")
        flag = json.loads((await run("get", name, "--json")).stdout)
        assert (flag["conditions"]["userTier"], flag["userWhitelist"]) == ([], ["u3"])
        assert flag["rollbackTriggers"]["errorRateThreshold"] is None
        await run("set", name, "--reset", "--disable", "--reason", "From the start.")
        flag = json.loads((await run("get", name, "--json")).stdout)
        assert (flag["revision"], flag["enabled"], flag["rolloutPercentage"], flag["userWhitelist"]) == (
            4,
            False,
            0,
            [],
        )

    async def test_what_is_shown(self, run: Run, name: str) -> None:
        await run("set", name, "--enable", "--deny", "u2", "--account-age", "30", "--reason", "Old accounts.")
        shown = (await run("list")).stdout
        assert name in shown
        assert "the API decides by a copy" in shown
        one = (await run("get", name)).stdout
        assert "deny list: u2" in one
        assert "conditions: age ≥ 30 days" in one
        assert "Old accounts." in (await run("history", name)).stdout
        why = (await run("explain", name, "u2")).stdout
        assert why.startswith(f"{name} for u2: Off: the user is on the deny list.")
        assert (await run("explain", name, "u1", "--account-age", "29")).stdout.startswith(
            f"{name} for u1: Off: the user's account is not old enough"
        )

    async def test_refusals_have_a_remedy(self, run: Run, name: str) -> None:
        unknown = await run("get", name)
        assert unknown.exit_code == 1
        assert f"There is no flag {name}" in unknown.stderr
        wrong = await run("set", name, "--account-age", "old", "--reason", "Wrong.")
        assert wrong.exit_code == 1
        assert "write a number, or any" in wrong.stderr
        fine = await run("set", name, "--percentage", "0.001", "--reason", "Too fine.")
        assert fine.exit_code == 1
        assert "rolloutPercentage" in fine.stderr
