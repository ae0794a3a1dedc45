"""When what waits will be sent: the queue's order of service run against the limiter's own log of grants.

The rule of the limits is the limiter's: a message may go at ``t`` if every window counts fewer grants after
``t - span`` than its limit. A window that is full therefore admits the next message at the moment of its ``limit``-th
latest grant plus its span. The rule of the order is that of ``domain.turn``, at that moment: a message may have aged by
then. Each message that goes enters the log, so one pass is enough: O(messages × (groups + windows)).

A grant counts from the end of its call, and an account makes one call at a time, so what a call takes is part of the
rhythm: ``call_ms`` reads it from the log.

Left out, because nobody can know it now: the limits of single recipients, the limit that all accounts share (unless the
queue waits for it already), messages that arrive later and go first, refusals, and grants that are given back. All but
the last can only make it later.
"""

from bisect import insort
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import pairwise
from math import inf
from statistics import median
from typing import NamedTuple

from domain.rate_limit import (
    ACCOUNT_SUBJECT,
    AccountLimits,
    AccountUsage,
    Layer,
    LimitPolicy,
    MessageType,
    Window,
    account_windows,
    type_windows,
)
from domain.send_queue import AGE_AFTER, AGED_SHARE, NEVER_SERVED, QueuedMessage

TYPICAL_CALL_MS = 500
"""What a message is expected to take where the log tells nothing: the gateway answers within some hundred ms, and the
reading and writing around a call takes some tens."""

LONGEST_CALL_MS = 10_000
"""A longer gap between two grants was no call: that is the default of the send's time-out."""

_RECENT_GRANTS = 50
_FEWEST_GAPS = 4

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_AGE_AFTER_US = AGE_AFTER // _MICROSECOND
_LAYERS = frozenset({Layer.ACCOUNT, Layer.PACING, Layer.MESSAGE_TYPE})


def relevant_windows(
    policy: LimitPolicy, limits: AccountLimits, now: datetime, types: Iterable[MessageType]
) -> tuple[Window, ...]:
    """The windows that ``Limiter.usage`` has to be asked about for messages of these types."""
    kinds = sorted(set(types))
    of_types = (window for kind in kinds for window in type_windows(policy, limits, kind))
    return (*account_windows(policy, limits, now), *of_types)


def call_ms(usage: AccountUsage) -> int:
    """How long one message occupies its account, from the gaps between the account's latest grants.

    Of messages that follow each other at once the gap is one call, beside what a limit of one demands. The median
    counts, and what is too long for a call is no evidence: nothing was to be sent, or a window was full.
    """
    grants = [at for at in usage.grants_us.get(ACCOUNT_SUBJECT, ()) if at <= usage.now_us][-_RECENT_GRANTS:]
    demanded_us = max((round(window.seconds * 1_000_000) for window in usage.windows if window.limit == 1), default=0)
    gaps = (later - earlier - demanded_us for earlier, later in pairwise(grants))
    calls = [gap for gap in gaps if 0 <= gap <= LONGEST_CALL_MS * 1_000]
    return TYPICAL_CALL_MS if len(calls) < _FEWEST_GAPS else int(median(calls)) // 1_000


def arrivals(
    usage: AccountUsage, messages: Sequence[QueuedMessage], *, send_ms: int, throttled_until: datetime | None = None
) -> tuple[datetime | None, ...]:
    """When each message is sent, on the limiter's clock.

    ``messages``: those of a ``QueueOutlook``, and behind them any that might be added. ``usage`` must know the windows
    of every type among them: see ``relevant_windows``. ``send_ms``: how long one call takes, during which the account
    sends nothing else: see ``call_ms``. ``throttled_until``: the queue sends nothing before. ``None``: never, as things
    are: a limit of 0 stands in the way, the message is too late by then, or its campaign is paused.
    """
    begin_us = usage.now_us + usage.held_ms * 1_000
    if throttled_until is not None:
        begin_us = max(begin_us, _microseconds(throttled_until))
    moments = _simulate(usage, messages, begin_us, send_ms * 1_000)
    return tuple(None if at is None else _EPOCH + at * _MICROSECOND for at in moments)


class _Log:
    """The grants of one subject and the windows that look at them."""

    def __init__(self, grants: Iterable[int]) -> None:
        self._grants = sorted(grants)
        self._windows: list[tuple[int, int]] = []

    def limit(self, limit: int, span_us: int) -> None:
        self._windows.append((limit, span_us))

    def grant(self, at_us: int) -> None:
        # A call that is still on its way counts from the end of its lease, which may be later than this one.
        insort(self._grants, at_us)

    def free_at(self) -> float:
        """The first moment at which all windows admit one more; infinite: never."""
        earliest = 0.0
        for limit, span_us in self._windows:
            if limit == 0:
                return inf
            if len(self._grants) >= limit:
                earliest = max(earliest, self._grants[-limit] + span_us)
        return earliest


