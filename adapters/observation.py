"""Routed requests, counted: a buffer in each process, sums by arm and minute in Redis, and those kept in DynamoDB.

Nobody waits to be counted. A batch that Redis may or may not have taken is offered again under the same number, and
counts once. Each memory of a minute has an epoch: a Redis that lost its data, or came back with older data, begins
another, and both count. So what is lost with Redis is what it counted since the minute was last kept, and nothing is
counted twice.
"""

import asyncio
from collections import Counter, OrderedDict, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import structlog
from botocore.exceptions import ClientError
from redis.exceptions import RedisClusterException, RedisError

from adapters.cancellation import end
from adapters.dynamodb import Dynamo, from_item, sortable, to_item, value
from adapters.redis import RedisClient, Script
from adapters.tables import EXPIRY
from domain.errors import DependencyUnavailable
from domain.observation import Arm, ArmCounts, MinuteCounts, Observation, Observed, Sums, latency_class

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 0.25
"""How old an observation is at most before Redis has it."""

KEEP_EVERY_S = 10.0
"""How much is lost at most with Redis's memory."""

IN_REDIS = timedelta(hours=3)
"""A minute leaves Redis so long after it last changed; DynamoDB may be away for that long without a loss."""

SETTLED_MINUTES = 4 * 60
"""Minutes that lie so far behind the newest change no more: they are added up once."""

BUFFERED_MINUTES = 30
"""While Redis is away, a process remembers the latest minutes of each flag, at most so many."""

KEPT_FOR = timedelta(days=90)

_REMEMBERED_SUMS = 16
_CLOSING_S = 2.0
_AWAY = (RedisError, RedisClusterException, OSError)

Place = tuple[Arm, int]
"""An arm and a minute, as the number of minutes since 1970."""


@dataclass
class _Minute:
    """One arm in one minute, as yet unwritten."""

    counts: Counter[str] = field(default_factory=Counter)
    newest_ms: int = 0


@dataclass(frozen=True)
class _Batch:
    """What is offered to Redis, under the same number until Redis has it."""

    number: int
    minutes: Mapping[Place, _Minute]


@dataclass(frozen=True)
class _Counted:
    """One epoch of one arm in one minute, and when its newest request was made."""

    counts: ArmCounts
    newest_ms: int


