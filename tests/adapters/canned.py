"""A server that gives every request the same answer: for what the AI simulator never says."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class Canned:
    """The answer, where it is given, and how often it was."""

    status: int
    body: object
    headers: Mapping[str, str]
    url: str = ""
    requests: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((line.partition(":")[2] for line in head.splitlines() if line.startswith("content-length")), "0")
        await reader.readexactly(int(length))
        self.requests += 1
        content = json.dumps(self.body)
        told = {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            "Connection": "close",
            **self.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        writer.write(f"HTTP/1.1 {self.status} Canned\r\n{lines}\r\n{content}".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def canned(status: int, body: object, headers: Mapping[str, str] | None = None) -> AsyncIterator[Canned]:
    """Serves on a free port until it is left."""
    answer = Canned(status, body, headers or {})
    server = await asyncio.start_server(answer.serve, "127.0.0.1", 0)
    answer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield answer
    finally:
        server.close()
