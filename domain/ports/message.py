"""The store of messages, and what is asked of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.delivery import Attempt, Message, MessageOutline, MessageReview, MessageStatus, Outcome
from domain.model import Model
from domain.ports.review import ReviewFilter, ReviewListing


class MessageListing(Model):
    """One page of a campaign's messages."""

    messages: tuple[Message, ...]
    cursor: str | None = None


class MessageStore(Protocol):
    """Messages; every change of state is conditional on the state before."""

    async def create_many(self, messages: Sequence[Message]) -> None:
        """Store messages that are not there yet; one that exists stays as it is."""
        ...

    async def get_many(self, campaign_id: str, ids: Sequence[UUID]) -> dict[UUID, Message]:
        """Those that exist, read consistently."""
        ...

    async def transition(
        self,
        campaign_id: str,
        ids: Sequence[UUID],
        target: MessageStatus,
        *,
        reason: str = "",
        batch: int | None = None,
    ) -> int:
        """Bring messages to ``target`` where the state machine allows it; returns how many are there now."""
        ...

    async def decide(
        self,
        drafts: Sequence[Message],
        target: MessageStatus,
        *,
        reason: str,
        review: MessageReview | None,
        now: datetime,
    ) -> None:
        """drafted → ``target``, with who decided it. What is no draft any more stays as it is. Idempotent.

        With ``review`` also what was edited since it was read as one of ``drafts``: nobody has decided about that text.
        """
        ...

    async def edit(self, message: Message) -> bool:
        """Store revision ``n`` of a draft over revision ``n - 1``, also as one that is approved now.

        False when it is no draft any more, or somebody else was faster.
        """
        ...

    async def take(self, messages: Sequence[Message]) -> None:
        """drafted, approved or queued → sending, with another text, as those who stand for many are marked.

        Stores revision ``n`` over revision ``n - 1``. What somebody has begun to send, ended or changed stays as it is.
        """
        ...

    async def waiting(self, filters: ReviewFilter, *, limit: int, cursor: str | None) -> ReviewListing:
        """Drafts, those that have waited longest first. A part may hold fewer than ``limit`` although more follow."""
        ...

    async def outlines(self, campaign_id: str, account_id: str) -> list[MessageOutline]:
        """Every message of one account in a campaign, without its text, read consistently."""
        ...

    async def begin_sends(self, attempts: Sequence[Attempt], now: datetime) -> frozenset[UUID]:
        """queued or sending → sending, together with their slots; returns the messages that made the step.

        One that was tried, or has another text, since it was read does not.
        """
        ...

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """sending → what became of it, all in as few transactions as they fit in. Idempotent.

        ``queued`` only applies while ``attempts`` is the last one; when another attempt was made meanwhile, its
        outcome counts and nothing changes.
        """
        ...

    async def sent_beside(self, message: Message) -> Sequence[Message]:
        """Other messages of its account to its recipient that were tried, read consistently.

        What was last tried more than two days ago may be missing.
        """
        ...

    async def record_recalled(self, message: Message, now: datetime) -> None:
        """sent → recalled; idempotent."""
        ...

    async def dead_letters(self, account_id: str, *, limit: int, cursor: str | None) -> MessageListing:
        """Failed messages of an account that nobody has retried or discarded, newest first."""
        ...

    async def dead_letter(self, account_id: str, message_id: UUID) -> Message | None:
        """One of them."""
        ...

    async def close_dead_letter(self, message: Message, note: str) -> str:
        """Take a failed message off that list, once; ``note`` says what was done.

        Returns the note that holds: that of whoever was first; empty for a message that was never on the list.
        """
        ...

    async def count_by_status(self, campaign_id: str, account_id: str | None = None) -> dict[MessageStatus, int]:
        """How many messages stand where, read consistently."""
        ...

    async def list(
        self,
        campaign_id: str,
        *,
        status: MessageStatus | None,
        account_id: str | None,
        limit: int,
        cursor: str | None,
    ) -> MessageListing: ...
