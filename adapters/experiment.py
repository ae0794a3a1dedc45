"""Results of experiments in DynamoDB: sums by arm, to which an observation is added exactly once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from adapters.dynamodb import Dynamo, Item, plain, value
from adapters.tables import EXPIRY
from domain.experiment import ArmObservation, ArmTotals, Metric, MetricTotals
from domain.flag_evaluation import bucket

REMEMBERED_FOR = timedelta(days=90)
"""An observation that is repeated after this would count again; no workflow retries an activity for so long."""

SHARDS = 8
"""Items that the sums of one arm are spread over, since transactions on the same item exclude each other."""


class DynamoExperiments:
    """``domain.ports.Experiments``: remembering an observation and adding it are one transaction."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self._table = dynamo.table("experiments")

    async def observe(self, observation: ArmObservation) -> None:
        """Nothing to add is nothing to remember."""
        if not observation.values:
            return
        remember = {
            "Put": {
                "TableName": self._table,
                "Item": {
                    "scope": value(f"observation#{observation.experiment}#{observation.observation_id}"),
                    "entry": value("seen"),
                    EXPIRY: value(int((datetime.now(UTC) + REMEMBERED_FOR).timestamp())),
                },
                "ConditionExpression": "attribute_not_exists(#scope)",
                "ExpressionAttributeNames": {"#scope": "scope"},
            }
        }
        await self._dynamo.transact_each({observation.observation_id: [remember, self._add(observation)]})

    async def results(self, experiment: str) -> Sequence[ArmTotals]:
        """Read consistently; arms by name."""
        arms: dict[str, dict[Metric, MetricTotals]] = {}
        async for item in self._dynamo.query(
            TableName=self._table,
            KeyConditionExpression="#scope = :scope",
            ExpressionAttributeNames={"#scope": "scope"},
            ExpressionAttributeValues={":scope": value(_scope(experiment))},
            ConsistentRead=True,
        ):
            fields = plain(item)
            metrics = arms.setdefault(str(fields["arm"]), {})
            for metric in Metric:
                if f"{metric}#count" in fields:
                    part = MetricTotals(
                        count=int(fields[f"{metric}#count"]),
                        total=int(fields[f"{metric}#total"]),
                        squares=int(fields[f"{metric}#squares"]),
                    )
                    metrics[metric] = metrics.get(metric, MetricTotals()) + part
        return [ArmTotals(arm=arm, metrics=metrics) for arm, metrics in sorted(arms.items())]

    def _add(self, observation: ArmObservation) -> Item:
        shard = bucket("shard", observation.observation_id) % SHARDS
        sums = {
            f"{metric}#{field}": added
            for metric, observed in observation.values.items()
            for field, added in MetricTotals.of(observed).model_dump().items()
        }
        names = {f"#sum{number}": name for number, name in enumerate(sums)}
        values = {f":sum{number}": value(added) for number, added in enumerate(sums.values())}
        additions = ", ".join(f"{name} {added}" for name, added in zip(names, values, strict=True))
        return {
            "Update": {
                "TableName": self._table,
                "Key": {
                    "scope": value(_scope(observation.experiment)),
                    "entry": value(f"arm#{observation.arm}#{shard}"),
                },
                "UpdateExpression": f"SET #arm = :arm ADD {additions}",
                "ExpressionAttributeNames": {**names, "#arm": "arm"},
                "ExpressionAttributeValues": {**values, ":arm": value(observation.arm)},
            }
        }


def _scope(experiment: str) -> str:
    return f"experiment#{experiment}"
