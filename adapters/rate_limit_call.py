"""What the limiter's scripts are given: keys and arguments, worked out from windows, leases and stored slots.

Every key of an account carries the hash tag ``{account}``, every key of the system layer ``{system}``, so that a
script finds all of its keys in one slot of a cluster. A scope is what has an index of its own: an account, or the
system layer.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from json import dumps
from struct import pack
from typing import Any, NamedTuple

from domain.rate_limit import SYSTEM_SUBJECT, UNLIMITED, Caps, Lease, Slot, Window, fan_windows

_US = 1_000_000
_RECIPIENT = "recipient"
_INDEX = "index"
_SHARED = f"rate:{{{SYSTEM_SUBJECT}}}:"

FANS_AT_ONCE = 100
"""One script over so many takes Redis less than a few milliseconds, during which it answers nobody else."""

Argument = str | int | bytes


class Subject(NamedTuple):
    """One log of grants as a call needs it: complete for ``span_us``."""

    name: str
    span_us: int


class Call(NamedTuple):
    """What one script decides at once: windows, the logs that are kept, and perhaps the account's hold.

    Log i is that of ``names[i]``, complete for ``spans_us[i]``. ``plan`` is what ``read_plan`` of the scripts expects.
    Numbers go in one packed argument, because the client spends more time on thirty arguments than Redis on the whole
    decision.
    """

    windows: Sequence[Window]
    names: Sequence[str]
    spans_us: Sequence[int]
    keys: Sequence[str]
    plan: bytes

    def subject(self, number: int) -> Subject:
        """The log with this number in the plan, which counts from one."""
        return Subject(self.names[number - 1], self.spans_us[number - 1])


def calls(account_id: str, windows: Sequence[Window], *, one_slot: bool) -> list[Call]:
    """One call over everything, or, on a cluster, one over the account and one over the system layer."""
    if one_slot:
        return [_call(account_id, windows, with_hold=True)]
    own = [window for window in windows if window.subject != SYSTEM_SUBJECT]
    shared = [window for window in windows if window.subject == SYSTEM_SUBJECT]
    account = _call(account_id, own, with_hold=True)
    return [account, _call(account_id, shared, with_hold=False)] if shared else [account]


def fan_calls(account_id: str, fans: Sequence[str], caps: Caps) -> Iterator[tuple[list[str], Call]]:
    """One call for each hundred fans, who are in the order of its subjects."""
    names = iter(fans)
    while some := list(islice(names, FANS_AT_ONCE)):
        yield some, _call(account_id, [window for fan in some for window in fan_windows(caps, fan)], with_hold=False)


def _call(account_id: str, windows: Sequence[Window], *, with_hold: bool) -> Call:
    numbers: dict[str, int] = {}
    spans: list[int] = []
    bounds: list[int] = []
    for _, name, limit, seconds in windows:
        span = _span_us(seconds)
        number = numbers.get(name)
        if number is None:
            number = numbers[name] = len(numbers) + 1
            spans.append(span)
        elif span > spans[number - 1]:
            spans[number - 1] = span
        if limit != UNLIMITED:
            bounds += (number, limit, span)
    names = list(numbers)
    keys, described = _described(account_id, names, spans)
    if with_hold:
        keys.append(hold_key(account_id))
    plan = _packed((len(keys) if with_hold else 0, len(spans), *described, *bounds))
    binding = windows if 3 * len(windows) == len(bounds) else [each for each in windows if each.limit != UNLIMITED]
    return Call(binding, names, spans, keys, plan)


@lru_cache(maxsize=256)
def _span_us(seconds: float) -> int:
    return round(seconds * _US) or 1


def _described(account_id: str, names: Sequence[str], spans_us: Sequence[int]) -> tuple[list[str], list[int]]:
    """The keys of logs and indexes, and for each log the number of its index in them and its span."""
    own = f"rate:{{{account_id}}}:"
    keys = [_SHARED + name if name == SYSTEM_SUBJECT else own + name for name in names]
    described: list[int] = []
    own_index = shared_index = 0
    for name, span in zip(names, spans_us, strict=True):
        if name == SYSTEM_SUBJECT:
            if not shared_index:
                keys.append(_SHARED + _INDEX)
                shared_index = len(keys)
            described += (shared_index, span)
        else:
            if not own_index:
                keys.append(own + _INDEX)
                own_index = len(keys)
            described += (own_index, span)
    return keys, described


def _packed(numbers: Sequence[int]) -> bytes:
    # Doubles are what Lua's numbers are: exact for whole numbers up to 2 ** 53.
    return pack(f"<{len(numbers)}d", *numbers)


def restoration(
    account_id: str, subjects: Sequence[Subject], slots: Sequence[Slot]
) -> tuple[list[str], list[Argument]]:
    """Keys and arguments that restore the hold and stored slots to one scope: the logs of ``subjects`` and their kinds.

    The arguments are a plan, sources, and the end and reason of the hold (0: there is none). The sources are JSON: for
    each log its ``number`` in the keys, ``name``, ``kind`` and ``grants``: lease id and score of each, in one list.
    """
    wanted = {kind(subject.name) for subject in subjects}
    grants: dict[str, list[Argument]] = {}
    for slot in slots:
        for name in slot.subjects:
            if kind(name) in wanted:
                grants.setdefault(name, []).extend((slot.lease_id, slot.counts_at_us))
    keys, described = _described(account_id, *zip(*subjects, strict=True))
    sources = [
        {"number": number, "name": name, "kind": f"span:{kind(name)}", "grants": members}
        for number, (name, members) in enumerate(grants.items(), len(keys) + 1)
    ]
    keys += (log_key(account_id, name) for name in grants)
    keys.append(hold_key(scope(account_id, subjects[0].name)))
    shared = subjects[0].name == SYSTEM_SUBJECT
    holds = [] if shared else [(slot.counts_at_us, slot.hold) for slot in slots if slot.hold]
    return keys, [_packed((0, len(subjects), *described)), dumps(sources), *max(holds, default=(0, ""))]


def inspection(leases: Sequence[Lease]) -> tuple[list[str], str]:
    """Keys and plan that look after leases: JSON, of each its id, then name, log and index of every subject."""
    numbers: dict[str, int] = {}
    plan: list[Any] = []
    for lease in leases:
        subjects = []
        for subject in lease.subjects:
            keys = (log_key(lease.account_id, subject), index_key(lease.account_id, subject))
            subjects.append((subject, *(numbers.setdefault(key, len(numbers) + 1) for key in keys)))
        plan.append((lease.lease_id, subjects))
    return list(numbers), dumps(plan)


def reachable_parts(lease: Lease, *, one_slot: bool) -> list[Lease]:
    """A lease, divided by what one script can reach at once."""
    if one_slot:
        return [lease]
    own = tuple(name for name in lease.subjects if name != SYSTEM_SUBJECT)
    shared = tuple(name for name in lease.subjects if name == SYSTEM_SUBJECT)
    return [lease.model_copy(update={"subjects": part}) for part in (own, shared) if part]


def kind(subject: str) -> str:
    """What is rebuilt together: the logs of all recipients of an account, else each log by itself."""
    return _RECIPIENT if subject.startswith("recipient:") else subject


def scope(account_id: str, subject: str) -> str:
    """The hash tag of a subject's keys."""
    return SYSTEM_SUBJECT if subject == SYSTEM_SUBJECT else account_id


def log_key(account_id: str, subject: str) -> str:
    """The sorted set of a subject's grants."""
    return _place(account_id, subject) + subject


def index_key(account_id: str, subject: str) -> str:
    """The index that vouches for a subject's log."""
    return _place(account_id, subject) + _INDEX


def _place(account_id: str, subject: str) -> str:
    return f"rate:{{{scope(account_id, subject)}}}:"


def hold_key(account_id: str) -> str:
    """Until when the platform asked the account to wait, and why."""
    return f"rate:{{{account_id}}}:hold"
