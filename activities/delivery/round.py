"""Sending as many messages of an account as its limits admit right now."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from temporalio import activity

from activities.delivery.findings import Findings
from activities.delivery.outcomes import Outcomes
from activities.delivery.ports import DeliveryPorts
from activities.delivery.sender import Sender
from activities.failure import heartbeating, translated
from domain.alternative import is_taken
from domain.campaign import CampaignStatus
from domain.delivery import (
    SESSION_PROBE_AFTER,
    AccountState,
    Message,
    MessageStatus,
    is_expired,
)
from domain.ports import GateState
from domain.send_queue import Candidate, DeliveryReport, DeliveryRound

TAKEN_WAIT_MS = 60_000
"""How long a queue leaves alone what its campaign's alternative action took, until it is told how that ended."""


class DeliveryActivities:
    """The only code that sends to one fan at a time."""

    def __init__(self, ports: DeliveryPorts) -> None:
        self._ports = ports

    @activity.defn(name="delivery.deliver")
    @translated
    async def deliver(self, request: DeliveryRound) -> DeliveryReport:
        """Send the candidates in order until a limit binds; whatever was interrupted is told by the store."""
        found = Findings()
        async with heartbeating():
            gate = await self._ports.gate.read(
                request.account_id, sorted({candidate.campaign_id for candidate in request.candidates})
            )
            messages = await self._stored(request.candidates)
            sendable: list[Message] = []
            for candidate in request.candidates:
                if found.stopped:
                    # Reading a chat has shown that the account has to wait.
                    sendable = []
                    break
                message = messages.get(candidate.message_id)
                if message is None or candidate.campaign_id not in gate.campaigns:
                    # Erased meanwhile: there is nothing to send, and the queue of the account must go on.
                    found.settle(candidate.message_id, MessageStatus.CANCELLED)
                elif self._is_with_others(message, gate):
                    found.defer(candidate.message_id, TAKEN_WAIT_MS, "alternative")
                elif not await self._has_ended(message, gate, found):
                    sendable.append(message)
            sendable = _while_account_sends(sendable, gate, found)
            probing = gate.control.state is AccountState.SESSION_EXPIRED
            await Sender(self._ports, request.account_id, found, probing=probing).send(sendable)
            ended = {settled.message_id for settled in found.settled}
            found.reconcile(await self._stored([each for each in request.candidates if each.message_id in ended]))
        return found.report()

    def _is_with_others(self, message: Message, gate: GateState) -> bool:
        """Whether an alternative action is going to end the message: one does as long as its campaign goes on."""
        goes_on = not gate.campaigns[message.campaign_id].status.is_final
        return is_taken(message) and goes_on and not message.status.is_terminal and not self._ports.for_many

    async def _has_ended(self, message: Message, gate: GateState, found: Findings) -> bool:
        """Whether there is nothing to send any more, or not now; ends what must end."""
        campaign = gate.campaigns[message.campaign_id]
        status = campaign.status
        if message.status.is_terminal:
            found.settle(message.message_id, message.status)
        elif status not in {CampaignStatus.RUNNING, CampaignStatus.PAUSED, CampaignStatus.PLANNING}:
            await self._outcomes(message, found).end(message, MessageStatus.CANCELLED, "campaign_cancelled")
        elif is_expired(message, datetime.now(UTC)):
            await self._outcomes(message, found).end(message, MessageStatus.SKIPPED, "expired")
        elif status is not CampaignStatus.RUNNING:
            found.pause(message, campaign)
        else:
            return False
        return True

    def _outcomes(self, message: Message, found: Findings) -> Outcomes:
        return Sender(self._ports, message.account_id, found).outcomes

    async def _stored(self, candidates: Sequence[Candidate]) -> dict[UUID, Message]:
        stored: dict[UUID, Message] = {}
        for campaign_id, ids in _by_campaign(candidates).items():
            stored |= await self._ports.messages.get_many(campaign_id, ids)
        return stored


def _while_account_sends(messages: list[Message], gate: GateState, found: Findings) -> list[Message]:
    """What may be tried: everything, nothing, or, of an account whose session expired, now and then one."""
    control = gate.control
    if control.state.sends or not messages:
        return messages
    if control.state is AccountState.SESSION_EXPIRED and control.changed_at is not None:
        probe_at = control.changed_at + SESSION_PROBE_AFTER
        now = datetime.now(UTC)
        if now >= probe_at:
            return messages[:1]
        found.stop(int((probe_at - now).total_seconds() * 1000), f"account:{control.state}")
        return []
    found.sleep(f"account:{control.state}")
    return []


def _by_campaign(candidates: Iterable[Candidate]) -> dict[str, list[UUID]]:
    groups: dict[str, list[UUID]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.campaign_id, []).append(candidate.message_id)
    return groups
