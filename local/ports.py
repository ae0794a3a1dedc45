"""Loopback ports: choose free ones, refuse taken ones with a remedy, and see whether something answers."""

import asyncio
import random
import socket
from collections.abc import Iterable, Mapping

HOST = "127.0.0.1"

# Below the ranges that Linux (32768+) and macOS (49152+) give to outgoing connections: a port from there
# can be taken by anybody's connection between the choice and the server's start.
_FREE = range(20_000, 32_000)
_ATTEMPTS = 200


class PortInUseError(Exception):
    """A port that the caller asked for is taken; the message names it and the remedy."""


def choose(names: Iterable[str], fixed: Mapping[str, int]) -> dict[str, int]:
    """A port for each name: the one in ``fixed`` (0 and absent mean any), else a free one, all different."""
    names = list(names)
    if unknown := set(fixed) - set(names):
        raise ValueError(f"no port is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = {name: port for name, port in fixed.items() if port}
    for name, port in chosen.items():
        if not is_free(port):
            raise PortInUseError(
                f"port {port} (for {name}) is in use: stop the program that listens on it, "
                f"or choose another port (0 means any free one)"
            )
    if len(set(chosen.values())) < len(chosen):
        raise ValueError(f"two parts cannot share a port: {chosen}")
    for name in names:
        if name not in chosen:
            chosen[name] = _any_free(taken=set(chosen.values()))
    return chosen


def is_free(port: int) -> bool:
    """Nothing listens on the port and we may bind it."""
    # Where SO_REUSEADDR lets 127.0.0.1 be bound beside a listener on 0.0.0.0, only asking tells.
    if is_listening(port):
        return False
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((HOST, port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Somebody accepts connections on the port."""
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == 0


def _any_free(taken: set[int]) -> int:
    for _ in range(_ATTEMPTS):
        port = random.choice(_FREE)
        if port not in taken and is_free(port):
            return port
    raise PortInUseError(f"no free port found between {_FREE.start} and {_FREE.stop}")


def url(port: int) -> str:
    """The HTTP base address of a port."""
    return f"http://{HOST}:{port}"


async def first_line(port: int, request: bytes) -> bytes:
    """The first line of the answer to ``request``; empty when nobody answers."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return b""
    try:
        writer.write(request)
        return await reader.readline()
    except OSError:
        return b""
    finally:
        writer.close()


async def answers_ok(port: int, path: str) -> bool:
    """Whether ``GET path`` is answered with status 200."""
    request = f"GET {path} HTTP/1.0\r\nHost: {HOST}:{port}\r\n\r\n"
    status = (await first_line(port, request.encode())).split()
    return status[1:2] == [b"200"]
