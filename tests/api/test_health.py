"""Health without a token, and without secrets."""

import httpx

HEALTH = "/api/health/hybrid-orchestrator"


class TestWithTheStack:
    async def test_every_part_is_up(self, api: httpx.AsyncClient) -> None:
        answer = await api.get(HEALTH)
        parts = {part["name"]: part for part in answer.json()["dependencies"]}
        assert answer.status_code == 200, parts
        assert answer.json()["status"] == "healthy"
        assert {"temporal", "dynamodb", "redis"} <= parts.keys()
        assert all(part["status"] == "up" and part["latencyMs"] >= 0 for part in parts.values())

    async def test_it_is_ready(self, api: httpx.AsyncClient) -> None:
        assert (await api.get(f"{HEALTH}/ready")).json() == {"status": "ready", "missing": []}


class TestWithNothing:
    async def test_it_is_unhealthy_and_says_which_parts_but_not_where(self, offline: httpx.AsyncClient) -> None:
        answer = await offline.get(HEALTH)
        assert answer.status_code == 503
        assert all(part["status"] == "down" for part in answer.json()["dependencies"])
        assert "127.0.0.1" not in answer.text

    async def test_it_lives_but_is_not_ready(self, offline: httpx.AsyncClient) -> None:
        assert (await offline.get(f"{HEALTH}/live")).json() == {"status": "alive"}
        ready = await offline.get(f"{HEALTH}/ready")
        assert (ready.status_code, ready.json()["missing"]) == (503, ["dynamodb", "temporal"])
