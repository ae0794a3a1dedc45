"""The limiter in Redis: Lua decides over every window at once, on Redis's clock; what Redis lost comes from the store.

The scripts in ``lua/`` say how, docs/decisions/0002-limiter-lease.md why no window ever holds more than its limit.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import count
from secrets import token_urlsafe
from time import time_ns
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from adapters.rate_limit_answer import denied_fans, granted, reservation, usage
from adapters.rate_limit_call import (
    Argument,
    Call,
    Subject,
    calls,
    fan_calls,
    hold_key,
    index_key,
    inspection,
    log_key,
    reachable_parts,
    restoration,
    scope,
)
from adapters.redis import RedisClient, Script
from domain.errors import DependencyUnavailable
from domain.ports import SlotLog
from domain.rate_limit import (
    SYSTEM_SUBJECT,
    AccountUsage,
    Caps,
    FanGrants,
    Lease,
    Reservation,
    Slot,
    Window,
    recipient_subject,
)

log = structlog.get_logger(__name__)

_IN_DOUBT = 2
_REBUILDS = 8
"""Attempts to rebuild before a call gives up: memory was lost again each time."""


class RedisLimiter:
    """``domain.ports.Limiter`` on a Redis server or a Redis Cluster; every method raises ``DependencyUnavailable``.

    ``one_slot``: one script may use the keys of an account and those of the system layer; by default unless on a
    cluster. ``clock_us``: a clock in µs instead of Redis's own, for tests only.
    """

    def __init__(
        self,
        redis: RedisClient,
        slots: SlotLog,
        *,
        one_slot: bool | None = None,
        clock_us: Callable[[], int] | None = None,
    ) -> None:
        self._slots = slots
        self._one_slot = not isinstance(redis, RedisCluster) if one_slot is None else one_slot
        self._clock_us = clock_us
        self._reserve = Script(redis, "rate_limit", "rate_limit_reserve", names_process=True)
        self._reserve_fans = Script(redis, "rate_limit", "rate_limit_reserve_fans", names_process=True)
        self._usage = Script(redis, "rate_limit", "rate_limit_usage", names_process=True)
        self._rebuild = Script(redis, "rate_limit", "rate_limit_rebuild", names_process=True)
        self._intact = Script(redis, "rate_limit", "rate_limit_intact", names_process=True)
        self._confirm = Script(redis, "rate_limit", "rate_limit_confirm")
        self._release = Script(redis, "rate_limit", "rate_limit_release")
        self._hold = Script(redis, "rate_limit", "rate_limit_hold")
        self._rebuilding: dict[str, asyncio.Future[None]] = {}
        self._abandoned: dict[str, list[Lease]] = {}
        # Ids that nobody else has, without asking the system for randomness each time.
        self._ids = map(f"{token_urlsafe(9)}-{{:x}}".format, count())

    async def check(self, account_id: str, windows: Sequence[Window]) -> Reservation:
        """What ``reserve`` would answer, without taking anything."""
        verdicts = []
        with _REACHABLE:
            for call in calls(account_id, windows, one_slot=self._one_slot):
                verdicts.append((call, await self._ask(self._reserve, account_id, call, next(self._ids), "")))
        return reservation(account_id, verdicts, None)

    async def reserve(self, account_id: str, windows: Sequence[Window], *, lease_ms: int) -> Reservation:
        """A lease over all windows at once, or a denial that charges nothing."""
        with _REACHABLE:
            if account_id in self._abandoned:
                await self._give_back_abandoned(account_id)
            lease_id = next(self._ids)
            verdicts: list[tuple[Call, list[int]]] = []
            try:
                for call in calls(account_id, windows, one_slot=self._one_slot):
                    lease_us = lease_ms * 1000 if all(map(granted, verdicts)) else ""
                    verdicts.append((call, await self._ask(self._reserve, account_id, call, lease_id, lease_us)))
            except BaseException:
                # Redis may have granted without our knowing. Nothing was sent, so it is given back when Redis answers.
                self._abandoned.setdefault(account_id, []).append(_taken(lease_id, account_id, windows))
                raise
            answer = reservation(account_id, verdicts, lease_id)
            if answer.lease is None and granted(verdicts[0]):
                await self._give_back(_taken(lease_id, account_id, windows))
            return answer

    async def reserve_fans(
        self, account_id: str, fans: Sequence[str], caps: Caps, *, call: UUID, lease_ms: int
    ) -> FanGrants:
        """A slot for each fan by itself, a hundred at a time; also without caps, for those that may be set later."""
        denied: dict[str, int | None] = {}
        taken: dict[str, tuple[Lease, Slot]] = {}
        with _REACHABLE:
            if account_id in self._abandoned:
                await self._give_back_abandoned(account_id)
            try:
                for some, asked in fan_calls(account_id, fans, caps):
                    lease_id = f"{call}/{next(self._ids)}"
                    # Redis may grant without our getting to know.
                    taken[lease_id] = _fan_lease(lease_id, account_id, some, 0)
                    answer = await self._ask(self._reserve_fans, account_id, asked, lease_id, lease_ms * 1000)
                    refused = denied_fans(some, answer)
                    denied |= refused
                    reached = [fan for fan in some if fan not in refused]
                    taken[lease_id] = _fan_lease(lease_id, account_id, reached, answer[2])
                pairs = [pair for pair in taken.values() if pair[0].subjects]
                await self._slots.keep([slot for _, slot in pairs])
                # After the last of them is stored, and one by one: no script is longer than that of a hundred fans.
                for lease, _ in pairs:
                    if not await self.intact([lease]):
                        raise DependencyUnavailable("the limiter has lost its memory; what is left of it is rebuilt")
            except BaseException:
                # Nothing was sent: all of it is given back when Redis answers.
                self._abandoned.setdefault(account_id, []).extend(lease for lease, _ in taken.values())
                raise
        return FanGrants(leases=tuple(lease for lease, _ in pairs), denied=denied)

    async def release_fans(self, leases: Sequence[Lease]) -> None:
        """Nothing was sent: the slots are free again, and the store forgets them."""
        with _REACHABLE:
            for lease in leases:
                await self._give_back(lease)
        await self._slots.forget([_kept(lease) for lease in leases])

    async def intact(self, leases: Sequence[Lease]) -> frozenset[str]:
        """The ids of leases that have counted in all of their windows since they were granted, and have not run out."""
        places: dict[str, list[Lease]] = defaultdict(list)
        for lease in leases:
            for part in reachable_parts(lease, one_slot=self._one_slot):
                places["" if self._one_slot else scope(part.account_id, part.subjects[0])].append(part)
        with _REACHABLE:
            lost = await asyncio.gather(*map(self._lost, places.values()))
        return frozenset(lease.lease_id for lease in leases).difference(*lost)

    async def confirm(self, lease: Lease, *, arrives_within_ms: int = 0) -> None:
        """The call completed: the slot counts from now, or from when its message has arrived at the latest."""
        with _REACHABLE:
            for part in reachable_parts(lease, one_slot=self._one_slot):
                logs = [log_key(lease.account_id, subject) for subject in part.subjects]
                await self._confirm(logs, [self._now(), lease.lease_id, arrives_within_ms * 1000])

    async def release(self, lease: Lease) -> None:
        """Nothing was sent: the slot is free again."""
        with _REACHABLE:
            await self._give_back(lease)

    async def hold(self, account_id: str, duration_ms: int, reason: str) -> None:
        """Grant nothing to the account for that long; a longer hold stays.

        Redis is told first, because that is done soonest, and again after the store: its memory may have been lost and
        rebuilt in between. Without Redis the store keeps the hold on this process's clock.
        """
        duration_us = max(1, duration_ms) * 1000
        key = [hold_key(account_id)]
        try:
            with _REACHABLE:
                until_us, held_for = await self._hold(key, [self._now(), "", duration_us, reason])
        except DependencyUnavailable:
            await self._slots.keep([_held(account_id, time_ns() // 1000 + duration_us, reason)])
            raise
        await self._slots.keep([_held(account_id, until_us, held_for)])
        with _REACHABLE:
            await self._hold(key, [self._now(), until_us, 0, held_for])

    async def usage(self, account_id: str, windows: Sequence[Window]) -> AccountUsage:
        """How full the windows are, and every grant that counts in them, but for the system layer's."""
        told = []
        with _REACHABLE:
            for call in calls(account_id, windows, one_slot=self._one_slot):
                own = (number for number, name in enumerate(call.names, 1) if name != SYSTEM_SUBJECT)
                listed = ",".join(map(str, own))
                told.append((call, await self._ask(self._usage, account_id, call, next(self._ids), listed)))
        return usage(account_id, told)

    async def _ask(self, script: Script, account_id: str, call: Call, ask_id: str, third: Argument) -> list[Any]:
        """Run a script that answers only when the indexes vouch for all of its logs; rebuild what they doubt."""
        for _ in range(_REBUILDS):
            answer: list[Any] = await script(call.keys, [self._now(), ask_id, third, call.plan])
            if answer[0] != _IN_DOUBT:
                return answer
            _, now_us, numbers = answer
            await self._rebuilt(account_id, [call.subject(number) for number in numbers], ask_id, now_us)
        raise DependencyUnavailable("the limiter loses its memory faster than it can be rebuilt")

    async def _rebuilt(self, account_id: str, doubted: Sequence[Subject], claim: str, now_us: int) -> None:
        """Rebuild subjects of one scope, or wait until another call of this process has done so with its own ones."""
        tag = scope(account_id, doubted[0].name)
        running = self._rebuilding.get(tag)
        if running is None:
            running = asyncio.ensure_future(self._restore(tag, doubted, claim, now_us))
            self._rebuilding[tag] = running
            running.add_done_callback(lambda _: self._rebuilding.pop(tag))
        await asyncio.shield(running)

    async def _restore(self, tag: str, doubted: Sequence[Subject], claim: str, now_us: int) -> None:
        since_us = now_us - max(subject.span_us for subject in doubted)
        slots = await self._slots.slots(None if tag == SYSTEM_SUBJECT else tag, since_us)
        keys, arguments = restoration(tag, doubted, slots)
        restored: int = await self._rebuild(keys, [self._now(), claim, *arguments])
        if restored > 0:
            log.warning("limiter_rebuilt", scope=tag, restored=restored)

    async def _lost(self, leases: Sequence[Lease]) -> list[str]:
        """Those that one script finds missing somewhere."""
        keys, plan = inspection(leases)
        found: list[int] = await self._intact(keys, [self._now(), plan])
        return [lease.lease_id for lease, there in zip(leases, found, strict=True) if not there]

    async def _give_back(self, lease: Lease) -> None:
        for part in reachable_parts(lease, one_slot=self._one_slot):
            logs = [log_key(lease.account_id, subject) for subject in part.subjects]
            indexes = [index_key(lease.account_id, subject) for subject in part.subjects]
            await self._release(logs + indexes, [self._now(), lease.lease_id, *part.subjects])

    async def _give_back_abandoned(self, account_id: str) -> None:
        leases = self._abandoned.pop(account_id)
        try:
            while leases:
                await self._give_back(leases[-1])
                leases.pop()
        finally:
            if leases:
                self._abandoned.setdefault(account_id, []).extend(leases)

    def _now(self) -> Argument:
        return "" if self._clock_us is None else self._clock_us()


