"""When a campaign's messages may go, and what its recipients get instead when they would be too late.

The order is queue, delay, alternative. A page is queued as long as its last recipient is expected before the
deadline. The first page that is not takes all pages behind it along: they get the alternative action in one go, as
soon as everything before them has ended, and at the deadline at the latest. What was drafted, approved or queued and
is not sent by the deadline is withdrawn then and gets the same; only what may be on its way stays as it is.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator

from domain.compliance import MAX_TEXT_CHARACTERS, Severity, check
from domain.delivery import EarlierText, Message, MessageOrigin, Priority
from domain.model import AccountId, Model, Moment, Request
from domain.rate_limit import AccountUsage, MessageType
from domain.schedule import arrivals
from domain.send_queue import QueuedMessage, QueueOutlook

DEADLINE = "deadline"
SAVED = "saved_for_later"
MASS_MESSAGE = "alternative:mass_message"
"""Reasons of messages that ended by an alternative action."""

_TEXTS = frozenset({MASS_MESSAGE, SAVED})

_NOBODY = UUID(int=0)


class AlternativeAction(StrEnum):
    """What recipients get whose own message would come after the deadline."""

    MASS_MESSAGE = "mass_message"
    SAVE_FOR_LATER = "save_for_later"
    SKIP = "skip"

    @property
    def message_reason(self) -> str:
        """Why a message ended as it did when it ended by this action."""
        return {"mass_message": MASS_MESSAGE, "save_for_later": SAVED, "skip": DEADLINE}[self.value]


class DeliveryTimes(Model):
    """When messages may go, and what happens to those that would be too late."""

    not_before: datetime | None = None
    expires_at: datetime | None = None
    deadline: datetime | None = None
    on_deadline: AlternativeAction | None = None


class DeliveryTerms(Model):
    """What is stored with a campaign: the times, and the one text of the alternative action."""

    times: DeliveryTimes = DeliveryTimes()
    alternative_text: str = ""


class DeliveryPolicy(Request):
    """What a caller says about the delivery. Whoever asks for the campaign approves ``alternativeText`` by it.

    A field can only be compared with those before it; ``deadline`` is last, because it is checked even when absent.
    """

    not_before: Moment | None = Field(default=None, description="nothing is sent earlier")
    expires_at: Moment | None = Field(default=None, description="a message too late ends as skipped: expired")
    alternative_text: str = Field(
        default="", max_length=MAX_TEXT_CHARACTERS, description="for mass_message and save_for_later: one for everybody"
    )
    on_deadline: AlternativeAction | None = Field(
        default=None, description="what recipients get who would be reached after the deadline"
    )
    deadline: Moment | None = Field(
        default=None, validate_default=True, description="when the last recipient should have been reached"
    )

    @field_validator("expires_at")
    @classmethod
    def _after_the_start(cls, moment: datetime | None, info: ValidationInfo) -> datetime | None:
        earliest = info.data.get("not_before")
        if moment is not None and earliest is not None and moment <= earliest:
            raise ValueError("must be later than notBefore")
        return moment

    @field_validator("alternative_text")
    @classmethod
    def _allowed(cls, text: str) -> str:
        # An empty one is none: a client may say all that it knows of, also what it has not set.
        blocked = [broken for broken in check(text).violations if broken.severity is Severity.BLOCK] if text else []
        if blocked:
            raise ValueError("; ".join(f"breaks the rule {broken.rule_id}: {broken.remedy}" for broken in blocked))
        return text

    @field_validator("on_deadline")
    @classmethod
    def _with_its_text(cls, action: AlternativeAction | None, info: ValidationInfo) -> AlternativeAction | None:
        text = info.data.get("alternative_text")
        if action in {AlternativeAction.MASS_MESSAGE, AlternativeAction.SAVE_FOR_LATER} and text == "":
            raise ValueError(f"{action} needs alternativeText, which its recipients get")
        if action is AlternativeAction.SKIP and text:
            raise ValueError("skip sends nothing; leave alternativeText out")
        return action

    @field_validator("deadline")
    @classmethod
    def _with_its_action(cls, moment: datetime | None, info: ValidationInfo) -> datetime | None:
        if "on_deadline" not in info.data:
            return moment
        action = info.data["on_deadline"]
        if moment is not None and action is None:
            raise ValueError(f"needs onDeadline, one of {', '.join(AlternativeAction)}")
        if moment is None and action is not None:
            raise ValueError(f"onDeadline {action} needs the deadline after which it applies")
        earliest = info.data.get("not_before")
        if moment is not None and earliest is not None and moment <= earliest:
            raise ValueError("must be later than notBefore")
        if moment is None and info.data.get("alternative_text"):
            raise ValueError("alternativeText is only used with a deadline and onDeadline")
        return moment

    @property
    def terms(self) -> DeliveryTerms:
        """As it is stored."""
        return DeliveryTerms(
            times=DeliveryTimes(
                not_before=self.not_before,
                expires_at=self.expires_at,
                deadline=self.deadline,
                on_deadline=self.on_deadline,
            ),
            alternative_text=self.alternative_text,
        )


def origin_of(action: AlternativeAction, owner: str) -> MessageOrigin:
    """Whoever asked for the campaign wrote the text, and approved it by asking."""
    return MessageOrigin(provider="caller", model="", prompt_version=action.message_reason, approved_by=owner)


def is_taken(message: Message) -> bool:
    """Whether a message is one of those that an alternative action sends together: it is never sent by itself."""
    origin = message.origin
    # A dead letter that is retried is approved anew, and goes to its one recipient.
    return origin is not None and origin.prompt_version in _TEXTS and origin.approved_at is None


def taken(
    message: Message, action: AlternativeAction, terms: DeliveryTerms, *, owner: str, why: str, now: datetime
) -> Message:
    """A message that was not sent in time, with the text of the alternative; its own one stays in ``earlier``."""
    own = EarlierText(
        text=message.text,
        origin=message.origin,
        replaced_by=action.message_reason,
        replaced_at=now,
        comment=why,
    )
    return message.model_copy(
        update={
            "text": terms.alternative_text,
            "origin": origin_of(action, owner),
            "compliance": check(terms.alternative_text),
            "quality": 0.0,
            "reason": action.message_reason,
            "attempts": 0,
            "failures": 0,
            "first_attempt_at": None,
            "revision": message.revision + 1,
            "earlier": (*message.earlier, own) if message.text else message.earlier,
            "updated_at": now,
        }
    )


class Alternative(Model):
    """The alternative action of one account: what was chosen, why, and for how many recipients."""

    account_id: AccountId
    action: AlternativeAction
    reason: str = Field(examples=["deadline: eta 2026-11-22T05:02:00Z after deadline 2026-11-22T05:01:30Z"])
    recipients: int


class Page(Model):
    """Messages of a campaign that are not in the queue yet: how many, and how they would queue."""

    campaign_id: str
    priority: Priority
    message_type: MessageType
    messages: int = Field(ge=1)
    not_before: datetime | None = None


def page_eta(usage: AccountUsage, queue: QueueOutlook, page: Page, now: datetime, *, send_ms: int) -> datetime | None:
    """When the page's last message would be sent if it were handed to the queue now; ``None``: never, as limits are.

    As if it were approved at once. ``usage`` must know the windows of every type in the queue and of the page;
    ``send_ms`` as in ``domain.schedule.arrivals``.
    """
    one = QueuedMessage(
        campaign_id=page.campaign_id,
        message_id=_NOBODY,
        priority=page.priority,
        message_type=page.message_type,
        arrived_at=now,
        not_before=page.not_before,
    )
    messages = [*_ahead_of(page, queue), *[one] * page.messages]
    return arrivals(usage, messages, send_ms=send_ms, throttled_until=queue.throttled_until)[-1]


def _ahead_of(page: Page, queue: QueueOutlook) -> Iterator[QueuedMessage]:
    """What goes first: higher priorities, the campaign's own messages, and its equals, who take turns with it."""
    own = page.messages + sum(message.campaign_id == page.campaign_id for message in queue.messages)
    turns: Counter[str] = Counter()
    for message in queue.messages:
        if message.priority is page.priority and message.campaign_id != page.campaign_id:
            turns[message.campaign_id] += 1
            if turns[message.campaign_id] > own:
                continue
        if message.priority.rank <= page.priority.rank:
            yield message


def too_late(times: DeliveryTimes, eta: datetime | None) -> str:
    """Why an alternative applies; empty when it does not. ``eta`` ``None``: no limit will ever admit the message."""
    if times.deadline is None or (eta is not None and eta <= times.deadline):
        return ""
    expected = "never" if eta is None else _shown(eta)
    return f"{DEADLINE}: eta {expected} after deadline {_shown(times.deadline)}"


def unsent_by(deadline: datetime) -> str:
    """Why an alternative applies to whoever was not reached when the deadline passed."""
    return f"{DEADLINE}: not sent by {_shown(deadline)}"


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
