"""Recorded opt-ins to less review, one item for each account."""

from adapters.dynamodb import Dynamo, from_item, to_item, value
from domain.review import AutonomyOptIn


class DynamoAutonomy:
    """``domain.ports.AutonomyStore``; an account without a record asks for full review."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("accounts")

    async def get(self, account_id: str) -> AutonomyOptIn:
        answer = await self._dynamo.call(
            self._dynamo.client.get_item,
            TableName=self._table,
            Key={"accountId": value(account_id), "item": value("autonomy")},
            ConsistentRead=True,
        )
        item = answer.get("Item")
        return AutonomyOptIn(account_id=account_id) if item is None else from_item(AutonomyOptIn, item)

    async def put(self, opt_in: AutonomyOptIn) -> None:
        """Replace the record; earlier ones stay as history items."""
        granted = opt_in.granted_at.isoformat() if opt_in.granted_at else ""
        await self._dynamo.transact(
            [
                {"Put": {"TableName": self._table, "Item": to_item(opt_in, item=item)}}
                for item in ("autonomy", f"autonomy#{granted}")
            ]
        )
