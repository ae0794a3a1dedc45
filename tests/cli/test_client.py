"""Problems are shown readably, events are read as they were sent."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cli.client import address_and_token, complaint_of, parse_events
from cli.console import Complaint


class TestComplaintOf:
    def test_a_problem_names_every_field(self) -> None:
        body = {
            "type": "urn:huntaze:problem:invalid-request",
            "title": "The request is not valid",
            "status": 422,
            "detail": "2 fields are wrong",
            "errors": [
                {"field": "audience[3].recipientId", "message": "this field is required"},
                {"field": "", "message": "must be an object"},
            ],
            "traceId": "abc",
        }
        assert complaint_of(httpx.Response(422, json=body)).lines() == [
            "error: The request is not valid (422): 2 fields are wrong",
            "  - audience[3].recipientId: this field is required",
            "  - the body: must be an object",
        ]

    def test_our_own_failures_lead_to_the_log(self) -> None:
        body = {"title": "Something went wrong on our side", "status": 500, "detail": "Repeat it.", "traceId": "abc"}
        assert "traceId abc" in complaint_of(httpx.Response(500, json=body)).remedy

    def test_a_limit_says_when_to_come_back(self) -> None:
        body = {"title": "A limit is reached", "status": 429, "detail": "Not now."}
        response = httpx.Response(429, json=body, headers={"Retry-After": "58"})
        assert complaint_of(response).remedy == "come back in 58 s"

    @pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}"])
    def test_anything_else_shows_its_status(self, content: bytes) -> None:
        assert complaint_of(httpx.Response(502, content=content)).message == "the API answered 502 Bad Gateway"


class TestParseEvents:
    async def test_names_contents_and_signs_of_life(self) -> None:
        async def lines() -> AsyncIterator[str]:
            for line in (": ping", "", "event: progress", 'data: {"sent":', "data:  1}", "", 'data:{"x": 2}', ""):
                yield line

        assert [event async for event in parse_events(lines())] == [("progress", {"sent": 1}), ("message", {"x": 2})]


class TestAddressAndToken:
    def test_given_ones_count(self, tmp_path: Path) -> None:
        assert address_and_token("http://api", "token", tmp_path) == ("http://api", "token")

    def test_without_a_stack_it_names_what_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HUNTAZE_API_URL", raising=False)
        monkeypatch.delenv("HUNTAZE_TOKEN", raising=False)
        with pytest.raises(Complaint, match="the address of an API and a token must be given"):
            address_and_token(None, None, tmp_path)
        with pytest.raises(Complaint, match=r"^a token must be given"):
            address_and_token("http://api", None, tmp_path)
