"""What was charged and nobody saw: looked for at the providers until they can be asked."""

from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.provider import ProviderActivities, ReconcileCosts, Reconciled
    from domain.cost import SETTLING
    from workflows import policies

ROUNDS = 3
"""The first comes when no answer can be on its way any more; by another clock it may be too early."""


@workflow.defn
class CostReconciliationWorkflow:
    """Runs on after its request has ended, for a day at most."""

    @workflow.run
    async def run(self, request: ReconcileCosts) -> Reconciled:
        """How many calls the ledger lacked. What is held for calls that cost nothing is free again at the end."""
        found = 0
        for _ in range(ROUNDS):
            await workflow.sleep(SETTLING)
            looked: Reconciled = await workflow.execute_activity_method(
                ProviderActivities.reconcile, request, **policies.RECONCILE_LATER
            )
            found += looked.found
            if not looked.held:
                break
        return looked.model_copy(update={"found": found})


async def reconcile_later(request: ReconcileCosts) -> None:
    """Start it, unless it runs already."""
    with suppress(WorkflowAlreadyStartedError):
        await workflow.start_child_workflow(
            CostReconciliationWorkflow.run,
            request,
            id=f"reconcile-{request.campaign_id}",
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        )
