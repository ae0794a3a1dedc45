"""The price book: list prices, an installation's own, and no model is ever free."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price, data_snapshot

from adapters.price import ListPrices
from domain.cost import PriceOverride, Usage
from domain.provider import Provider

LISTED = [
    (provider, model)
    for provider in Provider
    for model in next(each for each in data_snapshot.get_snapshot().providers if each.id == provider).models
]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("provider", "model", "dollars_in", "dollars_cached", "dollars_out"),
    [
        (Provider.OPENAI, "gpt-4o-mini", "0.15", "0.075", "0.6"),
        (Provider.OPENAI, "gpt-4.1-nano", "0.1", "0.025", "0.4"),
        (Provider.AZURE, "gpt-4o", "2.5", "1.25", "10"),
        (Provider.AZURE, "gpt-4o-mini", "0.15", "0.075", "0.6"),
    ],
)
def test_known_models_have_their_list_price(
    provider: Provider, model: str, dollars_in: str, dollars_cached: str, dollars_out: str
) -> None:
    price = ListPrices().price(provider, model)
    assert price.input_per_million == Decimal(dollars_in)
    assert price.cached_per_million == Decimal(dollars_cached)
    assert price.output_per_million == Decimal(dollars_out)
    assert price.version.startswith("genai-prices-")
    assert price.version.endswith(f"/{model}")
    assert not price.unknown


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5.4", "gpt-5.5", "o3"])
@pytest.mark.parametrize("asked", [0, 1_000, 272_000, 272_001, 900_000])
def test_a_call_costs_what_the_list_itself_computes(model: str, asked: int) -> None:
    usage = Usage(input_tokens=asked, output_tokens=777, cached_tokens=asked // 3)
    listed = calc_price(
        ListUsage(input_tokens=asked, output_tokens=777, cache_read_tokens=asked // 3),
        model_ref=model,
        provider_id="openai",
    )
    exact = listed.total_price * 1_000_000
    assert 0 <= ListPrices().price(Provider.OPENAI, model).micros(usage) - exact < 1


class TestUnknownModel:
    def test_it_costs_as_much_as_the_dearest_known_one_for_input_and_for_output(self) -> None:
        prices = ListPrices()
        unknown = prices.price(Provider.AZURE, "no-such-model-1")
        assert unknown.unknown
        assert unknown.version.endswith("/unknown")
        for provider, model in LISTED:
            known = prices.price(provider, model.id)
            for tokens in (1_000, 1_000_000):
                assert known.most(tokens, tokens) <= unknown.most(tokens, tokens), model.id
        dearest = [prices.price(provider, model.id) for provider, model in LISTED]
        assert unknown.output_per_million == max(price.output_per_million for price in dearest if not price.unknown)

    def test_an_installations_own_price_can_be_the_dearest(self) -> None:
        own = PriceOverride(input_per_million=Decimal(9_000), output_per_million=Decimal(1))
        assert ListPrices({"azure/x": own}).price(Provider.OPENAI, "no-such-model-1").input_per_million == 9_000

    def test_a_model_without_prices_for_text_is_unknown(self) -> None:
        assert ListPrices().price(Provider.OPENAI, "text-embedding-3-small").unknown


class TestOverrides:
    OWN = PriceOverride(input_per_million=Decimal("2.75"), output_per_million=Decimal(11))

    def test_they_replace_the_list_for_one_provider_and_say_so(self) -> None:
        prices = ListPrices({"azure/gpt-4o": self.OWN})
        price = prices.price(Provider.AZURE, "gpt-4o")
        assert (price.input_per_million, price.output_per_million) == (Decimal("2.75"), Decimal(11))
        assert price.version.startswith("settings-")
        assert prices.price(Provider.OPENAI, "gpt-4o").input_per_million == Decimal("2.5")

    def test_another_price_has_another_version(self) -> None:
        dearer = self.OWN.model_copy(update={"cached_per_million": Decimal(1)})
        versions = {
            ListPrices({"azure/gpt-4o": own}).price(Provider.AZURE, "gpt-4o").version for own in (self.OWN, dearer)
        }
        assert len(versions) == 2


def test_a_price_that_changes_on_a_date_is_taken_up_on_that_day() -> None:
    now = datetime(2025, 6, 9, 23, 59, tzinfo=UTC)
    prices = ListPrices(clock=lambda: now)
    before = prices.price(Provider.OPENAI, "o3")
    now += timedelta(minutes=2)
    assert prices.price(Provider.OPENAI, "o3").input_per_million < before.input_per_million
