"""Opt-ins to less review, on record."""

from datetime import timedelta

from adapters.dynamodb import Dynamo, value
from adapters.review import DynamoAutonomy
from domain.compliance import ComplianceLevel
from domain.review import AutonomyOptIn
from tests.domain.builders import NOW, an_account


class TestAutonomy:
    async def test_an_account_without_a_record_asks_for_full_review(self, autonomy: DynamoAutonomy) -> None:
        account = an_account()
        assert await autonomy.get(account) == AutonomyOptIn(account_id=account, level=ComplianceLevel.STRICT)

    async def test_the_latest_record_counts_and_every_one_is_kept(
        self, autonomy: DynamoAutonomy, dynamo: Dynamo
    ) -> None:
        account = an_account()
        records = [
            AutonomyOptIn(
                account_id=account,
                level=level,
                reason="three months of reviews",
                granted_by="luna",
                granted_at=NOW + timedelta(days=day),
            )
            for day, level in enumerate((ComplianceLevel.RELAXED, ComplianceLevel.MODERATE))
        ]
        for record in records:
            await autonomy.put(record)
        assert await autonomy.get(account) == records[-1]
        items = dynamo.query(
            TableName=dynamo.table("accounts"),
            KeyConditionExpression="accountId = :account",
            ExpressionAttributeValues={":account": value(account)},
        )
        assert len([item async for item in items]) == 3
