"""The legacy API's clients: the same requests to the legacy system itself and through us."""

import asyncio
import gzip
import hashlib
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from domain.legacy import LEGACY_USER, SHADOW_USER
from tests.api.identity import bearer
from tests.api.legacy import PATH, LegacyFront, front
from tests.local import Simulator, running

HYBRID_HEADERS = ("x-api-version", "x-provider", "x-duration")
ASIDE = {"date", "x-duration"}
LARGE = 50 * 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def processor() -> AsyncIterator[Simulator]:
    async with running("local.legacy") as simulator:
        yield simulator


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def router(stack: Any, processor: Simulator) -> AsyncIterator[LegacyFront]:
    async with front(processor, legacy_first_byte_timeout_s=2.0, legacy_idle_timeout_s=2.0) as opened:
        yield opened


@pytest.fixture
async def off(router: LegacyFront) -> LegacyFront:
    """The flag is enabled, and on for nobody."""
    await router.direct.reset()
    await router.flag()
    return router


@pytest.fixture
async def on(router: LegacyFront, owner: str) -> LegacyFront:
    """The flag is on for ``owner``."""
    await router.direct.reset()
    await router.flag(user_whitelist=(owner,))
    return router


def body(user: str, **changes: Any) -> dict[str, Any]:
    return {
        "user_id": user,
        "action": "create_post",
        "payload": {"contentType": "post", "brief": "The new photo set."},
        "platform": "x",
    } | changes


async def raw(router: LegacyFront, request: bytes) -> bytes:
    """The answer to what no client library sends."""
    host, port = router.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@asynccontextmanager
async def packing(asked: list[bytes]) -> AsyncIterator[Simulator]:
    """A legacy system that packs its list, whatever it is asked for."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        content = gzip.compress(b'{"data": [{"id": "theirs"}]}')
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        writer.write(head % len(content) + content)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, httpx.AsyncClient() as nobody:
        yield Simulator(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", nobody)


def comparable(response: httpx.Response) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers in their order but those that tell the time, and the very bytes of the body."""
    headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower().decode() not in ASIDE]
    return response.status_code, headers, response.content


