"""The models that may be asked, and whether their circuit breakers let calls through. Staff only."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Depends

from api.dependencies import PortsNow, allow
from api.openapi import problems
from domain.access import STAFF
from domain.breaker import BreakerView
from domain.model import Model
from domain.provider import Provider
from domain.routing import Target

router = APIRouter(prefix="/api/v2/providers", tags=["providers"], dependencies=[Depends(allow(STAFF))])


class ProviderView(BreakerView):
    """One model at one provider with its breaker; counters since the breaker was first used."""

    provider: Provider
    model: str
    open_until: datetime | None

    @classmethod
    def of(cls, target: Target, breaker: BreakerView, now: datetime) -> "ProviderView":
        """As it stands ``now``."""
        left_ms = breaker.open_for_ms
        return cls(
            **dict(breaker),
            provider=target.provider,
            model=target.model,
            open_until=None if left_ms is None else now + timedelta(milliseconds=left_ms),
        )


class ProviderList(Model):
    """In the order of the routing policy."""

    providers: tuple[ProviderView, ...]


@router.get("", summary="Models and their circuit breakers", responses=problems(401, 403))
async def providers(ports: PortsNow) -> ProviderList:
    """Every model of the routing policy."""
    targets = ports.routing.targets
    breakers = await ports.breaker.views([target.key for target in targets])
    now = datetime.now(UTC)
    return ProviderList(
        providers=tuple(
            ProviderView.of(target, breaker, now) for target, breaker in zip(targets, breakers, strict=True)
        )
    )