class RedisObservations:
    """``domain.ports.Observations``. ``write`` and ``keep`` are what ``open_observations`` repeats.

    ``flags`` that this process has seen are those that it keeps; any process that looks at a flag keeps it.
    """

    def __init__(self, redis: RedisClient, dynamo: Dynamo, *, keep_every_s: float = KEEP_EVERY_S) -> None:
        self._redis = redis
        self._dynamo = dynamo
        self._keep_every_s = keep_every_s
        self._add = Script(redis, "observation_add", names_process=True)
        self._kept = Script(redis, "observation_kept")
        self._writer = uuid4().hex[:12]
        self._batches = 0
        self._buffer: defaultdict[str, dict[Place, _Minute]] = defaultdict(dict)
        self._offered: dict[str, _Batch] = {}
        self._flags: set[str] = set()
        self._settled: OrderedDict[tuple[str, int], tuple[int, Observed]] = OrderedDict()
        self._writing = asyncio.Lock()
        self._away = False

    def record(self, observation: Observation) -> None:
        """Some microseconds of arithmetic; the oldest minute is dropped when Redis is away for too long."""
        minutes = self._buffer[observation.flag]
        moment = observation.at.timestamp()
        place = observation.arm, int(moment // 60)
        minute = minutes.get(place)
        if minute is None:
            if len(minutes) >= BUFFERED_MINUTES * len(Arm):
                del minutes[min(minutes, key=lambda each: each[1])]
                log.error("observations_dropped", flag=observation.flag, minutesKept=BUFFERED_MINUTES)
            minute = minutes[place] = _Minute()
        minute.counts.update(_fields(observation))
        minute.newest_ms = max(minute.newest_ms, int(moment * 1000))

    async def observed(self, flag: str, since: datetime) -> Observed:
        """From the beginning of the minute of ``since``. While Redis is away, what was kept; ``fresh_at`` tells."""
        self._flags.add(flag)
        first = int(since.timestamp() // 60)
        start, settled = self._settled.get((flag, first), (first, Observed()))
        live = await self._live(flag, start)
        found = await self._stored(flag, start)
        for place, counted in live.items():
            # Both are states of one growing count: the larger is the later.
            if place not in found or counted.counts.requests >= found[place].counts.requests:
                found[place] = counted
        border = max(start, max((minute for _, minute, _ in found), default=start) - SETTLED_MINUTES)
        settled = _sum(settled, {place: counted for place, counted in found.items() if place[1] < border})
        self._settled[flag, first] = border, settled
        self._settled.move_to_end((flag, first))
        if len(self._settled) > _REMEMBERED_SUMS:
            self._settled.popitem(last=False)
        return _sum(settled, {place: counted for place, counted in found.items() if place[1] >= border})

    async def write(self) -> None:
        """Offer the buffer to Redis; what it does not take is offered again the next time. Never raises."""
        async with self._writing:
            for flag in {*self._offered, *self._buffer}:
                try:
                    await self._write(flag)
                except _AWAY as error:
                    if not self._away:
                        log.warning("observations_wait_for_redis", error=type(error).__name__)
                    self._away = True
                    return
                self._away = False

    async def keep(self) -> None:
        """Copy changed minutes to DynamoDB, unless another process does so now. Never raises."""
        for flag in sorted(self._flags):
            try:
                if await self._first_to_keep(flag):
                    await self._keep(flag)
            except (*_AWAY, ClientError, DependencyUnavailable) as error:
                log.warning("observations_not_kept", flag=flag, error=type(error).__name__)

    async def _write(self, flag: str) -> None:
        while True:
            batch = self._offered.get(flag)
            if batch is None:
                minutes = self._buffer.pop(flag, None)
                if not minutes:
                    return
                self._flags.add(flag)
                self._batches += 1
                batch = self._offered[flag] = _Batch(self._batches, minutes)
            keys = [_key(flag, name) for name in ("minutes", "changed", f"writer:{self._writer}")]
            arguments: list[str | int] = [batch.number, f"{self._writer}{batch.number}", _ms(IN_REDIS)]
            for place, minute in batch.minutes.items():
                keys.append(_key(flag, _member(place)))
                arguments += [_member(place), place[1], minute.newest_ms, len(minute.counts)]
                arguments += [part for pair in minute.counts.items() for part in pair]
            await self._add(keys, arguments)
            del self._offered[flag]

    async def _first_to_keep(self, flag: str) -> bool:
        """Nobody else has begun to keep this flag in about the time after which it is due again."""
        pause_ms = int(self._keep_every_s * 900)
        return bool(await self._redis.set(_key(flag, "keeper"), self._writer, nx=True, px=max(1, pause_ms)))

    async def _keep(self, flag: str) -> None:
        changed = await cast("Any", self._redis.hgetall(_key(flag, "changed")))
        if not changed:
            return
        for (arm, minute, epoch), counted in (await self._hashes(flag, list(changed))).items():
            await self._put(
                MinuteCounts(flag=flag, arm=arm, minute=_moment(minute), epoch=epoch, counts=counted.counts),
                counted.newest_ms,
            )
        await self._kept([_key(flag, "changed")], [part for pair in changed.items() for part in pair])

    async def _put(self, minute: MinuteCounts, newest_ms: int) -> None:
        expires = int((minute.minute + KEPT_FOR).timestamp())
        keys = {"scope": _scope(minute.flag), "entry": f"{sortable(minute.minute)}#{minute.arm}#{minute.epoch}"}
        with suppress(self._dynamo.client.exceptions.ConditionalCheckFailedException):
            await self._dynamo.call(
                self._dynamo.client.put_item,
                TableName=self._dynamo.table("observations"),
                Item=to_item(minute, **keys, newestMs=newest_ms, **{EXPIRY: expires}),
                # A slow process never puts an earlier state over a later one.
                ConditionExpression="attribute_not_exists(#scope) OR #counts.#requests < :requests",
                ExpressionAttributeNames={"#scope": "scope", "#counts": "counts", "#requests": "requests"},
                ExpressionAttributeValues={":requests": value(minute.counts.requests)},
            )

    async def _live(self, flag: str, first: int) -> dict[tuple[Arm, int, str], _Counted]:
        """What Redis has; nothing while it is away."""
        try:
            members = await cast("Any", self._redis.zrangebyscore(_key(flag, "minutes"), first, "+inf"))
            return await self._hashes(flag, members)
        except _AWAY as error:
            log.warning("observations_without_redis", flag=flag, error=type(error).__name__)
            return {}

    async def _hashes(self, flag: str, members: Sequence[str]) -> dict[tuple[Arm, int, str], _Counted]:
        if not members:
            return {}
        pipeline = self._redis.pipeline(transaction=False)
        for member in members:
            pipeline.hgetall(_key(flag, member))
        hashes = await pipeline.execute()
        return {
            (*_place(member), epoch): counted
            for member, fields in zip(members, hashes, strict=True)
            for epoch, counted in _epochs(fields).items()
        }

    async def _stored(self, flag: str, first: int) -> dict[tuple[Arm, int, str], _Counted]:
        found: dict[tuple[Arm, int, str], _Counted] = {}
        async for item in self._dynamo.query(
            TableName=self._dynamo.table("observations"),
            KeyConditionExpression="#scope = :scope AND #entry >= :first",
            ExpressionAttributeNames={"#scope": "scope", "#entry": "entry"},
            ExpressionAttributeValues={":scope": value(_scope(flag)), ":first": value(sortable(_moment(first)))},
            ConsistentRead=True,
        ):
            minute = from_item(MinuteCounts, item)
            place = minute.arm, int(minute.minute.timestamp() // 60), minute.epoch
            found[place] = _Counted(minute.counts, int(item["newestMs"]["N"]))
        return found


@asynccontextmanager
async def open_observations(redis: RedisClient, dynamo: Dynamo) -> AsyncIterator[RedisObservations]:
    """Counts, writes and keeps until the end; contacts nothing before there is something to write."""
    observations = RedisObservations(redis, dynamo)
    tasks = [
        asyncio.create_task(_repeat(observations.write, WRITE_EVERY_S), name="observations-write"),
        asyncio.create_task(_repeat(observations.keep, KEEP_EVERY_S), name="observations-keep"),
    ]
    try:
        yield observations
    finally:
        await end(tasks)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_S):
                await observations.write()


async def _repeat(work: Any, pause_s: float) -> None:
    while True:
        await asyncio.sleep(pause_s)
        try:
            await work()
        except Exception:
            # Counting must not end with one surprise.
            log.exception("observations_failed")


def _fields(observation: Observation) -> dict[str, int]:
    """What one request adds to its minute."""
    fields = {"requests": 1, f"latency:{latency_class(observation.latency_ms)}": 1}
    if observation.error:
        fields[f"error:{observation.error}"] = 1
    if observation.cost_micros is not None:
        fields |= _sums("cost", observation.cost_micros)
    if observation.compliance is not None:
        fields |= _sums("compliance", round(observation.compliance * 1_000_000))
    return fields


def _sums(name: str, amount: int) -> dict[str, int]:
    return {f"{name}.count": 1, f"{name}.total": amount, f"{name}.squares": amount * amount}


def _epochs(fields: Mapping[str, str]) -> dict[str, _Counted]:
    """A minute's hash, by epoch."""
    numbers: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, text in fields.items():
        epoch, colon, counted = name.partition(":")
        if colon:
            numbers[epoch][counted] = int(text)
    return {epoch: _Counted(_counts(found), found.get("newest", 0)) for epoch, found in numbers.items()}


def _counts(numbers: Mapping[str, int]) -> ArmCounts:
    def of_kind(kind: str) -> dict[str, int]:
        return {name.removeprefix(kind): number for name, number in numbers.items() if name.startswith(kind)}

    return ArmCounts(
        requests=numbers.get("requests", 0),
        errors=of_kind("error:"),
        latencies={int(number): count for number, count in of_kind("latency:").items()},
        cost=Sums.model_validate(of_kind("cost.")),
        compliance=Sums.model_validate(of_kind("compliance.")),
    )


def _sum(observed: Observed, found: Mapping[tuple[Arm, int, str], _Counted]) -> Observed:
    """``observed``, and what was found besides."""
    arms = {Arm.BASELINE: observed.baseline, Arm.CANARY: observed.canary}
    newest_ms = round(observed.fresh_at.timestamp() * 1000) if observed.fresh_at else 0
    for (arm, _, _), counted in found.items():
        arms[arm] += counted.counts
        newest_ms = max(newest_ms, counted.newest_ms)
    fresh_at = datetime.fromtimestamp(newest_ms / 1000, UTC) if newest_ms else None
    return Observed(baseline=arms[Arm.BASELINE], canary=arms[Arm.CANARY], fresh_at=fresh_at)


def _key(flag: str, name: str) -> str:
    return f"observations:{{{flag}}}:{name}"


def _member(place: Place) -> str:
    return f"{place[0]}:{place[1]}"


def _place(member: str) -> Place:
    arm, _, minute = member.partition(":")
    return Arm(arm), int(minute)


def _scope(flag: str) -> str:
    return f"flag#{flag}"


def _moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)
