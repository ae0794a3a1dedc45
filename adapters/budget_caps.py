"""Caps that administrators set, in DynamoDB, beside the ledger.

An item keeps what is in force; one more for each revision keeps who made the change, when and why.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from time import monotonic

from adapters.dynamodb import Dynamo, Item, from_item, to_item, value
from domain.budget import EVERYBODY, BudgetCaps, BudgetSettings, in_force

REMEMBERED_S = 1.0
"""Caps are asked for before every provider call, and remembered for so long: a change takes effect that much later."""

_REMEMBERED_USERS = 10_000
_IN_FORCE = "caps"


class DynamoBudgets:
    """``domain.ports.BudgetStore``; ``defaults`` are the installation's caps. ``days_at_most``: US dollars of a user's
    day, whatever is set for everybody or for that user. ``clock``: seconds, for tests only."""

    def __init__(
        self,
        dynamo: Dynamo,
        defaults: BudgetCaps,
        *,
        days_at_most: Mapping[str, Decimal] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._dynamo = dynamo
        self._defaults = defaults
        self._days_at_most = days_at_most or {}
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, asyncio.Task[BudgetCaps]]] = OrderedDict()

    async def caps(self, owner: str) -> BudgetCaps:
        """Those in force for a user's calls, at most a second old."""
        now = self._clock()
        known = self._known.get(owner)
        if known is None or now - known[0] >= REMEMBERED_S or _failed(known[1]):
            known = now, asyncio.ensure_future(self._read_caps(owner))
            self._known[owner] = known
            self._known.move_to_end(owner)
            if len(self._known) > _REMEMBERED_USERS:
                self._known.popitem(last=False)
        return await asyncio.shield(known[1])

    async def settings(self, user: str | None) -> BudgetSettings:
        """What was set for a user or, without one, for everybody; revision 0: nothing."""
        item = await self._dynamo.get("costs", _key(user))
        return _nothing(user) if item is None else from_item(BudgetSettings, item)

    async def put(self, user: str | None, settings: BudgetSettings) -> bool:
        """In force here at once, in other processes when they ask again."""
        table, scope = self._dynamo.table("costs"), _scope(user)
        present = {
            "Put": {
                "TableName": table,
                "Item": to_item(settings, scope=scope, entry=_IN_FORCE),
                **_follows(settings.revision),
            }
        }
        history = {
            "Put": {
                "TableName": table,
                "Item": to_item(settings, scope=scope, entry=f"{_IN_FORCE}#{settings.revision:010d}"),
            }
        }
        made = bool(await self._dynamo.transact_each({scope: [present, history]}))
        self._known.clear()
        return made

    async def history(self, user: str | None, *, limit: int) -> Sequence[BudgetSettings]:
        """Newest first, the present one included."""
        found: list[BudgetSettings] = []
        async for item in self._dynamo.query(
            TableName=self._dynamo.table("costs"),
            KeyConditionExpression="#scope = :scope AND begins_with(#entry, :history)",
            ExpressionAttributeNames={"#scope": "scope", "#entry": "entry"},
            ExpressionAttributeValues={":scope": value(_scope(user)), ":history": value(f"{_IN_FORCE}#")},
            ScanIndexForward=False,
            ConsistentRead=True,
            Limit=limit,
        ):
            found.append(from_item(BudgetSettings, item))
            if len(found) == limit:
                break
        return found

    async def _read_caps(self, owner: str) -> BudgetCaps:
        items = await self._dynamo.batch_get("costs", [_key(None), _key(owner)])
        found = {item["scope"]["S"]: from_item(BudgetSettings, item) for item in items}
        everybody, user = (found.get(_scope(whose), _nothing(whose)) for whose in (None, owner))
        caps = in_force(self._defaults, everybody, user)
        most = self._days_at_most.get(owner)
        if most is None or (caps.user_day is not None and caps.user_day <= most):
            return caps
        return caps.model_copy(update={"user_day": most})


def _failed(task: asyncio.Task[BudgetCaps]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _follows(revision: int) -> Item:
    """The condition that the stored revision is the one before."""
    if revision == 1:
        return {
            "ConditionExpression": "attribute_not_exists(#scope)",
            "ExpressionAttributeNames": {"#scope": "scope"},
        }
    return {
        "ConditionExpression": "revision = :before",
        "ExpressionAttributeValues": {":before": value(revision - 1)},
    }


def _nothing(user: str | None) -> BudgetSettings:
    return BudgetSettings(subject=EVERYBODY if user is None else user)


def _scope(user: str | None) -> str:
    """A user may be called ``global``."""
    return f"budget#{EVERYBODY}" if user is None else f"budget#user#{user}"


def _key(user: str | None) -> Item:
    return {"scope": value(_scope(user)), "entry": value(_IN_FORCE)}
