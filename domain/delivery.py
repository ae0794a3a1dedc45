"""Messages: their states, their identity, and what to do after each kind of failure."""

from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import Field

from domain.compliance import ComplianceReport
from domain.errors import GatewayFault
from domain.model import AccountId, Model, RecipientId
from domain.rate_limit import MessageType, Slot

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
    """drafted → approved → queued → sending → sent, or one of four other ends; sent → recalled.

    What a campaign's deadline withdraws goes from each of the first three to ``sending`` at once.
    A ``failed`` message is a dead letter: kept with its reason until an operator retries or discards it.
    """

    DRAFTED = "drafted"
    APPROVED = "approved"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    RECALLED = "recalled"

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
        MessageStatus.RECALLED,
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
        {
            MessageStatus.SENDING,
            MessageStatus.QUEUED,
            MessageStatus.SENT,
            MessageStatus.FAILED,
        }
    ),
    **{status: frozenset[MessageStatus]() for status in TERMINAL},
    MessageStatus.SENT: frozenset({MessageStatus.RECALLED}),
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
    """Where a text came from, and who let it pass. ``cached``: a general text that was paid for before."""

    provider: str
    model: str
    prompt_version: str
    cached: bool = False
    experiment: str = ""
    arm: str = ""
    approved_by: str = ""
    approved_at: datetime | None = None
    edited_by: str = ""
    edited_at: datetime | None = None


class MessageReview(Model):
    """What a person decided about a draft: who, when and why. What came of it is the status of the message."""

    decided_by: str
    decided_at: datetime
    comment: str = ""


class EarlierText(Model):
    """A text that an edit replaced: what it was, where it came from, and who replaced it when and why."""

    text: str
    origin: MessageOrigin | None = None
    replaced_by: str
    replaced_at: datetime
    comment: str = ""


class Message(Model):
    """One message to one recipient, as stored. ``text`` and ``recipient_id`` never enter a history or a log."""

    message_id: UUID
    campaign_id: str
    owner: str = Field(default="", description="who asked for it, and in whose review queue it waits as a draft")
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
    review: MessageReview | None = None
    revision: int = Field(default=0, ge=0, description="edits so far")
    earlier: tuple[EarlierText, ...] = Field(default=(), description="what edits replaced, oldest first")
    batch: int | None = Field(default=None, description="the submission that put it into the send queue")
    attempts: int = 0
    failures: int = Field(default=0, description="attempts that failed, by which the last one is counted")
    first_attempt_at: datetime | None = None
    expires_at: datetime | None = Field(default=None, description="skipped rather than sent after this")
    platform_message_id: str | None = None
    sent_at: datetime | None = None
    cancel_seconds: int | None = Field(default=None, description="how long it could be unsent after sentAt")
    updated_at: datetime


class AccountState(StrEnum):
    """Whether an account's queue sends and takes more."""

    ACTIVE = "active"
    DRAINING = "draining"
    PAUSED = "paused"
    SESSION_EXPIRED = "session_expired"

    @property
    def sends(self) -> bool:
        """Whether messages leave the queue. An expired session is asked for again now and then."""
        return self in {AccountState.ACTIVE, AccountState.DRAINING}

    @property
    def accepts(self) -> bool:
        """Whether the queue takes new messages."""
        return self is not AccountState.DRAINING


class AccountControl(Model):
    """What an operator or the platform said about an account; delivery reads it right before every send."""

    account_id: AccountId
    state: AccountState = AccountState.ACTIVE
    reason: str = ""
    changed_by: str = ""
    by_staff: bool = Field(default=False, description="whoever changed the state is staff, not the account's owner")
    changed_at: datetime | None = None
    session_changed_at: datetime | None = Field(
        default=None, description="when the platform's last word about the session was said"
    )
    revision: int = Field(default=0, ge=0)


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
    remaining_minute: int | None = Field(default=None, description="what the platform still admits in this minute")
    remaining_day: int | None = None


