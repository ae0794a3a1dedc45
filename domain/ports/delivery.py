"""What a message passes on its way to a fan and back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.audit import AuditEntry
from domain.campaign import CampaignStanding
from domain.delivery import AccountControl, Delivered, Message
from domain.handover import HandOverNote
from domain.model import Model
from domain.rate_limit import AccountLimits
from domain.send_queue import EnqueueBatch, Enqueued, QueueOutlook


class GateState(Model):
    """What may stop a send, read consistently in one call."""

    control: AccountControl
    limits: AccountLimits
    campaigns: dict[str, CampaignStanding]


class DeliveryGate(Protocol):
    """The last look before a send."""

    async def read(self, account_id: str, campaign_ids: Sequence[str]) -> GateState:
        """The account's control and limits, and the campaigns that exist."""
        ...


class AccountStore(Protocol):
    """What operators set for accounts; every change is kept with who made it, when and why."""

    async def control(self, account_id: str) -> AccountControl: ...

    async def put_control(self, control: AccountControl, entry: AuditEntry | None = None) -> bool:
        """Store revision ``n`` over revision ``n - 1``, and its audit entry with it; False when somebody else was
        faster."""
        ...

    async def limits(self, account_id: str) -> AccountLimits: ...

    async def put_limits(self, limits: AccountLimits, entry: AuditEntry | None = None) -> bool:
        """Store revision ``n`` over revision ``n - 1``, and its audit entry with it; False when somebody else was
        faster."""
        ...

    async def limits_history(self, account_id: str, *, limit: int) -> Sequence[AccountLimits]:
        """What was in force before, newest first, the present one included."""
        ...


class Inbox(Protocol):
    """Webhook events that were consumed."""

    async def seen(self, digest: str) -> bool:
        """Whether an event was taken."""
        ...

    async def take(self, digest: str, event: str, account_id: str, now: datetime) -> bool:
        """Remember an event that has had its effect, and count it for the account's day; False: taken before."""
        ...

    async def counts(self, account_id: str, day: str) -> Mapping[str, int]:
        """Events of an account on a day (``2026-11-22``), by kind."""
        ...


class Gateway(Protocol):
    """The OnlyFans gateway. Raises ``GatewayError``."""

    async def send(
        self, *, account_id: str, recipient_id: str, text: str, key: UUID, screening: str | None
    ) -> Delivered: ...

    async def unsend(self, *, account_id: str, recipient_id: str, platform_message_id: str) -> None:
        """Take a message back; one that is gone already counts as taken back."""
        ...

    async def send_mass(
        self,
        *,
        account_id: str,
        recipient_ids: Sequence[str],
        text: str,
        key: UUID,
        screening: str | None,
        save_for_later: bool,
    ) -> Delivered:
        """One message to many fans in one call, or saved at the platform for later."""
        ...

    async def find_sent(self, *, account_id: str, recipient_id: str, text: str, since: datetime) -> Sequence[Delivered]:
        """Read the chat back: the messages with this text that we sent since then, oldest first."""
        ...


class HandOvers(Protocol):
    """Single messages that are stored and that no queue has yet."""

    async def create(self, message: Message, *, keyed: bool) -> None:
        """Store a message that is not there yet together with its note (``HandOverNote``)."""
        ...

    async def done(self, campaign_id: str) -> None:
        """The queue has the message, or it needs none any more. Idempotent."""
        ...

    async def overdue(self, before: datetime) -> Sequence[HandOverNote]:
        """Notes that are older, oldest first. A note appears, and goes, about a second late."""
        ...


class SendQueues(Protocol):
    """The way into an account's send queue."""

    async def enqueue(self, account_id: str, request: EnqueueBatch, *, again: str = "") -> Enqueued:
        """Hand a batch over; repeating it changes nothing while the queue has it.

        ``again``: a repetition that has to reach the queue itself, which may have lost the batch; unique to it.
        """
        ...

    async def outlook(self, account_id: str) -> QueueOutlook | None:
        """What waits; ``None``: the account has no queue yet, or nobody can tell it now."""
        ...

    async def wake(self, account_id: str) -> None:
        """Something about the account changed: look again now. Harmless when there is no queue."""
        ...

    async def drop_message(self, account_id: str, message_id: UUID) -> None:
        """A message was ended outside of the queue: settle it now."""
        ...