class _Reachable:
    """Inside of it Redis has to answer. No generator: that would take a microsecond more for each reservation."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, RedisError | RedisClusterException):
            raise DependencyUnavailable("the limiter can't be reached, so nothing may be sent") from error


_REACHABLE = _Reachable()


def _taken(lease_id: str, account_id: str, windows: Sequence[Window]) -> Lease:
    """A lease of which only its place is known."""
    subjects = tuple(dict.fromkeys(window.subject for window in windows))
    return Lease(lease_id=lease_id, account_id=account_id, subjects=subjects, expires_at_us=0)


def _kept(lease: Lease) -> Slot:
    """The slot that the message store keeps for a lease, as far as its name goes."""
    return Slot(lease_id=lease.lease_id, account_id=lease.account_id, counts_at_us=lease.expires_at_us)


def _held(account_id: str, until_us: int, reason: str) -> Slot:
    """A hold as the message store remembers it."""
    return Slot(lease_id="hold", account_id=account_id, counts_at_us=until_us, hold=reason)


def _fan_lease(lease_id: str, account_id: str, fans: Sequence[str], expires_at_us: int) -> tuple[Lease, Slot]:
    """A lease over the logs of fans, and how the message store remembers it."""
    subjects = tuple(map(recipient_subject, fans))
    lease = Lease(lease_id=lease_id, account_id=account_id, subjects=subjects, expires_at_us=expires_at_us)
    slot = Slot(lease_id=lease_id, account_id=account_id, also_for=tuple(fans), counts_at_us=expires_at_us)
    return lease, slot