class Attempt(Model):
    """A message that is about to be sent, with the slot that admits it."""

    message: Message
    slot: Slot


class Outcome(Model):
    """What became of an attempt; ``sending`` → ``status``.

    ``queued``: it is known that nothing was sent, so the slot is forgotten, and ``attempts`` and ``failures`` are
    what counts from now on; it only applies while the stored count of attempts is the one that this attempt made
    (``attempt.message.attempts + 1``). ``sending``: still open, only ``reason`` and ``failures`` are noted, under
    the same condition. ``delivered`` comes with ``sent`` and only with it.
    """

    attempt: Attempt
    status: MessageStatus
    reason: str = ""
    delivered: Delivered | None = None
    attempts: int
    failures: int = 0
    at: datetime


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
READ_BACK_AFTER_MS = 3_000
"""A chat is not read at once: the message may still be on its way into it. What is not there by then is looked for
again when it can no longer arrive."""

OPEN_PAUSE_MS = 3_600_000
"""How often, about, an attempt that was never answered is repeated after ``MAX_ATTEMPTS``: each repetition takes a slot
in every layer, so a chat that always hangs would use up what its account may send."""

ACCOUNT_HOLD_MS = 60_000
DAY_HOLD_MS = 3_600_000
MIN_HOLD_MS = 1_000
"""A platform that throttles and names no time, or 0 s, is not asked again at once."""

KEY_LIFETIME = timedelta(hours=23)
"""The gateway keeps an idempotency key for 24 h; one hour is left for clocks and slow calls."""

SESSION_PROBE_AFTER = timedelta(minutes=5)
"""An account whose session expired is tried again with one message after this, should nobody have said that it is
back."""

_PERMANENT = frozenset({GatewayFault.BANNED_WORDS, GatewayFault.RECIPIENT_NOT_FOUND, GatewayFault.INVALID_REQUEST})
_OF_THE_ACCOUNT = frozenset({GatewayFault.THROTTLED, GatewayFault.SESSION_EXPIRED, GatewayFault.AUTH})

REFUSALS = _PERMANENT | _OF_THE_ACCOUNT
"""Answers that prove that the platform took no message with this call."""

KEY_IS_ASKED_WITHIN = timedelta(hours=2)
"""An open message is tried again about once an hour at least. If it is not, its campaign is paused, or has ended."""

CLOCK_TOLERANCE = timedelta(minutes=2)
"""How far the gateway's clock may be behind ours when a chat is read back."""

_KEY_SETTLES_NOTHING = _PERMANENT | {GatewayFault.SERVER_ERROR}


def backoff_ms(attempt: int, jitter: float) -> int:
    """Full-jitter exponential backoff: ``jitter`` in [0, 1) of the base doubled per attempt, capped.

    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    ceiling: int = min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** min(attempt, 20))
    return int(ceiling * jitter)


def needs_read_back(message: Message, now: datetime) -> bool:
    """Whether the chat must be read before anything else is done about an open attempt: its key settles nothing.

    The key is too old, or the last answer was an error that the gateway does not keep under the key, or it was a
    refusal for good, which says nothing about the attempts before.
    """
    if message.status is not MessageStatus.SENDING:
        return False
    first = message.first_attempt_at
    return message.reason in _KEY_SETTLES_NOTHING or (first is not None and now - first >= KEY_LIFETIME)


def is_rival(other: Message, message: Message) -> bool:
    """Whether a message in the chat could be either's: both go to the same fan, say the same, and ``other`` is open."""
    return other.status is MessageStatus.SENDING and other.text.split() == message.text.split()


def goes_first(other: Message, message: Message, now: datetime) -> bool:
    """Whether it must be known what became of ``other`` before a message in the chat can be taken for ``message``.

    Those whose key is about to tell go first, then the older one. So two wait for each other only while the keys of
    both could tell and neither is used, because both are to end unsent: ``KEY_IS_ASKED_WITHIN`` at most.
    """
    older = not _key_tells(message, now) and _seniority(other) < _seniority(message)
    return is_rival(other, message) and (older or _key_tells(other, now))


