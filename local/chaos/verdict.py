"""Both sides of a chaos run, and every promise that was broken: the API's word against the simulator's own book."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from domain.campaign import CampaignStatus
from domain.delivery import TERMINAL, MessageStatus
from domain.rate_limit import AccountLimits, Layer, LimitPolicy, MessageType, Window, windows
from local.chaos.money import Money, what_does_not_add_up
from local.chaos.plan import Plan, Trouble

DELIVERED: Final = frozenset({MessageStatus.SENT, MessageStatus.RECALLED})
"""States that say that the platform took the message."""

_NAMED = 3
"""Offenders that a sentence names."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message as the API tells of it."""

    message_id: str
    account: str
    recipient: str
    status: MessageStatus
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Booked:
    """A message as the simulator accepted it."""

    key: str | None
    account: str
    chat: str


@dataclass(frozen=True, slots=True)
class Busiest:
    """The fullest interval of a window's length, over every subject of its layer."""

    layer: Layer
    limit: int
    seconds: float
    most: int

    @property
    def holds(self) -> bool:
        """Whether the limit was kept."""
        return self.most <= self.limit


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known after a run."""

    plan: Plan
    status: CampaignStatus | None
    """None: the campaign did not end in time."""
    outcomes: Mapping[MessageStatus, int]
    """The campaign's result."""
    told: Sequence[Told]
    booked: Sequence[Booked]
    busiest: Sequence[Busiest]
    troubles: Mapping[Trouble, int]
    """What was done."""
    faults: Sequence[tuple[str, float, int]] = ()
    """Whose and of what kind, probability and how often it struck."""
    replays: int = 0
    seconds: float = 0.0
    crashes: tuple[str, ...] = field(default=())
    """Processes that ended although nobody killed them."""
    money: Money | None = None

    @property
    def delivered(self) -> frozenset[str]:
        """Ids of the messages that the product calls sent."""
        return frozenset(message.message_id for message in self.told if message.status in DELIVERED)

    @property
    def duplicates(self) -> tuple[str, ...]:
        """Recipients that got more than one message, and keys that were accepted more than once."""
        chats = Counter(f"{entry.account}/{entry.chat}" for entry in self.booked)
        keys = Counter(entry.key for entry in self.booked if entry.key is not None)
        return tuple(sorted(name for counts in (chats, keys) for name, number in counts.items() if number > 1))

    @property
    def lost(self) -> tuple[str, ...]:
        """Messages that count as sent and that the platform never took."""
        return tuple(sorted(self.delivered - {entry.key for entry in self.booked}))

    @property
    def unaccounted(self) -> tuple[str, ...]:
        """Messages that the platform took although they do not count as sent."""
        return tuple(sorted(str(entry.key) for entry in self.booked if entry.key not in self.delivered))


def what_does_not_hold(evidence: Evidence) -> tuple[str, ...]:
    """Every promise that was broken, in a sentence each; nothing when all of them hold."""
    broken: list[str] = []
    plan = evidence.plan
    if evidence.status is None:
        broken.append(f"the campaign did not end within {plan.within_s:g} s")
    elif evidence.status is not CampaignStatus.COMPLETED:
        broken.append(f"the campaign ended as {evidence.status}")
    ended = sum(number for status, number in evidence.outcomes.items() if status in TERMINAL)
    if ended != plan.recipients or sum(evidence.outcomes.values()) != ended:
        broken.append(f"{ended} of {plan.recipients} recipients are in a terminal state")
    stored = Counter(message.status for message in evidence.told)
    if stored != Counter(evidence.outcomes):
        broken.append(f"the result says {_said(evidence.outcomes)}, the messages say {_said(stored)}")
    broken += _offenders(evidence.duplicates, "got more than one message or were accepted twice")
    broken += _offenders(evidence.lost, "count as sent, but never arrived")
    broken += _offenders(evidence.unaccounted, "arrived, but do not count as sent")
    broken += [
        f"{busiest.layer}: {busiest.most} messages in {busiest.seconds:g} s, more than {busiest.limit}"
        for busiest in evidence.busiest
        if not busiest.holds
    ]
    broken += [
        f"{trouble}: {evidence.troubles.get(trouble, 0)} times instead of {wanted}, because the campaign was over"
        for trouble, wanted in plan.wanted.items()
        if evidence.troubles.get(trouble, 0) < wanted
    ]
    broken += ["nobody looked at the money"] if evidence.money is None else what_does_not_add_up(evidence.money)
    return (*broken, *evidence.crashes)


def limits_in_force(policy: LimitPolicy) -> tuple[Window, ...]:
    """The windows that every message of a run has to fit into, one subject for each layer."""
    return windows(
        policy,
        AccountLimits(account_id="acct_any"),
        datetime.now(UTC),
        message_type=MessageType.PROMOTIONAL,
        recipient_id="any",
    )


def busiest(limits: Sequence[Window], report: Mapping[str, Any]) -> tuple[Busiest, ...]:
    """The simulator's report, asked for the lengths of ``limits`` in their order, set against them.

    All messages of a run have one type, so the windows of the type are windows of the account.
    """
    by_account = [account["max_in_windows"] for account in report["accounts"].values()]

    def most(layer: Layer, index: int) -> int:
        match layer:
            case Layer.SYSTEM:
                return int(report["totals"]["max_in_windows"][index])
            case Layer.RECIPIENT:
                return int(report["recipients"]["max_in_windows"][index])
            case _:
                return max((int(counts[index]) for counts in by_account), default=0)

    return tuple(
        Busiest(layer=window.layer, limit=window.limit, seconds=window.seconds, most=most(window.layer, index))
        for index, window in enumerate(limits)
    )


def _offenders(names: Sequence[str], complaint: str) -> Iterable[str]:
    if names:
        more = ", …" if len(names) > _NAMED else ""
        yield f"{len(names)} {complaint}: {', '.join(names[:_NAMED])}{more}"


def _said(counts: Mapping[MessageStatus, int]) -> str:
    return " + ".join(f"{number} {status}" for status, number in sorted(counts.items())) or "nothing"
