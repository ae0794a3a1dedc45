"""Requests in DynamoDB: record, audience pages, plan and result under one partition each."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from adapters.dynamodb import Dynamo, Item, from_item, to_item, value
from domain.campaign import AudiencePage, CampaignRecord, CampaignStatus
from domain.errors import InvalidRequest, NotFound
from domain.ports import CampaignFilter, CampaignListing
from domain.progress import WorkflowResult
from domain.provider import ContentPlan

_EARLIEST, _LATEST = "0000", "9999"


class DynamoCampaigns:
    """``domain.ports.CampaignStore``."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("campaigns")

    async def create(self, record: CampaignRecord, pages: Sequence[AudiencePage]) -> CampaignRecord:
        """The pages go first, under the body's fingerprint, so that a record always has its own audience."""
        if existing := await self.get(record.campaign_id):
            return existing
        items = await self._dynamo.run(lambda: [_page_item(record, page) for page in pages])
        await self._dynamo.batch_put("campaigns", items)
        try:
            await self._dynamo.call(
                self._dynamo.client.put_item,
                TableName=self._table,
                Item=to_item(record, item="record", kind="record", createdAt=_sortable(record.created_at)),
                ConditionExpression="attribute_not_exists(campaignId)",
            )
        except self._dynamo.client.exceptions.ConditionalCheckFailedException:
            winner = await self.get(record.campaign_id)
            if winner is None:
                raise
            return winner
        return record

    async def get(self, campaign_id: str) -> CampaignRecord | None:
        item = await self._get(campaign_id, "record")
        return None if item is None else from_item(CampaignRecord, item)

    async def audience_page(self, campaign_id: str, account_id: str, page: int) -> AudiencePage:
        record = await self.get(campaign_id)
        item = None if record is None else await self._get(campaign_id, _page_key(record, account_id, page))
        if item is None:
            raise NotFound(f"campaign {campaign_id} has no audience page {page} for {account_id}")
        return from_item(AudiencePage, item)

    async def set_status(self, campaign_id: str, status: CampaignStatus, reason: str) -> None:
        await self._dynamo.call(
            self._dynamo.client.update_item,
            TableName=self._table,
            **_status_update(campaign_id, status, reason),
        )

    async def save_plan(self, campaign_id: str, plan: ContentPlan) -> None:
        await self._put(to_item(plan, campaignId=campaign_id, item="plan"))

    async def plan(self, campaign_id: str) -> ContentPlan | None:
        item = await self._get(campaign_id, "plan")
        return None if item is None else from_item(ContentPlan, item)

    async def save_result(self, campaign_id: str, result: WorkflowResult) -> None:
        await self._dynamo.transact(
            [
                {
                    "Put": {
                        "TableName": self._table,
                        "Item": to_item(result, campaignId=campaign_id, item="result"),
                    }
                },
                {
                    "Update": {
                        "TableName": self._table,
                        **_status_update(campaign_id, result.status, result.reason),
                    }
                },
            ]
        )

    async def result(self, campaign_id: str) -> WorkflowResult | None:
        item = await self._get(campaign_id, "result")
        return None if item is None else from_item(WorkflowResult, item)

    async def list(self, filters: CampaignFilter, *, limit: int, cursor: str | None) -> CampaignListing:
        index, key, key_value = ("by_owner", "owner", filters.owner) if filters.owner else ("by_kind", "kind", "record")
        names = {"#key": key, "#created": "createdAt"}
        values: Item = {
            ":key": value(key_value),
            ":from": value(_sortable(filters.created_after) if filters.created_after else _EARLIEST),
            ":to": value(_sortable(filters.created_before) if filters.created_before else _LATEST),
        }
        conditions: list[str] = []
        for name, wanted in (("status", filters.status), ("type", filters.type)):
            if wanted is not None:
                names[f"#{name}"] = name
                values[f":{name}"] = value(str(wanted))
                conditions.append(f"#{name} = :{name}")
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": index,
            "KeyConditionExpression": "#key = :key AND #created BETWEEN :from AND :to",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ScanIndexForward": False,
        }
        if conditions:
            arguments["FilterExpression"] = " AND ".join(conditions)
        start = None if cursor is None else _start_key(cursor, key, str(key_value))
        return await self._collect(arguments, start, limit)

    async def _collect(self, arguments: dict[str, Any], start: Item | None, limit: int) -> CampaignListing:
        found: list[CampaignRecord] = []
        while True:
            page = await self._dynamo.call(
                self._dynamo.client.query,
                **arguments,
                Limit=limit + 1,
                **({"ExclusiveStartKey": start} if start else {}),
            )
            found.extend(from_item(CampaignRecord, item) for item in page["Items"])
            start = page.get("LastEvaluatedKey")
            if len(found) > limit:
                return CampaignListing(campaigns=tuple(found[:limit]), cursor=_cursor(found[limit - 1]))
            if not start:
                return CampaignListing(campaigns=tuple(found), cursor=None)

    async def _get(self, campaign_id: str, item: str) -> dict[str, Any] | None:
        answer = await self._dynamo.call(
            self._dynamo.client.get_item,
            TableName=self._table,
            Key={"campaignId": value(campaign_id), "item": value(item)},
            ConsistentRead=True,
        )
        return answer.get("Item")

    async def _put(self, item: Item) -> None:
        await self._dynamo.call(self._dynamo.client.put_item, TableName=self._table, Item=item)


def record_key(campaign_id: str) -> Item:
    """The primary key of a request's record, for conditions in other tables' transactions."""
    return {"campaignId": value(campaign_id), "item": value("record")}


def _status_update(campaign_id: str, status: CampaignStatus, reason: str) -> Item:
    return {
        "Key": record_key(campaign_id),
        "UpdateExpression": "SET #status = :status, statusReason = :reason",
        "ConditionExpression": "attribute_exists(campaignId)",
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {":status": value(str(status)), ":reason": value(reason)},
    }


def _page_item(record: CampaignRecord, page: AudiencePage) -> Item:
    return to_item(page, campaignId=record.campaign_id, item=_page_key(record, page.account_id, page.page))


def _page_key(record: CampaignRecord, account_id: str, page: int) -> str:
    return f"page#{record.fingerprint[:16]}#{account_id}#{page:06d}"


def _sortable(moment: datetime) -> str:
    """A moment as text of one width, so that the order of texts is the order of moments."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _cursor(record: CampaignRecord) -> str:
    return base64.urlsafe_b64encode(json.dumps([record.campaign_id, _sortable(record.created_at)]).encode()).decode()


def _start_key(cursor: str, key: str, key_value: str) -> Item:
    try:
        campaign_id, created = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        UUID(campaign_id)
        datetime.fromisoformat(created)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidRequest(
            "this cursor was not issued by this list; start again without it", field="cursor"
        ) from error
    start = {"campaignId": campaign_id, "item": "record", key: key_value, "createdAt": created}
    return {name: value(text) for name, text in start.items()}
