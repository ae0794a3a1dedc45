"""What an account's late recipients get instead of their own messages: one call for all of them, or nothing.

One of the recipients stands for all: the delivery of messages delivers to that one, and the only difference is that
its call goes to everybody. So the one call has a slot, the gate, the idempotency key, retries and read-backs like
every other message, and the others end as that one ended. No recipient can be taken out meanwhile, because all are
``sending`` before the call is made: whoever is named in it is who gets it. Before, those are left out whose own limits
are used up (``activities.mass_message``). The first one alone is ``queued`` again after a call that was certainly not
made; should it be cancelled by then, the next one stands for all.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import NamedTuple
from uuid import UUID

from pydantic import Field
from temporalio import activity

from activities.delivery import DeliveryActivities, DeliveryPorts, is_open, look_for
from activities.failure import heartbeating, translated
from activities.mass_message import (
    ARRIVES_WITHIN_MS,
    LEFT_OUT,
    NOBODY,
    Call,
    Fan,
    OneCall,
    Reach,
    ended,
    finish,
    reachable,
)
from domain import rate_limit
from domain.alternative import AlternativeAction, origin_of
from domain.campaign import CampaignRecord, CampaignStatus, mass_message_key
from domain.compliance import check
from domain.delivery import Delivered, Message, MessageStatus, is_expired, message_id
from domain.errors import DependencyUnavailable, NotFound
from domain.model import AccountId, Model
from domain.ports import CampaignStore, GateState, SendQueues
from domain.send_queue import Candidate, DeliveryReport, DeliveryRound

CLOSED_WAIT_MS = 600_000
"""How long to wait for an account that a person paused, or for a limit of 0, before looking again."""

LIMITER_AWAY_WAIT_MS = 5_000

CAMPAIGN_CANCELLED = "campaign_cancelled"
"""Why everybody is cancelled; a message that was cancelled for another reason was cancelled alone."""

_SETTLED_AT_ONCE = 100

_ALIVE = frozenset({CampaignStatus.RUNNING, CampaignStatus.PAUSED, CampaignStatus.PLANNING})


class TakeAlternative(Model):
    """Give the recipients of an account from a page on the alternative action of their campaign.

    ``withdrawn``: also those on earlier pages whose messages were withdrawn for it. ``batches``: what the send queue
    still holds of the campaign; it is told which of these have ended.
    """

    campaign_id: str
    account_id: AccountId
    from_page: int = Field(ge=0)
    pages: int = Field(ge=1)
    action: AlternativeAction
    withdrawn: bool = False
    batches: tuple[int, ...] = ()

    @property
    def reach(self) -> range:
        """Pages on which there may be recipients of it."""
        return range(0 if self.withdrawn else self.from_page, self.pages)


class AlternativeTaken(Model):
    """How the recipients ended; or, as long as ``done`` is false, how long to wait and for what.

    ``counts``: of the pages that were never drafted; after a withdrawal, of all that never were in the send queue.
    """

    done: bool
    counts: dict[MessageStatus, int] = Field(default_factory=dict)
    wait_ms: int = 0
    reason: str = ""


class _End(NamedTuple):
    status: MessageStatus
    reason: str


class _Standing(NamedTuple):
    """Who stands for all (``None``: nobody is in the call), and who waits, in the order of the audience."""

    first: Message | None
    waiting: tuple[Fan, ...]


class AlternativeActivities:
    """Methods for recipients who would be reached after a campaign's deadline."""

    def __init__(self, campaigns: CampaignStore, ports: DeliveryPorts, queues: SendQueues) -> None:
        self._campaigns = campaigns
        self._ports = ports
        self._queues = queues

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
                standing = await self._standing(request, record)
            first = None if standing is None else standing.first
            if standing is not None and first is not None and not first.status.is_terminal:
                waits = await self._call(request, first, standing.waiting)
                first = await self._stored(request.campaign_id, first.message_id)
                if first is not None and (not first.status.is_terminal or _is_out(first)):
                    return waits or AlternativeTaken(done=False, wait_ms=1)
            if first is not None:
                await self._follow(request, record, first)
            return AlternativeTaken(done=True, counts=await self._ended(request))

    async def _not_yet(self, record: CampaignRecord, gate: GateState) -> AlternativeTaken | None:
        """Why the call can't be made now, if so: then nobody is marked as being sent to for hours."""
        if record.in_force is not CampaignStatus.RUNNING:
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

    async def _call(self, request: TakeAlternative, first: Message, waiting: Sequence[Fan]) -> AlternativeTaken | None:
        """Call, and tell how long to wait should that not have been the end."""
        key = mass_message_key(request.campaign_id, request.account_id)
        # Once more: to store an audience may have taken minutes.
        gate = await self._ports.gate.read(request.account_id, [request.campaign_id])
        # Delivery ends what has to end, and sees to it that nothing is sent meanwhile; to nobody no call is made.
        reach = NOBODY
        if request.action is not AlternativeAction.MASS_MESSAGE:
            reach = Reach(reached=tuple(waiting), until=inf)
        elif _may_call(gate, first, datetime.now(UTC)):
            try:
                reach = await reachable(self._ports, gate.limits, waiting, key)
            except DependencyUnavailable:
                return AlternativeTaken(done=False, wait_ms=LIMITER_AWAY_WAIT_MS, reason="limiter_unavailable")
        call = OneCall(self._ports, request.action, request.campaign_id, reach, key)
        try:
            if reach.left_out and is_open(first):
                return await self._look_for(first)
            await self._leave_out(request.campaign_id, reach.left_out)
            if reach.reached:
                first = await self._stored(request.campaign_id, reach.reached[0].message_id) or first
            elif reach is not NOBODY:
                return None
            report = await self._deliver(first, call)
            return _waiting(report, call_is_open=call.state is Call.OPEN or is_open(first))
        finally:
            await asyncio.shield(finish(self._ports, reach.leases, call.state))

    async def _deliver(self, first: Message, call: OneCall) -> DeliveryReport:
        one = Candidate(campaign_id=first.campaign_id, message_id=first.message_id)
        # What such a call leaves open may arrive for longer than what goes to one fan.
        ports = replace(self._ports, gateway=call, for_many=True, lease_ms=_arrives_within_ms(self._ports))
        delivery = DeliveryActivities(ports)
        return await delivery.deliver(DeliveryRound(account_id=first.account_id, candidates=(one,)))

    async def _look_for(self, first: Message) -> AlternativeTaken | None:
        """A call that may have arrived and can't be repeated now: once it certainly did not, others can be left out."""
        # Before, a chat without it proves nothing.
        report = await look_for(self._ports, first, _arrives_within_ms(self._ports))
        return None if report is None else _waiting(report, call_is_open=True)

    async def _leave_out(self, campaign_id: str, fans: Sequence[Fan]) -> None:
        """Fans without room end here, in one step: nobody is in a state meanwhile in which they could be cancelled."""
        for start in range(0, len(fans), _SETTLED_AT_ONCE):
            ids = [fan.message_id for fan in fans[start : start + _SETTLED_AT_ONCE]]
            messages = (await self._ports.messages.get_many(campaign_id, ids)).values()
            sending = [message for message in messages if message.status is MessageStatus.SENDING]
            await self._ports.messages.settle([ended(each, MessageStatus.SKIPPED, LEFT_OUT) for each in sending])
            # The one that stood for all until now may be queued.
            queued = [message.message_id for message in messages if message.status is MessageStatus.QUEUED]
            await self._ports.messages.transition(campaign_id, queued, MessageStatus.SKIPPED, reason=LEFT_OUT)

    async def _follow(self, request: TakeAlternative, record: CampaignRecord, first: Message) -> None:
        """Everybody ends as the first one did, page by page; ends that are there already stay."""
        sent = first.status is MessageStatus.SENT
        receipt = Delivered(platform_message_id=first.platform_message_id or "", created_at=first.sent_at)
        reason = request.action.message_reason if sent else first.reason
        for page in request.reach:
            own, _ = await self._page(request, record, page)
            await self._ports.messages.settle(
                [
                    ended(message, first.status, reason, delivered=receipt if sent else None)
                    for message in own
                    if not message.status.is_terminal
                ]
            )

    async def _create(self, request: TakeAlternative, record: CampaignRecord, end: _End) -> None:
        """Those that are missing: a process that ended in between has stored some."""
        for page in range(request.from_page, request.pages):
            audience = await self._campaigns.audience_page(request.campaign_id, request.account_id, page)
            rows = [_message(request, record, page, recipient.recipient_id, end) for recipient in audience.recipients]
            await self._ports.messages.create_many(rows)

    async def _standing(self, request: TakeAlternative, record: CampaignRecord) -> _Standing | None:
        """``None``: not all of them are stored yet. Of an audience no more is kept than what the call needs."""
        first: Message | None = None
        waiting: list[Fan] = []
        for page in request.reach:
            messages, complete = await self._page(request, record, page)
            if not complete:
                return None
            first = first or next((message for message in messages if not _is_out(message)), None)
            waiting += (Fan(each.message_id, each.recipient_id) for each in messages if not each.status.is_terminal)
        return _Standing(first, tuple(waiting))

    async def _stored(self, campaign_id: str, key: UUID) -> Message | None:
        return (await self._ports.messages.get_many(campaign_id, [key])).get(key)

    async def _page(self, request: TakeAlternative, record: CampaignRecord, page: int) -> tuple[list[Message], bool]:
        """A page's messages in the order of the audience, but for those that were written for their recipient.

        And whether every recipient of the page has a message, of whichever kind.
        """
        audience = await self._campaigns.audience_page(request.campaign_id, request.account_id, page)
        ids = [_id(request, recipient.recipient_id) for recipient in audience.recipients]
        stored = await self._ports.messages.get_many(request.campaign_id, ids)
        origin = origin_of(request.action, record.owner)
        own = [stored[key] for key in ids if key in stored and stored[key].origin == origin]
        return own, len(stored) == len(set(ids))

    async def _ended(self, request: TakeAlternative) -> dict[MessageStatus, int]:
        """How the recipients ended; the send queue settles those that it holds."""
        counts: dict[MessageStatus, int] = {}
        held: list[UUID] = []
        for outline in await self._ports.messages.outlines(request.campaign_id, request.account_id):
            if outline.batch is None if request.withdrawn else outline.page >= request.from_page:
                counts[outline.status] = counts.get(outline.status, 0) + 1
            if outline.batch in request.batches and outline.status.is_terminal:
                held.append(outline.message_id)
        for key in held:
            await self._queues.drop_message(request.account_id, key)
        return counts


