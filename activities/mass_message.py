"""One call that reaches many fans: whom it may reach, and the slots that it takes for them.

The limits of each fan count it. A fan whose own limit is used up is left out, once and for all, as long as no earlier
call may have arrived; a call that may have is repeated to the same fans or not at all, and so it waits for all of them.
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
from domain.campaign import mass_message_key
from domain.compliance import check
from domain.delivery import REFUSALS, Attempt, Delivered, Message, MessageStatus, Outcome
from domain.errors import DependencyUnavailable, GatewayError, GatewayFault
from domain.rate_limit import AccountLimits, Layer, Lease, Slot, recipient_windows

LEFT_OUT = f"rate_limit:{Layer.RECIPIENT}"
"""Why a fan was skipped whose own limit was used up."""

MS_A_FAN = 5
"""How much longer the slots of fans count for each of them: taking many takes time, all before the call."""


class Call(StrEnum):
    """What is known of a call that was to be made."""

    NOT_MADE = "not_made"
    OPEN = "open"
    ARRIVED = "arrived"


class Reach(NamedTuple):
    """Whom a call may reach now. ``until``: the moment (monotonic, s) at which it has to be over.

    ``wait_ms``: how long until all the ``left_out`` have room again; ``None``: not before a limit is changed.
    """

    reached: tuple[Message, ...]
    left_out: tuple[Message, ...] = ()
    leases: tuple[Lease, ...] = ()
    until: float = inf
    wait_ms: int | None = 0


def is_left_out(message: Message) -> bool:
    """Whether a fan was taken out of the call."""
    return message.status is MessageStatus.SKIPPED and message.reason == LEFT_OUT


def is_open(first: Message) -> bool:
    """Whether an earlier call may have arrived: then nobody can be taken out any more."""
    return first.status is MessageStatus.SENDING and first.attempts > 0


async def reachable(ports: DeliveryPorts, limits: AccountLimits, messages: Sequence[Message]) -> Reach:
    """Slots of fans, but for the first message's, which delivery takes with the account's.

    So the first one is a fan who has room at this moment. Raises ``DependencyUnavailable``.
    """
    account_id = messages[0].account_id
    since = monotonic()
    left_out: list[Message] = []
    waits: list[int | None] = []
    for first in messages:
        windows = recipient_windows(ports.policy, limits, first.recipient_id)
        answer = await ports.limiter.check(account_id, windows)
        if answer.would_grant or answer.binding_layer is not Layer.RECIPIENT:
            break
        left_out.append(first)
        waits.append(answer.retry_after_ms)
    else:
        return Reach((), tuple(left_out), wait_ms=_longest(waits))
    rest = messages[len(left_out) + 1 :]
    fans = {message.recipient_id: recipient_windows(ports.policy, limits, message.recipient_id) for message in rest}
    lease_ms = ports.lease_ms + MS_A_FAN * len(fans)
    grants = await ports.limiter.reserve_fans(account_id, fans, lease_ms=lease_ms)
    left_out += (message for message in rest if message.recipient_id in grants.denied)
    waits += grants.denied.values()
    return Reach(
        reached=(first, *(message for message in rest if message.recipient_id not in grants.denied)),
        left_out=tuple(left_out),
        leases=grants.leases,
        until=since + lease_ms / 1000 - ports.grace_s,
        wait_ms=_longest(waits),
    )


async def finish(ports: DeliveryPorts, leases: Sequence[Lease], call: Call) -> None:
    """The slots of fans after the call; those of a call that is still open count to the end of their leases.

    What is given back is still in the store: it counts should the limiter lose its memory within the fan's windows.
    """
    after = {Call.ARRIVED: ports.limiter.confirm, Call.NOT_MADE: ports.limiter.release}
    if call not in after:
        return
    try:
        for lease in leases:
            await after[call](lease)
    except DependencyUnavailable:
        activity.logger.warning("limiter unavailable: slots of fans keep their leases")


@dataclass
class OneCall:
    """The gateway as delivery sees it: what is sent to the first recipient goes to all of them."""

    ports: DeliveryPorts
    action: AlternativeAction
    reach: Reach
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
        first = self.reach.reached[0]
        self.state = Call.OPEN
        try:
            delivered = await self.send_mass(
                account_id=account_id,
                recipient_ids=[message.recipient_id for message in self.reach.reached],
                text=text,
                key=mass_message_key(first.campaign_id, account_id),
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
        await self.ports.messages.settle([outcome(first, self.action, delivered)])
        return delivered

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

    async def find_sent(self, *, account_id: str, recipient_id: str, text: str, since: datetime) -> Delivered | None:
        return await self.ports.gateway.find_sent(
            account_id=account_id, recipient_id=recipient_id, text=text, since=since
        )


def outcome(message: Message, action: AlternativeAction, delivered: Delivered) -> Outcome:
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


def _longest(waits: Sequence[int | None]) -> int | None:
    known = [wait_ms for wait_ms in waits if wait_ms is not None]
    return None if len(known) < len(waits) else max(known, default=0)
