"""What a process knows of the flags: a snapshot of the store, which is all that evaluation looks at.

Every process reads the store whenever it is told of a change, whenever it has just subscribed, and now and then in case
that a push got lost. While Redis can't be reached, or does not answer, it reads the store so often that a change still
arrives within a second.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters.cancellation import end
from adapters.dynamodb import open_dynamo
from adapters.flag import channel_of, stored_flags
from adapters.metrics import Metrics
from adapters.settings import Settings
from domain.errors import DependencyUnavailable
from domain.flag import (
    HYBRID_ORCHESTRATOR,
    NOT_OVERRIDDEN,
    Flag,
    FlagDecision,
    FlagOverride,
    FlagReason,
    FlagSnapshotStanding,
    FlagSubject,
)
from domain.flag_evaluation import Evaluation, compiled, without_flag

SLOW_POLL_S = 3.0
"""Between reads of the store while changes are pushed."""

QUICK_POLL_S = 0.4
"""Between reads while they are not, or after a read that failed."""

SILENCE_S = 0.2
"""A subscription that was silent for so long is pinged; one that then stays silent for as long again is lost."""

_CONNECT_S = 0.3
_RECONNECT_S = 0.2
_STORE_S = 2.0
"""A read of the snapshot that takes longer is given up: the next one may find a connection that works."""

log = structlog.get_logger()


@dataclass(frozen=True)
class _Known:
    """What a process knows: one read of the store. ``read_at``: when that read began, on the monotonic clock."""

    flags: Mapping[str, Flag] = field(default_factory=dict)
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    read_at: float | None = None


class FlagSnapshot:
    """``domain.ports.Flags``. ``run`` keeps it fresh; ``read`` reads the store, ``redis`` is for its subscription alone
    and must give up soon, ``overrides`` are the environment's, by flag."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Sequence[Flag]]],
        redis: Redis,
        channel: str,
        overrides: Mapping[str, FlagOverride],
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._read = read
        self._redis = redis
        self._channel = channel
        self._overrides = overrides
        self._known = _Known()
        self._evaluations = self._known.evaluations
        self._wanted = asyncio.Event()
        self._pushed = False
        self._complaints: set[str] = set()
        self._listeners: list[Callable[[Sequence[str]], None]] = []

    def evaluate(self, name: str, subject: FlagSubject) -> FlagDecision:
        """A flag that is not known, or no snapshot at all, is off; unless the environment forces it on."""
        evaluation = self._evaluations.get(name)
        if evaluation is not None:
            return evaluation(subject)
        reason = FlagReason.NO_SNAPSHOT if self._known.read_at is None else FlagReason.UNKNOWN_FLAG
        return without_flag(name, reason, self._overrides.get(name, NOT_OVERRIDDEN))(subject)

    def all(self) -> Sequence[Flag]:
        """The flags of the snapshot, by name."""
        return tuple(self._known.flags.values())

    def standing(self) -> FlagSnapshotStanding:
        """The age is that of the last read of the store: only a read proves what the present state is."""
        known = self._known
        return FlagSnapshotStanding(
            loaded=known.read_at is not None,
            age_ms=None if known.read_at is None else int((monotonic() - known.read_at) * 1000),
            pushed=self._pushed,
            revisions={name: flag.revision for name, flag in known.flags.items()},
        )

    def on_change(self, listener: Callable[[Sequence[str]], None]) -> Callable[[], None]:
        """``listener`` is told which flags decide by a new revision, or are gone; what is answered ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def refresh(self) -> None:
        """Read the store now; raises ``DependencyUnavailable``, and then the snapshot stays what it was."""
        began = monotonic()
        try:
            flags = await self._read()
        except (ClientError, BotoCoreError) as error:
            raise DependencyUnavailable("the flags can't be read; try again in a moment", retry_after_s=5) from error
        # Reads are consistent: the one that began last knows most.
        if self._known.read_at is None or self._known.read_at <= began:
            self._install(flags, began)

    async def run(self) -> None:
        """Keep the snapshot fresh until cancelled."""
        tasks = {asyncio.create_task(self._keep_reading()), asyncio.create_task(self._keep_subscribed())}
        try:
            await asyncio.wait(tasks)
        finally:
            await end(tasks)

    def _install(self, flags: Sequence[Flag], read_at: float) -> None:
        before = self._known
        evaluations = {}
        changed = sorted(before.flags.keys() - {flag.name for flag in flags})
        for flag in flags:
            if before.flags.get(flag.name) == flag:
                evaluations[flag.name] = before.evaluations[flag.name]
            else:
                changed.append(flag.name)
                evaluations[flag.name] = compiled(flag, self._overrides.get(flag.name, NOT_OVERRIDDEN))
                log.info("flag_in_force", flag=flag.name, revision=flag.revision, changed_by=flag.changed_by)
        self._known = _Known({flag.name: flag for flag in flags}, evaluations, read_at)
        self._evaluations = evaluations
        if changed:
            for listener in tuple(self._listeners):
                listener(changed)

    async def _keep_reading(self) -> None:
        while True:
            self._wanted.clear()
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - whatever it was: the snapshot stays, and the next read may work
                self._complain("flags_not_read", error)
                pause_s = QUICK_POLL_S
            else:
                self._content("flags_not_read")
                pause_s = SLOW_POLL_S * random.uniform(0.8, 1) if self._pushed else QUICK_POLL_S
            self._metrics.flags_known(self.standing())
            # Not ``wait_for``, which in Python 3.11 may lose a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()

    async def _keep_subscribed(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    await self._heed(subscription)
            except Exception as error:  # noqa: BLE001 - whatever it was: the store is asked until it is over
                self._pushed = False
                self._wanted.set()
                self._complain("flags_not_pushed", error)
            await asyncio.sleep(_RECONNECT_S)

    async def _heed(self, subscription: PubSub) -> None:
        """Read the store after each push and each time when the subscription was made; ends only with an error."""
        pinged = False
        while True:
            message = await subscription.get_message(timeout=SILENCE_S)
            if message is None:
                if pinged:
                    raise TimeoutError("no answer to a ping")
                await subscription.ping()
                pinged = True
                continue
            pinged = False
            if message["type"] == "subscribe":
                self._pushed = True
                self._content("flags_not_pushed")
            if message["type"] in {"subscribe", "message"}:
                self._wanted.set()

    def _complain(self, event: str, error: Exception) -> None:
        """One line of the log when something begins to fail."""
        if event not in self._complaints:
            self._complaints.add(event)
            log.warning(event, error=type(error).__name__, detail=str(error), age_ms=self.standing().age_ms)

    def _content(self, event: str) -> None:
        """One line of the log when it works again."""
        if event in self._complaints:
            self._complaints.remove(event)
            log.info(f"{event}_over")


@asynccontextmanager
async def open_flags(settings: Settings, metrics: Metrics | None = None) -> AsyncIterator[FlagSnapshot]:
    """A snapshot that keeps itself fresh, over connections of its own: whatever else the process does, its reads wait
    for nobody. Nothing has been read yet."""
    # On a cluster too: a node passes on what is published at any other.
    subscriber = Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=_CONNECT_S,
        socket_connect_timeout=_CONNECT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    async with subscriber, open_dynamo(settings, threads=2, timeout_s=_STORE_S, attempts=1) as dynamo:
        read, overrides = partial(stored_flags, dynamo), flag_overrides(settings)
        snapshot = FlagSnapshot(read, subscriber, channel_of(dynamo), overrides, metrics)
        running = asyncio.create_task(snapshot.run())
        try:
            yield snapshot
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def flag_overrides(settings: Settings) -> Mapping[str, FlagOverride]:
    """What the environment forces, by flag."""
    enabled, percentage = settings.hybrid_orchestrator_enabled, settings.hybrid_orchestrator_percentage
    if enabled is None and percentage is None:
        return {}
    return {HYBRID_ORCHESTRATOR: FlagOverride(enabled=enabled, percentage=percentage)}
