"""What a campaign was charged and nobody saw: looked for at the providers until they can be asked."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.provider import ProviderActivities, ReconcileCosts, Reconciled
    from workflows import policies


@workflow.defn
class CostReconciliationWorkflow:
    """Runs on after its campaign has ended, for a day at most."""

    @workflow.run
    async def run(self, request: ReconcileCosts) -> Reconciled:
        """How many calls the ledger lacked."""
        found: Reconciled = await workflow.execute_activity_method(
            ProviderActivities.reconcile, request, **policies.RECONCILE_LATER
        )
        return found
