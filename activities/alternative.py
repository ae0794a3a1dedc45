"""What an account's late recipients get instead of their own messages: one call for all of them, or nothing.

One of the recipients stands for all: the delivery of messages delivers to that one, and the only difference is that
its call goes to everybody. So the one call has a slot, the gate, the idempotency key, retries and read-backs like
every other message, and the others end as that one ended. No recipient can be taken out meanwhile, because all are
``sending`` before the call is made: whoever is named in it is who gets it.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from pydantic import Field
from temporalio import activity

from activities.delivery import DeliveryActivities, DeliveryPorts
from activities.failure import heartbeating, translated
from domain import rate_limit
from domain.alternative import AlternativeAction
from domain.campaign import CampaignRecord, CampaignStatus, mass_message_key
from domain.compliance import check
from domain.delivery import Attempt, Delivered, Message, MessageOrigin, MessageStatus, Outcome, message_id
from domain.errors import DependencyUnavailable, GatewayError, GatewayFault, NotFound
from domain.model import AccountId, Model
from domain.ports import CampaignStore, GateState, Gateway, MessageStore
from domain.rate_limit import Slot
from domain.send_queue import Candidate, DeliveryReport, DeliveryRound

CLOSED_WAIT_MS = 600_000
"""How long to wait for an account that a person paused, or for a limit of 0, before looking again."""

LIMITER_AWAY_WAIT_MS = 5_000

ARRIVES_WITHIN_MS = 60_000
"""How long the platform may take to bring a mass message into the chats: before, a chat without it proves nothing."""

_ALIVE = frozenset({CampaignStatus.RUNNING, CampaignStatus.PAUSED, CampaignStatus.PLANNING})


class TakeAlternative(Model):
    """Give the recipients of an account from a page on the alternative action of their campaign."""

    campaign_id: str
    account_id: AccountId
    from_page: int = Field(ge=0)
    pages: int = Field(ge=1)
    action: AlternativeAction


class AlternativeTaken(Model):
    """How the recipients ended; or, as long as ``done`` is false, how long to wait and for what."""

    done: bool
    counts: dict[MessageStatus, int] = Field(default_factory=dict)
    wait_ms: int = 0
    reason: str = ""


class _End(NamedTuple):
    status: MessageStatus
    reason: str


class AlternativeActivities:
    """Methods for recipients who would be reached after a campaign's deadline."""

    def __init__(self, campaigns: CampaignStore, ports: DeliveryPorts) -> None:
        self._campaigns = campaigns
        self._ports = ports

    @activity.defn(name="delivery.alternative")
    @translated
    async def take(self, request: TakeAlternative) -> AlternativeTaken:
        """Idempotent. Nothing is stored before a slot is in sight; from then on the stored messages tell the rest."""
        async with heartbeating():
            gate = await self._ports.gate.read(request.account_id, [request.campaign_id])
            record = await self._campaigns.get(request.campaign_id)
            if record is None:
                raise NotFound(f"campaign {request.campaign_id} is not in the store")
            first = await self._first(request, record)
            if first is None:
                end = _end_without_a_call(request.action, record, datetime.now(UTC))
                waiting = None if end else await self._not_yet(record, gate)
                if waiting is not None:
                    return waiting
                await self._create(request, record, end or _End(MessageStatus.SENDING, request.action.message_reason))
                first = await self._first(request, record)
            if first is not None and not first.status.is_terminal:
                report = await self._deliver(request, record, first)
                first = await self._first(request, record)
                if first is not None and not first.status.is_terminal:
                    return _waiting(report, call_is_open=first.attempts > 0)
            if first is not None:
                await self._follow(request, record, first)
            return AlternativeTaken(done=True, counts=await self._counts(request))

    async def _not_yet(self, record: CampaignRecord, gate: GateState) -> AlternativeTaken | None:
        """Why the call can't be made now, if so: then nobody is marked as being sent to for hours."""
        if record.status is not CampaignStatus.RUNNING:
            return AlternativeTaken(done=False, wait_ms=CLOSED_WAIT_MS, reason="campaign_paused")
        account = gate.control
        if not account.state.sends:
            return AlternativeTaken(done=False, wait_ms=CLOSED_WAIT_MS, reason=f"account:{account.state}")
        windows = rate_limit.windows(
            self._ports.policy, gate.limits, datetime.now(UTC), message_type=record.message_type, recipient_id=None
        )
        try:
            answer = await self._ports.limiter.check(account.account_id, windows)
        except DependencyUnavailable:
            return AlternativeTaken(done=False, wait_ms=LIMITER_AWAY_WAIT_MS, reason="limiter_unavailable")
        if answer.would_grant:
            return None
        wait_ms = CLOSED_WAIT_MS if answer.retry_after_ms is None else max(1, answer.retry_after_ms)
        return AlternativeTaken(done=False, wait_ms=wait_ms, reason=f"rate_limit:{answer.binding_layer}")

    async def _deliver(self, request: TakeAlternative, record: CampaignRecord, first: Message) -> DeliveryReport:
        recipients = [message.recipient_id async for message in self._messages(request, record)]
        call = _OneCall(self._ports.gateway, self._ports.messages, request.action, first, tuple(recipients))
        one = Candidate(campaign_id=first.campaign_id, message_id=first.message_id)
        delivery = DeliveryActivities(replace(self._ports, gateway=call))
        return await delivery.deliver(DeliveryRound(account_id=request.account_id, candidates=(one,)))

    async def _follow(self, request: TakeAlternative, record: CampaignRecord, first: Message) -> None:
        """Everybody ends as the first one did, page by page; ends that are there already stay."""
        for page in range(request.from_page, request.pages):
            messages = [
                message for message in await self._page(request, record, page) if not message.status.is_terminal
            ]
            ids = [message.message_id for message in messages]
            if first.status is MessageStatus.SENT:
                await self._ports.messages.settle([_as_sent(message, first, request.action) for message in messages])
                continue
            if first.status in {MessageStatus.CANCELLED, MessageStatus.SKIPPED}:
                # It is known by now that nothing was sent to anybody.
                await self._ports.messages.transition(request.campaign_id, ids, MessageStatus.QUEUED)
            await self._ports.messages.transition(request.campaign_id, ids, first.status, reason=first.reason)

    async def _create(self, request: TakeAlternative, record: CampaignRecord, end: _End) -> None:
        """From the last recipient to the first: whoever finds the first one finds all."""
        for page in reversed(range(request.from_page, request.pages)):
            audience = await self._campaigns.audience_page(request.campaign_id, request.account_id, page)
            rows = [_message(request, record, page, recipient.recipient_id, end) for recipient in audience.recipients]
            await self._ports.messages.create_many(rows[1:])
            await self._ports.messages.create_many(rows[:1])

    async def _first(self, request: TakeAlternative, record: CampaignRecord) -> Message | None:
        async for message in self._messages(request, record):
            return message
        return None

    async def _messages(self, request: TakeAlternative, record: CampaignRecord) -> AsyncIterator[Message]:
        for page in range(request.from_page, request.pages):
            for message in await self._page(request, record, page):
                yield message

    async def _page(self, request: TakeAlternative, record: CampaignRecord, page: int) -> list[Message]:
        """A page's messages in the order of the audience, but for those that were written for their recipient."""
        audience = await self._campaigns.audience_page(request.campaign_id, request.account_id, page)
        ids = [_id(request, recipient.recipient_id) for recipient in audience.recipients]
        stored = await self._ports.messages.get_many(request.campaign_id, ids)
        origin = _origin(request.action, record)
        return [stored[key] for key in ids if key in stored and stored[key].origin == origin]

    async def _counts(self, request: TakeAlternative) -> dict[MessageStatus, int]:
        counts: dict[MessageStatus, int] = {}
        for outline in await self._ports.messages.outlines(request.campaign_id, request.account_id):
            if outline.page >= request.from_page:
                counts[outline.status] = counts.get(outline.status, 0) + 1
        return counts


