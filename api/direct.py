"""A single message: written by its caller, checked, stored once, and handed to the account's send queue.

It is stored as a request of its own whose id is also the message's id and its idempotency key at the gateway.
The caller wrote the text and thereby approved it; the rules are checked here and again before it is sent.
"""

import asyncio
import hashlib
import json
import unicodedata
from datetime import datetime, timedelta
from time import monotonic
from typing import NamedTuple, Self
from uuid import UUID

from pydantic import Field, field_validator, model_validator

from adapters.bootstrap import Ports
from api.fields import FieldError
from api.refusals import Refusal
from domain.alternative import DeliveryTerms, DeliveryTimes
from domain.campaign import CampaignRecord, CampaignStatus, Lane, campaign_id
from domain.compliance import MAX_TEXT_CHARACTERS, ComplianceLevel, ComplianceReport, Severity, check
from domain.delivery import AccountControl, Message, MessageOrigin, MessageStatus, Priority
from domain.errors import ComplianceViolation, Conflict, InvalidRequest, NotFound
from domain.handover import batch_of
from domain.model import AccountId, Moment, RecipientId, Request
from domain.moderation import moderated
from domain.ports import SendQueues
from domain.provider import IntentType, PreferredProvider
from domain.rate_limit import MessageType

MESSAGES = "/api/v2/onlyfans/messages"

AT_ONCE = timedelta(seconds=5)
"""A message that must not wait (``queue: false``) is sent within this time or not at all."""

_FIRST_POLL_S = 0.05
_SLOWEST_POLL_S = 0.5


class DirectMessageRequest(Request):
    """One message to one fan."""

    account_id: AccountId
    recipient_id: RecipientId
    text: str = Field(max_length=4 * MAX_TEXT_CHARACTERS, description=f"1 to {MAX_TEXT_CHARACTERS} characters")
    message_type: MessageType = MessageType.CUSTOM
    priority: Priority = Priority.HIGH
    not_before: Moment | None = Field(default=None, description="nothing is sent earlier; with its time zone")
    expires_at: Moment | None = Field(default=None, description="skipped rather than sent after this")
    queue: bool = Field(default=True, description="false: now or not at all")

    @field_validator("text")
    @classmethod
    def _printable(cls, text: str) -> str:
        if any(unicodedata.category(sign) == "Cc" and sign not in "\n\t" for sign in text):
            raise ValueError("must have no control characters but line breaks and tabs")
        return text

    @model_validator(mode="after")
    def _times_make_sense(self) -> Self:
        for name, moment in (("notBefore", self.not_before), ("expiresAt", self.expires_at)):
            if moment is not None and not self.queue:
                raise ValueError(f"{name}: a message that must not wait has no {name}; remove it, or leave queue out")
        if self.not_before and self.expires_at and self.not_before >= self.expires_at:
            raise ValueError("expiresAt: must be later than notBefore, or the message can never be sent")
        return self


class Draft(NamedTuple):
    """A single message on its way into the store. ``lifetime``: it expires this long after it was stored."""

    record: CampaignRecord
    message: Message
    lifetime: timedelta | None = None


class Stored(NamedTuple):
    """What the store has. ``replayed``: it was there before."""

    record: CampaignRecord
    message: Message
    replayed: bool


def require_compliant(text: str) -> ComplianceReport:
    """The report of a text that may be sent; raises ``ComplianceViolation`` with every rule and its remedy."""
    report = check(text)
    require_unblocked(report)
    return report


async def require_moderated(
    text: str, report: ComplianceReport, ports: Ports, *, field: str = "text"
) -> ComplianceReport:
    """The report with what the provider's moderation adds; raises ``ComplianceViolation`` when that blocks.

    Where it gives no answer, our own rules decide alone, and the report says so.
    """
    if not ports.moderator.asks:
        return report
    (opinion,) = await ports.moderator.opinions([text])
    found = moderated(report, opinion)
    require_unblocked(found, field=field)
    return found


def require_unblocked(report: ComplianceReport, *, field: str = "text") -> None:
    """Raises ``ComplianceViolation`` with every rule that blocks, and its remedy."""
    if not report.blocked:
        return
    broken = [violation for violation in report.violations if violation.severity is Severity.BLOCK]
    rules = tuple(violation.rule_id for violation in broken)
    raise Refusal(
        ComplianceViolation(
            f"The text breaks {', '.join(rules)}. {' '.join(violation.remedy for violation in broken)}", rules=rules
        ),
        tuple(FieldError(field=field, message=f"{rule.rule_id}: {rule.remedy}") for rule in broken),
    )


def require_accepting(control: AccountControl) -> None:
    """Raises ``Conflict`` when the account's queue takes nothing new."""
    if not control.state.accepts:
        raise Conflict(
            f"{control.account_id} is draining{f' ({control.reason})' if control.reason else ''} and takes no new "
            f"messages. To go on: POST /api/v2/queues/{control.account_id}/resume.",
            field="accountId",
        )


