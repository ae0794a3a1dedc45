"""What one attempt at asking models tells the next one: the details of its heartbeats.

First what happened so far, then what is known of refusals, and whether calls may be under way. Only an attempt that
fails in good order says that there are none, as its last word: where that is missing, its process was killed, was given
up, or could not end its calls.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from pydantic import Field
from temporalio import activity

from activities.failure import heartbeating
from activities.ladder import Ladder, LadderPorts
from domain.campaign import CampaignRecord
from domain.model import Model
from domain.progress import Tally
from domain.prompt import Refusal


class Known(Model):
    """What an attempt knows that the next one has to.

    ``running_s``: how long (s) calls of those before it may still run at their providers; ``None``: its own may, too.
    ``refusals``: by the step whose question was refused.
    """

    attempt: int
    running_s: float | None = None
    refusals: dict[UUID, Refusal] = Field(default_factory=dict)


class Attempt:
    """This attempt of an activity, from its first moment on."""

    def __init__(self, ports: LadderPorts) -> None:
        self._ports = ports
        self._info = activity.info()
        told, *rest = self._info.heartbeat_details or (None,)
        self._tally = Tally() if told is None else Tally.model_validate(told)
        before = Known.model_validate(rest[0]) if rest else Known(attempt=0)
        self._refusals = before.refusals
        self._running_s = running_for_s(self._info, before, min(ports.call_timeout_s, ports.deadline_s))
        self._ladder: Ladder | None = None

    def ladder(self, record: CampaignRecord) -> Ladder:
        """The ladder of this attempt, which goes on where the one before it ended."""
        info = self._info
        run = f"{info.workflow_run_id}/{info.activity_id}"
        self._ladder = Ladder(
            record,
            self._ports,
            self._tally,
            attempt=info.attempt,
            run=run,
            running_s=self._running_s,
            refusals=self._refusals,
        )
        return self._ladder

    @asynccontextmanager
    async def heartbeating(self) -> AsyncIterator[None]:
        """Heartbeat with what is known at each beat."""
        async with heartbeating(self._so_far, self.at_rest):
            yield

    def at_rest(self) -> tuple[object, ...]:
        """The last word of an attempt that fails with none of its own calls under way."""
        tally, known = self._so_far()
        running_s = self._running_s if self._ladder is None else self._ladder.running_s
        return tally, known.model_copy(update={"running_s": running_s})

    def _so_far(self) -> tuple[Tally, Known]:
        tally = self._tally if self._ladder is None else self._ladder.tally
        refusals = self._refusals if self._ladder is None else self._ladder.refusals.all
        return tally, Known(attempt=self._info.attempt, refusals=dict(refusals))


def running_for_s(info: activity.Info, before: Known, call_timeout_s: float) -> float:
    """How long (s) a call of earlier attempts may still run at its provider, by the engine's clock.

    One that was killed may have begun a call in its last moment, for which it would have waited ``call_timeout_s``; one
    that was given up, but lives, hears of it with its next heartbeats and begins no more.
    """
    if info.attempt == 1:
        return 0.0
    # An attempt that ended before its first heartbeat leaves the details of the one before it.
    if before.attempt == info.attempt - 1 and before.running_s is not None:
        return before.running_s
    waited = info.started_time - info.current_attempt_scheduled_time
    deaf = info.heartbeat_timeout or timedelta(0)
    return max(0.0, call_timeout_s + (deaf - waited).total_seconds())
