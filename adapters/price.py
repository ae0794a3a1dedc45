"""The price book: list prices that the package ``genai-prices`` ships, under the installation's own.

Nothing is downloaded. A price can change on a date that the list names, so prices are looked up once a model and day.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from domain.cost import LongCallRates, Price, PriceOverride, Rates
from domain.provider import Provider

_LIST = f"genai-prices-{version('genai-prices')}"


class ListPrices:
    """``domain.ports.PriceBook``; ``overrides`` by "azure/<model>" or "openai/<model>". ``clock``: for tests only."""

    def __init__(
        self,
        overrides: Mapping[str, PriceOverride] | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._overrides = dict(overrides or {})
        self._clock = clock
        self._day = clock().date()
        self._known: dict[tuple[Provider, str], Price] = {}
        self._dearest = _dearest(self._overrides.values())

    def price(self, provider: Provider, model: str) -> Price:
        """The installation's own price, else the list's, else that of the most expensive known models, ``unknown``."""
        now = self._clock()
        if now.date() != self._day:
            self._known.clear()
            self._day = now.date()
        key = (provider, model)
        if key not in self._known:
            self._known[key] = self._look_up(provider, model, now)
        return self._known[key]

    def _look_up(self, provider: Provider, model: str, now: datetime) -> Price:
        own = self._overrides.get(f"{provider}/{model}")
        if own is not None:
            return Price(
                input_per_million=own.input_per_million,
                output_per_million=own.output_per_million,
                cached_per_million=own.cached_per_million,
                version=f"settings-{_digest(own)}/{provider}/{model}",
            )
        try:
            _, info = get_snapshot().find_provider_model(model, None, provider, None)
        except LookupError:
            return self._dearest
        return _listed(info.get_prices(now), f"{_LIST}/{model}") or self._dearest


def _listed(listed: ModelPrice, label: str) -> Price | None:
    """``None``: the list does not say what text costs with this model."""
    if listed.input_mtok is None or listed.output_mtok is None:
        return None
    long_calls = tuple(
        LongCallRates(**_rates(listed, start), above_input_tokens=start)
        for start in sorted({tier.start for price in _prices(listed) for tier in _tiers(price)})
    )
    return Price(**_rates(listed, 0), version=label, long_calls=long_calls)


def _rates(listed: ModelPrice, above: int) -> dict[str, Any]:
    """What each kind of token costs in a call with a little more input than ``above`` tokens."""
    return {
        "input_per_million": _at(listed.input_mtok, above),
        "output_per_million": _at(listed.output_mtok, above),
        "cached_per_million": _at(listed.cache_read_mtok, above),
        "written_per_million": _at(listed.cache_write_mtok, above),
    }


def _at(price: Decimal | TieredPrices | None, above: int) -> Decimal | None:
    if not isinstance(price, TieredPrices):
        return price
    reached = [tier.price for tier in price.tiers if tier.start <= above]
    return reached[-1] if above and reached else price.base


def _prices(listed: ModelPrice) -> tuple[Any, ...]:
    return (listed.input_mtok, listed.output_mtok, listed.cache_read_mtok, listed.cache_write_mtok)


def _tiers(price: object) -> Iterable[Any]:
    return price.tiers if isinstance(price, TieredPrices) else ()


def _dearest(overrides: Iterable[PriceOverride]) -> Price:
    """For input and for output the highest price, at any time and length of a call, that anything we can ask has."""
    known: list[Rates] = [
        Rates(input_per_million=own.input_per_million, output_per_million=own.output_per_million) for own in overrides
    ]
    for provider in get_snapshot().providers:
        if provider.id in set(Provider):
            for listed in (each for model in provider.models for each in _all_prices(model)):
                price = _listed(listed, "")
                known += (price, *price.long_calls) if price is not None else ()
    return Price(
        input_per_million=max(rates.dearest_input for rates in known),
        output_per_million=max(rates.output_per_million for rates in known),
        version=f"{_LIST}/unknown",
        unknown=True,
    )


def _all_prices(model: ModelInfo) -> list[ModelPrice]:
    return [model.prices] if isinstance(model.prices, ModelPrice) else [each.prices for each in model.prices]


def _digest(own: PriceOverride) -> str:
    return sha256(own.model_dump_json().encode()).hexdigest()[:8]
