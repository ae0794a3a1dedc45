"""The limiter in Redis: one Lua call decides over every window of an account, on Redis's clock.

Every key of an account carries the hash tag ``{account}``, so the scripts also run on a cluster.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.errors import DependencyUnavailable
from domain.rate_limit import RateLimitStatus, Reservation, Window

_SCRIPTS = Path(__file__).parent / "lua"
_SUBJECT = "account"


class RedisLimiter:
    """``domain.ports.Limiter``. ``clock_us``: a clock in microseconds instead of Redis's own, for tests only."""

    def __init__(self, redis: Redis, *, clock_us: Callable[[], int] | None = None) -> None:
        self._redis = redis
        self._clock_us = clock_us
        self._reserve = redis.register_script((_SCRIPTS / "rate_limit_reserve.lua").read_text())
        self._confirm = redis.register_script((_SCRIPTS / "rate_limit_confirm.lua").read_text())

    async def reserve(self, account_id: str, windows: Sequence[Window], *, lease_ms: int) -> Reservation:
        """A lease over all windows or a denial that charges nothing; raises ``DependencyUnavailable``."""
        return await self._decide(account_id, windows, str(uuid4()), lease_ms)

    async def status(self, account_id: str, windows: Sequence[Window], now: datetime) -> RateLimitStatus:
        """What a reservation would answer, without taking anything."""
        answer = await self._decide(account_id, windows, "", 0)
        throttled = answer.retry_after_ms > 0
        return RateLimitStatus(
            remaining=answer.remaining,
            reset_time=now + timedelta(milliseconds=answer.retry_after_ms) if throttled else None,
            throttled=throttled,
        )

    async def _decide(self, account_id: str, windows: Sequence[Window], lease_id: str, lease_ms: int) -> Reservation:
        limited = [window for window in windows if window.limit is not None]
        arguments: list[str | int] = [lease_id, lease_ms, self._now()]
        for window in limited:
            arguments += [2, window.limit or 0, ceil(window.seconds * 1000)]
        with _reachable():
            granted, remaining, retry_after_ms, binding = await self._reserve(
                keys=[_hold_key(account_id), _log_key(account_id)], args=arguments
            )
        bound = limited[binding - 1] if binding >= 1 else None
        return Reservation(
            lease_id=lease_id if granted and lease_id else None,
            remaining=remaining,
            retry_after_ms=retry_after_ms,
            binding_layer=bound.layer if bound else ("hold" if binding == 0 else None),
            window_seconds=bound.seconds if bound else None,
        )

    async def confirm(self, account_id: str, lease_id: str) -> None:
        with _reachable():
            await self._confirm(keys=[_log_key(account_id)], args=[lease_id, self._now()])

    async def release(self, account_id: str, lease_id: str) -> None:
        with _reachable():
            await self._redis.zrem(_log_key(account_id), lease_id)

    async def hold(self, account_id: str, duration_ms: int, reason: str) -> None:
        with _reachable():
            await self._redis.set(_hold_key(account_id), reason, px=max(1, duration_ms))

    def _now(self) -> str | int:
        return "" if self._clock_us is None else self._clock_us()


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise DependencyUnavailable("the limiter can't be reached, so nothing may be sent") from error


def _log_key(account_id: str) -> str:
    return f"rate:{{{account_id}}}:{_SUBJECT}"


def _hold_key(account_id: str) -> str:
    return f"rate:{{{account_id}}}:hold"
