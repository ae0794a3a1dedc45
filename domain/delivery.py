"""Messages: their states, their identity, and what to do after each kind of failure."""

from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import Field

from domain.compliance import ComplianceReport
from domain.errors import GatewayFault
from domain.model import AccountId, Model, RecipientId
from domain.rate_limit import MessageType

_MESSAGES = uuid5(NAMESPACE_URL, "huntaze:message")


class Priority(StrEnum):
    """Which message of an account goes first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 is served first."""
        return {"critical": 0, "high": 1, "medium": 2, "low": 3}[self.value]


class MessageStatus(StrEnum):
    """drafted → approved → queued → sending → sent, or one of four other ends."""

    DRAFTED = "drafted"
    APPROVED = "approved"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    @property
    def is_terminal(self) -> bool:
        """Whether the recipient's story is over."""
        return self in TERMINAL


TERMINAL = frozenset(
    {
        MessageStatus.SENT,
        MessageStatus.FAILED,
        MessageStatus.SKIPPED,
        MessageStatus.CANCELLED,
        MessageStatus.REJECTED,
    }
)

TRANSITIONS: dict[MessageStatus, frozenset[MessageStatus]] = {
    MessageStatus.DRAFTED: frozenset(
        {MessageStatus.APPROVED, MessageStatus.REJECTED, MessageStatus.SKIPPED, MessageStatus.CANCELLED}
    ),
    MessageStatus.APPROVED: frozenset(
        {MessageStatus.QUEUED, MessageStatus.SKIPPED, MessageStatus.CANCELLED, MessageStatus.REJECTED}
    ),
    MessageStatus.QUEUED: frozenset({MessageStatus.SENDING, MessageStatus.SKIPPED, MessageStatus.CANCELLED}),
    # A crashed or unanswered attempt is repeated with the same key, hence sending → sending.
    MessageStatus.SENDING: frozenset(
        {MessageStatus.SENDING, MessageStatus.QUEUED, MessageStatus.SENT, MessageStatus.FAILED}
    ),
    **{status: frozenset[MessageStatus]() for status in TERMINAL},
}


def sources_of(target: MessageStatus) -> tuple[MessageStatus, ...]:
    """The states from which a message may become ``target``: the condition of every store update."""
    return tuple(status for status in MessageStatus if target in TRANSITIONS[status])


def message_id(campaign_id: str, account_id: str, recipient_id: str, step: int = 0) -> UUID:
    """The id of a message and its idempotency key at the gateway: the same message has the same id, always."""
    return uuid5(_MESSAGES, f"{campaign_id}/{account_id}/{recipient_id}/{step}")


def send_queue_id(account_id: str) -> str:
    """The workflow id of an account's only sender."""
    return f"send-queue-{account_id}"


class MessageOrigin(Model):
    """Where a text came from."""

    provider: str
    model: str
    prompt_version: str
    approved_by: str = ""


class Message(Model):
    """One message to one recipient, as stored. ``text`` and ``recipient_id`` never enter a history or a log."""

    message_id: UUID
    campaign_id: str
    account_id: AccountId
    recipient_id: RecipientId
    page: int = Field(ge=0)
    message_type: MessageType
    status: MessageStatus
    reason: str = Field(default="", description="why it ended as it did, or why it waits")
    text: str = ""
    origin: MessageOrigin | None = None
    compliance: ComplianceReport | None = None
    quality: float = 0.0
    batch: int | None = Field(default=None, description="the submission that put it into the send queue")
    attempts: int = 0
    first_attempt_at: datetime | None = None
    platform_message_id: str | None = None
    sent_at: datetime | None = None
    cancel_seconds: int | None = Field(default=None, description="how long it could be unsent after sentAt")
    updated_at: datetime


class MessageOutline(Model):
    """Where a message stands, without what it says and to whom."""

    message_id: UUID
    page: int
    status: MessageStatus
    reason: str = ""
    batch: int | None = None


class Delivered(Model):
    """The gateway's receipt. ``replayed``: it had accepted the same key before."""

    platform_message_id: str
    created_at: datetime | None = None
    cancel_seconds: int | None = None
    replayed: bool = False


class StartOutcome(StrEnum):
    """What the store said when a send was about to start."""

    STARTED = "started"
    CAMPAIGN_PAUSED = "campaign_paused"
    CAMPAIGN_CANCELLED = "campaign_cancelled"
    NOT_SENDABLE = "not_sendable"


class NextStep(StrEnum):
    """What to do with a message whose attempt failed."""

    RETRY = "retry"
    HOLD_ACCOUNT = "hold_account"
    FAIL = "fail"


class FailureDecision(Model):
    """``delay_ms``: how long the message (retry) or the whole account (hold) waits."""

    step: NextStep
    reason: str
    delay_ms: int = 0


MAX_ATTEMPTS = 8
RETRY_BASE_MS = 1_000
RETRY_CAP_MS = 120_000
ACCOUNT_HOLD_MS = 60_000
MIN_HOLD_MS = 1_000
"""A platform that throttles and names no time, or 0 s, is not asked again at once."""

KEY_LIFETIME = timedelta(hours=23)
"""The gateway keeps an idempotency key for 24 h; one hour is left for clocks and slow calls."""

_PERMANENT = frozenset({GatewayFault.BANNED_WORDS, GatewayFault.RECIPIENT_NOT_FOUND, GatewayFault.INVALID_REQUEST})


def backoff_ms(attempt: int, jitter: float) -> int:
    """Full-jitter exponential backoff: ``jitter`` in [0, 1) of the base doubled per attempt, capped.

    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    ceiling: int = min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** min(attempt, 20))
    return int(ceiling * jitter)


def needs_read_back(status: MessageStatus, first_attempt_at: datetime | None, now: datetime) -> bool:
    """Whether an attempt of unknown outcome is too old for its key, so that the chat must be read first."""
    return status is MessageStatus.SENDING and first_attempt_at is not None and now - first_attempt_at >= KEY_LIFETIME


def after_failure(
    fault: GatewayFault,
    *,
    attempts: int,
    outcome_open: bool,
    retry_after_s: float | None,
    jitter: float,
) -> FailureDecision:
    """What follows a failed attempt; ``attempts`` counts those made so far, this one included.

    ``outcome_open``: an earlier attempt may have been accepted. Such a message is never declared failed for
    trouble on the way: it is repeated with the same key until the gateway says what became of it. Throttling
    and sessions are the account's trouble, not the message's, and end nothing.
    """
    if fault in _PERMANENT:
        return FailureDecision(step=NextStep.FAIL, reason=fault)
    if fault in {GatewayFault.THROTTLED, GatewayFault.SESSION_EXPIRED, GatewayFault.AUTH}:
        hold = max(MIN_HOLD_MS, ceil(retry_after_s * 1000)) if retry_after_s is not None else ACCOUNT_HOLD_MS
        return FailureDecision(step=NextStep.HOLD_ACCOUNT, reason=fault, delay_ms=hold)
    open_now = outcome_open or fault is GatewayFault.UNKNOWN_OUTCOME
    if not open_now and attempts >= MAX_ATTEMPTS:
        return FailureDecision(step=NextStep.FAIL, reason=f"{fault}_after_{attempts}_attempts")
    delay = backoff_ms(attempts, jitter)
    if retry_after_s is not None:
        delay = max(delay, ceil(retry_after_s * 1000))
    return FailureDecision(step=NextStep.RETRY, reason=fault, delay_ms=delay)
