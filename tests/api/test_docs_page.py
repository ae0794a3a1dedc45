"""The page that explains the API."""

import re

import httpx


class TestDocsPage:
    async def test_it_loads_nothing_from_elsewhere(self, offline: httpx.AsyncClient) -> None:
        page = await offline.get("/docs")
        assert page.status_code == 200
        sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert sources
        for source in sources:
            assert source.startswith("/")
            assert (await offline.get(source)).status_code == 200