def draft_of(body: DirectMessageRequest, key: str, owner: str, report: ComplianceReport, now: datetime) -> Draft:
    """The request as it is stored."""
    if body.expires_at is not None and body.expires_at <= now:
        raise InvalidRequest("this moment is over; choose a later one, or leave it out", field="expiresAt")
    digest = hashlib.sha256(json.dumps(body.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
    return compose(
        record_id=campaign_id(owner, key),
        request_id=key,
        owner=owner,
        account_id=body.account_id,
        recipient_id=body.recipient_id,
        text=body.text,
        message_type=body.message_type,
        priority=body.priority,
        origin=MessageOrigin(provider="caller", model="", prompt_version="", approved_by=owner, approved_at=now),
        report=report,
        fingerprint=digest,
        now=now,
        not_before=body.not_before,
        expires_at=body.expires_at,
    )._replace(lifetime=None if body.queue else AT_ONCE)


def compose(
    *,
    record_id: str,
    request_id: str,
    owner: str,
    account_id: str,
    recipient_id: str,
    text: str,
    message_type: MessageType,
    priority: Priority,
    origin: MessageOrigin,
    report: ComplianceReport,
    fingerprint: str,
    now: datetime,
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
    part_of: str = "",
) -> Draft:
    """A record of one recipient and its message, ready to be queued. The text is kept in the message alone.

    ``part_of``: the campaign that it belongs to.
    """
    record = CampaignRecord(
        campaign_id=record_id,
        request_id=request_id,
        owner=owner,
        type=IntentType.DIRECT_MESSAGE,
        message_type=message_type,
        compliance_level=ComplianceLevel.STRICT,
        priority=priority,
        preferred_provider=PreferredProvider.AUTO,
        brief="",
        account_id=account_id,
        lanes=(Lane(account_id=account_id, audience=1, pages=1),),
        audience_size=1,
        page_size=1,
        fingerprint=fingerprint,
        created_at=now,
        status=CampaignStatus.RUNNING,
        delivery=DeliveryTerms(times=DeliveryTimes(not_before=not_before, expires_at=expires_at)),
        part_of=part_of,
    )
    message = Message(
        message_id=UUID(record_id),
        campaign_id=record_id,
        account_id=account_id,
        recipient_id=recipient_id,
        page=0,
        message_type=message_type,
        status=MessageStatus.QUEUED,
        text=text,
        origin=origin,
        compliance=report,
        batch=0,
        expires_at=expires_at,
        updated_at=now,
    )
    return Draft(record=record, message=message)


async def store(draft: Draft, ports: Ports, *, keyed: bool = True) -> Stored:
    """Store a message once; raises ``Conflict`` when its key belongs to another request.

    ``keyed``: whoever asks for it can ask again without asking for a second one.
    """
    record = await ports.campaigns.create(draft.record, ())
    if record.fingerprint != draft.record.fingerprint:
        raise Conflict(
            "This Idempotency-Key was used before with a different body; use a new one for a new message.",
            field="Idempotency-Key",
        )
    message = draft.message
    if draft.lifetime is not None:
        # From when it was stored first: a repetition does not get more time.
        message = message.model_copy(update={"expires_at": record.created_at + draft.lifetime})
    await ports.handovers.create(message, keyed=keyed)
    return Stored(record, await stored_message(record, ports), record.created_at != draft.record.created_at)


async def enqueue(stored: Stored, queues: SendQueues, *, again: str = "") -> None:
    """Hand a message over; one that is in the queue already stays where it is, one that has ended is left alone.

    ``again`` as in ``domain.ports.SendQueues``.
    """
    record, message = stored.record, stored.message
    if message.status is not MessageStatus.QUEUED:
        return
    await queues.enqueue(record.account_id, batch_of(record, message), again=again)


async def stored_message(record: CampaignRecord, ports: Ports) -> Message:
    """The message of a record, read consistently."""
    message_id = UUID(record.campaign_id)
    found = await ports.messages.get_many(record.campaign_id, [message_id])
    if message_id not in found:
        # Its creation was interrupted; the caller was told to repeat it.
        raise NotFound("The message was not stored completely; repeat the request with the same Idempotency-Key.")
    return found[message_id]


async def wait_for_end(record: CampaignRecord, ports: Ports, timeout_s: float) -> Message:
    """The message as soon as it has ended, or as it is when the time is over."""
    until = monotonic() + timeout_s
    pause_s = _FIRST_POLL_S
    while True:
        message = await stored_message(record, ports)
        left_s = until - monotonic()
        if message.status.is_terminal or left_s <= 0:
            return message
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _SLOWEST_POLL_S)


async def cancel(campaign: str, message: Message, user_id: str, ports: Ports, queues: SendQueues) -> None:
    """End a message that was not handed to the gateway yet; raises ``Conflict`` for every other one."""
    target = MessageStatus.CANCELLED
    if message.status is not target:
        reason = f"cancelled_by:{user_id}"
        if await ports.messages.transition(campaign, [message.message_id], target, reason=reason) == 0:
            now = (await ports.messages.get_many(campaign, [message.message_id]))[message.message_id]
            raise Conflict(f"The message can't be cancelled any more: it is {_told(now)}.")
    # Also on a repetition: the queue may not have heard of the first one.
    await queues.drop_message(message.account_id, message.message_id)


def _told(message: Message) -> str:
    said = {
        MessageStatus.SENDING: "being sent at this moment, or its outcome is being found out",
        MessageStatus.SENT: "sent; what is still young enough can be recalled",
    }.get(message.status, str(message.status))
    return f"{said} ({message.reason})" if message.reason else said
