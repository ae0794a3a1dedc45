"""Requests in DynamoDB: record, audience pages, plan and result under one partition each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from adapters.dynamodb import Dynamo, Item, from_cursor, from_item, sortable, to_cursor, to_item, value
from domain.campaign import AudiencePage, CampaignRecord, CampaignStatus
from domain.errors import InvalidRequest, NotFound
from domain.ports import CampaignFilter, CampaignListing
from domain.progress import WorkflowResult
from domain.provider import ContentPlan, IntentType

_EARLIEST, _LATEST = "0000", "9999"
_FINAL = tuple(status for status in CampaignStatus if status.is_final)
_LAST_REVISION = 10**15
"""Past every revision that a workflow counts to."""


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
                Item=to_item(record, item="record", kind="record", createdAt=sortable(record.created_at)),
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

    async def get_many(self, campaign_ids: Sequence[str]) -> Sequence[CampaignRecord]:
        keys = [("campaigns", record_key(campaign_id)) for campaign_id in dict.fromkeys(campaign_ids)]
        found = await self._dynamo.batch_get_across(keys)
        return [from_item(CampaignRecord, item) for item in found.get("campaigns", [])]

    async def audience_page(self, campaign_id: str, account_id: str, page: int) -> AudiencePage:
        record = await self.get(campaign_id)
        item = None if record is None else await self._get(campaign_id, _page_key(record, account_id, page))
        if item is None:
            raise NotFound(f"campaign {campaign_id} has no audience page {page} for {account_id}")
        return from_item(AudiencePage, item)

    async def want(self, campaign_id: str, status: CampaignStatus) -> int | None:
        changed, record = await self._change(_wish(campaign_id, status))
        return int(record["wish"]["N"]) if changed else None

    async def set_status(
        self,
        campaign_id: str,
        status: CampaignStatus,
        reason: str,
        *,
        revision: int | None = None,
        heard: int | None = None,
    ) -> int | None:
        changed, record = await self._change(_status_update(campaign_id, status, reason, revision, heard))
        # Whoever says the same once more did not get the answer.
        repeated = revision is not None and record.get("statusRevision") == value(revision)
        return int(record.get("settled", value(0))["N"]) if changed or repeated else None

    async def mark_recalled(self, campaign_id: str, at: datetime) -> None:
        try:
            await self._dynamo.call(
                self._dynamo.client.update_item,
                TableName=self._table,
                Key=record_key(campaign_id),
                UpdateExpression="SET recalledAt = if_not_exists(recalledAt, :at)",
                ConditionExpression="attribute_exists(campaignId)",
                ExpressionAttributeValues={":at": value(sortable(at))},
            )
        except self._dynamo.client.exceptions.ConditionalCheckFailedException as error:
            raise NotFound(f"campaign {campaign_id} is not in the store") from error

    async def _change(self, update: Item) -> tuple[bool, Item]:
        """Whether the record could be changed that way, and how it is now."""
        try:
            answer = await self._dynamo.call(
                self._dynamo.client.update_item,
                TableName=self._table,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **update,
            )
        except self._dynamo.client.exceptions.ConditionalCheckFailedException as error:
            refused = cast("dict[str, Any]", error.response)
            if "Item" not in refused:
                raise
            return False, refused["Item"]
        return True, answer["Attributes"]

    async def save_plan(self, campaign_id: str, plan: ContentPlan) -> ContentPlan:
        try:
            await self._dynamo.call(
                self._dynamo.client.put_item,
                TableName=self._table,
                Item=to_item(plan, campaignId=campaign_id, item="plan"),
                ConditionExpression="attribute_not_exists(campaignId)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._dynamo.client.exceptions.ConditionalCheckFailedException as error:
            return from_item(ContentPlan, cast("dict[str, Any]", error.response)["Item"])
        return plan

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
                        **_status_update(campaign_id, result.status, result.reason, over_an_end=True),
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
            ":from": value(sortable(filters.created_after) if filters.created_after else _EARLIEST),
            ":to": value(sortable(filters.created_before) if filters.created_before else _LATEST),
        }
        conditions: list[str] = []
        for name, wanted in (("status", filters.status), ("type", filters.type)):
            if wanted is not None:
                names[f"#{name}"] = name
                values[f":{name}"] = value(str(wanted))
                conditions.append(f"#{name} = :{name}")
        if filters.type is None:
            names["#type"], values[":direct"] = "type", value(str(IntentType.DIRECT_MESSAGE))
            conditions.append("#type <> :direct")
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": index,
            "KeyConditionExpression": "#key = :key AND #created BETWEEN :from AND :to",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ScanIndexForward": False,
            "FilterExpression": " AND ".join(conditions),
        }
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
        return await self._dynamo.get("campaigns", {"campaignId": value(campaign_id), "item": value(item)})


def record_key(campaign_id: str) -> Item:
    """The primary key of a request's record, for conditions in other tables' transactions."""
    return {"campaignId": value(campaign_id), "item": value("record")}


def _wish(campaign_id: str, status: CampaignStatus) -> Item:
    """An end stays an end, and a cancellation, wished for or under way, stays one."""
    barred = _FINAL if status is CampaignStatus.CANCELLING else (*_FINAL, CampaignStatus.CANCELLING)
    names = {f":barred{number}": str(each) for number, each in enumerate(barred)}
    conditions = ["attribute_exists(campaignId)", f"NOT #status IN ({', '.join(names)})"]
    if status is not CampaignStatus.CANCELLING:
        conditions.append(f"(attribute_not_exists(wanted) OR NOT wanted IN ({', '.join(names)}))")
    values = {":wanted": str(status), ":none": 0, ":one": 1, **names}
    return {
        "Key": record_key(campaign_id),
        "UpdateExpression": "SET wanted = :wanted, wish = if_not_exists(wish, :none) + :one",
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {name: value(raw) for name, raw in values.items()},
    }


def _status_update(
    campaign_id: str,
    status: CampaignStatus,
    reason: str,
    revision: int | None = None,
    heard: int | None = None,
    *,
    over_an_end: bool = False,
) -> Item:
    """Without a revision the status is the last word: no workflow's write comes after it."""
    values: dict[str, object] = {
        ":status": str(status),
        ":reason": reason,
        ":revision": _LAST_REVISION if revision is None else revision,
        ":heard": 0 if heard is None else heard,
    }
    settled = "if_not_exists(wish, :heard)" if heard is None else ":heard"
    conditions = ["attribute_exists(campaignId)"]
    if revision is not None:
        conditions.append("(attribute_not_exists(statusRevision) OR statusRevision < :revision)")
    if not over_an_end:
        finals = {f":final{number}": str(final) for number, final in enumerate(_FINAL)}
        conditions.append(f"NOT #status IN ({', '.join(finals)})")
        values |= finals
    return {
        "Key": record_key(campaign_id),
        "UpdateExpression": "SET #status = :status, statusReason = :reason, statusRevision = :revision, "
        f"settled = {settled}",
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {name: value(raw) for name, raw in values.items()},
    }


def _page_item(record: CampaignRecord, page: AudiencePage) -> Item:
    return to_item(page, campaignId=record.campaign_id, item=_page_key(record, page.account_id, page.page))


def _page_key(record: CampaignRecord, account_id: str, page: int) -> str:
    return f"page#{record.fingerprint[:16]}#{account_id}#{page:06d}"


def _cursor(record: CampaignRecord) -> str:
    return to_cursor([record.campaign_id, sortable(record.created_at)])


def _start_key(cursor: str, key: str, key_value: str) -> Item:
    try:
        campaign_id, created = from_cursor(cursor)
        UUID(campaign_id)
        datetime.fromisoformat(created)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidRequest(
            "this cursor was not issued by this list; start again without it", field="cursor"
        ) from error
    start = {"campaignId": campaign_id, "item": "record", key: key_value, "createdAt": created}
    return {name: value(text) for name, text in start.items()}
