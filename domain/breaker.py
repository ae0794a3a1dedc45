"""The circuit breaker of one model at one provider, as a pure state machine; workers share it through Redis.

Closed: calls pass, failures are counted. Five failures within 60 s open it for 30 s: nobody calls. Then it is half
open: one probe, by one caller of all workers, decides. The numbers are the product's; the pattern is Nygard's
("Release It!").

The functions take the time in ms, on any clock as long as it is always the same one. ``adapters/lua/breaker*.lua`` is
the same machine; a property test keeps the two alike.
"""

from enum import StrEnum

from pydantic import Field

from domain.model import Model, Request

PROBE_CHECK_MS = 1_000
"""While a probe is on its way it may decide at any moment: whoever is denied may ask again after this."""


class BreakerPolicy(Request):
    """When to stop asking, and for how long (ms)."""

    failures: int = Field(default=5, ge=1)
    window_ms: int = Field(default=60_000, ge=1)
    open_ms: int = Field(default=30_000, ge=1)
    probe_ms: int = Field(default=60_000, ge=1, description="a probe that is not heard of for so long is given up")


class BreakerStatus(StrEnum):
    """``half_open``: a probe is allowed or on its way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Admission(Model):
    """Whether a call may be made now; ``probe``: it decides for everybody, so its outcome must be told."""

    allowed: bool
    probe: bool = False
    status: BreakerStatus = BreakerStatus.CLOSED
    retry_after_ms: int = Field(default=0, ge=0, description="denied: asking before then is in vain")
    ticket: int = Field(
        default=0, description="number of the probe, else how often the breaker had opened: tells late outcomes"
    )
    shared: bool = Field(default=True, description="false: by this process alone, because Redis can't be reached")


class BreakerState(Model):
    """What a breaker remembers. ``failures``: the moments of the last ones, never more than open it."""

    failures: tuple[int, ...] = ()
    open_until_ms: int = Field(default=0, description="0: closed")
    probe: int = Field(default=0, description="number of the probe that decides; 0: none was allowed yet")
    probe_until_ms: int = Field(default=0, description="from then on the probe is given up")
    probes: int = 0
    opened: int = 0
    closed: int = 0
    rejected: int = 0

    def status(self, now_ms: int) -> BreakerStatus:
        """An open breaker becomes half open by itself."""
        if not self.open_until_ms:
            return BreakerStatus.CLOSED
        return BreakerStatus.OPEN if now_ms < self.open_until_ms else BreakerStatus.HALF_OPEN


class BreakerView(Model):
    """A breaker as operators see it; counters since it was first used."""

    target: str = Field(examples=["azure/gpt-4o"])
    status: BreakerStatus = BreakerStatus.CLOSED
    failures: int = Field(default=0, description="within the window; counting stops when it opens")
    open_for_ms: int | None = Field(default=None, description="null: not open")
    opened: int = Field(default=0, description="how often it opened")
    closed: int = Field(default=0, description="how often a probe closed it")
    rejected: int = Field(default=0, description="calls that were not made")
    shared: bool = Field(default=True, description="false: this process alone knows, because Redis can't be reached")


def admit(state: BreakerState, policy: BreakerPolicy, now_ms: int) -> tuple[BreakerState, Admission]:
    """Whether a call may be made now."""
    status = state.status(now_ms)
    if status is BreakerStatus.CLOSED:
        return state, Admission(allowed=True, ticket=state.opened)
    if status is BreakerStatus.OPEN:
        retry_after_ms = state.open_until_ms - now_ms
    elif state.probe and now_ms < state.probe_until_ms:
        retry_after_ms = min(state.probe_until_ms - now_ms, PROBE_CHECK_MS)
    else:
        number = state.probes + 1
        probing = {"probe": number, "probes": number, "probe_until_ms": now_ms + policy.probe_ms}
        return state.model_copy(update=probing), Admission(allowed=True, probe=True, status=status, ticket=number)
    rejecting = state.model_copy(update={"rejected": state.rejected + 1})
    return rejecting, Admission(allowed=False, status=status, retry_after_ms=retry_after_ms)


def succeeded(state: BreakerState, admission: Admission) -> BreakerState:
    """Only a probe changes anything: it closes the breaker, which forgets its failures."""
    if not _decides(state, admission):
        return state
    return state.model_copy(update={"failures": (), "open_until_ms": 0, "probe": 0, "closed": state.closed + 1})


def failed(state: BreakerState, policy: BreakerPolicy, admission: Admission, now_ms: int) -> BreakerState:
    """A probe opens the breaker again; any other call counts, unless it was admitted before the breaker opened."""
    if admission.probe:
        return _opened(state, policy, now_ms) if _decides(state, admission) else state
    if not admission.allowed or state.open_until_ms or admission.ticket < state.opened:
        return state
    failures = (*_recent(state, policy.window_ms, now_ms), now_ms)[-policy.failures :]
    counted = state.model_copy(update={"failures": failures})
    return counted if len(failures) < policy.failures else _opened(counted, policy, now_ms)


def view(target: str, state: BreakerState, policy: BreakerPolicy, now_ms: int, *, shared: bool = True) -> BreakerView:
    """The breaker as operators see it."""
    status = state.status(now_ms)
    return BreakerView(
        target=target,
        status=status,
        failures=len(_recent(state, policy.window_ms, now_ms)),
        open_for_ms=state.open_until_ms - now_ms if status is BreakerStatus.OPEN else None,
        opened=state.opened,
        closed=state.closed,
        rejected=state.rejected,
        shared=shared,
    )


def _decides(state: BreakerState, admission: Admission) -> bool:
    """Given up or not, the last probe decides as long as no other one was allowed."""
    return admission.probe and admission.ticket == state.probe


def _opened(state: BreakerState, policy: BreakerPolicy, now_ms: int) -> BreakerState:
    return state.model_copy(update={"open_until_ms": now_ms + policy.open_ms, "probe": 0, "opened": state.opened + 1})


def _recent(state: BreakerState, window_ms: int, now_ms: int) -> tuple[int, ...]:
    return tuple(moment for moment in state.failures if now_ms - moment < window_ms)
