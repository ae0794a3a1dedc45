"""The book: every accepted message with its arrival time, kept apart from the product and its limiter.

It answers what the product must never be trusted to answer about itself: how many messages arrived in the
busiest window, and whether anything arrived twice.
"""

import time
from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class AcceptedMass:
    """One accepted mass message. `copies`: by chat, the id of the message in it; None while it is not sent yet."""

    mass_id: int
    account: str
    text: str
    idempotency_key: str | None
    at_ns: int
    copies: Mapping[str, int | None]


@dataclass
class AccountBook:
    """What one account sent."""

    messages: list[Accepted] = field(default_factory=list)
    mass: list[AcceptedMass] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    replays: int = 0
    unsent: set[int] = field(default_factory=set)
    """Ids of messages that were taken back."""

    def report(self, windows_ns: Sequence[int]) -> dict[str, Any]:
        busiest = [max_in_window(self.times, window) for window in windows_ns]
        return {
            "accepted": len(self.messages),
            "max_in_window": busiest[0],
            "max_in_windows": busiest,
            "replays": self.replays,
            "unsent": len(self.unsent),
            "mass_messages": len(self.mass),
            "mass_recipients": sum(len(mass.copies) for mass in self.mass),
            "first_at_ns": self.times[0] if self.times else None,
            "last_at_ns": self.times[-1] if self.times else None,
        }

    def received(self) -> dict[str, list[dict[str, Any]]]:
        """By chat, every message that arrived in it, whether it was for this fan alone or for many."""
        chats: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for message in self.messages:
            chats[message.chat_id].append(self._copy(message.message_id, message, mass=False))
        for mass in self.mass:
            for chat_id, message_id in mass.copies.items():
                if message_id is not None:
                    chats[chat_id].append(self._copy(message_id, mass, mass=True))
        return dict(chats)

    def _copy(self, message_id: int, message: Accepted | AcceptedMass, *, mass: bool) -> dict[str, Any]:
        return {
            "message_id": message_id,
            "text": message.text,
            "idempotency_key": message.idempotency_key,
            "at_ns": message.at_ns,
            "mass": mass,
            "unsent": message_id in self.unsent,
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
        times = self._times(account)
        return times[bisect_right(times, since_ns) :]

    def count_since(self, since_ns: int, account: str | None = None) -> int:
        """How many arrived after `since_ns`: the time that it takes hardly depends on the book's size."""
        times = self._times(account)
        return len(times) - bisect_right(times, since_ns)

    def messages(self, account: str | None = None) -> list[dict[str, Any]]:
        """The raw book, in the order of acceptance within each account."""
        return [
            {**asdict(message), "at": iso(message.at_ns), "unsent": message.message_id in book.unsent}
            for book in self._books(account).values()
            for message in book.messages
        ]

    def mass_messages(self, account: str | None = None) -> list[dict[str, Any]]:
        """The mass messages with their recipients, in the order of acceptance within each account."""
        return [{**asdict(mass), "at": iso(mass.at_ns)} for book in self._books(account).values() for mass in book.mass]

    def received(self, account: str | None = None) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Who got what: by account and chat."""
        return {name: book.received() for name, book in self._books(account).items()}

    def report(self, windows_s: Sequence[float]) -> dict[str, Any]:
        """The verdict over everything accepted, for sliding windows of so many seconds (at least one).

        `max_in_windows` has one number for each of them, in their order: for each account, for all accounts
        together, and for the fan of an account who got the most.
        """
        windows_ns = [round(window * NS) for window in windows_s]
        accounts = {name: book.report(windows_ns) for name, book in self.accounts.items()}
        messages = [message for book in self.accounts.values() for message in book.messages]
        duplicates = self._duplicates()
        keys = Counter(message.idempotency_key for message in messages if message.idempotency_key is not None)
        chats = _times_by_chat(messages)
        return {
            "window": windows_s[0],
            "windows": list(windows_s),
            "accounts": accounts,
            "recipients": {
                "count": len(chats),
                "max_in_windows": [
                    max((max_in_window(times, window) for times in chats.values()), default=0) for window in windows_ns
                ],
            },
            "totals": {
                "accepted": len(messages),
                "max_in_windows": [max_in_window(self._all_times, window) for window in windows_ns],
                "duplicates": duplicates,
                "duplicate_count": sum(len(entry["message_ids"]) - 1 for entry in duplicates),
                "replays": sum(book.replays for book in self.accounts.values()),
                "unsent": sum(len(book.unsent) for book in self.accounts.values()),
                "by_idempotency_key": keys,
                "without_idempotency_key": sum(message.idempotency_key is None for message in messages),
            },
        }

    def _times(self, account: str | None) -> list[int]:
        return self._all_times if account is None else self.accounts[account].times

    def _books(self, account: str | None) -> Mapping[str, AccountBook]:
        return self.accounts if account is None else {account: self.accounts[account]}

    def _duplicates(self) -> list[dict[str, Any]]:
        """The same text more than once in one chat, however it came there."""
        groups: defaultdict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        for account, chats in self.received().items():
            for chat_id, copies in chats.items():
                for copy in copies:
                    groups[account, chat_id, copy["text"]].append(copy)
        return [
            {
                "account": account,
                "chat_id": chat_id,
                "text": text,
                "message_ids": [copy["message_id"] for copy in copies],
                "idempotency_keys": [copy["idempotency_key"] for copy in copies],
            }
            for (account, chat_id, text), copies in groups.items()
            if len(copies) > 1
        ]


def _times_by_chat(messages: Iterable[Accepted]) -> Mapping[tuple[str, str], list[int]]:
    chats: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for message in messages:
        insort(chats[message.account, message.chat_id], message.at_ns)
    return chats
