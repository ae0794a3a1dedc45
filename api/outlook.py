"""What waits in an account's queue and when each message is likely to be sent, by the limiter's own schedule."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import starmap

from adapters.bootstrap import Ports
from domain import schedule
from domain.delivery import AccountControl
from domain.errors import DependencyUnavailable
from domain.ports import SendQueues
from domain.rate_limit import AccountLimits, LimitPolicy
from domain.send_queue import QueueOutlook, maybe_under_way, still_waiting

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def waiting(account_id: str, ports: Ports, queues: SendQueues) -> QueueOutlook | None:
    """What an account's queue shows, without what is being sent at this moment; ``None``: nobody can tell."""
    outlook = await queues.outlook(account_id)
    if outlook is None:
        return None
    found = await asyncio.gather(*starmap(ports.messages.get_many, maybe_under_way(outlook).items()))
    return still_waiting(outlook, {key: message.status for stored in found for key, message in stored.items()})


async def expected(
    outlook: QueueOutlook,
    control: AccountControl,
    limits: AccountLimits,
    policy: LimitPolicy,
    ports: Ports,
    now: datetime,
) -> tuple[datetime | None, ...]:
    """When each waiting message will be sent, in the order of service; ``None``: never as things are, or unknown.

    ``domain.schedule`` says what is left out. An account that does not send has no schedule.
    """
    unknown = (None,) * len(outlook.messages)
    if not control.state.sends or not outlook.messages:
        return unknown
    kinds = {message.message_type for message in outlook.messages}
    try:
        usage = await ports.limiter.usage(outlook.account_id, schedule.relevant_windows(policy, limits, now, kinds))
    except DependencyUnavailable:
        return unknown
    # Ten thousand messages take a while: not on the event loop.
    moments = await asyncio.to_thread(
        schedule.arrivals,
        usage,
        outlook.messages,
        send_ms=schedule.call_ms(usage),
        throttled_until=outlook.throttled_until,
    )
    # The schedule speaks of the limiter's clock, the caller lives by ours.
    ours = now - (_EPOCH + timedelta(microseconds=usage.now_us))
    return tuple(None if moment is None else moment + ours for moment in moments)


def waiting_reason(outlook: QueueOutlook | None, control: AccountControl) -> str:
    """Why the head of the line does not move; empty when it does."""
    if not control.state.sends:
        return f"account:{control.state}" + (f" ({control.reason})" if control.reason else "")
    return outlook.reason if outlook is not None else ""
