"""Circuit breakers that all workers share: Lua decides in Redis, on Redis's clock. ``domain/breaker.py`` says what.

While Redis can't be reached, a breaker of this process alone takes over: it starts closed, and what it learned is
forgotten when Redis answers again.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis.exceptions import RedisClusterException, RedisError

from adapters.redis import RedisClient, Script
from domain import breaker
from domain.breaker import PROBE_CHECK_MS, Admission, BreakerPolicy, BreakerState, BreakerStatus, BreakerView

log = structlog.get_logger(__name__)

MEMORY_MS = 100
"""For so long a process believes that a breaker is closed without asking again: that much later than others it may
learn that it has opened. Open and half-open breakers are asked about every time."""

AWAY_MS = 1_000
"""After a failure Redis is left alone for so long; then one attempt is made, for which no caller waits."""


class RedisBreaker:
    """``domain.ports.Breaker`` on a Redis server or a Redis Cluster. Never raises.

    ``namespace``: breakers of another one are others. ``clock_ms``: a clock in ms instead of Redis's and this
    process's own, for tests only.
    """

    def __init__(
        self,
        redis: RedisClient,
        policy: BreakerPolicy,
        *,
        namespace: str = "",
        clock_ms: Callable[[], int] | None = None,
    ) -> None:
        self._namespace = namespace
        self._policy = policy
        self._clock_ms = clock_ms
        self._now_ms = clock_ms or _monotonic_ms
        self._admit = Script(redis, "breaker", "breaker_admit")
        self._succeeded = Script(redis, "breaker", "breaker_succeeded")
        self._failed = Script(redis, "breaker", "breaker_failed")
        self._view = Script(redis, "breaker", "breaker_view")
        self._closed: dict[str, tuple[int, Admission]] = {}
        self._asking: dict[str, asyncio.Event] = {}
        self._local = LocalBreaker(policy, self._now_ms)
        self._away = False
        self._look_at_ms = 0
        self._looking: asyncio.Task[None] | None = None

    async def admit(self, target: str) -> Admission:
        """Whether ``target`` may be called now."""
        if (remembered := self._remembered(target)) is not None:
            return remembered
        # It was closed a moment ago and most likely still is: then one answer serves everybody.
        if target in self._closed and (asking := self._asking.get(target)) is not None:
            await asking.wait()
            if (remembered := self._remembered(target)) is not None:
                return remembered
        return await self._ask(target)

    async def succeeded(self, target: str, admission: Admission) -> bool:
        """Whether this closed it. Redis is told of probes only: no other success changes anything."""
        if not admission.probe:
            return False
        if not admission.shared:
            return self._local.succeeded(target, admission)
        closed = bool(await self._run(self._succeeded, target, admission.ticket))
        if closed:
            _tell_closed(target, shared=True)
        return closed

    async def failed(self, target: str, admission: Admission) -> bool:
        """Whether this opened it. A failure of a call that the other breaker had admitted counts as that of any call,
        made just now."""
        if not admission.allowed:
            return False
        probe, ticket = (admission.ticket, "") if admission.probe else (0, admission.ticket)
        if not admission.shared:
            probe, ticket = 0, ""
        policy = self._policy
        opened = await self._run(self._failed, target, probe, ticket, policy.failures, policy.window_ms, policy.open_ms)
        if opened is None:
            return self._local.failed(target, admission)
        self._closed.pop(target, None)
        if opened:
            _tell_opened(target, policy, shared=True)
        return bool(opened)

    async def views(self, targets: Sequence[str]) -> Sequence[BreakerView]:
        """The breakers of ``targets``, in their order."""
        return await asyncio.gather(*map(self._seen, targets))

    async def _ask(self, target: str) -> Admission:
        asked_at_ms, answered = self._now_ms(), asyncio.Event()
        self._asking.setdefault(target, answered)
        try:
            answer = await self._run(self._admit, target, self._policy.probe_ms, PROBE_CHECK_MS)
        finally:
            answered.set()
            if self._asking.get(target) is answered:
                del self._asking[target]
        if answer is None:
            return self._local.admit(target)
        allowed, probe, status, retry_after_ms, ticket = answer
        admission = Admission(
            allowed=bool(allowed), probe=bool(probe), status=status, retry_after_ms=retry_after_ms, ticket=ticket
        )
        if admission.status is BreakerStatus.CLOSED:
            self._closed[target] = (asked_at_ms + MEMORY_MS, admission)
        else:
            self._closed.pop(target, None)
        if admission.probe:
            _tell_half_open(target, shared=True)
        return admission

    def _remembered(self, target: str) -> Admission | None:
        until_ms, admission = self._closed.get(target, (0, None))
        return admission if self._now_ms() < until_ms else None

    async def _seen(self, target: str) -> BreakerView:
        answer = await self._run(self._view, target, self._policy.window_ms)
        if answer is None:
            return self._local.view(target)
        status, failures, open_for_ms, opened, closed, rejected = answer
        return BreakerView(
            target=target,
            status=status,
            failures=failures,
            open_for_ms=open_for_ms if open_for_ms >= 0 else None,
            opened=opened,
            closed=closed,
            rejected=rejected,
        )

    async def _run(self, script: Script, target: str, *arguments: str | int) -> Any:
        """What a script answers about ``target``; ``None``: the local breaker decides."""
        if self._away:
            if self._looking is None and self._now_ms() >= self._look_at_ms:
                self._looking = asyncio.create_task(self._look(target))
            return None
        try:
            return await self._evaluate(script, target, *arguments)
        except (RedisError, RedisClusterException) as error:
            self._leave(error)
            return None

    async def _evaluate(self, script: Script, target: str, *arguments: str | int) -> Any:
        clock = "" if self._clock_ms is None else self._clock_ms()
        return await script([f"breaker:{{{self._namespace}{target}}}"], [clock, *arguments])

    def _leave(self, error: Exception) -> None:
        self._look_at_ms = self._now_ms() + AWAY_MS
        if not self._away:
            self._away = True
            self._local = LocalBreaker(self._policy, self._now_ms)
            log.warning("breaker_local", reason=type(error).__name__)

    async def _look(self, target: str) -> None:
        """Whether Redis answers again."""
        try:
            await self._evaluate(self._view, target, self._policy.window_ms)
        except (RedisError, RedisClusterException) as error:
            self._leave(error)
        else:
            self._away = False
            log.info("breaker_shared")
        finally:
            self._looking = None


class LocalBreaker:
    """The breakers of this process alone, on its own clock."""

    def __init__(self, policy: BreakerPolicy, now_ms: Callable[[], int]) -> None:
        self._policy = policy
        self._now_ms = now_ms
        self._states: defaultdict[str, BreakerState] = defaultdict(BreakerState)

    def admit(self, target: str) -> Admission:
        """As ``RedisBreaker.admit``."""
        self._states[target], admission = breaker.admit(self._states[target], self._policy, self._now_ms())
        if admission.probe:
            _tell_half_open(target, shared=False)
        return admission.model_copy(update={"shared": False})

    def succeeded(self, target: str, admission: Admission) -> bool:
        """As ``RedisBreaker.succeeded``."""
        before = self._states[target]
        self._states[target] = after = breaker.succeeded(before, admission)
        if after.closed > before.closed:
            _tell_closed(target, shared=False)
        return after.closed > before.closed

    def failed(self, target: str, admission: Admission) -> bool:
        """As ``RedisBreaker.failed``."""
        before = self._states[target]
        known = Admission(allowed=True, ticket=before.opened) if admission.shared else admission
        self._states[target] = after = breaker.failed(before, self._policy, known, self._now_ms())
        if after.opened > before.opened:
            _tell_opened(target, self._policy, shared=False)
        return after.opened > before.opened

    def view(self, target: str) -> BreakerView:
        """The breaker as operators see it."""
        return breaker.view(target, self._states[target], self._policy, self._now_ms(), shared=False)


def _tell_opened(target: str, policy: BreakerPolicy, *, shared: bool) -> None:
    log.warning("breaker_opened", target=target, open_ms=policy.open_ms, shared=shared)


def _tell_half_open(target: str, *, shared: bool) -> None:
    log.info("breaker_half_open", target=target, shared=shared)


def _tell_closed(target: str, *, shared: bool) -> None:
    log.info("breaker_closed", target=target, shared=shared)


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
