"""The breaker as the ladder asks it: what it answers and what becomes of it is counted."""

from activities.ladder.metrics import LadderMetrics
from domain.breaker import Admission, BreakerStatus
from domain.ports import Breaker


class CountedBreaker:
    """A breaker for the calls of one activity."""

    def __init__(self, breaker: Breaker, metrics: LadderMetrics) -> None:
        self._breaker = breaker
        self._metrics = metrics

    async def admit(self, target: str) -> Admission:
        """Whether ``target`` may be called now."""
        admission = await self._breaker.admit(target)
        self._metrics.found(target, admission.status)
        if admission.probe:
            self._metrics.turned(target, BreakerStatus.HALF_OPEN)
        if not admission.allowed:
            self._metrics.rejected(target)
        return admission

    async def succeeded(self, target: str, admission: Admission) -> None:
        """A call went well."""
        if await self._breaker.succeeded(target, admission):
            self._metrics.turned(target, BreakerStatus.CLOSED)

    async def failed(self, target: str, admission: Admission) -> None:
        """A call failed for a reason that counts."""
        self._metrics.failed(target)
        if await self._breaker.failed(target, admission):
            self._metrics.turned(target, BreakerStatus.OPEN)

    async def closed(self, target: str) -> bool:
        """Whether it lets every call through; asks for no probe."""
        (view,) = await self._breaker.views([target])
        return view.status is BreakerStatus.CLOSED
