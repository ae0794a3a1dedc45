"""Every task queue, time-out and retry policy by name: one screen that answers "how long until we give up?"."""

from datetime import timedelta
from hashlib import sha256
from typing import TypedDict

from temporalio.common import Priority, RetryPolicy

from domain import delivery
from domain.send_queue import UNTAKEN_AFTER, fairness_key

ORCHESTRATION = "orchestration"
GENERATION = "generation"
DELIVERY = "delivery"
TASK_QUEUES = (ORCHESTRATION, GENERATION, DELIVERY)
"""Workflows run on ``orchestration``, provider calls on ``generation``, sends on ``delivery``."""


HEARTBEAT = timedelta(seconds=8)
"""After this long without a sign of life a worker is taken for dead and its activity starts again elsewhere."""


class ActivityPolicy(TypedDict, total=False):
    """Keyword arguments of ``workflow.execute_activity``."""

    task_queue: str
    start_to_close_timeout: timedelta
    schedule_to_start_timeout: timedelta
    schedule_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    priority: Priority


_FOREVER = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(minutes=1)
)

STORE: ActivityPolicy = {
    "task_queue": ORCHESTRATION,
    "start_to_close_timeout": timedelta(seconds=30),
    "retry_policy": _FOREVER,
}
"""Reads and writes of our own stores: nothing goes on without them, so they are repeated until they succeed."""

STEER: ActivityPolicy = {
    "task_queue": ORCHESTRATION,
    "start_to_close_timeout": timedelta(seconds=5),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(milliseconds=200), backoff_coefficient=2, maximum_interval=timedelta(seconds=2)
    ),
}
"""A flag that a rollout writes: repeated until it is written, soon after the store answers again."""

LOOK: ActivityPolicy = {
    "task_queue": ORCHESTRATION,
    "start_to_close_timeout": timedelta(seconds=10),
    "schedule_to_close_timeout": timedelta(seconds=30),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(milliseconds=500), backoff_coefficient=2, maximum_interval=timedelta(seconds=5)
    ),
}
"""What a rollout judges on. A look that comes to nothing is itself a judgement: the observations can't be read."""

BULK_STORE: ActivityPolicy = {
    "task_queue": ORCHESTRATION,
    "start_to_close_timeout": timedelta(minutes=30),
    "heartbeat_timeout": HEARTBEAT,
    "retry_policy": _FOREVER,
}
"""Writes over a whole audience, page by page."""

PROVIDER_CALL: ActivityPolicy = {
    "task_queue": GENERATION,
    "start_to_close_timeout": timedelta(minutes=5),
    "heartbeat_timeout": HEARTBEAT,
    "retry_policy": _FOREVER,
}
"""A page of drafts: an outage of both providers is waited out, and the campaign can be cancelled meanwhile."""

RECONCILE: ActivityPolicy = {
    "task_queue": GENERATION,
    "start_to_close_timeout": timedelta(seconds=20),
    "schedule_to_close_timeout": timedelta(seconds=30),
    "heartbeat_timeout": HEARTBEAT,
    "retry_policy": RetryPolicy(maximum_attempts=1),
}
"""The ledger against the providers' own memory, at the end of a campaign: it does not wait for one that is down."""

RECONCILE_LATER: ActivityPolicy = {
    "task_queue": GENERATION,
    "start_to_close_timeout": timedelta(minutes=10),
    "schedule_to_close_timeout": timedelta(days=1),
    "heartbeat_timeout": HEARTBEAT,
    "retry_policy": _FOREVER,
}
"""The same, for as long as it takes."""

ANSWER: ActivityPolicy = {
    "task_queue": GENERATION,
    "start_to_close_timeout": timedelta(seconds=240),
    "schedule_to_close_timeout": timedelta(minutes=5),
    "heartbeat_timeout": HEARTBEAT,
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=20)
    ),
}
"""A single answer that a caller waits for."""

SEND: ActivityPolicy = {
    "task_queue": DELIVERY,
    "start_to_close_timeout": timedelta(minutes=10),
    "heartbeat_timeout": HEARTBEAT,
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=10)
    ),
}
"""A delivery round. A worker that died is noticed after the heartbeat time-out; the round is then repeated."""


def sending(account_id: str, priority: delivery.Priority) -> ActivityPolicy:
    """``SEND`` for one account: higher priorities first, and inside a priority accounts take turns.

    What is not of the highest priority waits for a worker for ``UNTAKEN_AFTER``, then the queue asks with a higher one.
    """
    policy: ActivityPolicy = {
        **SEND,
        "priority": Priority(priority_key=priority.rank + 1, fairness_key=fairness_key(account_id)),
    }
    if priority is not delivery.Priority.CRITICAL:
        policy["schedule_to_start_timeout"] = UNTAKEN_AFTER
    return policy


_FIRST = Priority(priority_key=1)
"""Rare and late already, or about to be: nothing waits in front of it."""

ALTERNATIVE: ActivityPolicy = {
    "task_queue": DELIVERY,
    "priority": _FIRST,
    "start_to_close_timeout": timedelta(hours=1),
    "heartbeat_timeout": HEARTBEAT,
    "retry_policy": _FOREVER,
}
"""One call for many recipients, and the end of each of them in the store."""

RECALL: ActivityPolicy = {
    "task_queue": DELIVERY,
    "priority": _FIRST,
    "start_to_close_timeout": timedelta(minutes=30),
    "heartbeat_timeout": HEARTBEAT,
    "retry_policy": _FOREVER,
}
"""A pass over a campaign's messages; what it took back before it was interrupted stays taken back."""


def generating(owner: str, priority: delivery.Priority) -> ActivityPolicy:
    """``PROVIDER_CALL`` for one owner: higher priorities first, and inside a priority owners take turns."""
    # A key has at most 64 bytes, a digest exactly so many.
    key = owner if len(owner.encode()) <= 64 else sha256(owner.encode()).hexdigest()
    return {**PROVIDER_CALL, "priority": Priority(priority_key=priority.rank + 1, fairness_key=key)}


RESYNC_AFTER = timedelta(hours=6)
"""A campaign that has heard nothing from a send queue for this long asks the message store."""

QUERY_TIMEOUT = timedelta(seconds=2)
"""How long a status request waits for a worker before it falls back to the store."""
