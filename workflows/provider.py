"""A single-shot request: one plan, one message or one validation, for a caller who waits."""

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.campaign import CampaignActivities, StatusChange
    from activities.provider import ProviderActivities, ReconcileCosts
    from domain.campaign import CampaignStatus, GenerationInput
    from domain.errors import ErrorType
    from domain.progress import WorkflowResult
    from workflows import policies
    from workflows.cost import reconcile_later

STATUS = SearchAttributeKey.for_keyword("HuntazeStatus")


@workflow.defn
class GenerationWorkflow:
    """The answer with its text is in the store; the history has its scores and costs only."""

    @workflow.run
    async def run(self, request: GenerationInput) -> WorkflowResult:
        """Ask down the ladder; a request that nobody can answer is recorded as failed."""
        try:
            result: WorkflowResult = await workflow.execute_activity_method(
                ProviderActivities.answer, request, **policies.ANSWER
            )
        except ActivityError as error:
            await workflow.execute_activity_method(
                CampaignActivities.set_status,
                StatusChange(campaign_id=request.campaign_id, status=CampaignStatus.FAILED, reason=_reason_of(error)),
                **policies.STORE,
            )
            workflow.upsert_search_attributes([STATUS.value_set(str(CampaignStatus.FAILED))])
            await reconcile_later(ReconcileCosts(campaign_id=request.campaign_id))
            raise
        if result.unresolved:
            await reconcile_later(ReconcileCosts(campaign_id=request.campaign_id))
        workflow.upsert_search_attributes([STATUS.value_set(str(result.status))])
        return result


def _reason_of(error: ActivityError) -> str:
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type:
        return cause.type
    # A time-out: nobody could be reached for as long as the caller was to wait.
    return str(ErrorType.PROVIDER_UNAVAILABLE)
