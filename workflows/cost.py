"""What was charged and nobody saw: looked for at the providers until they can be asked."""

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.provider import ProviderActivities, ReconcileCosts, Reconciled
    from workflows import policies

AFTER_THE_LAST_CALL = timedelta(minutes=2)
"""Longer than a provider writes at an answer after nobody waits for it any more."""


@workflow.defn
class CostReconciliationWorkflow:
    """Runs on after its request has ended, for a day at most."""

    @workflow.run
    async def run(self, request: ReconcileCosts) -> Reconciled:
        """How many calls the ledger lacked."""
        await workflow.sleep(AFTER_THE_LAST_CALL)
        found: Reconciled = await workflow.execute_activity_method(
            ProviderActivities.reconcile, request, **policies.RECONCILE_LATER
        )
        return found


async def reconcile_later(request: ReconcileCosts) -> None:
    """Start it, unless it runs already."""
    with suppress(WorkflowAlreadyStartedError):
        await workflow.start_child_workflow(
            CostReconciliationWorkflow.run,
            request,
            id=f"reconcile-{request.campaign_id}",
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        )
