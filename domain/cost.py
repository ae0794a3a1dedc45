"""Money in integer micro-dollars (µ$, a millionth of a US dollar): prices, entries, totals.

A price of one US dollar for a million tokens is exactly one micro-dollar a token, so token counts times
list prices are micro-dollars already; only the last fraction is rounded, upwards, once per call.
"""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import Field

from domain.model import Model, Request

MICROS_PER_DOLLAR = 1_000_000

SETTLING = timedelta(minutes=2)
"""Longer than a provider writes at an answer after nobody waits for it any more."""

_OPERATIONS = uuid5(NAMESPACE_URL, "huntaze:operation")


class Usage(Model):
    """Tokens that a provider billed for one call; cached input and reasoning are part of the two sums."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cached_tokens: int = Field(default=0, ge=0, description="of the input, read from the provider's own cache")
    reasoning_tokens: int = Field(default=0, ge=0, description="of the output, not part of the answer")

    @property
    def billed(self) -> tuple[int, int, int, int]:
        """Input, output, cached and reasoning tokens."""
        return self.input_tokens, self.output_tokens, self.cached_tokens, self.reasoning_tokens

    @classmethod
    def of(cls, billed: tuple[int, int, int, int]) -> "Usage":
        """The reverse of ``billed``."""
        return cls(**dict(zip(cls.model_fields, billed, strict=True)))

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


class Rates(Model):
    """US dollars for a million tokens. Reasoning is output; cached input costs what other input does unless said."""

    input_per_million: Decimal = Field(ge=0)
    output_per_million: Decimal = Field(ge=0)
    cached_per_million: Decimal | None = Field(default=None, ge=0)
    written_per_million: Decimal | None = Field(default=None, ge=0, description="input that the provider caches anew")

    def exact(self, usage: Usage) -> Decimal:
        """The cost of ``usage`` in µ$, with its fraction."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        cached_rate = self.input_per_million if self.cached_per_million is None else self.cached_per_million
        return (
            (usage.input_tokens - cached) * self.input_per_million
            + cached * cached_rate
            + usage.output_tokens * self.output_per_million
        )

    @property
    def dearest_input(self) -> Decimal:
        """What a token of input can cost at most, whatever becomes of it."""
        return max(
            self.input_per_million,
            self.cached_per_million or Decimal(0),
            self.written_per_million or Decimal(0),
        )


class LongCallRates(Rates):
    """What every token costs in a call with more input than ``above_input_tokens``."""

    above_input_tokens: int = Field(ge=0)


class Price(Rates):
    """What a model's tokens cost, and the version of the price book that says so.

    ``unknown``: the book does not know the model, so it costs as much as the most expensive known ones.
    """

    version: str
    unknown: bool = False
    long_calls: tuple[LongCallRates, ...] = ()

    def micros(self, usage: Usage) -> int:
        """The cost of ``usage``, one call, in µ$, rounded up to the next whole one."""
        applying = [rates for rates in self.long_calls if usage.input_tokens > rates.above_input_tokens]
        rates: Rates = max(applying, key=lambda each: each.above_input_tokens) if applying else self
        return _rounded_up(rates.exact(usage))

    def most(self, input_tokens: int, output_tokens: int) -> int:
        """What a call with at most so many tokens can cost at most, in µ$."""
        reachable = (self, *(rates for rates in self.long_calls if input_tokens > rates.above_input_tokens))
        return max(
            _rounded_up(input_tokens * rates.dearest_input + output_tokens * rates.output_per_million)
            for rates in reachable
        )


def _rounded_up(exact: Decimal) -> int:
    return int(exact.to_integral_value(rounding=ROUND_CEILING))


class PriceOverride(Request):
    """An installation's own price, such as that of an Azure region or a contract; US dollars for a million tokens."""

    input_per_million: Decimal = Field(ge=0)
    output_per_million: Decimal = Field(ge=0)
    cached_per_million: Decimal | None = Field(default=None, ge=0, description="by default as other input")


class CostEntry(Model):
    """One billed call to a provider; written once per ``operation_id``, never changed."""

    operation_id: UUID
    campaign_id: str
    owner: str
    provider: str
    model: str
    purpose: str
    usage: Usage
    cost_micros: int = Field(ge=0, description="µ$")
    price_version: str
    at: datetime
    usable: bool = Field(default=True, description="false: billed, but the answer could not be used")


class CostHold(Model):
    """The most that a call of unknown outcome can have cost; its budgets count it until the provider tells.

    Placed once per ``operation_id`` and released once: its answer was found and has an entry, or there is none.
    """

    operation_id: UUID
    campaign_id: str
    owner: str
    target: str = Field(description="who knows what became of it", examples=["openai/gpt-4o-mini"])
    micros: int = Field(ge=0, description="µ$")
    at: datetime = Field(description="when the call began: its budgets are those of that day")
    settles_at: datetime = Field(description="an answer that the provider does not list by then was never made")


class CostTotals(Model):
    """The sum over some scope: everything in µ$, tokens and calls. What is held is in no other sum."""

    cost_micros: int = 0
    held_micros: int = Field(default=0, description="at most, for calls whose outcome is not known yet")
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    micros_by_provider: dict[str, int] = Field(default_factory=dict)

    def __add__(self, other: "CostTotals") -> "CostTotals":
        providers = sorted(self.micros_by_provider.keys() | other.micros_by_provider.keys())
        return CostTotals(
            cost_micros=self.cost_micros + other.cost_micros,
            held_micros=self.held_micros + other.held_micros,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            calls=self.calls + other.calls,
            micros_by_provider={
                name: self.micros_by_provider.get(name, 0) + other.micros_by_provider.get(name, 0) for name in providers
            },
        )


def total(entries: Iterable[CostEntry]) -> CostTotals:
    """The totals of ``entries``; the reference that stored totals are checked against."""
    result = CostTotals()
    for entry in entries:
        result += CostTotals(
            cost_micros=entry.cost_micros,
            input_tokens=entry.usage.input_tokens,
            output_tokens=entry.usage.output_tokens,
            calls=1,
            micros_by_provider={entry.provider: entry.cost_micros},
        )
    return result


def operation_id(*parts: str) -> UUID:
    """The id of one billable operation, from what makes it one (request, purpose, provider, attempt)."""
    return uuid5(_OPERATIONS, json.dumps(parts))


def micros_from_dollars(dollars: Decimal) -> int:
    """US dollars as µ$, rounded down: a limit never becomes larger than what was asked for."""
    return int(dollars * MICROS_PER_DOLLAR)


def dollars_from_micros(micros: int) -> float:
    """µ$ as the JSON number of US dollars that clients of the API expect."""
    return micros / MICROS_PER_DOLLAR
