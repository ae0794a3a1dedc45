"""What the product needs from outside, as small protocols. Adapters implement them; nothing else is assumed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.campaign import AudiencePage, CampaignRecord, CampaignStatus
from domain.cost import CostEntry, CostTotals, Price
from domain.delivery import Delivered, Message, MessageOutline, MessageStatus, StartOutcome
from domain.model import Model
from domain.progress import WorkflowResult
from domain.provider import (
    ContentPlan,
    IntentType,
    ModerationAnswer,
    PlanAnswer,
    Provider,
    WritingAnswer,
    WritingTask,
)
from domain.rate_limit import RateLimitStatus, Reservation, Window
from domain.review import AutonomyOptIn
from domain.send_queue import EnqueueBatch, Enqueued


class CampaignFilter(Model):
    """Which requests to list, newest first."""

    owner: str | None = None
    status: CampaignStatus | None = None
    type: IntentType | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class CampaignListing(Model):
    """One page of a list; ``cursor`` continues it, ``None`` ends it."""

    campaigns: tuple[CampaignRecord, ...]
    cursor: str | None = None


class MessageListing(Model):
    """One page of a campaign's messages."""

    messages: tuple[Message, ...]
    cursor: str | None = None


class CampaignStore(Protocol):
    """Requests, their audiences, plans and results."""

    async def create(self, record: CampaignRecord, pages: Sequence[AudiencePage]) -> CampaignRecord:
        """Store a request and its audience once; returns what is stored, which may be an earlier one."""
        ...

    async def get(self, campaign_id: str) -> CampaignRecord | None:
        """The request with its present status."""
        ...

    async def audience_page(self, campaign_id: str, account_id: str, page: int) -> AudiencePage: ...

    async def set_status(self, campaign_id: str, status: CampaignStatus, reason: str) -> None:
        """Record where the request stands; delivery reads this right before every send."""
        ...

    async def save_plan(self, campaign_id: str, plan: ContentPlan) -> None: ...

    async def plan(self, campaign_id: str) -> ContentPlan | None: ...

    async def save_result(self, campaign_id: str, result: WorkflowResult) -> None:
        """Record the final answer and status together."""
        ...

    async def result(self, campaign_id: str) -> WorkflowResult | None: ...

    async def list(self, filters: CampaignFilter, *, limit: int, cursor: str | None) -> CampaignListing: ...


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
        approved_by: str | None = None,
        batch: int | None = None,
    ) -> int:
        """Bring messages to ``target`` where the state machine allows it; returns how many are there now."""
        ...

    async def outlines(self, campaign_id: str, account_id: str) -> list[MessageOutline]:
        """Every message of one account in a campaign, without its text, read consistently."""
        ...

    async def begin_send(self, message: Message, now: datetime) -> StartOutcome:
        """queued → sending in one transaction with the check that the campaign is running."""
        ...

    async def record_sent(self, message: Message, delivered: Delivered, now: datetime) -> None: ...

    async def record_unsent(self, message: Message, reason: str, now: datetime, *, attempts: int) -> None:
        """sending → queued: the last attempt, the ``attempts``-th, is known to have sent nothing.

        When another attempt was made meanwhile, its outcome counts and nothing changes.
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


class CostStore(Protocol):
    """The ledger: entries once per operation, totals by scope."""

    async def record(self, entry: CostEntry) -> bool:
        """Write an entry and add it to every total, once; ``False`` when it was there already."""
        ...

    async def campaign_totals(self, campaign_id: str) -> CostTotals: ...

    async def user_totals(self, owner: str, first_day: str, last_day: str) -> dict[str, CostTotals]:
        """Totals by day (``YYYY-MM-DD``, UTC), both ends included."""
        ...

    async def global_totals(self, first_day: str, last_day: str) -> dict[str, CostTotals]: ...


class Limiter(Protocol):
    """Sending limits of an account, decided atomically."""

    async def reserve(self, account_id: str, windows: Sequence[Window], *, lease_ms: int) -> Reservation: ...

    async def status(self, account_id: str, windows: Sequence[Window], now: datetime) -> RateLimitStatus:
        """What a reservation would answer, without taking anything."""
        ...

    async def confirm(self, account_id: str, lease_id: str) -> None:
        """The call completed: the slot counts from now."""
        ...

    async def release(self, account_id: str, lease_id: str) -> None:
        """Nothing was sent: the slot is free again."""
        ...

    async def hold(self, account_id: str, duration_ms: int, reason: str) -> None:
        """Grant nothing to the account for that long: the platform itself asked for it."""
        ...


class Gateway(Protocol):
    """The OnlyFans gateway. Raises ``GatewayError``."""

    async def send(
        self, *, account_id: str, recipient_id: str, text: str, key: UUID, screening: str | None
    ) -> Delivered: ...

    async def find_sent(self, *, account_id: str, recipient_id: str, text: str, since: datetime) -> Delivered | None:
        """Read the chat back: the message with this text, sent by us since then, if it is there."""
        ...


class LanguageModel(Protocol):
    """One AI provider. Raises ``ProviderError``; an error after a billed answer carries its usage."""

    async def plan(self, *, brief: str, message_type: str) -> PlanAnswer: ...

    async def write(self, task: WritingTask) -> WritingAnswer: ...

    async def moderate(self, text: str) -> ModerationAnswer: ...


class PriceBook(Protocol):
    """List prices."""

    def price(self, provider: Provider, model: str) -> Price:
        """The price of a model; an unknown one costs as much as the most expensive known one."""
        ...


class AutonomyStore(Protocol):
    """The recorded opt-ins of accounts."""

    async def get(self, account_id: str) -> AutonomyOptIn: ...

    async def put(self, opt_in: AutonomyOptIn) -> None: ...


class SendQueues(Protocol):
    """The way into an account's send queue."""

    async def enqueue(self, account_id: str, request: EnqueueBatch) -> Enqueued: ...


class Dependency(Protocol):
    """Something that must be reachable for the product to work."""

    name: str

    async def check(self) -> Mapping[str, str]:
        """Facts about it (version, address without secrets); raises when it can't be reached."""
        ...
