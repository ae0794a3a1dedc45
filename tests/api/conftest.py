"""Two applications: ``offline`` has nothing behind it, ``api`` the whole stack."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from adapters.settings import Settings
from api.app import create_app
from local.stack import Stack
from tests.api import identity


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The application behind a real server; yields its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1)
        )
        # Signals belong to pytest.
        task = asyncio.create_task(server._serve([listener]))
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


def nowhere() -> dict[str, str]:
    """An environment in which every part's address refuses connections."""
    return {
        "TEMPORAL_ADDRESS": "127.0.0.1:9",
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "HUNTAZE_REDIS_URL": "redis://127.0.0.1:9/0",
        "HUNTAZE_ONLYFANS_BASE_URL": "http://127.0.0.1:9",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "OPENAI_API_KEY": "local",
        "AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:9",
        "AZURE_OPENAI_API_KEY": "local",
        "ONLYFANSAPI_API_KEY": "local",
        "HUNTAZE_JWT_ALGORITHM": "HS256",
        "HUNTAZE_JWT_SECRET": identity.SECRET,
        "HUNTAZE_WEBHOOK_SECRET": "",
    }


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process can reach nothing."""
    for name, value in nowhere().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def offline(alone: None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with small limits and nothing behind it."""
    app = create_app(Settings(max_body_bytes=4_096, max_audience=3))
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
async def api(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with the stack behind it."""
    settings = Settings(
        jwt_secret=SecretStr(identity.SECRET),
        webhook_secret=SecretStr(identity.WEBHOOK_SECRET),
        max_audience=200,
        page_size=2,
    )
    app = create_app(settings)
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=90, trust_env=False) as client:
        yield client


@pytest.fixture
def account() -> str:
    """An account of this test alone, so that its limits and queue are too."""
    return f"acct_{uuid4().hex[:16]}"


@pytest.fixture
def owner() -> str:
    """A caller of this test alone."""
    return f"user-{uuid4().hex[:12]}"


@pytest.fixture
def caller(owner: str, account: str) -> dict[str, str]:
    """The headers of ``owner``, who owns ``account``."""
    return identity.bearer(owner, accounts=(account,))


@pytest.fixture
def staff() -> dict[str, str]:
    """The headers of an operator."""
    return identity.bearer("staff", "operator")


Intent = Callable[..., dict[str, Any]]


@pytest.fixture
def intent(account: str) -> Intent:
    """Builds the body of a campaign over ``audience`` recipients."""

    def build(audience: int = 3, level: str = "strict", **changes: Any) -> dict[str, Any]:
        return {
            "type": "campaign_execution",
            "brief": "Spring sale: the new photo set, warm and personal.",
            "onlyFansContext": {"accountId": account, "messageType": "promotional", "complianceLevel": level},
            "audience": [{"recipientId": str(1002003 + n), "name": f"Maya{n}"} for n in range(audience)],
            **changes,
        }

    return build
