"""A stage for the limiter: a clock, a message store that is a list, windows, and servers of one's own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from adapters.rate_limit import RedisLimiter
from adapters.redis import RedisClient, open_redis
from adapters.settings import Settings
from domain.rate_limit import Layer, Lease, MessageType, Reservation, Slot, Window
from local import ports
from local.redis import serving

MS = 1_000
S = 1_000_000
LEASE_MS = 500


class Clock:
    """Microseconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_us = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.now_us

    def advance(self, milliseconds: float) -> None:
        self.now_us += round(milliseconds * MS)


class StoredSlots:
    """``domain.ports.SlotLog`` without a store; ``reads``: of which account (None: all), since when."""

    def __init__(self) -> None:
        self.stored: dict[str, Slot] = {}
        self.reads: list[tuple[str | None, int]] = []

    def store(
        self, lease: Lease, recipient_id: str | None = None, message_type: MessageType = MessageType.CUSTOM
    ) -> None:
        self.stored[lease.lease_id] = Slot(
            lease_id=lease.lease_id,
            account_id=lease.account_id,
            message_type=message_type,
            recipient_id=recipient_id,
            counts_at_us=lease.expires_at_us,
        )

    async def keep(self, slots: Sequence[Slot]) -> None:
        self.stored |= {slot.lease_id: slot for slot in slots}

    async def forget(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            self.stored.pop(slot.lease_id, None)

    async def slots(self, account_id: str | None, since_us: int) -> Sequence[Slot]:
        self.reads.append((account_id, since_us))
        return [
            slot
            for slot in self.stored.values()
            if account_id in {None, slot.account_id} and slot.counts_at_us >= since_us
        ]


def of_account(limit: int, seconds: float) -> Window:
    return Window(layer=Layer.ACCOUNT, subject="account", limit=limit, seconds=seconds)


def of_type(limit: int, seconds: float, message_type: MessageType = MessageType.CUSTOM) -> Window:
    return Window(layer=Layer.MESSAGE_TYPE, subject=f"type:{message_type}", limit=limit, seconds=seconds)


def of_recipient(limit: int, seconds: float, recipient_id: str = "7") -> Window:
    return Window(layer=Layer.RECIPIENT, subject=f"recipient:{recipient_id}", limit=limit, seconds=seconds)


def of_system(limit: int, seconds: float) -> Window:
    return Window(layer=Layer.SYSTEM, subject="system", limit=limit, seconds=seconds)


def pacing(seconds: float) -> Window:
    return Window(layer=Layer.PACING, subject="account", limit=1, seconds=seconds)


async def take(limiter: RedisLimiter, account: str, *windows: Window) -> Lease:
    """A lease that must be granted."""
    lease = (await limiter.reserve(account, windows, lease_ms=LEASE_MS)).lease
    assert lease is not None
    return lease


async def send(limiter: RedisLimiter, account: str, *windows: Window) -> Lease:
    """A lease that is used at once."""
    lease = await take(limiter, account, *windows)
    await limiter.confirm(lease)
    return lease


async def denial(limiter: RedisLimiter, account: str, *windows: Window) -> Reservation:
    answer = await limiter.reserve(account, windows, lease_ms=LEASE_MS)
    assert not answer.granted
    assert not answer.would_grant
    return answer


def at(port: int, *, cluster: bool = False) -> Settings:
    return Settings(redis_url=SecretStr(f"redis://{ports.HOST}:{port}/0"), redis_cluster=cluster)


@asynccontextmanager
async def own_redis(directory: Path, *options: str, port: int | None = None) -> AsyncIterator[RedisClient]:
    """A client of a server that nobody else uses."""
    async with serving(directory, *options, port=port) as chosen, open_redis(at(chosen)) as client:
        yield client
