"""What one delivery round has found out so far."""

from uuid import UUID

from domain.delivery import MessageStatus
from domain.rate_limit import MessageType
from domain.send_queue import Deferred, DeliveryReport, Settled


class Findings:
    """Collects; ``report`` is what the queue's workflow gets to know."""

    def __init__(self) -> None:
        self.settled: list[Settled] = []
        self.deferred: list[Deferred] = []
        self.paused: set[str] = set()
        self.type_waits_ms: dict[MessageType, int] = {}
        self.wait_ms = 0
        self.until_woken = False
        self.reason = ""

    def settle(self, message_id: UUID, status: MessageStatus) -> None:
        """The message's story is over."""
        self.settled.append(Settled(message_id=message_id, status=status))

    def defer(self, message_id: UUID, delay_ms: int, reason: str) -> None:
        """The message waits, the account does not."""
        self.deferred.append(Deferred(message_id=message_id, delay_ms=delay_ms, reason=reason))

    def stop(self, wait_ms: int, reason: str) -> None:
        """The account waits."""
        self.wait_ms, self.reason = max(1, wait_ms), reason

    def sleep(self, reason: str) -> None:
        """The account waits until somebody changes something."""
        self.until_woken, self.reason = True, reason

    @property
    def stopped(self) -> bool:
        """Whether nothing more is sent in this round."""
        return self.wait_ms > 0 or self.until_woken

    def report(self) -> DeliveryReport:
        """The round as a value."""
        return DeliveryReport(
            settled=tuple(self.settled),
            deferred=tuple(self.deferred),
            paused_campaigns=tuple(sorted(self.paused)),
            type_waits_ms=self.type_waits_ms,
            wait_ms=self.wait_ms,
            until_woken=self.until_woken,
            reason=self.reason,
        )
