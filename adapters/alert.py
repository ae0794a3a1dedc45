"""Alerts in DynamoDB: one partition for each day, and one for each day of an account."""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import structlog

from adapters.dynamodb import Dynamo, Item, from_item, sortable, to_item, value
from adapters.metrics import Metrics
from adapters.tables import EXPIRY
from domain.alert import Alert, Severity

KEPT_FOR = timedelta(days=90)
"""Older alerts are not shown, and deleted in DynamoDB's own time."""

_LEVEL = {Severity.INFO: logging.INFO, Severity.WARNING: logging.WARNING, Severity.CRITICAL: logging.ERROR}
_log = structlog.get_logger()


class DynamoAlerts:
    """``domain.ports.Alerts``."""

    def __init__(self, dynamo: Dynamo, metrics: Metrics | None = None) -> None:
        self._dynamo = dynamo
        self._metrics = metrics or Metrics()
        self._table = dynamo.table("alerts")

    async def raise_alert(self, alert: Alert) -> bool:
        """An alert that is kept is also one line of the log, and counted."""
        first = {
            "Put": {
                "TableName": self._table,
                "Item": to_item(alert, scope=f"alert#{alert.alert_id}", entry="alert", **_expiry(alert)),
                "ConditionExpression": "attribute_not_exists(#scope)",
                "ExpressionAttributeNames": {"#scope": "scope"},
            }
        }
        if not await self._dynamo.transact_each({alert.alert_id: [first, *self._entries(alert)]}):
            return False
        self._metrics.raised(alert)
        _log.log(
            _LEVEL[alert.severity],
            "alert",
            kind=str(alert.kind),
            severity=str(alert.severity),
            account=alert.account_id,
            detail=alert.detail,
        )
        return True

    async def since(self, moment: datetime, *, account_id: str | None = None) -> Sequence[Alert]:
        """Nothing older than 90 days."""
        now = datetime.now(UTC)
        moment = max(moment, now - KEPT_FOR)
        alerts: list[Alert] = []
        # A clock that is a little ahead of ours may have begun the next day.
        for day in _days_back((now + timedelta(days=1)).date(), moment.astimezone(UTC).date()):
            async for item in self._dynamo.query(
                TableName=self._table,
                KeyConditionExpression="#scope = :scope AND #entry >= :moment",
                ExpressionAttributeNames={"#scope": "scope", "#entry": "entry"},
                ExpressionAttributeValues={
                    ":scope": value(_scope(day, account_id)),
                    ":moment": value(sortable(moment)),
                },
                ScanIndexForward=False,
                ConsistentRead=True,
            ):
                alerts.append(from_item(Alert, item))
        return alerts

    def _entries(self, alert: Alert) -> list[Item]:
        day = alert.at.astimezone(UTC).date()
        scopes = [_scope(day, None), *([_scope(day, alert.account_id)] if alert.account_id else [])]
        entry = f"{sortable(alert.at)}#{alert.alert_id}"
        return [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": to_item(alert, scope=scope, entry=entry, **_expiry(alert)),
                }
            }
            for scope in scopes
        ]


def _scope(day: date, account_id: str | None) -> str:
    return f"day#{day}" if account_id is None else f"day#{day}#{account_id}"


def _days_back(last: date, first: date) -> Iterator[date]:
    while last >= first:
        yield last
        last -= timedelta(days=1)


def _expiry(alert: Alert) -> dict[str, int]:
    return {EXPIRY: int((alert.at + KEPT_FOR).timestamp())}