def shape(value: Any) -> Any:
    """Keys and types, whatever the values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


class TestOff:
    @pytest.mark.parametrize(
        ("method", "path", "content"),
        [
            ("GET", "?user_id=nobody", None),
            ("GET", "?userId=nobody", None),
            ("GET", "", None),
            ("HEAD", "", None),
            ("OPTIONS", "", None),
            ("DELETE", "", None),
            ("POST", "", b'{"user_id": "u", "action": "create_post"}'),
            ("POST", "", b"{"),
            ("POST", "", b""),
            ("POST", "", b"[1]"),
            ("POST", "", b"\xff\x00"),
            ("GET", "/unknown", None),
            ("GET", "/", None),
            ("POST", "/unknown/duplicate", None),
            ("GET", "/export?size=1000", None),
            ("HEAD", "/export?size=1000", None),
            ("PUT", "/upload", b"\x00\xff"),
        ],
    )
    async def test_the_answer_is_the_legacy_systems(
        self, off: LegacyFront, method: str, path: str, content: bytes | None
    ) -> None:
        request = {"headers": {"Content-Type": "application/json", "Host": "campaigns.example"}, "content": content}
        direct = await off.direct.http.request(method, PATH + path, **request)  # type: ignore[arg-type]
        ours = await off.http.request(method, PATH + path, **request)  # type: ignore[arg-type]
        assert comparable(ours) == comparable(direct)

    @pytest.mark.parametrize(
        ("method", "path", "content"),
        [
            ("PATCH", "/echo?status=418&a=1&a=2", b"tea"),
            ("DELETE", "/echo?status=404", None),
            ("PUT", "/echo?x=%2F%20%C3%A4&y=a+b&&z=~!", b"\x00\x01"),
            ("GET", "/echo?status=301", None),
            ("POST", "/%65cho?q", b""),
        ],
    )
    async def test_the_legacy_system_sees_the_very_request(
        self, off: LegacyFront, method: str, path: str, content: bytes | None
    ) -> None:
        direct = await off.direct.http.request(method, PATH + path, content=content, headers={"Host": "legacy"})
        ours = await off.http.request(method, PATH + path, content=content, headers={"Host": "legacy"})
        assert ours.status_code == direct.status_code
        seen, expected = ours.json(), direct.json()
        # What concerns only the connection stays with it.
        expected["headers"] = [each for each in expected["headers"] if each[0] != "connection"]
        assert seen == expected

    async def test_a_campaign_is_the_legacy_systems(self, off: LegacyFront, owner: str) -> None:
        direct = await off.direct.http.post(PATH, json=body(owner))
        await off.direct.reset()
        ours = await off.http.post(PATH, json=body(owner))
        assert ours.headers["x-provider"] == "legacy"
        assert ours.headers["x-api-version"] == "v1-legacy-compatible"
        changing = {"createdAt": "now"}
        assert ours.json()["data"] | changing == direct.json()["data"] | changing

    @pytest.mark.parametrize("status", [204, 304])
    async def test_an_answer_without_a_body_has_none(self, off: LegacyFront, status: int) -> None:
        direct = await off.direct.http.get(f"{PATH}/bare?status={status}")
        ours = await off.http.get(f"{PATH}/bare?status={status}")
        assert comparable(ours) == comparable(direct)
        assert ours.content == b""

    async def test_a_packed_answer_stays_packed(self, off: LegacyFront) -> None:
        async with off.http.stream("GET", f"{PATH}/packed") as ours:
            packed = b"".join([chunk async for chunk in ours.aiter_raw()])
        async with off.direct.http.stream("GET", f"{PATH}/packed") as direct:
            assert b"".join([chunk async for chunk in direct.aiter_raw()]) == packed
        assert ours.headers["content-encoding"] == "gzip"
        assert json.loads(gzip.decompress(packed))["status"] == "success"

    async def test_cookies_stay_apart(self, off: LegacyFront) -> None:
        ours = await off.http.get(f"{PATH}/echo")
        assert ours.headers.get_list("set-cookie") == ["legacy_session=1; Path=/", "legacy_theme=dark; Path=/"]

    async def test_nothing_is_added_to_the_request(self, off: LegacyFront) -> None:
        headers = {"Host": "campaigns.example", "X-Forwarded-For": "203.0.113.7", "Authorization": "Basic abc"}
        direct = (await off.direct.http.get(f"{PATH}/echo", headers=headers)).json()["headers"]
        ours = (await off.http.get(f"{PATH}/echo", headers=headers)).json()["headers"]
        assert sorted(ours) == sorted(header for header in direct if header[0] != "connection")

    async def test_headers_of_one_connection_are_not_passed_on(self, off: LegacyFront) -> None:
        headers = {"Connection": "keep-alive, X-Mine", "X-Mine": "1", "TE": "trailers", "X-Yours": "2"}
        names = {name for name, _ in (await off.http.get(f"{PATH}/echo", headers=headers)).json()["headers"]}
        assert "x-yours" in names
        assert names.isdisjoint({"connection", "x-mine", "te"})

    @pytest.mark.parametrize("climbing", [b"%2e%2e/a", b"..;/a", b"%252e%252e/a", b".;x=1/a", b"%2e%2e%3bx"])
    async def test_a_path_that_climbs_is_refused(self, off: LegacyFront, climbing: bytes) -> None:
        answer = await raw(off, b"GET /api/campaigns/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % climbing)
        assert answer.startswith(b"HTTP/1.1 400")
        assert await off.asked() == []

    @pytest.mark.parametrize(
        ("headers", "content", "size"),
        [
            (b"Content-Length: 5\r\nConnection: close, content-length, host", b"hello", b'"bytes":5'),
            (
                b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\nConnection: close",
                b"3\r\nabc\r\n0\r\n\r\n",
                b'"bytes":3',
            ),
        ],
    )
    async def test_a_strange_framing_does_not_change_the_body(
        self, off: LegacyFront, headers: bytes, content: bytes, size: bytes
    ) -> None:
        request = b"POST /api/campaigns/echo HTTP/1.1\r\nHost: campaigns.example\r\n%b\r\n\r\n%b" % (headers, content)
        answer = await raw(off, request)
        assert answer.startswith(b"HTTP/1.1 200")
        assert size in answer
        assert b'["host","campaigns.example"]' in answer


class TestAnySize:
    async def test_a_large_download_is_streamed(self, off: LegacyFront) -> None:
        digest, size = hashlib.sha256(), 0
        tracemalloc.start()
        async with off.http.stream("GET", f"{PATH}/export?size={LARGE}") as ours:
            async for chunk in ours.aiter_raw():
                digest.update(chunk)
                size += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size == LARGE
        assert digest.digest() == hashlib.sha256(bytes(range(256)) * (LARGE // 256)).digest()
        assert peak < LARGE / 4

    @pytest.mark.parametrize("announced", [True, False])
    async def test_a_large_upload_is_streamed(self, off: LegacyFront, announced: bool) -> None:
        piece = bytes(range(256)) * 256

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(LARGE // len(piece)):
                yield piece

        headers = {"Content-Length": str(LARGE)} if announced else {}
        tracemalloc.start()
        async with off.http.stream("POST", f"{PATH}/digest", content=pieces(), headers=headers) as ours:
            answer = json.loads(await ours.aread())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer == {"bytes": LARGE, "sha256": hashlib.sha256(piece * (LARGE // len(piece))).hexdigest()}
        assert peak < LARGE / 4

    async def test_a_campaign_too_large_to_be_read_is_passed_on(self, on: LegacyFront, owner: str) -> None:
        ours = await on.http.post(PATH, json=body(owner, payload={"text": "x" * 3_000_000}))
        assert (ours.status_code, ours.headers["x-provider"]) == (200, "legacy")


class TestOutage:
    async def test_silence_is_504(self, off: LegacyFront) -> None:
        await off.direct.fault("hang", hang_s=20)
        ours = await off.http.get(f"{PATH}/echo")
        assert (ours.status_code, ours.json()) == (
            504,
            {"status": "error", "message": "The legacy system did not answer in time.", "data": None},
        )
        assert int(ours.headers["retry-after"]) > 0

    async def test_a_post_that_met_silence_is_not_to_be_repeated(self, off: LegacyFront, owner: str) -> None:
        await off.direct.fault("hang", hang_s=20)
        ours = await off.http.post(PATH, json=body(owner))
        assert ours.status_code == 504
        assert "retry-after" not in ours.headers

    async def test_a_reset_is_502(self, off: LegacyFront, owner: str) -> None:
        await off.direct.fault("connection_reset", count=1)
        ours = await off.http.post(PATH, json=body(owner))
        assert (ours.status_code, ours.json()["status"], ours.json()["data"]) == (502, "error", None)

    async def test_a_failure_of_its_own_goes_back_as_it_is(self, off: LegacyFront, owner: str) -> None:
        await off.direct.fault("server_error", status=503)
        direct = await off.direct.http.post(PATH, json=body(owner))
        ours = await off.http.post(PATH, json=body(owner))
        assert comparable(ours) == comparable(direct)

    async def test_a_body_that_ends_too_early_is_not_made_whole(self, off: LegacyFront) -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            await off.http.get(f"{PATH}/broken")

    async def test_nobody_listening_is_502_and_says_when_to_come_back(self, stack: Any, owner: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            nobody = Simulator(f"http://127.0.0.1:{probe.getsockname()[1]}", httpx.AsyncClient())
        async with front(nobody) as router:
            ours = await router.http.post(PATH, json=body(owner))
            assert (ours.status_code, ours.json()["status"]) == (502, "error")
            assert int(ours.headers["retry-after"]) > 0
            assert ours.headers["x-api-version"] == "v1-legacy-compatible"

    async def test_without_a_legacy_system_it_is_503(self, stack: Any, processor: Simulator, owner: str) -> None:
        async with front(processor, legacy_base_url="") as router:
            ours = await router.http.get(f"{PATH}/anything")
            assert (ours.status_code, ours.json()["data"]) == (503, None)
            assert "LEGACY_BASE_URL" in ours.json()["message"]

    async def test_a_client_that_leaves_ends_the_call(self, off: LegacyFront) -> None:
        await off.direct.fault("hang", hang_s=60)
        with pytest.raises(httpx.ReadTimeout):
            await off.http.get(f"{PATH}/waits", timeout=0.3)
        async with asyncio.timeout(1.5):
            # The router's own patience is 2 s: it let go because of the client.
            while (await off.direct.get("waiting"))["waiting"]:
                await asyncio.sleep(0.02)


@pytest.mark.usefixtures("worker", "ai", "onlyfans")
class TestOn:
    @pytest.mark.parametrize(
        ("action", "payload"),
        [
            ("create_post", {"contentType": "post"}),
            ("generate_content", {"brief": "The new photo set."}),
            ("content_planning", {}),
            ("plan_campaign", {"sendToOnlyFans": True}),
            ("send_message", {"recipientId": 1002003, "recipientName": "Maya"}),
            ("validate_content", {"text": "Thank you for your message!"}),
            ("anything else", {"topic": "summer"}),
        ],
    )
    async def test_the_answer_has_the_legacy_shape(
        self, on: LegacyFront, owner: str, action: str, payload: dict[str, Any]
    ) -> None:
        request = body(owner, action=action, payload=payload)
        direct = await on.direct.http.post(PATH, json=request)
        ours = await on.http.post(PATH, json=request)
        assert ours.status_code == direct.status_code == 200
        assert ours.headers["x-provider"] == "hybrid"
        assert ours.headers["x-api-version"] == direct.headers["x-api-version"]
        assert ours.headers["x-duration"].endswith("ms")
        assert ours.headers["content-type"] == direct.headers["content-type"]
        assert shape(ours.json()) == shape(direct.json())
        data = ours.json()["data"]
        assert ours.json()["result"] == data
        assert (data["userId"], data["type"], data["platforms"]) == (owner, direct.json()["data"]["type"], ["x"])
        assert data["status"] == "completed"
        assert data["content"]

    async def test_every_header_name_is_one_that_the_legacy_system_sends(self, on: LegacyFront, owner: str) -> None:
        direct = await on.direct.http.post(PATH, json=body(owner))
        ours = await on.http.post(PATH, json=body(owner))
        assert set(ours.headers) | {"server"} == set(direct.headers) | {"server"}

    @pytest.mark.parametrize(
        "changes",
        [
            {"action": None},
            {"action": ""},
            {"payload": "text"},
            {"payload": None},
            {"platforms": "x"},
            {"platform": 7},
        ],
    )
    async def test_a_bad_request_is_the_contracts(self, on: LegacyFront, owner: str, changes: dict[str, Any]) -> None:
        direct = await on.direct.http.post(PATH, json=body(owner, **changes))
        ours = await on.http.post(PATH, json=body(owner, **changes))
        assert ours.status_code == 400
        assert ours.json() == direct.json()
        assert ours.headers["x-provider"] == "hybrid"

    async def test_broken_json_is_400_for_a_user_who_is_named_in_the_query(self, on: LegacyFront, owner: str) -> None:
        ours = await on.http.post(f"{PATH}?user_id={owner}", content=b"{")
        assert (ours.status_code, ours.headers["x-provider"]) == (400, "hybrid")
        assert shape(ours.json()) == shape((await on.direct.http.post(PATH, content=b"{")).json())

    async def test_a_text_that_breaks_rules_is_not_approved(self, on: LegacyFront, owner: str) -> None:
        payload = {"text": "Send the money to my paypal"}
        ours = await on.http.post(PATH, json=body(owner, action="validate_content", payload=payload))
        assert "breaks" in ours.json()["data"]["content"]

    async def test_what_is_to_be_sent_waits_for_a_person_and_the_client_does_not(
        self, on: LegacyFront, owner: str, account: str, caller: dict[str, str]
    ) -> None:
        payload = {"sendToOnlyFans": True, "recipientId": "1002003", "recipientName": "Maya", "brief": "Hello."}
        ours = await on.http.post(PATH, json=body(owner, action="send_message", payload=payload), headers=caller)
        data = ours.json()["data"]
        assert (ours.headers["x-provider"], data["type"], data["status"]) == (
            "hybrid",
            "message_generation",
            "processing",
        )
        record = await on.ports.campaigns.get(data["id"])
        assert record is not None
        assert (record.owner, record.account_id, record.routed_by) == (owner, account, "hybrid-orchestrator")
        assert (record.type, record.compliance_level) == ("campaign_execution", "strict")
        assert await on.asked() == []
        async with asyncio.timeout(60):
            while (await self.listed(on, owner, caller))[0]["status"] != "awaiting_review":
                await asyncio.sleep(0.1)

    async def listed(self, on: LegacyFront, owner: str, caller: dict[str, str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await on.http.get(f"{PATH}?user_id={owner}", headers=caller)).json()["data"]
        return found

    async def test_the_same_key_is_the_same_campaign(self, on: LegacyFront, owner: str) -> None:
        key = {"Idempotency-Key": str(uuid4())}
        first = await on.http.post(PATH, json=body(owner), headers=key)
        second = await on.http.post(PATH, json=body(owner), headers=key)
        assert second.json() == first.json()
        other = await on.http.post(PATH, json=body(owner, payload={"brief": "Something else."}), headers=key)
        assert (other.status_code, other.json()["errors"][0]["field"]) == (400, "Idempotency-Key")
        assert await on.asked() == []


@pytest.mark.usefixtures("worker", "ai", "onlyfans")
class TestList:
    async def test_both_systems_campaigns_newest_first(self, on: LegacyFront, owner: str) -> None:
        theirs = (await on.direct.http.post(PATH, json=body(owner))).json()["data"]["id"]
        ours = (await on.http.post(PATH, json=body(owner))).json()["data"]["id"]
        direct = await on.direct.http.get(f"{PATH}?user_id={owner}")
        answer = await on.http.get(f"{PATH}?userId={owner}")
        assert shape(answer.json()) == shape(direct.json())
        assert answer.json()["message"] == direct.json()["message"]
        assert [(entry["id"], entry["provider"]) for entry in answer.json()["data"]] == [
            (ours, "hybrid"),
            (theirs, "legacy"),
        ]

    async def test_half_a_list_is_no_list(self, on: LegacyFront, owner: str) -> None:
        await on.direct.fault("connection_reset")
        assert (await on.http.get(f"{PATH}?user_id={owner}")).status_code == 502

    async def test_what_the_legacy_system_refuses_is_refused(self, on: LegacyFront, owner: str) -> None:
        await on.direct.fault("server_error", status=500)
        answer = await on.http.get(f"{PATH}?user_id={owner}")
        assert (answer.status_code, answer.json()["message"]) == (500, "Internal server error")

    async def test_a_list_that_comes_packed_is_unpacked(self, stack: Any, owner: str) -> None:
        asked: list[bytes] = []
        async with packing(asked) as legacy, front(legacy) as router:
            await router.flag(user_whitelist=(owner,))
            answer = await router.http.get(f"{PATH}?user_id={owner}", headers={"Accept-Encoding": "gzip, br"})
        assert answer.json()["data"] == [{"id": "theirs", "provider": "legacy"}]
        assert asked[0].lower().count(b"accept-encoding: identity") == 1
        assert b"gzip" not in asked[0]

    async def test_a_client_that_leaves_ends_the_call(self, on: LegacyFront, owner: str) -> None:
        await on.direct.fault("hang", hang_s=60)
        with pytest.raises(httpx.ReadTimeout):
            await on.http.get(f"{PATH}?user_id={owner}", timeout=0.5)
        async with asyncio.timeout(1.2):
            # The router's own patience is 2 s: it let go because of the client.
            while (await on.direct.get("waiting"))["waiting"]:
                await asyncio.sleep(0.02)

    async def test_it_does_not_take_for_ever(self, stack: Any, processor: Simulator, owner: str) -> None:
        await processor.reset()
        async with front(processor, legacy_answer_within_s=0.5) as router:
            await router.flag(user_whitelist=(owner,))
            await processor.fault("hang", hang_s=20, count=1)
            answer = await router.http.get(f"{PATH}?user_id={owner}", timeout=10)
        assert (answer.status_code, answer.json()["data"]) == (503, None)
        assert int(answer.headers["retry-after"]) > 0

    @pytest.mark.parametrize("on_for_everybody", [False, True])
    async def test_a_body_that_does_not_come_is_408(self, off: LegacyFront, owner: str, on_for_everybody: bool) -> None:
        await off.flag(rollout_percentage=Decimal(100 if on_for_everybody else 0))
        request = b"GET /api/campaigns?user_id=%b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n" % owner.encode()
        answer = await raw(off, request)
        assert answer.startswith(b"HTTP/1.1 408")
        assert answer.endswith(b'{"status":"error","message":"The request was not sent in time.","data":null}')

    @pytest.mark.parametrize("user", [SHADOW_USER, LEGACY_USER, "a" * 256])
    async def test_who_can_not_be_ours_is_not_listed_here(self, off: LegacyFront, user: str) -> None:
        await off.flag(rollout_percentage=Decimal(100))
        answer = await off.http.get(PATH, params={"user_id": user})
        assert (answer.status_code, answer.headers["x-provider"]) == (200, "legacy")

    async def test_without_a_user_it_is_the_contracts_400(self, on: LegacyFront) -> None:
        answer = await on.http.get(PATH)
        assert (answer.status_code, answer.json()["message"]) == (400, "user_id is required")


class TestWhose:
    """Who is asking decides before anything is stored."""

    async def test_a_token_of_another_user_goes_to_the_legacy_system(self, on: LegacyFront, owner: str) -> None:
        answer = await on.http.post(PATH, json=body(owner), headers=bearer("somebody-else"))
        assert answer.headers["x-provider"] == "legacy"
        assert await self.reasons(on) >= {"token_of_another_user"}

    async def test_what_sends_needs_an_account(self, on: LegacyFront, owner: str) -> None:
        payload = {"sendToOnlyFans": True, "recipientId": "1"}
        answer = await on.http.post(PATH, json=body(owner, payload=payload))
        assert answer.headers["x-provider"] == "legacy"
        assert await self.reasons(on) >= {"no_account"}

    async def test_an_account_that_is_not_in_the_token_is_not_used(
        self, on: LegacyFront, owner: str, caller: dict[str, str]
    ) -> None:
        payload = {"sendToOnlyFans": True, "recipientId": "1", "accountId": "acct_foreign"}
        answer = await on.http.post(PATH, json=body(owner, payload=payload), headers=caller)
        assert answer.headers["x-provider"] == "legacy"
        assert await self.reasons(on) >= {"foreign_account"}

    async def test_where_user_ids_are_not_believed_a_token_is_needed(
        self, on: LegacyFront, processor: Simulator, owner: str
    ) -> None:
        async with front(processor, legacy_trusts_user_id=False) as strict:
            anonymous = await strict.http.post(PATH, json=body(owner))
            foreign = await strict.http.post(PATH, json=body(owner), headers={"Authorization": "Bearer theirs"})
            assert anonymous.headers["x-provider"] == foreign.headers["x-provider"] == "legacy"
            assert await self.reasons(strict) == {"unauthenticated"}

    async def test_more_recipients_than_a_campaign_takes_are_the_legacy_systems(
        self, on: LegacyFront, processor: Simulator, owner: str
    ) -> None:
        payload = {"sendToOnlyFans": True, "recipientIds": ["1", "2", "3"], "accountId": "acct_a"}
        async with front(processor, max_audience=2) as small:
            answer = await small.http.post(PATH, json=body(owner, payload=payload))
            assert answer.headers["x-provider"] == "legacy"
            assert await self.reasons(small) == {"too_many_recipients"}

    async def reasons(self, router: LegacyFront) -> set[str]:
        view = (await router.http.get("/api/admin/legacy", headers=bearer("staff", "operator"))).json()
        return {entry["reason"] for entry in view["routed"]}
