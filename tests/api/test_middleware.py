"""What holds for every request: size and headers."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.api.identity import bearer

HYBRID = "/api/v2/campaigns/hybrid"


async def chunks(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b" " * 1_024


class TestBodyLimit:
    async def test_an_announced_size_is_refused_unread(self, offline: httpx.AsyncClient) -> None:
        refused = await offline.post(HYBRID, content=b" " * 5_000, headers=bearer())
        assert refused.status_code == 413
        assert refused.headers["content-type"] == "application/problem+json"
        assert "4096 bytes" in refused.json()["detail"]

    async def test_chunks_are_counted(self, offline: httpx.AsyncClient) -> None:
        refused = await offline.post(HYBRID, content=chunks(8), headers=bearer())
        assert refused.request.headers.get("transfer-encoding") == "chunked"
        assert refused.status_code == 413

    async def test_chunks_below_the_limit_are_read(self, offline: httpx.AsyncClient) -> None:
        assert (await offline.post(HYBRID, content=chunks(2), headers=bearer())).status_code == 400

    async def test_nothing_is_read_for_strangers(self, offline: httpx.AsyncClient) -> None:
        assert (await offline.post(HYBRID, content=chunks(8))).status_code == 401


class TestHeaders:
    @pytest.mark.parametrize("path", ["/api/v2/campaigns/costs", "/api/v2/nothing", "/api/admin/audit", "/ofrep/v1"])
    async def test_private_answers_are_not_stored(self, offline: httpx.AsyncClient, path: str) -> None:
        answer = await offline.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_public_answers_are_not_sniffed(self, offline: httpx.AsyncClient) -> None:
        assert (await offline.get("/openapi.json")).headers["x-content-type-options"] == "nosniff"
