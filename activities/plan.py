"""The plan of a request: the stored one, a new one, or that of an earlier request; where there is none, a person's."""

from datetime import UTC, datetime
from statistics import fmean

from activities.draft import author
from activities.ladder import Answered, Ladder, Question
from activities.page import REVIEW, GenerationPorts
from domain.campaign import CampaignRecord, OnBudget
from domain.compliance import check
from domain.errors import ComplianceViolation, CostLimitExceeded, HuntazeError, ProviderError, ProviderFault
from domain.experiment import ArmObservation, Metric
from domain.model import Model
from domain.plan import plan_awaited_alert
from domain.progress import Tally
from domain.prompt import Prompt, Variant, read_plan
from domain.provider import ContentPlan, IntentType
from domain.quality import quality_score
from domain.response_cache import plan_key


class PlanCampaign(Model):
    """Plan the campaign of this id; ``again``: models were asked in vain, and somebody wants them asked once more."""

    campaign_id: str
    again: bool = False


class Planned(Model):
    """Who planned, what it took, and the campaign's cost so far in µ$."""

    tally: Tally
    cost_micros: int


class Unplanned(Model):
    """Goes with a failure to plan: who was asked, and the campaign's cost so far in µ$.

    ``awaits_person``: a plan that a person writes would help.
    """

    tally: Tally = Tally()
    cost_micros: int = 0
    awaits_person: bool = False


async def plan_of(
    record: CampaignRecord, ladder: Ladder, ports: GenerationPorts, *, again: bool = False
) -> ContentPlan:
    """The stored plan, a new one, or, when nobody can make one now, that of an earlier request like this one."""
    stored = await ports.campaigns.plan(record.campaign_id)
    if stored is not None:
        return stored
    languages = record.languages or ("en",)

    def prompt(variant: Variant) -> Prompt:
        return ports.prompts.plan(
            brief=record.brief, message_type=record.message_type, languages=languages, variant=variant
        )

    key = plan_key(record.owner, record.brief, record.message_type, languages, prompt(Variant.USUAL).version)
    question = Question(
        IntentType.CONTENT_PLANNING, "plan", record.campaign_id, prompt, read_plan, looks=True, asked_anew=again
    )
    try:
        answer = await ladder.ask(question)
        plan = answer.value.model_copy(update={"author": author(answer)})
        # In the place of another request's own plan it says nothing of that request's arm.
        await ports.cache.keep_plan(key, plan)
        plan = plan.model_copy(update={"experiment": answer.experiment, "arm": answer.arm})
        await _observe(record, answer, ladder)
    except (ProviderError, CostLimitExceeded) as error:
        # What one provider refuses is nothing for another one's plan, even if that was made before.
        cached = None if _is_refused(error) else await ports.cache.plan(key)
        if cached is None:
            if _a_person_helps(record, error):
                ladder.step_below(question, REVIEW, error)
            raise _refusal(error) from error
        plan = cached
        ladder.served_from_cache(question, error)
    return await ports.campaigns.save_plan(record.campaign_id, plan)


async def _observe(record: CampaignRecord, answer: Answered[ContentPlan], ladder: Ladder) -> None:
    """What the general texts of a plan are worth counts for the arm of the experiment that wrote it."""
    texts = [each.text for each in answer.value.general_texts]
    if not answer.arm or not texts:
        return
    values = {
        Metric.QUALITY: fmean(quality_score(text, "") for text in texts),
        Metric.COMPLIANCE: fmean(check(text).score for text in texts),
    }
    observed = ArmObservation(
        observation_id=f"{record.campaign_id}/plan", experiment=answer.experiment, arm=answer.arm, values=values
    )
    await ladder.observe(observed)


async def unplanned(record: CampaignRecord, ladder: Ladder, error: HuntazeError, ports: GenerationPorts) -> Unplanned:
    """What a failed attempt took. If a person can help, an alert says that one is waited for."""
    awaits_person = _a_person_helps(record, error)
    if awaits_person:
        await ports.ladder.alerts.raise_alert(plan_awaited_alert(record, error.error_type, datetime.now(UTC)))
    totals = await ports.ladder.costs.campaign_totals(record.campaign_id)
    return Unplanned(tally=ladder.tally, cost_micros=totals.cost_micros, awaits_person=awaits_person)


def _a_person_helps(record: CampaignRecord, error: HuntazeError) -> bool:
    """Whether a person's plan would help: to a campaign, of which nobody said that it is to stop when money is short,
    and after a failure that stays one however often it is tried.
    """
    if record.type is not IntentType.CAMPAIGN_EXECUTION:
        return False
    if isinstance(error, CostLimitExceeded):
        return record.on_budget is not OnBudget.STOP
    return isinstance(error, ComplianceViolation | ProviderError) and not error.retryable


def _refusal(error: ProviderError | CostLimitExceeded) -> HuntazeError:
    """A refusal on content is about the brief, not the provider."""
    if _is_refused(error):
        return ComplianceViolation(
            "the provider refuses to plan this brief; write it without what its content policy forbids",
            rules=("provider-content-policy",),
        )
    return error


def _is_refused(error: ProviderError | CostLimitExceeded) -> bool:
    return isinstance(error, ProviderError) and error.fault is ProviderFault.CONTENT_POLICY
