"""The models that may be asked, and whether the circuit breakers before them let calls through. Staff only."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from fastapi import APIRouter, Depends

from adapters.bootstrap import Ports
from adapters.moderation import TARGET as MODERATION
from api.dependencies import PortsNow, allow
from api.openapi import problems
from domain.access import STAFF
from domain.breaker import BreakerView
from domain.model import Model
from domain.provider import Provider
from domain.routing import Capability, Target

router = APIRouter(prefix="/api/v2/providers", tags=["providers"], dependencies=[Depends(allow(STAFF))])


class Guarded(StrEnum):
    """Which calls a breaker lets through: for an answer, for a list of answers kept from before, for moderation."""

    ANSWERS = "answers"
    KEPT_ANSWERS = "kept_answers"
    MODERATION = "moderation"


class ProviderView(BreakerView):
    """One model at one provider with one of its breakers; counters since the breaker was first used.

    ``target`` is the breaker's name, as in metrics. ``model`` is null for moderation, which has a model of its own.
    """

    provider: Provider
    model: str | None
    guards: Guarded
    open_until: datetime | None

    @classmethod
    def of(cls, target: Target, guards: Guarded, breaker: BreakerView, now: datetime) -> "ProviderView":
        """As it stands ``now``."""
        left_ms = breaker.open_for_ms
        return cls(
            **dict(breaker),
            provider=target.provider,
            model=None if guards is Guarded.MODERATION else target.model,
            guards=guards,
            open_until=None if left_ms is None else now + timedelta(milliseconds=left_ms),
        )


class ProviderList(Model):
    """In the order of the routing policy, each breaker for answers first; moderation last."""

    providers: tuple[ProviderView, ...]


@router.get("", summary="Models and their circuit breakers", responses=problems(401, 403))
async def providers(ports: PortsNow) -> ProviderList:
    """Every model of the routing policy, and every breaker that calls to one may meet."""
    guarded = list(_guarded(ports))
    breakers = await ports.breaker.views([name for name, _, _ in guarded])
    now = datetime.now(UTC)
    return ProviderList(
        providers=tuple(
            ProviderView.of(target, guards, breaker, now)
            for (_, target, guards), breaker in zip(guarded, breakers, strict=True)
        )
    )


def _guarded(ports: Ports) -> Iterator[tuple[str, Target, Guarded]]:
    """The name of each breaker, before which target it stands, and for which calls."""
    targets = ports.routing.targets
    for target in targets:
        yield target.key, target, Guarded.ANSWERS
        if ports.models[target.key].keeps_answers:
            yield target.kept_key, target, Guarded.KEPT_ANSWERS
    if ports.moderator.asks:
        asked = next(target for target in targets if Capability.MODERATION in target.capabilities)
        yield MODERATION, asked, Guarded.MODERATION
