"""What operators set for accounts, and the last look before a send, in DynamoDB.

An item keeps what is in force; one more for each revision keeps who made the change, when and why. The audit entry of
a change is in the same transaction.
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

from adapters.audit import audit_items
from adapters.campaign import record_key
from adapters.dynamodb import Dynamo, Item, from_item, to_item, value
from domain.audit import AuditEntry
from domain.campaign import CampaignStanding
from domain.delivery import AccountControl
from domain.ports import GateState
from domain.rate_limit import AccountLimits

_STANDING = ("campaignId", "complianceLevel", "status", "wanted", "wish", "settled", "recalledAt", "partOf")

_Kind = Literal["control", "limits"]
_Setting = TypeVar("_Setting", AccountControl, AccountLimits)


class DynamoAccounts:
    """``domain.ports.AccountStore`` and ``domain.ports.DeliveryGate``; an account without items has the defaults."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("accounts")

    async def control(self, account_id: str) -> AccountControl:
        item = await self._dynamo.get("accounts", _key(account_id, "control"))
        return _or_default(AccountControl, account_id, item)

    async def put_control(self, control: AccountControl, entry: AuditEntry | None = None) -> bool:
        return await self._put("control", control, entry)

    async def limits(self, account_id: str) -> AccountLimits:
        item = await self._dynamo.get("accounts", _key(account_id, "limits"))
        return _or_default(AccountLimits, account_id, item)

    async def put_limits(self, limits: AccountLimits, entry: AuditEntry | None = None) -> bool:
        return await self._put("limits", limits, entry)

    async def limits_history(self, account_id: str, *, limit: int) -> Sequence[AccountLimits]:
        found: list[AccountLimits] = []
        async for item in self._dynamo.query(
            TableName=self._table,
            KeyConditionExpression="accountId = :account AND begins_with(#item, :history)",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":account": value(account_id), ":history": value("limits#")},
            ScanIndexForward=False,
            ConsistentRead=True,
            Limit=limit,
        ):
            found.append(from_item(AccountLimits, item))
            if len(found) == limit:
                break
        return found

    async def read(self, account_id: str, campaign_ids: Sequence[str]) -> GateState:
        """One call for up to 98 campaigns; a second one for the campaigns of dead letters that are sent once more."""
        found = await self._dynamo.batch_get_across(
            [
                ("accounts", _key(account_id, "control")),
                ("accounts", _key(account_id, "limits")),
                *(("campaigns", record_key(campaign_id)) for campaign_id in dict.fromkeys(campaign_ids)),
            ],
            {"campaigns": _STANDING},
        )
        settings = {item["item"]["S"]: item for item in found.get("accounts", [])}
        standings = await self._under([_standing(item) for item in found.get("campaigns", [])])
        return GateState(
            control=_or_default(AccountControl, account_id, settings.get("control")),
            limits=_or_default(AccountLimits, account_id, settings.get("limits")),
            campaigns={standing.campaign_id: standing for standing in standings},
        )

    async def _under(self, standings: list[CampaignStanding]) -> list[CampaignStanding]:
        """Each as what it is a part of lets it be."""
        wholes = dict.fromkeys(standing.part_of for standing in standings if standing.part_of)
        if not wholes:
            return standings
        keys = [("campaigns", record_key(campaign_id)) for campaign_id in wholes]
        found = await self._dynamo.batch_get_across(keys, {"campaigns": _STANDING})
        by_id = {item["campaignId"]["S"]: from_item(CampaignStanding, item) for item in found.get("campaigns", [])}
        # One that was erased stops nothing any more.
        return [each.under(by_id.get(each.part_of, each)) for each in standings]

    async def _put(self, kind: _Kind, setting: AccountControl | AccountLimits, entry: AuditEntry | None) -> bool:
        in_force = {
            "Put": {
                "TableName": self._table,
                "Item": to_item(setting, item=kind),
                **_follows(setting.revision),
            }
        }
        history = {"Put": {"TableName": self._table, "Item": to_item(setting, item=f"{kind}#{setting.revision:010d}")}}
        audited = () if entry is None else audit_items(self._dynamo, entry)
        return bool(await self._dynamo.transact_each({kind: [in_force, history, *audited]}))


def _standing(item: Item) -> CampaignStanding:
    stored = from_item(CampaignStanding, item)
    return stored.model_copy(update={"status": stored.in_force})


def _follows(revision: int) -> Item:
    """The condition that the stored revision is the one before."""
    if revision == 1:
        return {"ConditionExpression": "attribute_not_exists(accountId)"}
    return {
        "ConditionExpression": "revision = :before",
        "ExpressionAttributeValues": {":before": value(revision - 1)},
    }


def _key(account_id: str, item: str) -> Item:
    return {"accountId": value(account_id), "item": value(item)}


def _or_default(model: type[_Setting], account_id: str, item: Item | None) -> _Setting:
    return model(account_id=account_id) if item is None else from_item(model, item)
