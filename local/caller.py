"""A caller of a local stack's API: somebody who owns the accounts and starts campaigns that send without review."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import uuid4

import httpx
import jwt

CALLER: Final = "local-agency"
BRIEF: Final = "Spring sale: 20 % off the new photo set until Sunday. Warm and personal, thank them for their support."

LANGUAGES: Final = ("en", "fr", "de", "es")
"""Of the fans, in turn: in one language alone, the simulated writer would come to write near-identical texts in a large
campaign, and those wait for a person."""

_VALID_S = 7_200
_FIRST_RECIPIENT = 1_000
_FIRST_NAME = 10_000
"""A name such as "Fan 1488" would be taken for what the number stands for, and its text not be sent."""


def client(url: str, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """For servers on this machine."""
    # A proxy never leads to this machine.
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False)


@asynccontextmanager
async def caller(env: Mapping[str, str], accounts: Sequence[str]) -> AsyncIterator[httpx.AsyncClient]:
    """The API of the stack whose processes see ``env``, for an agency with ``accounts``."""
    now = int(time.time())
    claims = {
        "sub": CALLER,
        "role": "agency",
        "accounts": list(accounts),
        "iss": "huntaze",
        "aud": "huntaze-api",
        "iat": now,
        "exp": now + _VALID_S,
    }
    token = jwt.encode(claims, env["HUNTAZE_JWT_SECRET"], algorithm="HS256")
    url = f"http://{env['HUNTAZE_API_HOST']}:{env['HUNTAZE_API_PORT']}"
    async with client(url, {"Authorization": f"Bearer {token}"}) as http:
        yield http


async def opt_in(api: httpx.AsyncClient, accounts: Sequence[str]) -> None:
    """The owners allow campaigns that are not reviewed."""
    for account in accounts:
        body = {"level": "relaxed", "reason": "simulators only"}
        (await api.put(f"/api/v2/accounts/{account}/autonomy", json=body)).raise_for_status()


def recipient_id(number: int) -> str:
    """Of a fan in a campaign's audience, counted from 0."""
    return str(_FIRST_RECIPIENT + number)


def intent(accounts: Sequence[str], recipients: int) -> dict[str, Any]:
    """A campaign over ``accounts``, which share the recipients evenly."""
    return {
        "type": "campaign_execution",
        "brief": BRIEF,
        "onlyFansContext": {
            "accountId": accounts[0],
            "messageType": "promotional",
            "complianceLevel": "relaxed",
        },
        "audience": [
            {
                "recipientId": recipient_id(number),
                "name": f"Fan {_FIRST_NAME + number}",
                "accountId": accounts[number % len(accounts)],
                "language": LANGUAGES[number // len(accounts) % len(LANGUAGES)],
            }
            for number in range(recipients)
        ],
    }


async def start_campaign(api: httpx.AsyncClient, accounts: Sequence[str], recipients: int) -> Any:
    """The API's answer, with ``campaignId`` and ``workflowId``."""
    headers = {"Idempotency-Key": f"local-{uuid4()}"}
    answer = await api.post("/api/v2/campaigns/hybrid", json=intent(accounts, recipients), headers=headers)
    answer.raise_for_status()
    return answer.json()