def _arrives_within_ms(ports: DeliveryPorts) -> int:
    """How long after it was made a call of unknown outcome may still arrive."""
    return max(ports.lease_ms, ARRIVES_WITHIN_MS)


def _is_out(message: Message) -> bool:
    """Whether a fan is in no call any more, and nobody else is concerned by that: left out, or cancelled alone."""
    alone = message.status is MessageStatus.CANCELLED and message.reason != CAMPAIGN_CANCELLED
    return alone or (message.status is MessageStatus.SKIPPED and message.reason == LEFT_OUT)


def _may_call(gate: GateState, first: Message, now: datetime) -> bool:
    """Whether slots are worth taking; delivery has the last word."""
    campaign = gate.campaigns.get(first.campaign_id)
    running = campaign is not None and campaign.status is CampaignStatus.RUNNING
    return running and gate.control.state.sends and not is_expired(first, now)


def _end_without_a_call(action: AlternativeAction, record: CampaignRecord, now: datetime) -> _End | None:
    """How recipients end whom no call reaches; ``None``: one is to be made."""
    if record.in_force not in _ALIVE:
        return _End(MessageStatus.CANCELLED, CAMPAIGN_CANCELLED)
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
        origin=origin_of(request.action, record.owner),
        expires_at=record.delivery.times.expires_at,
        updated_at=datetime.now(UTC),
    )
