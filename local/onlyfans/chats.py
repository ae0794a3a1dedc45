"""The chats as an account sees them: what was said, by whom, newest first unless asked otherwise."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal
from zlib import crc32

from local.onlyfans.book import NS, iso
from local.onlyfans.model import CANCEL_SECONDS


@dataclass(frozen=True)
class ChatMessage:
    """One message in a chat; `price` in USD."""

    id: int
    account: str
    chat_id: str
    text: str
    at_ns: int
    price: float = 0.0
    media: tuple[Any, ...] = ()
    locked_text: bool = False
    sent_by_me: bool = True
    from_queue: bool = False

    def wire(self, now_ns: int) -> dict[str, Any]:
        """The gateway's JSON; `cancelSeconds` is what is left of the recall window."""
        age_s = (now_ns - self.at_ns) // NS
        author = self.account if self.sent_by_me else self.chat_id
        return {
            "responseType": "message",
            "id": self.id,
            "text": self.text,
            "price": self.price,
            "isFree": self.price == 0,
            "lockedText": self.locked_text,
            "media": list(self.media),
            "mediaCount": len(self.media),
            "isMediaReady": True,
            "isSentByMe": self.sent_by_me,
            "isFromQueue": self.from_queue,
            "isOpened": False,
            "isNew": True,
            "isTip": False,
            "fromUser": {"id": int(author) if author.isdecimal() else crc32(author.encode()), "_view": "s"},
            "cancelSeconds": max(CANCEL_SECONDS - age_s, 0),
            "createdAt": iso(self.at_ns),
            "changedAt": iso(self.at_ns),
        }


@dataclass
class Chats:
    """All chats of all accounts, each in the order in which its messages came."""

    _messages: defaultdict[tuple[str, str], list[ChatMessage]] = field(default_factory=lambda: defaultdict(list))

    def add(self, message: ChatMessage) -> None:
        self._messages[message.account, message.chat_id].append(message)

    def find(self, account: str, chat_id: str, message_id: int) -> ChatMessage | None:
        chat = self._messages.get((account, chat_id), [])
        return next((message for message in chat if message.id == message_id), None)

    def remove(self, message: ChatMessage) -> None:
        self._messages[message.account, message.chat_id].remove(message)

    def page(
        self, account: str, chat_id: str, *, order: Literal["asc", "desc"], limit: int, cursor: int | None
    ) -> tuple[list[ChatMessage], bool]:
        """A page, and whether there is more. A descending page starts after the cursor, others at it."""
        chat = self._messages.get((account, chat_id), [])
        if order == "desc":
            rest = [message for message in reversed(chat) if cursor is None or message.id < cursor]
        else:
            rest = [message for message in chat if cursor is None or message.id >= cursor]
        return rest[:limit], len(rest) > limit
