"""OFREP: the real OpenFeature client over HTTP, and the protocol's shapes without it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from openfeature import api as openfeature_api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason

from domain.flag_evaluation import bucket
from tests.api.identity import bearer
from tests.api.test_flag import in_force

EVALUATE = "/ofrep/v1/evaluate/flags"
ADMIN = bearer("root", "admin")

Headers = dict[str, str]
Stored = Callable[..., Awaitable[str]]


@pytest.fixture
def stored(api: httpx.AsyncClient) -> Stored:
    """Stores a flag, and answers its name."""

    async def store(name: str | None = None, **settings: Any) -> str:
        name = name or f"flag-{uuid4().hex[:12]}"
        body = {"enabled": True, "reason": "Because of a test.", **settings}
        answer = await api.put(f"/api/admin/feature-flags/{name}", json=body, headers=ADMIN)
        assert answer.is_success
        await in_force(api, answer.json())
        return name

    return store


def context(user: str | None, **attributes: Any) -> dict[str, Any]:
    return {"context": {**({} if user is None else {"targetingKey": user}), **attributes}}


@pytest.fixture
async def connect(api: httpx.AsyncClient) -> AsyncIterator[Callable[[Headers], OpenFeatureClient]]:
    """The real client for whoever these headers belong to."""

    def connected(headers: Headers) -> OpenFeatureClient:
        provider = OFREPProvider(str(api.base_url), headers_factory=lambda: headers, timeout=30)
        provider.session.trust_env = False
        domain = uuid4().hex
        openfeature_api.set_provider_and_wait(provider, domain)
        return openfeature_api.get_client(domain)

    yield connected
    openfeature_api.clear_providers()


Connect = Callable[[Headers], OpenFeatureClient]


async def details(
    client: OpenFeatureClient, name: str, default: bool, user: str | None, **attributes: Any
) -> FlagEvaluationDetails[bool]:
    """What the client, which blocks, gets; the API runs in this very process."""
    return await asyncio.to_thread(client.get_boolean_details, name, default, EvaluationContext(user, attributes))


class TestTheRealClient:
    @pytest.mark.parametrize(
        ("settings", "attributes", "value", "reason", "ours"),
        [
            ({"enabled": False}, {}, False, Reason.DISABLED, "disabled"),
            ({"userWhitelist": ["u1"]}, {}, True, Reason.TARGETING_MATCH, "allow_list"),
            ({"userBlacklist": ["u1"]}, {}, False, Reason.TARGETING_MATCH, "deny_list"),
            ({"rolloutPercentage": 100}, {}, True, Reason.SPLIT, "in_rollout"),
            ({"conditions": {"userTier": ["vip"]}}, {"userTier": "new"}, False, Reason.DEFAULT, "condition_user_tier"),
            (
                {"rolloutPercentage": 100, "conditions": {"platform": ["onlyfans"], "accountAge": 30}},
                {"platforms": ["x", "onlyfans"], "accountAge": 30, "shoeSize": 43},
                True,
                Reason.SPLIT,
                "in_rollout",
            ),
        ],
    )
    async def test_values_with_reasons(
        self,
        connect: Connect,
        stored: Stored,
        staff: Headers,
        settings: dict[str, Any],
        attributes: dict[str, Any],
        value: bool,
        reason: Reason,
        ours: str,
    ) -> None:
        name = await stored(**settings)
        found = await details(connect(staff), name, not value, "u1", **attributes)
        assert (found.value, found.reason, found.error_code) == (value, reason, None)
        assert found.variant == ("on" if value else "off")
        assert (found.flag_metadata["reason"], found.flag_metadata["revision"]) == (ours, 1)
        if reason is Reason.SPLIT:
            assert found.flag_metadata["bucket"] == bucket(name, "u1")

    async def test_it_follows_a_change(self, connect: Connect, stored: Stored, staff: Headers) -> None:
        client, name = connect(staff), await stored(rolloutPercentage=0)
        assert not (await details(client, name, True, "u1")).value
        await stored(name, rolloutPercentage=100)
        assert (await details(client, name, False, "u1")).value

    async def test_errors_come_with_the_default(self, connect: Connect, stored: Stored, staff: Headers) -> None:
        client, name = connect(staff), await stored()
        found = [
            await details(client, "nothing", True, "u1"),
            await details(client, name, True, None),
            await details(client, name, True, "u1", accountAge="old"),
        ]
        assert [(each.value, each.error_code) for each in found] == [
            (True, ErrorCode.FLAG_NOT_FOUND),
            (True, ErrorCode.TARGETING_KEY_MISSING),
            (True, ErrorCode.INVALID_CONTEXT),
        ]
        assert (found[2].error_message or "").startswith("accountAge: ")
        wrong_type = await asyncio.to_thread(client.get_string_details, name, "x", EvaluationContext("u1"))
        assert (wrong_type.value, wrong_type.error_code) == ("x", ErrorCode.TYPE_MISMATCH)

    async def test_it_must_be_somebody(self, connect: Connect, stored: Stored, caller: Headers, owner: str) -> None:
        name = await stored(rolloutPercentage=100)
        assert (await details(connect(caller), name, False, owner)).value
        stranger = await details(connect(caller), name, False, "u1")
        assert (stranger.value, stranger.error_message) == (False, "forbidden")
        nobody = await details(connect({}), name, False, "u1")
        assert (nobody.value, nobody.error_message) == (False, "unauthorized")


class TestOneFlag:
    async def test_the_shape_of_a_success(self, api: httpx.AsyncClient, stored: Stored, staff: Headers) -> None:
        name = await stored(userWhitelist=["u1"])
        answer = await api.post(f"{EVALUATE}/{name}", json=context("u1"), headers=staff)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert answer.json() == {
            "key": name,
            "value": True,
            "reason": "TARGETING_MATCH",
            "variant": "on",
            "metadata": {"reason": "allow_list", "revision": 1},
        }

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"", "TARGETING_KEY_MISSING"),
            (b"{}", "TARGETING_KEY_MISSING"),
            (b'{"context": {"targetingKey": ""}}', "TARGETING_KEY_MISSING"),
            (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT"),
            (b'{"context": []}', "INVALID_CONTEXT"),
            (b'{"context": {"targetingKey": "u1", "platforms": [1]}}', "INVALID_CONTEXT"),
            (b"[]", "PARSE_ERROR"),
            (b"{", "PARSE_ERROR"),
            (b"\xff", "PARSE_ERROR"),
            (b"[" * 100_000, "PARSE_ERROR"),
            (b'{"context": {"targetingKey": "\\ud800"}}', "PARSE_ERROR"),
            (b'{"context": {"targetingKey": "u1", "userTier": "\\udc00"}}', "PARSE_ERROR"),
            (b'{"context": {"targetingKey": "u1", "accountAge": NaN}}', "PARSE_ERROR"),
        ],
    )
    async def test_the_shape_of_a_failure(
        self, api: httpx.AsyncClient, stored: Stored, staff: Headers, content: bytes, code: str
    ) -> None:
        name = await stored()
        one = await api.post(f"{EVALUATE}/{name}", content=content, headers=staff)
        assert (one.status_code, one.json()["key"], one.json()["errorCode"]) == (400, name, code)
        assert one.json()["errorDetails"]
        every = await api.post(EVALUATE, content=content, headers=staff)
        assert (every.status_code, every.json()) == (400, {k: v for k, v in one.json().items() if k != "key"})

    async def test_an_unknown_flag_is_404(self, api: httpx.AsyncClient, staff: Headers) -> None:
        answer = await api.post(f"{EVALUATE}/nothing", json=context("u1"), headers=staff)
        assert (answer.status_code, answer.json()["key"], answer.json()["errorCode"]) == (
            404,
            "nothing",
            "FLAG_NOT_FOUND",
        )

    @pytest.mark.parametrize("path", [EVALUATE, f"{EVALUATE}/hybrid-orchestrator"])
    async def test_without_a_snapshot_nothing_is_claimed(self, offline: httpx.AsyncClient, path: str) -> None:
        answer = await offline.post(path, json=context("u1"), headers=ADMIN)
        assert (answer.status_code, answer.json()["errorCode"]) == (503, "PROVIDER_NOT_READY")
        assert int(answer.headers["retry-after"]) > 0


class TestEveryFlag:
    async def evaluated(
        self, api: httpx.AsyncClient, headers: Headers, body: dict[str, Any], etag: str | None = None
    ) -> httpx.Response:
        return await api.post(EVALUATE, json=body, headers=headers | ({"If-None-Match": etag} if etag else {}))

    async def test_all_of_them(self, api: httpx.AsyncClient, stored: Stored, staff: Headers) -> None:
        on, off = await stored(userWhitelist=["u1"]), await stored(userBlacklist=["u1"])
        answer = await self.evaluated(api, staff, context("u1"))
        found = {flag["key"]: flag for flag in answer.json()["flags"]}
        assert (found[on]["value"], found[off]["value"]) == (True, False)
        one = await api.post(f"{EVALUATE}/{on}", json=context("u1"), headers=staff)
        assert found[on] == one.json()

    async def test_nothing_new_is_304_until_a_flag_changes(
        self, api: httpx.AsyncClient, stored: Stored, staff: Headers
    ) -> None:
        name = await stored()
        first = await self.evaluated(api, staff, context("u1"))
        etag = first.headers["etag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = await self.evaluated(api, staff, context("u1"), known)
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        # The value stays what it was: it is the flag that has changed.
        await stored(name, rollbackTriggers={"timeWindowMinutes": 10})
        changed = await self.evaluated(api, staff, context("u1"), etag)
        assert (changed.status_code, changed.headers["etag"] != etag) == (200, True)

    async def test_another_context_is_something_else(
        self, api: httpx.AsyncClient, stored: Stored, staff: Headers
    ) -> None:
        await stored()
        contexts = [context("u1"), context("u2"), context("u1", userTier="vip"), context("u1", platform="web")]
        etags = [(await self.evaluated(api, staff, each)).headers["etag"] for each in contexts]
        assert len(set(etags)) == len(contexts)
        assert (await self.evaluated(api, staff, contexts[1], etags[0])).status_code == 200

    async def test_who_may_ask(self, api: httpx.AsyncClient, caller: Headers, owner: str) -> None:
        assert (await self.evaluated(api, caller, context(owner))).status_code == 200
        refused = await self.evaluated(api, caller, context("u1"))
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (403, "context.targetingKey")
        assert (await self.evaluated(api, {}, context("u1"))).status_code == 401
