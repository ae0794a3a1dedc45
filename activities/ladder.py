"""The degradation ladder: ask providers in order, book every billed call, remember every step down."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Protocol, TypeVar

from temporalio import activity

from domain.campaign import CampaignRecord
from domain.cost import CostEntry, Usage, operation_id
from domain.errors import ProviderError
from domain.ports import CostStore, LanguageModel, PriceBook
from domain.progress import Tally
from domain.provider import FallbackStep, IntentType, Provider, falls_back, route


class _Billed(Protocol):
    @property
    def usage(self) -> Usage: ...

    @property
    def model(self) -> str: ...


A = TypeVar("A", bound=_Billed)


class Ladder:
    """One activity's way through the providers: asks in order, books every billed call, remembers the steps."""

    def __init__(
        self,
        record: CampaignRecord,
        models: Mapping[Provider, LanguageModel],
        prices: PriceBook,
        costs: CostStore,
        tally: Tally,
    ) -> None:
        self._record = record
        self._models = models
        self._prices = prices
        self._costs = costs
        self._calls: Iterator[int] = count()
        self.tally = tally

    async def ask(
        self, intent: IntentType, purpose: str, call: Callable[[LanguageModel], Awaitable[A]]
    ) -> tuple[Provider, A]:
        """The first usable answer; raises the last ``ProviderError`` when nobody has one."""
        providers = route(intent, self._record.preferred_provider)
        for position, provider in enumerate(providers):
            following = providers[position + 1] if position + 1 < len(providers) else None
            try:
                answer = await call(self._models[provider])
            except ProviderError as error:
                if error.billed_tokens is not None:
                    tokens_in, tokens_out = error.billed_tokens
                    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out)
                    await self._book(provider, error.model, usage, purpose, usable=False)
                shopped = falls_back(error.fault) and following is not None
                step = FallbackStep(
                    from_provider=provider,
                    to=str(following) if shopped else "none",
                    reason=error.fault,
                    purpose=purpose,
                )
                self.tally += Tally(fallbacks=(step,), fallback_count=1)
                if not shopped:
                    raise
            else:
                await self._book(provider, answer.model, answer.usage, purpose, usable=True)
                self.tally += Tally(providers=(provider,))
                return provider, answer
        raise AssertionError("a route names at least one provider")

    async def _book(self, provider: Provider, model: str, usage: Usage, purpose: str, *, usable: bool) -> None:
        info = activity.info()
        price = self._prices.price(provider, model)
        entry = CostEntry(
            operation_id=operation_id(
                self._record.campaign_id,
                purpose,
                info.workflow_run_id or "",
                info.activity_id,
                str(info.attempt),
                str(next(self._calls)),
            ),
            campaign_id=self._record.campaign_id,
            owner=self._record.owner,
            provider=provider,
            model=model,
            purpose=purpose,
            usage=usage,
            cost_micros=price.micros(usage),
            price_version=price.version,
            at=datetime.now(UTC),
            usable=usable,
        )
        await self._costs.record(entry)
