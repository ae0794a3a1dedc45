"""Refusals in DynamoDB: beside the campaign whose question it was, without a word of the question."""

from uuid import UUID

from adapters.dynamodb import Dynamo, from_item, to_item, value
from domain.prompt import Refusal


class DynamoRefusals:
    """``domain.ports.Refusals``."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("campaigns")

    async def keep(self, campaign_id: str, step_id: UUID, refusal: Refusal) -> None:
        """Replaces an earlier one of the step."""
        item = to_item(refusal, campaignId=campaign_id, item=_of(step_id))
        await self._dynamo.call(self._dynamo.client.put_item, TableName=self._table, Item=item)

    async def of_step(self, campaign_id: str, step_id: UUID) -> Refusal | None:
        """As it was kept last."""
        item = await self._dynamo.get("campaigns", {"campaignId": value(campaign_id), "item": value(_of(step_id))})
        return None if item is None else from_item(Refusal, item)


def _of(step_id: UUID) -> str:
    return f"refusal#{step_id}"