def may_have_brought(message: Message, delivered: Delivered) -> bool:
    """Whether what is in the chat is not older than the message's first attempt."""
    since = message.first_attempt_at or message.updated_at
    return delivered.created_at is None or delivered.created_at >= since - CLOCK_TOLERANCE


def _key_tells(message: Message, now: datetime) -> bool:
    """Whether the next attempt with its key is going to say what became of it, and is made soon."""
    return not needs_read_back(message, now) and now - message.updated_at < KEY_IS_ASKED_WITHIN


def _seniority(message: Message) -> tuple[datetime, UUID]:
    return message.first_attempt_at or message.updated_at, message.message_id


def given_up(message: Message) -> str:
    """Why an open message that certainly reached nobody is not tried again; empty when it is."""
    if message.reason in _PERMANENT:
        return message.reason
    if message.failures < MAX_ATTEMPTS:
        return ""
    server_error = message.reason == GatewayFault.SERVER_ERROR
    return exhausted(GatewayFault.SERVER_ERROR if server_error else "no_answer", message.failures)


def is_expired(message: Message, now: datetime) -> bool:
    """Whether it is too late to send."""
    return message.expires_at is not None and message.expires_at <= now


def platform_hold_ms(delivered: Delivered) -> int | None:
    """How long an account waits after a receipt that says that the platform admits nothing more; else ``None``.

    The gateway names no time for it: a minute's allowance is waited for, a day's is asked for again every hour.
    """
    if delivered.remaining_day == 0:
        return DAY_HOLD_MS
    return ACCOUNT_HOLD_MS if delivered.remaining_minute == 0 else None


def after_failure(
    fault: GatewayFault,
    *,
    attempts: int,
    outcome_open: bool,
    retry_after_s: float | None,
    jitter: float,
) -> FailureDecision:
    """What follows a failed attempt; ``attempts`` counts those that failed so far, this one included.

    ``outcome_open``: an earlier attempt may have been accepted. Such a message is never declared failed here: it is
    repeated with the same key until the gateway says what became of it, at last about once in ``OPEN_PAUSE_MS``, or
    looked for in its chat (``needs_read_back``). Throttling and sessions are the account's trouble, not the message's,
    and end nothing.
    """
    if fault in _PERMANENT:
        if outcome_open:
            return FailureDecision(step=NextStep.RETRY, reason=fault, delay_ms=READ_BACK_AFTER_MS)
        return FailureDecision(step=NextStep.FAIL, reason=fault)
    if fault in _OF_THE_ACCOUNT:
        hold = max(MIN_HOLD_MS, ceil(retry_after_s * 1000)) if retry_after_s is not None else ACCOUNT_HOLD_MS
        return FailureDecision(step=NextStep.HOLD_ACCOUNT, reason=fault, delay_ms=hold)
    open_now = outcome_open or fault in {GatewayFault.UNKNOWN_OUTCOME, GatewayFault.SERVER_ERROR}
    if not open_now and attempts >= MAX_ATTEMPTS:
        return FailureDecision(step=NextStep.FAIL, reason=exhausted(fault, attempts))
    delay = backoff_ms(attempts, jitter)
    if fault is GatewayFault.SERVER_ERROR:
        delay += READ_BACK_AFTER_MS
    elif fault is GatewayFault.UNKNOWN_OUTCOME and attempts >= MAX_ATTEMPTS:
        delay = int(OPEN_PAUSE_MS * (0.5 + jitter))
    if retry_after_s is not None:
        delay = max(delay, ceil(retry_after_s * 1000))
    return FailureDecision(step=NextStep.RETRY, reason=fault, delay_ms=delay)


def exhausted(fault: str, attempts: int) -> str:
    """The reason of a message that is given up."""
    return f"{fault}_after_{attempts}_attempts"
