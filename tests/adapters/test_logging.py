"""Logs: one JSON object a line, without anything personal."""

import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from adapters.logging import PERSONAL, configure


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Reads what was logged since; afterwards logging is as it was before."""
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    levels = {name: logging.getLogger(name).level for name in list(logging.root.manager.loggerDict)}
    output = StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    configure("info")

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in output.getvalue().splitlines()]

    yield read
    root.handlers, root.level = handlers, level
    for name, earlier in levels.items():
        logging.getLogger(name).setLevel(earlier)
    structlog.configure(**before)


class TestConfigure:
    def test_every_call_is_one_json_object_on_one_line(self, lines: Any) -> None:
        log = structlog.get_logger("tests.logging")
        log.info("round.ended", sent=3, reason="two\nlines")
        log.warning("round.slow", accountId="acct_luna")
        first, second = lines()
        assert (first["event"], first["sent"], first["reason"]) == ("round.ended", 3, "two\nlines")
        assert (first["level"], first["logger"]) == ("info", "tests.logging")
        assert (second["level"], second["accountId"]) == ("warning", "acct_luna")
        assert first["timestamp"].endswith("Z")

    def test_the_standard_librarys_loggers_write_the_same_way(self, lines: Any) -> None:
        logging.getLogger("uvicorn.error").error("started %s", "here")
        (line,) = lines()
        assert (line["event"], line["level"], line["logger"]) == ("started here", "error", "uvicorn.error")

    def test_an_exception_stays_on_its_line(self, lines: Any) -> None:
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            structlog.get_logger("tests.logging").exception("round.failed")
        (line,) = lines()
        assert "RuntimeError: broken" in line["exception"]

    def test_bound_ids_are_in_every_line(self, lines: Any) -> None:
        with structlog.contextvars.bound_contextvars(requestId="r-1"):
            structlog.get_logger("tests.logging").info("one")
            logging.getLogger("other").info("two")
        assert [line["requestId"] for line in lines()] == ["r-1", "r-1"]

    def test_below_the_level_nothing_is_written(self, lines: Any) -> None:
        structlog.get_logger("tests.logging").debug("hidden")
        logging.getLogger("other").debug("hidden")
        assert lines() == []

    def test_request_lines_of_http_clients_are_not_written(self, lines: Any) -> None:
        for name in ("httpx", "openai", "onlyfansapi", "botocore"):
            logging.getLogger(name).info("GET /api/acct_luna/chats/1002003/messages")
        assert lines() == []


class TestPersonalData:
    @pytest.mark.parametrize("key", sorted(PERSONAL | {"recipientId", "messageText"}))
    def test_a_personal_key_is_logged_without_its_value(self, lines: Any, key: str) -> None:
        structlog.get_logger("tests.logging").info("message.sent", **{key: "Maya"}, sent=1)
        (line,) = lines()
        assert (line[key], line["sent"]) == ("[removed]", 1)

    @pytest.mark.parametrize("key", ["text", "recipientId"])
    def test_a_personal_key_inside_a_value_is_removed_as_well(self, lines: Any, key: str) -> None:
        structlog.get_logger("tests.logging").info("message.sent", message={"id": 7, "parts": [{key: "Maya"}]})
        (line,) = lines()
        assert line["message"] == {"id": 7, "parts": [{key: "[removed]"}]}

    def test_a_personal_key_in_the_context_is_removed(self, lines: Any) -> None:
        with structlog.contextvars.bound_contextvars(recipient="Maya"):
            structlog.get_logger("tests.logging").info("message.sent")
        (line,) = lines()
        assert line["recipient"] == "[removed]"
