"""The gateway's state, and what its endpoints do once a request has got through."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from local.faults import FaultBook
from local.onlyfans.book import NS, Accepted, AcceptedMass, Book, Clock, iso
from local.onlyfans.chats import ChatMessage, Chats
from local.onlyfans.fans import chosen
from local.onlyfans.idempotency import IdempotencyStore
from local.onlyfans.model import DAY_S, GatewayFault, Limits, MassMessageBody, MessageBody, Reply
from local.onlyfans.screening import banned_words
from local.onlyfans.webhooks import WebhookTarget

# What the team's plan promises; the gateway reports it and enforces nothing unless `Limits` says so.
PLAN_PER_MINUTE, PLAN_PER_DAY = 1_000, 50_000
PRICE_MIN, PRICE_MAX = 3, 200


@dataclass
class Gateway:
    """Everything that one simulated gateway remembers."""

    clock: Clock = field(default_factory=Clock)
    book: Book = field(default_factory=Book)
    chats: Chats = field(default_factory=Chats)
    keys: IdempotencyStore = field(default_factory=IdempotencyStore)
    faults: FaultBook[GatewayFault] = field(default_factory=FaultBook[GatewayFault])
    fans: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    webhook: WebhookTarget | None = None
    credits: int = 1_000_000
    last_id: int = 7_000_000_000

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def send(self, account: str, chat_id: str, body: MessageBody, key: str | None) -> Reply:
        """Accepts a message into a chat and books it, or says why not."""
        refusal = _refusal(body) or self._platform_limit(account)
        if refusal is not None:
            return refusal
        now_ns = self.clock.now_ns()
        price = body.price or 0
        message = ChatMessage(
            self.next_id(),
            account,
            chat_id,
            body.text or "",
            now_ns,
            price,
            body.media_files,
            body.locked_text,
        )
        self.chats.add(message)
        self.book.accept(Accepted(message.id, account, chat_id, message.text, price, key, now_ns))
        return self.answer(message.wire(now_ns), account, used=1)

    def send_mass(self, account: str, body: MassMessageBody, key: str | None) -> Reply:
        """Takes one message for many fans; those named by id see it in their chat if it is sent now."""
        refusal = _refusal(body) if body.text else _invalid("text", "The text field is required.")
        if refusal is None and not (body.user_ids or body.user_lists):
            refusal = _invalid("userIds", "At least one of userIds and userLists is required.")
        if refusal is not None:
            return refusal
        now_ns, mass_id = self.clock.now_ns(), self.next_id()
        pending = body.save_for_later or body.scheduled_date is not None
        text, copies = body.text or "", dict[str, int | None].fromkeys(body.user_ids)
        if not pending:
            for chat_id in copies:
                copies[chat_id] = message_id = self.next_id()
                self.chats.add(ChatMessage(message_id, account, chat_id, text, now_ns, from_queue=True))
        self.book.accounts[account].mass.append(AcceptedMass(mass_id, account, text, key, now_ns, copies))
        data = {
            "id": mass_id,
            "date": body.scheduled_date or iso(now_ns),
            "isReady": not pending,
            "isDone": not pending,
            "isCanceled": False,
            "hasError": False,
            "canUnsend": True,
            "unsendSeconds": DAY_S,
            "total": len(body.user_ids),
            "pending": len(body.user_ids) if pending else 0,
        }
        return self.answer(data, account, used=1)

    def unsend(self, account: str, chat_id: str, message_id: int) -> Reply:
        """Takes a message back that is younger than 24 hours."""
        message = self.chats.find(account, chat_id, message_id)
        if message is None or not message.sent_by_me:
            return Reply.refused(404, "NOT_FOUND", "Message not found.")
        if self.clock.now_ns() - message.at_ns >= DAY_S * NS:
            return Reply.refused(422, "MESSAGE_TOO_OLD", "Only messages sent less than 24 hours ago can be deleted.")
        self.chats.remove(message)
        self.book.accounts[account].unsent.add(message_id)
        return self.answer({"success": True}, account, used=1)

    def list_messages(
        self, account: str, chat_id: str, *, order: Literal["asc", "desc"], limit: int, cursor: int | None
    ) -> Reply:
        """A page of a chat."""
        now_ns = self.clock.now_ns()
        page, more = self.chats.page(account, chat_id, order=order, limit=limit, cursor=cursor)
        next_page = None
        if more and order == "desc":
            next_page = f"/api/{account}/chats/{chat_id}/messages?limit={limit}&first_id={page[-1].id}"
        reply = self.answer([message.wire(now_ns) for message in page], account, used=1)
        return Reply(200, {**reply.body, "_pagination": {"next_page": next_page}})

    def list_fans(
        self,
        account: str,
        *,
        limit: int,
        offset: int,
        query: str | None,
        at_least: float | None,
        at_most: float | None,
    ) -> Reply:
        """A page of the account's seeded fans; spending bounds in USD."""
        fans = chosen(self.fans.get(account, []), query, at_least, at_most)
        end = offset + limit
        has_more = end < len(fans)
        next_page = f"/api/{account}/fans/active?limit={limit}&offset={end}" if has_more else None
        reply = self.answer({"list": fans[offset:end], "hasMore": has_more}, account, used=1)
        return Reply(200, {**reply.body, "_pagination": {"next_page": next_page}})

    def answer(self, data: object, account: str, used: int) -> Reply:
        """200 with the data and the gateway's `_meta`, charging `used` credits."""
        self.credits -= used
        return Reply(200, {"data": data, "_meta": self._meta(account, used)})

    def replay(self, account: str, stored: Reply) -> Reply:
        """A stored answer given again: the same data, no credits used."""
        self.book.accounts[account].replays += 1
        if "_meta" not in stored.body:
            return stored
        meta = {**stored.body["_meta"], "_credits": self._credits(0)}
        return Reply(stored.status, {**stored.body, "_meta": meta}, stored.headers)

    def _meta(self, account: str, used: int) -> dict[str, Any]:
        now_ns = self.clock.now_ns()
        minute, day = self.limits.per_minute, self.limits.per_day
        # An enforced limit is the account's; the plan's is the whole team's.
        in_minute = self.book.count_since(now_ns - 60 * NS, None if minute is None else account)
        in_day = self.book.count_since(now_ns - DAY_S * NS, None if day is None else account)
        limit_minute = PLAN_PER_MINUTE if minute is None else minute
        limit_day = PLAN_PER_DAY if day is None else day
        return {
            "_credits": self._credits(used),
            "_cache": {"is_cached": False, "note": ""},
            "_rate_limits": {
                "limit_minute": limit_minute,
                "limit_day": limit_day,
                "remaining_minute": max(limit_minute - in_minute, 0),
                "remaining_day": max(limit_day - in_day, 0),
            },
        }

    def _credits(self, used: int) -> dict[str, Any]:
        return {"used": used, "balance": self.credits, "note": ""}

    def _platform_limit(self, account: str) -> Reply | None:
        now_ns = self.clock.now_ns()
        for window_s, limit in ((60, self.limits.per_minute), (DAY_S, self.limits.per_day)):
            if limit is None:
                continue
            times = self.book.times_since(now_ns - window_s * NS, account)
            if len(times) >= limit:
                # The message that has to leave the window first; with a limit of 0 none ever makes room.
                free_ns = times[len(times) - limit] + window_s * NS if limit else now_ns + window_s * NS
                return Reply.limited("Too many messages.", math.ceil((free_ns - now_ns) / NS))
        return None


def _refusal(body: MessageBody) -> Reply | None:
    has_media = bool(body.media_files) or body.giphy_id is not None
    if not body.text and not has_media:
        return _invalid("text", "The text field is required unless media is present.")
    if body.price:
        if not PRICE_MIN <= body.price <= PRICE_MAX:
            return _invalid("price", f"The price must be 0 or between {PRICE_MIN} and {PRICE_MAX}.")
        if not body.media_files:
            return _invalid("mediaFiles", "The mediaFiles field is required when the price is not 0.")
    words = banned_words(body.text or "", body.block_banned_words)
    return banned(words) if words else None


def _invalid(name: str, message: str) -> Reply:
    return Reply.refused(422, "VALIDATION_FAILED", message, errors={name: [message]})


def banned(words: list[str]) -> Reply:
    """422 that lists the banned words of a text."""
    message = f"The text contains banned words: {', '.join(words)}."
    return Reply.refused(422, "BANNED_WORDS", message, banned_words=words, errors={"text": [message]})
