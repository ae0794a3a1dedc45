"""What one attempt at asking models tells the next one: the details of its heartbeats.

First what happened so far, whenever it beats. An attempt that fails in good order adds, as its last word, that none of
its calls is under way. Where that is missing, its process was killed, or could not end its calls.
"""

from temporalio import activity

from activities.ladder import Ladder
from domain.model import Model
from domain.progress import Tally


class AtRest(Model):
    """How long (s) calls of attempts before this one may still run at their providers."""

    attempt: int
    running_s: float


def at_rest(ladder: Ladder) -> tuple[object, ...]:
    """The details of an attempt that fails with none of its own calls under way."""
    return ladder.tally, AtRest(attempt=activity.info().attempt, running_s=ladder.running_s)


def carried(info: activity.Info) -> Tally:
    """What happened in the attempts before this one, as far as they told."""
    return Tally.model_validate(info.heartbeat_details[0]) if info.heartbeat_details else Tally()


def running_for_s(info: activity.Info, call_timeout_s: float) -> float:
    """How long (s) a call of earlier attempts may still run at its provider, by the engine's clock.

    One that was killed may have begun a call in its last moment, for which it would have waited ``call_timeout_s``.
    """
    if info.attempt == 1:
        return 0.0
    _, *told = info.heartbeat_details or (None,)
    # An attempt that ended before its first heartbeat leaves the details of the one before it.
    if told and (rest := AtRest.model_validate(told[0])).attempt == info.attempt - 1:
        return rest.running_s
    waited = info.started_time - info.current_attempt_scheduled_time
    return max(0.0, call_timeout_s - waited.total_seconds())
