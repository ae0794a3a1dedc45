"""Every task queue, time-out and retry policy by name: one screen that answers "how long until we give up?"."""

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy

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
    schedule_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


_FOREVER = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(minutes=1)
)

STORE: ActivityPolicy = {
    "task_queue": ORCHESTRATION,
    "start_to_close_timeout": timedelta(seconds=30),
    "retry_policy": _FOREVER,
}
"""Reads and writes of our own stores: nothing goes on without them, so they are repeated until they succeed."""

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

ANSWER: ActivityPolicy = {
    "task_queue": GENERATION,
    "start_to_close_timeout": timedelta(minutes=2),
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
    "retry_policy": _FOREVER,
}
"""A delivery round. A worker that died is noticed after the heartbeat time-out; the round is then repeated."""

RESYNC_AFTER = timedelta(hours=6)
"""A campaign that has heard nothing from a send queue for this long asks the message store."""

QUERY_TIMEOUT = timedelta(seconds=2)
"""How long a status request waits for a worker before it falls back to the store."""
