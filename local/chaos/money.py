"""What a run cost: the AI simulator's own book at list prices, the ledger, and what the budgets make of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.price import ListPrices
from domain.cost import Usage
from domain.provider import Provider


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls, what they cost (µ$) and their tokens."""

    calls: int = 0
    micros: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.calls + other.calls,
            self.micros + other.micros,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )

    def __str__(self) -> str:
        return f"{self.micros} µ$ for {self.calls} calls, {self.input_tokens} tokens in and {self.output_tokens} out"


@dataclass(frozen=True, slots=True)
class Left:
    """What became of two reservations after the run: all that was left of the cap, and one µ$ more."""

    rest_granted: bool
    more_denied: bool


@dataclass(frozen=True, slots=True)
class Money:
    """Both sides. The book is the simulator's, everything else is the product's.

    ``entries`` by model, ``lost`` those of them that were found at the providers after the campaign, ``unusable`` those
    of answers that nobody could use. ``outlived``: the providers were asked again after the campaign had ended.
    ``left``: ``None`` for a run without a cap.
    """

    book: Mapping[str, Spent]
    entries: Mapping[str, Spent]
    operations: int
    lost: int
    unusable: int
    totals: Spent
    days: Spent
    """The caller's days; nothing else was asked for."""
    result_micros: int
    committed: Mapping[str, int]
    """By the scope of the budget, in µ$."""
    reserved: int
    """µ$ still set aside when the last lease was over."""
    outlived: bool = False
    left: Left | None = None

    @property
    def billed(self) -> Spent:
        """By the simulator's book."""
        return sum(self.book.values(), Spent())


def what_does_not_add_up(money: Money) -> Iterable[str]:
    """Every sum that is off, in a sentence each."""
    billed = money.billed
    if not billed.calls:
        yield "the AI simulator billed nothing"
    for model in sorted(money.book.keys() | money.entries.keys()):
        book, entries = money.book.get(model, Spent()), money.entries.get(model, Spent())
        if book != entries:
            yield f"{model}: the AI simulator billed {book}; the ledger's entries say {entries}"
    if money.operations != billed.calls:
        yield f"{billed.calls} calls were billed, and the ledger has {money.operations} operations"
    for name, spent in (("the campaign's total", money.totals), ("the caller's days", money.days)):
        if spent != billed:
            yield f"{name}: {spent}; the AI simulator billed {billed}"
    if money.result_micros != billed.micros:
        yield f"the campaign's result says {money.result_micros} µ$, the AI simulator billed {billed.micros}"
    for scope, micros in money.committed.items():
        if micros != billed.micros:
            yield f"the budget {scope} has {micros} µ$ committed, the AI simulator billed {billed.micros}"
    if money.reserved:
        yield f"{money.reserved} µ$ are set aside after the last lease was over"
    if money.left is not None and not money.left.rest_granted:
        yield "a reservation of what the cap has left was denied"
    if money.left is not None and not money.left.more_denied:
        yield "a reservation of more than the cap has left was granted"


def book_of(calls: Iterable[Mapping[str, Any]]) -> Mapping[str, Spent]:
    """The simulator's billed calls by model, each at its list price, rounded up."""
    prices, book = ListPrices(), dict[str, Spent]()
    for call in calls:
        name = f"{call['dialect']}/{call['model']}"
        usage = Usage(**{field: call[field] for field in Usage.model_fields})
        micros = prices.price(Provider(call["dialect"]), call["model"]).micros(usage)
        book[name] = book.get(name, Spent()) + Spent(1, micros, usage.input_tokens, usage.output_tokens)
    return book


def entries_of(items: Sequence[Mapping[str, Any]]) -> Mapping[str, Spent]:
    """The ledger's entries by model."""
    found = dict[str, Spent]()
    for item in items:
        name, usage = f"{item['provider']}/{item['model']}", item["usage"]
        one = Spent(1, int(item["costMicros"]), int(usage["inputTokens"]), int(usage["outputTokens"]))
        found[name] = found.get(name, Spent()) + one
    return found


def spent_of(view: Mapping[str, Any]) -> Spent:
    """A sum as the API tells it."""
    return Spent(view["calls"], view["totalCostMicros"], view["inputTokens"], view["outputTokens"])