@dataclass(frozen=True)
class _OneCall:
    """The gateway as delivery sees it: what is sent to the first recipient goes to all of them."""

    gateway: Gateway
    messages: MessageStore
    action: AlternativeAction
    first: Message
    recipients: Sequence[str]

    async def send(  # the recipient and the key of one message are replaced by those of the call
        self,
        *,
        account_id: str,
        recipient_id: str,  # noqa: ARG002
        text: str,
        key: UUID,  # noqa: ARG002
        screening: str | None,
    ) -> Delivered:
        if check(text).blocked:
            # The rules may have changed since the recipients were marked: refused as the platform would refuse it.
            raise GatewayError("our rules forbid the text", fault=GatewayFault.BANNED_WORDS)
        delivered = await self.send_mass(
            account_id=account_id,
            recipient_ids=self.recipients,
            text=text,
            key=mass_message_key(self.first.campaign_id, account_id),
            screening=screening,
            save_for_later=self.action is AlternativeAction.SAVE_FOR_LATER,
        )
        # No message in a chat bears the id of the call, so none can be unsent by it.
        delivered = delivered.model_copy(update={"cancel_seconds": None})
        await self.messages.settle([_outcome(self.first, self.action, delivered)])
        return delivered

    async def unsend(self, *, account_id: str, recipient_id: str, platform_message_id: str) -> None:
        await self.gateway.unsend(
            account_id=account_id, recipient_id=recipient_id, platform_message_id=platform_message_id
        )

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
        return await self.gateway.send_mass(
            account_id=account_id,
            recipient_ids=recipient_ids,
            text=text,
            key=key,
            screening=screening,
            save_for_later=save_for_later,
        )

    async def find_sent(self, *, account_id: str, recipient_id: str, text: str, since: datetime) -> Delivered | None:
        return await self.gateway.find_sent(account_id=account_id, recipient_id=recipient_id, text=text, since=since)


