"""A chat-completions server with one answer and a fixed wait. A part of ``benchmarks.generation_overhead``.

``python -m benchmarks.fixed_answers PORT WAIT_S``. Nothing is parsed but the length of a request, so that what is
measured against it is the client.
"""

import asyncio
import json
import re
import sys
from contextlib import suppress
from typing import Final

from local.ports import HOST

TEXT: Final = "Hi Maya, the new photo set is here and it made me think of you. Want a first look?"
CONTENT: Final = json.dumps({"messages": [{"recipient_id": "1002003", "text": TEXT}]})
INPUT_TOKENS, OUTPUT_TOKENS = 412, 38

_COMPLETION: Final = {
    "id": "chatcmpl-fixed",
    "object": "chat.completion",
    "created": 1_800_000_000,
    "model": "gpt-4o-2024-11-20",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": CONTENT, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_fixed",
}
_BODY: Final = json.dumps(_COMPLETION).encode()
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: fixed\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class FixedAnswers(asyncio.Protocol):
    """One connection, which stays open; one request at a time."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._received, 0, head + 2)
        if len(self._received) < head + 4 + (int(length[1]) if length else 0):
            return
        self._received = b""
        asyncio.get_running_loop().call_later(self._wait_s, self._answer)

    def _answer(self) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)


async def main(port: int, wait_s: float) -> None:
    """Until the process is told to end."""
    server = await asyncio.get_running_loop().create_server(lambda: FixedAnswers(wait_s), HOST, port, backlog=512)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
