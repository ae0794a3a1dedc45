"""Idempotency keys as the gateway honours them: one execution, then the same answer for a day."""

import hashlib
import json
from dataclasses import dataclass, field

from local.onlyfans.book import NS
from local.onlyfans.model import DAY_S, Endpoint, Reply

KEY_MAX_LENGTH = 255

# 5xx, 408 and 429 say nothing final about the message, nor does 401: it refuses the session.
_NEVER_STORED = frozenset({401, 408, 429})


@dataclass(frozen=True)
class KeyScope:
    """Where a key counts: the same value means something else at another endpoint or for another account."""

    endpoint: Endpoint
    account: str
    key: str


@dataclass
class _Entry:
    fingerprint: str
    reply: Reply | None = None
    expires_ns: int = 0


def fingerprint(chat_id: str | None, body: bytes) -> str:
    """What makes two requests the same one: the chat and the body's meaning, not its spelling."""
    meaning = json.dumps([chat_id, json.loads(body)], sort_keys=True)
    return hashlib.sha256(meaning.encode()).hexdigest()


def is_valid(key: str) -> bool:
    """1-255 printable ASCII characters."""
    return 0 < len(key) <= KEY_MAX_LENGTH and key.isascii() and key.isprintable()


@dataclass
class IdempotencyStore:
    """The keys that are running or were answered within the last 24 hours."""

    _entries: dict[KeyScope, _Entry] = field(default_factory=dict)

    def begin(self, scope: KeyScope, fingerprint: str, now_ns: int) -> Reply | None:
        """None: the caller runs the request and must `finish` it. Else the answer that the key has."""
        if not is_valid(scope.key):
            return Reply.refused(
                400, "IDEMPOTENCY_KEY_INVALID", "Idempotency-Key must be 1-255 printable ASCII characters."
            )
        entry = self._entries.get(scope)
        if entry is not None and entry.reply is not None and entry.expires_ns <= now_ns:
            entry = None
        if entry is None:
            self._entries[scope] = _Entry(fingerprint)
            return None
        if entry.fingerprint != fingerprint:
            return Reply.refused(
                422,
                "IDEMPOTENCY_KEY_MISMATCH",
                "This Idempotency-Key was used with a different request body or chat.",
            )
        if entry.reply is None:
            return Reply.refused(409, "IDEMPOTENCY_CONFLICT", "A request with this Idempotency-Key is still running.")
        return Reply(entry.reply.status, entry.reply.body, {**entry.reply.headers, "Idempotent-Replayed": "true"})

    def finish(self, scope: KeyScope, reply: Reply | None, now_ns: int) -> None:
        """Stores the answer for 24 hours, or frees the key when there is no final one."""
        if reply is None or reply.status >= 500 or reply.status in _NEVER_STORED:
            del self._entries[scope]
            return
        entry = self._entries[scope]
        entry.reply, entry.expires_ns = reply, now_ns + DAY_S * NS
