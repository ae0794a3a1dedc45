"""Recalling a campaign: what can still be taken back, in which order, and what is told about the rest.

The gateway lets a message be unsent for ``cancelSeconds`` after it was sent. What expires soonest goes first.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import Field

from domain.alternative import MASS_MESSAGE, SAVED
from domain.delivery import Message
from domain.model import AccountId, Model

MOST_LISTED = 1_000
"""Messages that a report names in each list; the message store has them all, by status."""

USUAL_WINDOW = timedelta(seconds=119)
"""What the gateway grants as a rule: the window of a message whose receipt did not say, or was never seen."""

WINDOW_OVER = "recall_window_over"
SENT_TO_MANY = "sent_as_mass_message"
SAVED_AT_PLATFORM = "saved_at_platform"
"""Why a message can't be taken back: too late, the gateway knows no message of its own for the recipient, or the
message was saved at the platform, where somebody has to delete it."""

_REASONS = {MASS_MESSAGE: SENT_TO_MANY, SAVED: SAVED_AT_PLATFORM}


class NotRecalled(Model):
    """A message that its recipient keeps, or may have, and why."""

    message_id: UUID
    account_id: AccountId
    reason: str


class RecallReport(Model):
    """What a recall has reached so far. ``complete``: nothing of the campaign is still on its way.

    ``late``: could not be unsent any more; ``failed``: the gateway refused, or nobody knows whether the message
    arrived (``outcome_unknown:…``). Both name at most 1,000 messages; ``lateCount`` and ``failedCount`` count them all.
    Dead letters of it that were sent once more count as messages of their own.
    """

    campaign_id: str
    recalled: int = Field(default=0, description="messages that were sent and taken back")
    cancelled: int = Field(default=0, description="messages that were never sent")
    late: tuple[NotRecalled, ...] = ()
    late_count: int = 0
    failed: tuple[NotRecalled, ...] = ()
    failed_count: int = 0
    complete: bool = False


class RecallInput(Model):
    """What ``RecallWorkflow`` is started with; the rest is what one run of it leaves to the next."""

    campaign_id: str
    started_at: datetime | None = None
    report: RecallReport | None = None


def recall_workflow_id(campaign_id: str) -> str:
    """The workflow id of a campaign's recall."""
    return f"recall-{campaign_id}"


def recallable_until(message: Message) -> datetime | None:
    """The moment from which a sent message can't be unsent; ``None``: it never could.

    A message that was found in its chat comes without ``cancelSeconds``: it has the usual window. One that went to
    many fans at once can't be unsent for one of them.
    """
    if message.sent_at is None or message.platform_message_id is None or message.cancel_seconds == 0:
        return None
    if message.cancel_seconds is None:
        return None if message.reason in {MASS_MESSAGE, SAVED} else message.sent_at + USUAL_WINDOW
    return message.sent_at + timedelta(seconds=message.cancel_seconds)


def in_time(messages: Iterable[Message], now: datetime) -> list[Message]:
    """Those that can be unsent now, the ones that expire soonest first."""
    open_now = [(until, message) for message in messages if (until := recallable_until(message)) and until > now]
    return [message for _, message in sorted(open_now, key=lambda entry: (entry[0], entry[1].message_id))]


def report(
    campaign_id: str,
    *,
    recalled: int,
    cancelled: int,
    kept: Iterable[Message],
    refusals: Mapping[UUID, str],
    complete: bool,
) -> RecallReport:
    """``kept``: messages that are still sent, saved to be sent later, or perhaps sent; ``refusals``: why they could not
    be taken back, by message, where it is not their age."""
    late: list[NotRecalled] = []
    failed: list[NotRecalled] = []
    for message in kept:
        refusal = refusals.get(message.message_id)
        reason = refusal or _REASONS.get(message.reason, WINDOW_OVER)
        entry = NotRecalled(message_id=message.message_id, account_id=message.account_id, reason=reason)
        (failed if refusal else late).append(entry)
    return RecallReport(
        campaign_id=campaign_id,
        recalled=recalled,
        cancelled=cancelled,
        late=tuple(late[:MOST_LISTED]),
        late_count=len(late),
        failed=tuple(failed[:MOST_LISTED]),
        failed_count=len(failed),
        complete=complete,
    )
