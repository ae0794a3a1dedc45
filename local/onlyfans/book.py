"""The book: every accepted message with its arrival time, kept apart from the product and its limiter.

It answers what the product must never be trusted to answer about itself: how many messages arrived in the
busiest window, and whether anything arrived twice.
"""

import time
from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

NS = 1_000_000_000


class Clock:
    """Wall-clock time in nanoseconds that never steps back and can be moved forward."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        return time.monotonic_ns() + self._offset_ns

    def advance(self, seconds: float) -> None:
        self._offset_ns += round(seconds * NS)


def iso(at_ns: int) -> str:
    """A time in the gateway's format: ISO 8601, UTC, whole seconds."""
    return datetime.fromtimestamp(at_ns // NS, UTC).isoformat()


def max_in_window(times: Sequence[int], window: int) -> int:
    """The most events in any half-open interval (t - window, t]; `times` ascending, in the unit of `window`.

    Some fullest interval ends at an event, so it is enough to look at those.
    """
    fullest = left = 0
    for right, end in enumerate(times):
        while times[left] <= end - window:
            left += 1
        fullest = max(fullest, right - left + 1)
    return fullest


@dataclass(frozen=True, slots=True)
class Accepted:
    """One accepted message; `at_ns` is its arrival, in nanoseconds since the epoch."""

    message_id: int
    account: str
    chat_id: str
    text: str
    price: float
    idempotency_key: str | None
    at_ns: int


@dataclass
class AccountBook:
    """What one account sent."""

    messages: list[Accepted] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    replays: int = 0
    unsent: int = 0
    mass_messages: int = 0
    mass_recipients: int = 0

    def report(self, window_ns: int) -> dict[str, Any]:
        return {
            "accepted": len(self.messages),
            "max_in_window": max_in_window(self.times, window_ns),
            "replays": self.replays,
            "unsent": self.unsent,
            "mass_messages": self.mass_messages,
            "mass_recipients": self.mass_recipients,
            "first_at_ns": self.times[0] if self.times else None,
            "last_at_ns": self.times[-1] if self.times else None,
        }


@dataclass
class Book:
    """The books of all accounts. Mass messages are counted apart: an account's rate does not include them."""

    accounts: defaultdict[str, AccountBook] = field(default_factory=lambda: defaultdict(AccountBook))
    _all_times: list[int] = field(default_factory=list)

    def accept(self, message: Accepted) -> None:
        """Writes an accepted message down."""
        book = self.accounts[message.account]
        book.messages.append(message)
        insort(book.times, message.at_ns)
        insort(self._all_times, message.at_ns)

    def times_since(self, since_ns: int, account: str | None = None) -> Sequence[int]:
        """Arrival times after `since_ns`, ascending; of every account when none is named."""
        times = self._all_times if account is None else self.accounts[account].times
        return times[bisect_right(times, since_ns) :]

    def messages(self, account: str | None = None) -> list[dict[str, Any]]:
        """The raw book, in the order of acceptance within each account."""
        books = self.accounts.items() if account is None else [(account, self.accounts[account])]
        return [{**asdict(message), "at": iso(message.at_ns)} for _, book in books for message in book.messages]

    def report(self, window_s: float) -> dict[str, Any]:
        """The verdict over everything accepted, for sliding windows of `window_s` seconds."""
        window_ns = round(window_s * NS)
        accounts = {name: book.report(window_ns) for name, book in self.accounts.items()}
        messages = [message for book in self.accounts.values() for message in book.messages]
        duplicates = _duplicates(messages)
        keys = Counter(message.idempotency_key for message in messages if message.idempotency_key is not None)
        return {
            "window": window_s,
            "accounts": accounts,
            "totals": {
                "accepted": len(messages),
                "duplicates": duplicates,
                "duplicate_count": sum(len(entry["message_ids"]) - 1 for entry in duplicates),
                "replays": sum(book.replays for book in self.accounts.values()),
                "by_idempotency_key": keys,
                "without_idempotency_key": sum(message.idempotency_key is None for message in messages),
            },
        }


def _duplicates(messages: Sequence[Accepted]) -> list[dict[str, Any]]:
    groups: defaultdict[tuple[str, str, str], list[Accepted]] = defaultdict(list)
    for message in messages:
        groups[message.account, message.chat_id, message.text].append(message)
    return [
        {
            "account": account,
            "chat_id": chat_id,
            "text": text,
            "message_ids": [message.message_id for message in group],
            "idempotency_keys": [message.idempotency_key for message in group],
        }
        for (account, chat_id, text), group in groups.items()
        if len(group) > 1
    ]
