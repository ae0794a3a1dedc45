"""What sending needs, and a message that has a slot."""

from dataclasses import dataclass

from domain.delivery import Attempt, Message, MessageStatus
from domain.ports import AccountStore, Alerts, DeliveryGate, Gateway, Limiter, MessageStore
from domain.rate_limit import Lease, LimitPolicy, Slot


@dataclass(frozen=True)
class DeliveryPorts:
    """What sending needs. ``lease_ms``: how long a slot counts when an outcome never becomes known.

    ``grace_s``: how long a slot outlives the time-out of its call, since a call that was given up may still arrive.
    ``for_many``: the message stands for many recipients. Their slots have been taken already, its own recipient's
    included, and it is not given up because the gateway can't be reached.
    """

    messages: MessageStore
    gate: DeliveryGate
    accounts: AccountStore
    limiter: Limiter
    gateway: Gateway
    alerts: Alerts
    policy: LimitPolicy
    lease_ms: int
    send_timeout_s: float
    grace_s: float
    for_many: bool = False


def is_open(message: Message) -> bool:
    """Whether an earlier attempt may have been accepted. What is marked as ``sending`` and was never tried is not."""
    return message.status is MessageStatus.SENDING and message.attempts > 0


@dataclass(frozen=True)
class Granted:
    """A message with its slot. ``until``: the moment (monotonic, s) at which a call for it has to be over;
    ``limits_revision``: that of the account's limits under which it was granted."""

    message: Message
    lease: Lease
    until: float
    limits_revision: int

    @property
    def attempt(self) -> Attempt:
        """What the store keeps of it."""
        slot = Slot(
            lease_id=self.lease.lease_id,
            account_id=self.message.account_id,
            message_type=self.message.message_type,
            recipient_id=self.message.recipient_id,
            counts_at_us=self.lease.expires_at_us,
        )
        return Attempt(message=self.message, slot=slot)
