"""A single-shot request: one plan, one message or one validation, for a caller who waits."""

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError

with workflow.unsafe.imports_passed_through():
    from activities.campaign import CampaignActivities, StatusChange
    from activities.provider import GivenUp, ProviderActivities, ReconcileCosts
    from domain.campaign import CampaignStatus, GenerationInput
    from domain.errors import ErrorType
    from domain.progress import Tally, WorkflowResult
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
            await self._give_up(request.campaign_id, error)
            workflow.upsert_search_attributes([STATUS.value_set(str(CampaignStatus.FAILED))])
            await reconcile_later(ReconcileCosts(campaign_id=request.campaign_id))
            raise
        if result.unresolved:
            await reconcile_later(ReconcileCosts(campaign_id=request.campaign_id))
        workflow.upsert_search_attributes([STATUS.value_set(str(result.status))])
        return result

    async def _give_up(self, campaign_id: str, error: ActivityError) -> None:
        reason = _reason_of(error)
        if workflow.patched("failed-result"):
            given_up = GivenUp(campaign_id=campaign_id, reason=reason, tally=_tally_of(error))
            await workflow.execute_activity_method(ProviderActivities.give_up, given_up, **policies.STORE)
            return
        change = StatusChange(campaign_id=campaign_id, status=CampaignStatus.FAILED, reason=reason)
        await workflow.execute_activity_method(CampaignActivities.set_status, change, **policies.STORE)


def _tally_of(error: ActivityError) -> Tally:
    """Who was asked: told by the failure, or by the last heartbeat of an attempt that was not heard of again."""
    told: Sequence[Any] = ()
    match error.cause:
        case ApplicationError() as failure:
            told = failure.details
        case TimeoutError(cause=ApplicationError() as failure):
            told = failure.details
        case TimeoutError() as late:
            told = late.last_heartbeat_details
    return Tally.model_validate(told[0]) if told else Tally()


def _reason_of(error: ActivityError) -> str:
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type:
        return cause.type
    # A time-out: nobody could be reached for as long as the caller was to wait.
    return str(ErrorType.PROVIDER_UNAVAILABLE)
