"""What an account's late recipients get instead of their own messages: one call for all of them, or nothing.

One of the recipients stands for all: the delivery of messages delivers to that one, and the only difference is that
its call goes to everybody. So the one call has a slot, the gate, the idempotency key, retries and read-backs like
every other message, and the others end as that one ended. No recipient can be taken out meanwhile, because all are
``sending`` before the call is made: whoever is named in it is who gets it. Before, those are left out whose own limits
are used up (``activities.mass_message``).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import NamedTuple
from uuid import UUID

from pydantic import Field
from temporalio import activity

from activities.delivery import DeliveryActivities, DeliveryPorts
from activities.failure import heartbeating, translated
from activities.mass_message import LEFT_OUT, Call, OneCall, Reach, finish, is_left_out, is_open, outcome, reachable
from domain import rate_limit
from domain.alternative import AlternativeAction
from domain.campaign import CampaignRecord, CampaignStatus
from domain.compliance import check
from domain.delivery import Delivered, Message, MessageOrigin, MessageStatus, Outcome, message_id
from domain.errors import DependencyUnavailable, NotFound
from domain.model import AccountId, Model
from domain.ports import CampaignStore, GateState
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
            standing = await self._standing(request, record)
            if standing is None:
                end = _end_without_a_call(request.action, record, datetime.now(UTC))
                waiting = None if end else await self._not_yet(record, gate)
                if waiting is not None:
                    return waiting
                await self._create(request, record, end or _End(MessageStatus.SENDING, request.action.message_reason))
                standing = await self._standing(request, record) or []
            first = _first(standing)
            if first is not None and not first.status.is_terminal:
                waits = await self._call(request, record, gate, standing)
                first = _first(await self._standing(request, record) or [])
                if first is not None and not first.status.is_terminal:
                    return waits or AlternativeTaken(done=False, wait_ms=1)
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

    async def _call(
        self, request: TakeAlternative, record: CampaignRecord, gate: GateState, standing: Sequence[Message]
    ) -> AlternativeTaken | None:
        """Call, and tell how long to wait should that not have been the end."""
        waiting = [message for message in standing if not message.status.is_terminal]
        reaches_fans = request.action is AlternativeAction.MASS_MESSAGE
        # Delivery ends what has to end, and sees to it that nothing is sent meanwhile; without slots no call is made.
        reach = Reach(tuple(waiting), until=-inf if reaches_fans else inf)
        if reaches_fans and record.status is CampaignStatus.RUNNING and gate.control.state.sends:
            try:
                reach = await reachable(self._ports, gate.limits, waiting)
            except DependencyUnavailable:
                return AlternativeTaken(done=False, wait_ms=LIMITER_AWAY_WAIT_MS, reason="limiter_unavailable")
        if reach.left_out and is_open(waiting[0]):
            await finish(self._ports, reach.leases, Call.NOT_MADE)
            wait_ms = CLOSED_WAIT_MS if reach.wait_ms is None else max(1, reach.wait_ms)
            return AlternativeTaken(done=False, wait_ms=wait_ms, reason=LEFT_OUT)
        await self._leave_out(request.campaign_id, reach)
        return await self._deliver(request, reach) if reach.reached else None

    async def _leave_out(self, campaign_id: str, reach: Reach) -> None:
        """Fans without room end here, and everybody else is ``sending``, also after a process that ended in between."""
        out = [message.message_id for message in reach.left_out]
        await self._ports.messages.transition(campaign_id, out, MessageStatus.QUEUED)
        await self._ports.messages.transition(campaign_id, out, MessageStatus.SKIPPED, reason=LEFT_OUT)
        back = [message.message_id for message in reach.reached[1:] if message.status is MessageStatus.QUEUED]
        await self._ports.messages.transition(campaign_id, back, MessageStatus.SENDING)

    async def _deliver(self, request: TakeAlternative, reach: Reach) -> AlternativeTaken:
        first = reach.reached[0]
        call = OneCall(self._ports, request.action, reach)
        one = Candidate(campaign_id=first.campaign_id, message_id=first.message_id)
        delivery = DeliveryActivities(replace(self._ports, gateway=call))
        report = await delivery.deliver(DeliveryRound(account_id=request.account_id, candidates=(one,)))
        await finish(self._ports, reach.leases, call.state)
        return _waiting(report, call_is_open=call.state is Call.OPEN or is_open(first))

    async def _follow(self, request: TakeAlternative, record: CampaignRecord, first: Message) -> None:
        """Everybody ends as the first one did, page by page; ends that are there already stay."""
        for page in range(request.from_page, request.pages):
            own, _ = await self._page(request, record, page)
            messages = [message for message in own if not message.status.is_terminal]
            ids = [message.message_id for message in messages]
            if first.status is MessageStatus.SENT:
                await self._ports.messages.settle([_as_sent(message, first, request.action) for message in messages])
                continue
            if first.status in {MessageStatus.CANCELLED, MessageStatus.SKIPPED}:
                # It is known by now that nothing was sent to anybody.
                await self._ports.messages.transition(request.campaign_id, ids, MessageStatus.QUEUED)
            await self._ports.messages.transition(request.campaign_id, ids, first.status, reason=first.reason)

    async def _create(self, request: TakeAlternative, record: CampaignRecord, end: _End) -> None:
        """Those that are missing: a process that ended in between has stored some."""
        for page in range(request.from_page, request.pages):
            audience = await self._campaigns.audience_page(request.campaign_id, request.account_id, page)
            rows = [_message(request, record, page, recipient.recipient_id, end) for recipient in audience.recipients]
            await self._ports.messages.create_many(rows)

    async def _standing(self, request: TakeAlternative, record: CampaignRecord) -> list[Message] | None:
        """All of them, in the order of the audience; ``None``: not all of them are stored yet."""
        standing: list[Message] = []
        for page in range(request.from_page, request.pages):
            messages, complete = await self._page(request, record, page)
            if not complete:
                return None
            standing += messages
        return standing

    async def _page(self, request: TakeAlternative, record: CampaignRecord, page: int) -> tuple[list[Message], bool]:
        """A page's messages in the order of the audience, but for those that were written for their recipient.

        And whether every recipient of the page has a message, of whichever kind.
        """
        audience = await self._campaigns.audience_page(request.campaign_id, request.account_id, page)
        ids = [_id(request, recipient.recipient_id) for recipient in audience.recipients]
        stored = await self._ports.messages.get_many(request.campaign_id, ids)
        origin = _origin(request.action, record)
        own = [stored[key] for key in ids if key in stored and stored[key].origin == origin]
        return own, len(stored) == len(set(ids))

    async def _counts(self, request: TakeAlternative) -> dict[MessageStatus, int]:
        counts: dict[MessageStatus, int] = {}
        for outline in await self._ports.messages.outlines(request.campaign_id, request.account_id):
            if outline.page >= request.from_page:
                counts[outline.status] = counts.get(outline.status, 0) + 1
        return counts


def _first(standing: Sequence[Message]) -> Message | None:
    """The recipient who stands for all; ``None``: nobody is in the call."""
    return next((message for message in standing if not is_left_out(message)), None)


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


def _as_sent(message: Message, first: Message, action: AlternativeAction) -> Outcome:
    delivered = Delivered(platform_message_id=first.platform_message_id or "", created_at=first.sent_at)
    return outcome(message, action, delivered)
