"""The product as separate processes: what happens when one of them is killed can only be seen this way."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx
import jwt
import pytest

from adapters.bootstrap import open_tables
from adapters.settings import Settings
from local.process import child_environment
from local.stack import EVERYTHING, Stack, StackOptions
from tests.local import Simulator


@dataclass(frozen=True)
class Product:
    """A running stack with API and worker, and a caller who owns every account it names."""

    stack: Stack
    http: httpx.AsyncClient
    onlyfans: Simulator
    ai: Simulator

    def token(self, *accounts: str, user: str = "agency-1") -> dict[str, str]:
        """The header of a caller."""
        claims = {
            "sub": user,
            "role": "agency",
            "accounts": list(accounts),
            "iss": "huntaze",
            "aud": "huntaze-api",
            "exp": 4_000_000_000,
            "iat": 1_700_000_000,
        }
        return {"Authorization": f"Bearer {jwt.encode(claims, self.stack.env['HUNTAZE_JWT_SECRET'], 'HS256')}"}

    async def start(self, *sizes: int) -> "Campaign":
        """A relaxed campaign over one new account for each of ``sizes``, started through the API."""
        accounts = [f"acct_{uuid4().hex[:12]}" for _ in sizes]
        headers = self.token(*accounts)
        for account in accounts:
            opt_in = {"level": "relaxed", "reason": "end-to-end test"}
            answer = await self.http.put(f"/api/v2/accounts/{account}/autonomy", json=opt_in, headers=headers)
            answer.raise_for_status()
        body = {
            "type": "campaign_execution",
            "onlyFansContext": {
                "accountId": accounts[0],
                "messageType": "promotional",
                "complianceLevel": "relaxed",
            },
            "brief": "A warm hello for spring.",
            "audience": [
                {"recipientId": str(2000 + number), "name": f"Noor{number}", "accountId": account}
                for account, size in zip(accounts, sizes, strict=True)
                for number in range(size)
            ],
        }
        answer = await self.http.post("/api/v2/campaigns/hybrid", json=body, headers=headers)
        answer.raise_for_status()
        return Campaign(self, answer.json()["workflowId"], headers)

    async def accepted(self, number: int) -> None:
        """Wait until the platform has taken that many messages."""
        while (await self.onlyfans.get("report"))["totals"]["accepted"] < number:
            await anyio.sleep(0.05)

    def temporal(self, *arguments: str) -> str:
        """Run the real ``temporal`` command line against the stack."""
        binary = shutil.which("temporal") or str(Path(sys.executable).with_name("temporal"))
        done = subprocess.run(
            [binary, *arguments, "--address", self.stack.env["TEMPORAL_ADDRESS"], "--disable-config-file"],
            env={**os.environ, "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@dataclass(frozen=True)
class Campaign:
    """A campaign seen through the API."""

    product: Product
    workflow_id: str
    headers: dict[str, str]

    async def status(self) -> dict[str, Any]:
        """The status endpoint's answer."""
        answer = await self.product.http.get(
            "/api/v2/campaigns/status", params={"workflowId": self.workflow_id}, headers=self.headers
        )
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body

    async def until(self, reached: Any) -> dict[str, Any]:
        """The first status for which ``reached`` holds; the test's time-out ends the wait."""
        while True:
            status = await self.status()
            if reached(status):
                return status
            await anyio.sleep(0.1)


@pytest.fixture(scope="module")
async def product(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Product]:
    """A stack of its own: its processes are going to be killed."""

    async def migrate(env: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in child_environment(env).items():
                patch.setenv(name, value)
            async with open_tables(Settings()) as tables:
                await tables.migrate()

    options = StackOptions(
        directory=tmp_path_factory.mktemp("product"),
        parts=EVERYTHING,
        synchronous="OFF",
        env={"HUNTAZE_PAGE_SIZE": "4", "HUNTAZE_LIMIT_TIME_SCALE": "0.25"},
        migrate=migrate,
    )
    async with Stack(options) as stack, _client(stack.env["HUNTAZE_ONLYFANS_BASE_URL"]) as onlyfans:
        api = f"http://{stack.env['HUNTAZE_API_HOST']}:{stack.env['HUNTAZE_API_PORT']}"
        async with _client(stack.env["AZURE_OPENAI_ENDPOINT"]) as ai, _client(api) as http:
            yield Product(stack, http, Simulator(str(onlyfans.base_url), onlyfans), Simulator(str(ai.base_url), ai))


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)
