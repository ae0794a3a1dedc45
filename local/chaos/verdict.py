"""Both sides of a chaos run, and every promise that was broken: the API's word against the simulator's own book."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import sqrt
from typing import Any, Final

from domain.campaign import CampaignStatus
from domain.delivery import TERMINAL, MessageStatus
from domain.rate_limit import AccountLimits, Layer, LimitPolicy, MessageType, Window, windows
from local.chaos.money import Money, what_does_not_add_up
from local.chaos.plan import SINGLES, Plan, Trouble

DELIVERED: Final = frozenset({MessageStatus.SENT, MessageStatus.RECALLED})
"""States that say that the platform took the message."""

GATEWAY: Final = "gateway"
"""Whose faults have to strike."""

_NAMED = 3
"""Offenders that a sentence names."""


Words = tuple[str, str, str]
"""Account, fan and text. Messages that share them all are interchangeable: whose key brought which of them into the
chat is of no consequence, as long as there are as many of them."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message as the API tells of it."""

    message_id: str
    account: str
    recipient: str
    status: MessageStatus
    reason: str = ""
    receipt: str | None = None
    """The id that the product believes the message to have at the platform."""
    text: str = ""

    @property
    def words(self) -> Words:
        """What was to arrive where."""
        return self.account, self.recipient, self.text


@dataclass(frozen=True, slots=True)
class Booked:
    """A message as the simulator accepted it."""

    key: str | None
    account: str
    chat: str
    receipt: str
    """Its id there."""
    text: str = ""

    @property
    def words(self) -> Words:
        """What arrived where."""
        return self.account, self.chat, self.text


@dataclass(frozen=True, slots=True)
class Fault:
    """What a simulator was asked to do wrong, and did. ``met``: the requests that it could have struck."""

    simulator: str
    kind: str
    probability: float
    met: int
    struck: int
    count: int | None = None
    """How often at most; None: no matter how often."""

    @property
    def is_near(self) -> bool:
        """Whether it struck about as often as asked: within four standard deviations of that many draws."""
        deviation = sqrt(self.met * self.probability * (1 - self.probability))
        return self.count is not None or abs(self.struck - self.met * self.probability) <= 4 * deviation


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
    """The campaign's messages."""
    booked: Sequence[Booked]
    busiest: Sequence[Busiest]
    troubles: Mapping[Trouble, int]
    """What was done."""
    besides: Sequence[Told] = ()
    """The single messages to the regulars."""
    faults: Sequence[Fault] = ()
    replays: int = 0
    seconds: float = 0.0
    crashes: tuple[str, ...] = field(default=())
    """Processes that ended although nobody killed them."""
    money: Money | None = None

    @property
    def everything_told(self) -> Sequence[Told]:
        """Whatever the messages belong to."""
        return (*self.told, *self.besides)

    @property
    def delivered(self) -> Sequence[Told]:
        """The messages that the product calls sent."""
        return [message for message in self.everything_told if message.status in DELIVERED]

    @property
    def unsent(self) -> tuple[str, ...]:
        """Messages that ended otherwise; no fault of a run is a reason for that."""
        ended = (each for each in self.everything_told if each.status in TERMINAL and each.status not in DELIVERED)
        return tuple(f"{each.message_id} ({each.status}: {each.reason})" for each in ended)

    @property
    def duplicates(self) -> tuple[str, ...]:
        """Chats into which the same words came more often than there are messages that say them."""
        wanted = Counter(message.words for message in self.everything_told)
        arrived = Counter(entry.words for entry in self.booked)
        return tuple(sorted({f"{words[0]}/{words[1]}" for words in arrived if arrived[words] > wanted[words]}))

    @property
    def lost(self) -> tuple[str, ...]:
        """Messages that count as sent and whose receipt is for nothing that came into their chat."""
        arrived = {entry.receipt: entry.words for entry in self.booked}
        return tuple(
            sorted(
                message.message_id for message in self.delivered if arrived.get(str(message.receipt)) != message.words
            )
        )

    @property
    def unaccounted(self) -> tuple[str, ...]:
        """Keys of what the platform took and no message has as its receipt."""
        receipts = {message.receipt for message in self.delivered}
        return tuple(sorted(str(entry.key) for entry in self.booked if entry.receipt not in receipts))

    @property
    def confused(self) -> tuple[str, ...]:
        """Messages that have the same receipt as another one."""
        holders = Counter(message.receipt for message in self.delivered)
        return tuple(sorted(message.message_id for message in self.delivered if holders[message.receipt] > 1))


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
    if len(evidence.besides) != plan.regulars * len(SINGLES):
        broken.append(f"{len(evidence.besides)} of {plan.regulars * len(SINGLES)} single messages are known")
    waiting = [message.message_id for message in evidence.besides if message.status not in TERMINAL]
    broken += _offenders(waiting, "single messages did not end")
    broken += _offenders(evidence.unsent, "ended without being sent, although nothing was refused for good")
    broken += _offenders(evidence.duplicates, "got a message too many")
    broken += _offenders(evidence.lost, "count as sent, but never arrived")
    broken += _offenders(evidence.unaccounted, "arrived, but do not count as sent")
    broken += _offenders(evidence.confused, "have the receipt of another message")
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
    broken += what_did_not_strike(evidence.faults)
    broken += ["nobody looked at the money"] if evidence.money is None else what_does_not_add_up(evidence.money)
    return (*broken, *evidence.crashes)


def what_did_not_strike(faults: Iterable[Fault]) -> Iterable[str]:
    """Every fault of the gateway that was asked for in vain, and every fault that struck far less or more often.

    The AI providers are asked so seldom that a fault of theirs may well meet nobody.
    """
    for fault in faults:
        name = f"{fault.simulator}: {fault.kind}"
        if fault.simulator == GATEWAY and not fault.struck:
            yield f"{name}: asked for, but it never struck"
        elif not fault.is_near:
            yield f"{name}: {fault.struck} of {fault.met} calls, asked for {fault.probability:.0%}"


def faults_of(simulator: str, rules: Iterable[Mapping[str, Any]]) -> tuple[Fault, ...]:
    """A simulator's list of faults; those of one kind, each in a chat of its own, are one."""
    found: dict[str, Fault] = {}
    for rule in rules:
        billed = " after acceptance" if rule.get("after_accept") else " after it was billed" if rule.get("bill") else ""
        kind = f"{rule['kind']}{billed}{' in the chat of a regular' if rule.get('chat_id') else ''}".replace("_", " ")
        before = found.get(kind)
        found[kind] = Fault(
            simulator=simulator,
            kind=kind,
            probability=rule["probability"],
            met=rule["met"] + (before.met if before else 0),
            struck=rule["fired"] + (before.struck if before else 0),
            count=None if rule["count"] is None else rule["count"] + (before.count or 0 if before else 0),
        )
    return tuple(found.values())


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