class _Entry(NamedTuple):
    """A message with its place, in the order in which messages of one flow and type go."""

    place: int
    waits_since_us: int
    sequence: int
    expires_us: float


class _Line:
    """The messages of one flow and type: those that may go, and those that have to wait for a time."""

    def __init__(self, message: QueuedMessage) -> None:
        self.flow = message.flow
        self.kind = message.message_type
        self.rank = message.priority.rank
        self.turn = message.turn
        self._ready: list[_Entry] = []
        self._later: list[tuple[int, _Entry]] = []

    def add(self, index: int, message: QueuedMessage) -> None:
        not_before = 0 if message.not_before is None else _microseconds(message.not_before)
        expires = inf if message.expires_at is None else _microseconds(message.expires_at)
        since = max(not_before, _microseconds(message.arrived_at))
        heappush(self._later, (not_before, _Entry(index, since, message.sequence, expires)))

    def next_at(self, from_us: float) -> float:
        """When its next message goes, not before ``from_us``, which never becomes less; infinite: none is left."""
        while self._later and self._later[0][0] <= from_us:
            heappush(self._ready, heappop(self._later)[1])
        if self._ready:
            return from_us
        return self._later[0][0] if self._later else inf

    @property
    def head(self) -> _Entry:
        """The message that ``next_at`` has spoken of."""
        return self._ready[0] if self._ready else self._later[0][1]

    def take(self) -> _Entry:
        """Remove the head."""
        return heappop(self._ready) if self._ready else heappop(self._later)[1]


def _simulate(usage: AccountUsage, messages: Sequence[QueuedMessage], begin_us: int, send_us: int) -> list[int | None]:
    account, types = _logs(usage, {message.message_type for message in messages})
    lines = _lines(messages)
    moments: list[int | None] = [None] * len(messages)
    clock: float = begin_us
    served, turn = 0, max((message.turn for message in messages), default=NEVER_SERVED)
    while True:
        from_us = max(clock, account.free_at())
        free = {kind: max(from_us, log.free_at()) for kind, log in types.items()}
        due = [(line.next_at(free[line.kind]), line) for line in lines]
        at = min((moment for moment, _ in due), default=inf)
        if at == inf:
            return moments
        heads = _heads(line for moment, line in due if moment == at)
        oldest = min(heads, key=_age)
        for_age = (served + 1) % AGED_SHARE == 0 and oldest.head.waits_since_us + _AGE_AFTER_US < at
        line = oldest if for_age else min(heads, key=_turn)
        entry = line.take()
        if entry.expires_us <= at:
            continue
        moments[entry.place] = int(at)
        clock = at + send_us
        account.grant(int(clock))
        types[line.kind].grant(int(clock))
        served += 1
        if not for_age:
            turn += 1
            for sharer in lines:
                if sharer.flow == line.flow:
                    sharer.turn = turn


def _heads(lines: Iterable[_Line]) -> Collection[_Line]:
    """Of each flow the line whose message is the flow's next."""
    heads: dict[str, _Line] = {}
    for line in lines:
        rival = heads.setdefault(line.flow, line)
        if line.head.place < rival.head.place:
            heads[line.flow] = line
    return heads.values()


def _age(line: _Line) -> tuple[int, int]:
    return line.head.waits_since_us, line.head.sequence


def _turn(line: _Line) -> tuple[int, int, int, int]:
    return line.rank, line.turn, *_age(line)


def _lines(messages: Sequence[QueuedMessage]) -> list[_Line]:
    """The messages by flow and type."""
    lines: dict[tuple[str, MessageType], _Line] = {}
    for index, message in enumerate(messages):
        if not message.parked:
            lines.setdefault((message.flow, message.message_type), _Line(message)).add(index, message)
    return list(lines.values())


def _logs(usage: AccountUsage, types: Iterable[MessageType]) -> tuple[_Log, dict[MessageType, _Log]]:
    subjects = {ACCOUNT_SUBJECT: _Log(usage.grants_us.get(ACCOUNT_SUBJECT, ()))}
    kinds = {kind: f"type:{kind}" for kind in types}
    subjects |= {subject: _Log(usage.grants_us.get(subject, ())) for subject in kinds.values()}
    for window in usage.windows:
        if window.layer in _LAYERS and window.subject in subjects:
            subjects[window.subject].limit(window.limit, round(window.seconds * 1_000_000))
    return subjects[ACCOUNT_SUBJECT], {kind: subjects[subject] for kind, subject in kinds.items()}


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
