"""Refusals in DynamoDB: beside the campaign whose question it was, without a word of the question."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from adapters.dynamodb import Dynamo, from_item, plain, to_item, value
from domain.prompt import Refusal

_PREFIX = "refusal#"


class DynamoRefusals:
    """``domain.ports.Refusals``."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    async def keep(self, campaign_id: str, refusals: Mapping[UUID, Refusal]) -> None:
        """By the step that was refused."""
        items = [to_item(each, campaignId=campaign_id, item=f"{_PREFIX}{step}") for step, each in refusals.items()]
        await self._dynamo.batch_put("campaigns", items)

    async def of_steps(self, campaign_id: str, step_ids: Sequence[UUID]) -> Mapping[UUID, Refusal]:
        """Those that are kept, read consistently."""
        keys = [{"campaignId": value(campaign_id), "item": value(f"{_PREFIX}{step}")} for step in step_ids]
        found = await self._dynamo.batch_get("campaigns", keys)
        return {UUID(str(plain(item)["item"]).removeprefix(_PREFIX)): from_item(Refusal, item) for item in found}
