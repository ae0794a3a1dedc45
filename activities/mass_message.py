"""One call that reaches many fans: whom it may reach, and the slots that it takes for them.

The limits of each fan count it. A fan whose own limit is used up is left out, once and for all, as long as no earlier
call may have arrived; a call that may have is repeated to the same fans or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from math import inf
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from temporalio import activity

from activities.delivery import DeliveryPorts
from domain.alternative import AlternativeAction
from domain.compliance import check
from domain.delivery import REFUSALS, Attempt, Delivered, Message, MessageStatus, Outcome
from domain.errors import GatewayError, GatewayFault, HuntazeError
from domain.rate_limit import AccountLimits, Layer, Lease, Slot, recipient_caps

LEFT_OUT = f"rate_limit:{Layer.RECIPIENT}"
"""Why a fan was skipped whose own limit was used up."""

ARRIVES_WITHIN_MS = 60_000
"""How long the platform may take to bring a mass message into the chats after it has taken the call."""

MS_A_FAN = 5
"""How much longer the slots of fans count for each of them: taking many takes time, all before the call."""


class Call(StrEnum):
    """What is known of a call that was to be made."""

    NOT_MADE = "not_made"
    OPEN = "open"
    ARRIVED = "arrived"


class Fan(NamedTuple):
    """A recipient who waits for the call, and that recipient's message."""

    message_id: UUID
    recipient_id: str


class Reach(NamedTuple):
    """Whom a call may reach now. ``until``: the moment (monotonic, s) at which it has to be over."""

    reached: tuple[Fan, ...] = ()
    left_out: tuple[Fan, ...] = ()
    leases: tuple[Lease, ...] = ()
    until: float = -inf


NOBODY = Reach()


async def reachable(ports: DeliveryPorts, limits: AccountLimits, fans: Sequence[Fan], call: UUID) -> Reach:
    """Slots for those who have room. ``call``: its idempotency key. Raises ``DependencyUnavailable``."""
    since = monotonic()
    call_ms = ports.lease_ms + MS_A_FAN * len(fans)
    grants = await ports.limiter.reserve_fans(
        limits.account_id,
        [fan.recipient_id for fan in fans],
        recipient_caps(ports.policy, limits),
        call=call,
        lease_ms=call_ms + ARRIVES_WITHIN_MS,
    )
    return Reach(
        reached=tuple(fan for fan in fans if fan.recipient_id not in grants.denied),
        left_out=tuple(fan for fan in fans if fan.recipient_id in grants.denied),
        leases=grants.leases,
        until=since + call_ms / 1000 - ports.grace_s,
    )


async def finish(ports: DeliveryPorts, leases: Sequence[Lease], call: Call) -> None:
    """The slots of fans after the call: they count from when it has arrived at the latest.

    Those of a call that is still open count to the end of their leases.
    """
    try:
        if call is Call.NOT_MADE:
            await ports.limiter.release_fans(leases)
        elif call is Call.ARRIVED:
            for lease in leases:
                await ports.limiter.confirm(lease, arrives_within_ms=ARRIVES_WITHIN_MS)
    except HuntazeError:
        activity.logger.warning("limiter or store unavailable: slots of fans keep their leases")


@dataclass
class OneCall:
    """The gateway as delivery sees it: what is sent to the first recipient goes to all of them. ``key``: the call's."""

    ports: DeliveryPorts
    action: AlternativeAction
    campaign_id: str
    reach: Reach
    key: UUID
    state: Call = Call.NOT_MADE

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
        if self.reach.until - monotonic() < self.ports.send_timeout_s:
            raise GatewayError("the slots of the fans could end before the call", fault=GatewayFault.TRANSIENT)
        self.state = Call.OPEN
        try:
            delivered = await self.send_mass(
                account_id=account_id,
                recipient_ids=[fan.recipient_id for fan in self.reach.reached],
                text=text,
                key=self.key,
                screening=screening,
                save_for_later=self.action is AlternativeAction.SAVE_FOR_LATER,
            )
        except GatewayError as error:
            if error.fault in REFUSALS or error.fault is GatewayFault.TRANSIENT:
                self.state = Call.NOT_MADE
            raise
        self.state = Call.ARRIVED
        # No message in a chat bears the id of the call, so none can be unsent by it.
        delivered = delivered.model_copy(update={"cancel_seconds": None})
        await self._end_first(delivered)
        return delivered

    async def _end_first(self, delivered: Delivered) -> None:
        """What delivery would note of a message of one fan is not the end of one that stands for all."""
        fan = self.reach.reached[0]
        first = (await self.ports.messages.get_many(self.campaign_id, [fan.message_id]))[fan.message_id]
        saved = self.action is AlternativeAction.SAVE_FOR_LATER
        status = MessageStatus.SKIPPED if saved else MessageStatus.SENT
        end = ended(first, status, self.action.message_reason, delivered=None if saved else delivered)
        await self.ports.messages.settle([end])

    async def unsend(self, *, account_id: str, recipient_id: str, platform_message_id: str) -> None:
        await self.ports.gateway.unsend(
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
        return await self.ports.gateway.send_mass(
            account_id=account_id,
            recipient_ids=recipient_ids,
            text=text,
            key=key,
            screening=screening,
            save_for_later=save_for_later,
        )

    async def find_sent(self, *, account_id: str, recipient_id: str, text: str, since: datetime) -> Sequence[Delivered]:
        return await self.ports.gateway.find_sent(
            account_id=account_id, recipient_id=recipient_id, text=text, since=since
        )


def ended(message: Message, status: MessageStatus, reason: str, *, delivered: Delivered | None = None) -> Outcome:
    """``sending`` → the end of a message, without a step in between in which somebody could take it out.

    A message that was tried once more since it was read stays, unless it was ``sent``.
    """
    # The slot belongs to the attempt that delivery began; the count of attempts says which one that is.
    slot = Slot(lease_id="", account_id=message.account_id, message_type=message.message_type, counts_at_us=0)
    before = message.model_copy(update={"attempts": message.attempts - 1})
    return Outcome(
        attempt=Attempt(message=before, slot=slot),
        status=status,
        reason=reason,
        delivered=delivered,
        attempts=message.attempts,
        failures=message.failures,
        at=datetime.now(UTC),
    )
