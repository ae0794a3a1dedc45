"""The ledger in DynamoDB, and list prices from the package ``genai-prices``."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from genai_prices import Usage as ListUsage
from genai_prices import calc_price

from adapters.dynamodb import Dynamo, Item, plain, to_item, value
from domain.cost import CostEntry, CostTotals, Price
from domain.provider import Provider

_MILLION = 1_000_000
_DEAREST_MODEL = "o1-pro"
"""150 and 600 US dollars for a million tokens in and out (genai-prices 0.2.3): nothing on the list costs more."""


class DynamoCosts:
    """``domain.ports.CostStore``: an entry and all its totals are one transaction."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("costs")

    async def record(self, entry: CostEntry) -> bool:
        day = entry.at.astimezone(UTC).date().isoformat()
        put = {
            "Put": {
                "TableName": self._table,
                "Item": to_item(entry, scope=_campaign(entry.campaign_id), entry=f"entry#{entry.operation_id}"),
                "ConditionExpression": "attribute_not_exists(#scope)",
                "ExpressionAttributeNames": {"#scope": "scope"},
            }
        }
        totals = [
            self._add(_campaign(entry.campaign_id), "total", entry),
            self._add(_user(entry.owner), f"day#{day}", entry),
            self._add("global", f"day#{day}", entry),
        ]
        try:
            await self._dynamo.transact([put, *totals])
        except self._dynamo.client.exceptions.TransactionCanceledException as error:
            reasons: Any = error.response.get("CancellationReasons", [{}])
            if reasons[0].get("Code") == "ConditionalCheckFailed":
                return False
            raise
        return True

    async def campaign_totals(self, campaign_id: str) -> CostTotals:
        answer = await self._dynamo.call(
            self._dynamo.client.get_item,
            TableName=self._table,
            Key={"scope": value(_campaign(campaign_id)), "entry": value("total")},
            ConsistentRead=True,
        )
        return _totals(answer.get("Item", {}))

    async def user_totals(self, owner: str, first_day: str, last_day: str) -> dict[str, CostTotals]:
        return await self._days(_user(owner), first_day, last_day)

    async def global_totals(self, first_day: str, last_day: str) -> dict[str, CostTotals]:
        return await self._days("global", first_day, last_day)

    async def _days(self, scope: str, first_day: str, last_day: str) -> dict[str, CostTotals]:
        days: dict[str, CostTotals] = {}
        async for item in self._dynamo.query(
            TableName=self._table,
            KeyConditionExpression="#scope = :scope AND #entry BETWEEN :first AND :last",
            ExpressionAttributeNames={"#scope": "scope", "#entry": "entry"},
            ExpressionAttributeValues={
                ":scope": value(scope),
                ":first": value(f"day#{first_day}"),
                ":last": value(f"day#{last_day}"),
            },
            ConsistentRead=True,
        ):
            days[str(plain(item)["entry"]).removeprefix("day#")] = _totals(item)
        return days

    def _add(self, scope: str, entry: str, cost: CostEntry) -> Item:
        return {
            "Update": {
                "TableName": self._table,
                "Key": {"scope": value(scope), "entry": value(entry)},
                "UpdateExpression": "ADD costMicros :cost, inputTokens :input, outputTokens :output, calls :one, "
                "#provider :cost",
                "ExpressionAttributeNames": {"#provider": f"micros#{cost.provider}"},
                "ExpressionAttributeValues": {
                    ":cost": value(cost.cost_micros),
                    ":input": value(cost.usage.input_tokens),
                    ":output": value(cost.usage.output_tokens),
                    ":one": value(1),
                },
            }
        }


class ListPrices:
    """``domain.ports.PriceBook`` over the prices that ``genai-prices`` ships; nothing is downloaded."""

    def price(self, provider: Provider, model: str) -> Price:
        """Resolved once per model; a lookup takes about 0.1 ms, a multiplication nothing."""
        return _list_price(provider, model)


@lru_cache(maxsize=256)
def _list_price(provider: Provider, model: str) -> Price:
    now = datetime.now(UTC)
    try:
        million_in = calc_price(
            ListUsage(input_tokens=_MILLION, output_tokens=0),
            model_ref=model,
            provider_id=provider,
            genai_request_timestamp=now,
        )
        million_out = calc_price(
            ListUsage(input_tokens=0, output_tokens=_MILLION),
            model_ref=model,
            provider_id=provider,
            genai_request_timestamp=now,
        )
    except LookupError:
        return _dearest()
    return Price(
        input_per_million=Decimal(million_in.total_price),
        output_per_million=Decimal(million_out.total_price),
        version=_version(model),
    )


def _dearest() -> Price:
    """An unknown model is booked at the list price of the most expensive chat model on record, never at 0."""
    label = _version(f"unknown, as {_DEAREST_MODEL}")
    return Price(input_per_million=Decimal(150), output_per_million=Decimal(600), version=label)


def _version(model: str) -> str:
    return f"genai-prices-{version('genai-prices')}/{model}"


def _campaign(campaign_id: str) -> str:
    return f"campaign#{campaign_id}"


def _user(owner: str) -> str:
    return f"user#{owner}"


def _totals(item: Item) -> CostTotals:
    fields = plain(item)
    providers = {
        name.removeprefix("micros#"): int(amount) for name, amount in fields.items() if name.startswith("micros#")
    }
    return CostTotals(
        cost_micros=int(fields.get("costMicros", 0)),
        input_tokens=int(fields.get("inputTokens", 0)),
        output_tokens=int(fields.get("outputTokens", 0)),
        calls=int(fields.get("calls", 0)),
        micros_by_provider=providers,
    )
