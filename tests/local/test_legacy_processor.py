"""The legacy processor, called as its clients call it."""

import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.local import Simulator, running

REQUEST = {
    "userId": "user-1",
    "action": "plan_campaign",
    "payload": {"contentType": "post", "sendToOnlyFans": True},
    "platform": "x",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Simulator]:
    async with running("local.legacy") as simulator:
        yield simulator


@pytest_asyncio.fixture(loop_scope="session")
async def legacy(server: Simulator) -> Simulator:
    await server.reset()
    return server


class TestCampaigns:
    async def test_a_campaign_is_answered_in_the_contracts_shape(self, legacy: Simulator) -> None:
        response = await legacy.http.post("/api/campaigns", json=REQUEST)
        body = response.json()
        assert response.status_code == 200
        assert list(body) == ["status", "result", "data"]
        assert body["status"] == "success"
        assert body["result"] == body["data"]
        assert body["data"]["type"] == "campaign_execution"
        assert body["data"]["platforms"] == ["x"]
        assert response.headers["X-API-Version"] == "v1-legacy-compatible"
        assert response.headers["X-Provider"] == "legacy"
        assert response.headers["X-Duration"].removesuffix("ms").isdecimal()

    @pytest.mark.parametrize("missing", ["userId", "action", "payload"])
    async def test_a_bad_request_says_what_is_wrong(self, legacy: Simulator, missing: str) -> None:
        request = {name: value for name, value in REQUEST.items() if name != missing}
        response = await legacy.http.post("/api/campaigns", json=request)
        body = response.json()
        assert response.status_code == 400
        assert (body["status"], body["message"], body["data"]) == ("error", "Invalid request format", None)
        assert len(body["errors"]) == 1
        assert response.headers["X-Provider"] == "legacy"

    @pytest.mark.parametrize("spelling", ["user_id", "userId"])
    async def test_the_list_holds_the_users_own_campaigns(self, legacy: Simulator, spelling: str) -> None:
        created = (await legacy.http.post("/api/campaigns", json=REQUEST)).json()["data"]
        await legacy.http.post("/api/campaigns", json={**REQUEST, "userId": "user-2"})
        body = (await legacy.http.get("/api/campaigns", params={spelling: "user-1"})).json()
        assert body["message"] == "Campaigns retrieved successfully"
        assert [entry["id"] for entry in body["data"]] == [created["id"]]
        assert set(body["data"][0]) == {"id", "userId", "status", "type", "createdAt", "provider"}

    async def test_a_list_for_nobody_is_refused(self, legacy: Simulator) -> None:
        response = await legacy.http.get("/api/campaigns")
        assert response.status_code == 400
        assert response.json() == {"status": "error", "message": "user_id is required", "data": None}

    async def test_a_campaign_can_be_read_and_duplicated(self, legacy: Simulator) -> None:
        created = (await legacy.http.post("/api/campaigns", json=REQUEST)).json()["data"]
        path = f"/api/campaigns/{created['id']}"
        assert (await legacy.http.get(path)).json()["data"] == created
        copy = await legacy.http.post(f"{path}/duplicate")
        assert copy.status_code == 201
        assert copy.json()["data"]["id"] != created["id"]
        assert (await legacy.http.get("/api/campaigns/unknown")).status_code == 404


class TestWhatAProxyMustPass:
    async def test_a_download_is_streamed(self, legacy: Simulator) -> None:
        size = 300_001
        async with legacy.http.stream("GET", "/api/campaigns/export", params={"size": size}) as response:
            assert response.headers["Transfer-Encoding"] == "chunked"
            body = await response.aread()
        assert body == (bytes(range(256)) * (size // 256 + 1))[:size]

    async def test_an_upload_comes_back_unchanged(self, legacy: Simulator) -> None:
        content = bytes(range(256)) * 2_000
        response = await legacy.http.put(
            "/api/campaigns/upload", content=content, headers={"Content-Type": "image/png"}
        )
        assert response.content == content
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["X-Body-SHA256"] == hashlib.sha256(content).hexdigest()

    async def test_an_echo_tells_what_arrived(self, legacy: Simulator) -> None:
        response = await legacy.http.patch("/api/campaigns/echo?status=418&a=1&a=2", content=b"tea")
        assert response.status_code == 418
        assert response.json()["method"] == "PATCH"
        assert response.json()["query"] == "status=418&a=1&a=2"
        assert response.json()["sha256"] == hashlib.sha256(b"tea").hexdigest()
        assert len(response.headers.get_list("set-cookie")) == 2

    async def test_a_body_of_any_size_is_digested(self, legacy: Simulator) -> None:
        answer = (await legacy.http.post("/api/campaigns/digest", content=b"x" * 100_000)).json()
        assert answer == {"bytes": 100_000, "sha256": hashlib.sha256(b"x" * 100_000).hexdigest()}

    async def test_an_answer_may_be_bare_packed_or_broken(self, legacy: Simulator) -> None:
        bare = await legacy.http.get("/api/campaigns/bare?status=304")
        assert (bare.status_code, bare.content) == (304, b"")
        packed = await legacy.http.get("/api/campaigns/packed", headers={"Accept-Encoding": "identity"})
        assert (packed.headers["content-encoding"], packed.json()["status"]) == ("gzip", "success")
        with pytest.raises(httpx.TransportError):
            await legacy.http.get("/api/campaigns/broken")

    async def test_every_request_is_recorded(self, legacy: Simulator) -> None:
        await legacy.http.get("/api/campaigns", params={"user_id": "u"})
        await legacy.http.delete("/api/campaigns/echo")
        report = await legacy.get("requests")
        assert [entry["method"] for entry in report["requests"]] == ["GET", "DELETE"]


class TestOutage:
    async def test_a_server_error(self, legacy: Simulator) -> None:
        await legacy.fault("server_error", count=1)
        response = await legacy.http.post("/api/campaigns", json=REQUEST)
        assert response.status_code == 500
        assert response.json()["status"] == "error"
        assert (await legacy.http.post("/api/campaigns", json=REQUEST)).status_code == 200

    async def test_a_connection_reset(self, legacy: Simulator) -> None:
        await legacy.fault("connection_reset", count=1)
        with pytest.raises(httpx.ReadError):
            await legacy.http.get("/api/campaigns", params={"user_id": "u"})

    async def test_a_hang_outlasts_the_clients_patience(self, legacy: Simulator) -> None:
        await legacy.fault("hang", count=1)
        with pytest.raises(httpx.ReadTimeout):
            await legacy.http.get("/api/campaigns", params={"user_id": "u"}, timeout=0.2)
        assert (await legacy.get("faults"))["faults"][0]["fired"] == 1
