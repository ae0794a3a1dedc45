"""Trace context: continued when it is valid, replaced when it is not."""

import logging
from collections.abc import Iterator

import httpx
import pytest

from api.trace import continue_trace
from tests.api.identity import bearer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


class TestContinueTrace:
    @pytest.mark.parametrize("header", [f"00-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-from-the-future"])
    def test_a_valid_parent_is_continued_with_a_span_of_ours(self, header: str) -> None:
        trace = continue_trace(header)
        assert trace.trace_id == TRACE
        assert trace.span_id != SPAN
        assert trace.traceparent == f"00-{TRACE}-{trace.span_id}-01"

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "nonsense",
            f"ff-{TRACE}-{SPAN}-01",
            f"00-{'0' * 32}-{SPAN}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"00-{TRACE.upper()}-{SPAN}-01",
            f"00-{TRACE}-{SPAN}-01-more",
            f"00-{TRACE[:-1]}-{SPAN}-01",
        ],
    )
    def test_anything_else_begins_a_new_trace(self, header: str | None) -> None:
        trace = continue_trace(header)
        assert trace.trace_id != TRACE
        assert len(trace.trace_id) == 32


class Lines(logging.Handler):
    """The structured log lines of a test."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, dict):
            self.events.append(record.msg)


@pytest.fixture
def lines(offline: httpx.AsyncClient) -> Iterator[Lines]:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


class TestRequestLog:
    async def test_one_line_with_route_and_trace_but_no_ids_or_queries(
        self, offline: httpx.AsyncClient, lines: Lines
    ) -> None:
        path = "/api/v2/campaigns/Maya-from-Ohio/messages?cursor=Maya"
        answer = await offline.get(path, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
        assert answer.headers["traceparent"].startswith(f"00-{TRACE}-")
        [line] = [event for event in lines.events if event.get("event") == "http.request"]
        assert line["route"] == "/api/v2/campaigns/{campaignId}/messages"
        assert (line["method"], line["status"], line["traceId"]) == ("GET", 401, TRACE)
        assert isinstance(line["durationMs"], float)
        assert "Maya" not in str(line)

    async def test_logs_and_problem_speak_of_the_callers_request(
        self, offline: httpx.AsyncClient, lines: Lines
    ) -> None:
        body = {
            "type": "content_planning",
            "requestId": "plan-7",
            "brief": "Spring",
            "onlyFansContext": {"accountId": "acct_foreign"},
        }
        answer = await offline.post("/api/v2/campaigns/hybrid", json=body, headers=bearer())
        assert answer.status_code == 403
        assert answer.json()["requestId"] == "plan-7"
        [line] = [event for event in lines.events if event.get("event") == "http.request"]
        assert line["requestId"] == "plan-7"
