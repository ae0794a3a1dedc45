"""What one delivery round has found out so far."""

from collections.abc import Mapping
from uuid import UUID

from domain.campaign import CampaignStanding
from domain.delivery import Message, MessageStatus
from domain.rate_limit import MessageType
from domain.send_queue import Deferred, DeliveryReport, Settled

LOOK_AGAIN_MS = 600_000
"""How long an account stands still at most before the store is asked whether it still has to."""

CHANGED_WAIT_MS = 1_000

PART_WAIT_MS = 60_000
"""How long a dead letter that is sent once more waits for its paused campaign, which does not know to wake it."""


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

    def pause(self, message: Message, campaign: CampaignStanding) -> None:
        """The message waits for its campaign to go on."""
        if campaign.part_of:
            self.defer(message.message_id, PART_WAIT_MS, "campaign_paused")
        else:
            self.paused.add(message.campaign_id)

    def stop(self, wait_ms: int, reason: str) -> None:
        """The account waits."""
        self.wait_ms, self.reason = max(1, wait_ms), reason

    def sleep(self, reason: str) -> None:
        """The account waits until somebody changes something; should the news get lost, it is looked up."""
        self.stop(LOOK_AGAIN_MS, reason)
        self.until_woken = True

    def reconcile(self, stored: Mapping[UUID, Message]) -> None:
        """Ends count as the store has them: another worker may have been faster, or may still be at work."""
        settled, self.settled = self.settled, []
        for each in settled:
            message = stored.get(each.message_id)
            if message is None or message.status.is_terminal:
                self.settle(each.message_id, each.status if message is None else message.status)
            else:
                self.defer(each.message_id, CHANGED_WAIT_MS, "changed_meanwhile")

    @property
    def stopped(self) -> bool:
        """Whether nothing more is sent in this round."""
        return self.wait_ms > 0

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
