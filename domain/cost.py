"""Money in integer micro-dollars (µ$, a millionth of a US dollar): prices, entries, totals.

A price of one US dollar for a million tokens is exactly one micro-dollar a token, so token counts times
list prices are micro-dollars already; only the last fraction is rounded, upwards, once per call.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import Field

from domain.model import Model

MICROS_PER_DOLLAR = 1_000_000
_OPERATIONS = uuid5(NAMESPACE_URL, "huntaze:operation")


class Usage(Model):
    """Tokens that a provider billed for one call."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


class Price(Model):
    """US dollars for a million tokens, and the version of the price book that says so."""

    input_per_million: Decimal
    output_per_million: Decimal
    version: str

    def micros(self, usage: Usage) -> int:
        """The cost of ``usage`` in µ$, rounded up to the next whole one."""
        exact = usage.input_tokens * self.input_per_million + usage.output_tokens * self.output_per_million
        return int(exact.to_integral_value(rounding=ROUND_CEILING))


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


class CostTotals(Model):
    """The sum over some scope: everything in µ$, tokens and calls."""

    cost_micros: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    micros_by_provider: dict[str, int] = Field(default_factory=dict)

    def __add__(self, other: "CostTotals") -> "CostTotals":
        providers = sorted(self.micros_by_provider.keys() | other.micros_by_provider.keys())
        return CostTotals(
            cost_micros=self.cost_micros + other.cost_micros,
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
