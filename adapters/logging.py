"""Structured logs: one JSON object a line, with ids and numbers, never with texts or names."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

PERSONAL = frozenset(
    {"text", "texts", "name", "names", "recipient", "recipients", "recipient_id", "brief", "body", "message_text"}
)
"""Keys whose values never leave the process, in either spelling and at any depth; the key alone is logged."""

_PERSONAL_KEYS = frozenset(name.replace("_", "") for name in PERSONAL)


def configure(level: str) -> None:
    """Send structlog and the standard library's loggers to stdout as JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_personal_data,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Request lines of HTTP clients name chats in their paths.
    for chatty in ("httpx", "httpx2", "openai", "onlyfansapi", "botocore", "urllib3", "aiohttp"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _without_personal_data(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = _cleaned(key, value)
    return event


def _cleaned(key: str, value: Any) -> Any:
    if key.replace("_", "").lower() in _PERSONAL_KEYS:
        return "[removed]"
    if isinstance(value, Mapping):
        return {name: _cleaned(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned("", inner) for inner in value]
    return value