def _end_without_a_call(action: AlternativeAction, record: CampaignRecord, now: datetime) -> _End | None:
    """How recipients end whom no call reaches; ``None``: one is to be made."""
    if record.status not in _ALIVE:
        return _End(MessageStatus.CANCELLED, "campaign_cancelled")
    if action is AlternativeAction.SKIP:
        return _End(MessageStatus.SKIPPED, action.message_reason)
    expires_at = record.delivery.times.expires_at
    if expires_at is not None and expires_at <= now:
        return _End(MessageStatus.SKIPPED, "expired")
    report = check(record.delivery.alternative_text)
    if report.blocked:
        rules = ",".join(violation.rule_id for violation in report.violations)
        return _End(MessageStatus.SKIPPED, f"compliance_violation:{rules}")
    return None


def _waiting(report: DeliveryReport, *, call_is_open: bool) -> AlternativeTaken:
    """How long the round asks to wait: the account, the type of message, or this very message."""
    if report.paused_campaigns:
        return AlternativeTaken(done=False, wait_ms=CLOSED_WAIT_MS, reason="campaign_paused")
    if report.until_woken:
        return AlternativeTaken(done=False, wait_ms=CLOSED_WAIT_MS, reason=report.reason)
    waits = [(report.wait_ms, report.reason)]
    waits += [(wait_ms, "rate_limit:message_type") for wait_ms in report.type_waits_ms.values()]
    waits += [(deferred.delay_ms, deferred.reason) for deferred in report.deferred]
    wait_ms, reason = max(waits)
    return AlternativeTaken(done=False, wait_ms=max(ARRIVES_WITHIN_MS if call_is_open else 1, wait_ms), reason=reason)


def _id(request: TakeAlternative, recipient_id: str) -> UUID:
    return message_id(request.campaign_id, request.account_id, recipient_id)


def _origin(action: AlternativeAction, record: CampaignRecord) -> MessageOrigin:
    """Whoever asked for the campaign wrote the text, and approved it by asking."""
    return MessageOrigin(provider="caller", model="", prompt_version=action.message_reason, approved_by=record.owner)


def _message(request: TakeAlternative, record: CampaignRecord, page: int, recipient_id: str, end: _End) -> Message:
    return Message(
        message_id=_id(request, recipient_id),
        campaign_id=request.campaign_id,
        account_id=request.account_id,
        recipient_id=recipient_id,
        page=page,
        message_type=record.message_type,
        status=end.status,
        reason=end.reason,
        text=record.delivery.alternative_text,
        origin=_origin(request.action, record),
        expires_at=record.delivery.times.expires_at,
        updated_at=datetime.now(UTC),
    )


def _outcome(message: Message, action: AlternativeAction, delivered: Delivered) -> Outcome:
    """The end of a recipient whom the call reached, or for whom the platform keeps it."""
    saved = action is AlternativeAction.SAVE_FOR_LATER
    # The slot belongs to the attempt that delivery began; the count of attempts says which one that is.
    slot = Slot(lease_id="", account_id=message.account_id, message_type=message.message_type, counts_at_us=0)
    return Outcome(
        attempt=Attempt(message=message, slot=slot),
        status=MessageStatus.SKIPPED if saved else MessageStatus.SENT,
        reason=action.message_reason,
        delivered=None if saved else delivered,
        attempts=message.attempts + 1,
        at=datetime.now(UTC),
    )


def _as_sent(message: Message, first: Message, action: AlternativeAction) -> Outcome:
    delivered = Delivered(platform_message_id=first.platform_message_id or "", created_at=first.sent_at)
    return _outcome(message, action, delivered)
