"""Plans, drafts and single answers, down the ladder: models, cached text, a person."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic

from temporalio import activity

from activities.attempt import Attempt
from activities.draft import general_origin, written_origin
from activities.failure import application_error, heartbeating, translated
from activities.ladder import Ladder
from activities.ladder.reconciliation import reconcile, reconcile_in_passing
from activities.page import NOBODY_CAN, DraftPage, GenerationPorts, Page, writing
from activities.plan import PlanCampaign, Planned, plan_of, unplanned
from domain.campaign import CampaignRecord, CampaignStatus, GenerationInput, OnBudget
from domain.compliance_disclosure import disclosed
from domain.cost import CostTotals
from domain.delivery import Message
from domain.errors import (
    CostLimitExceeded,
    ErrorType,
    HuntazeError,
    NotFound,
    ProviderError,
    ProviderFault,
)
from domain.experiment import ArmObservation, Metric
from domain.general_text import general_text
from domain.lane import PageDrafted, distribution
from domain.model import Model
from domain.progress import DetailedCosts, GeneratedText, Tally, WorkflowResult
from domain.provider import (
    FallbackStep,
    IntentType,
    Provider,
    WritingTask,
    provider_used,
)


class Drafted(Model):
    """How the page's recipients are distributed now, and the campaign's cost so far in µ$.

    ``stopped``: why nothing more is to be written, if so.
    """

    page: PageDrafted
    tally: Tally
    cost_micros: int
    stopped: str = ""


class ReconcileCosts(Model):
    """Compare the ledger of this campaign with what the providers have kept."""

    campaign_id: str


class Reconciled(Model):
    """How many calls the ledger lacked, and the campaign's cost by now in µ$.

    ``held``: calls of which the provider can't say yet that there is no answer; worth asking again.
    """

    found: int
    cost_micros: int
    held: int = 0


class GivenUp(Model):
    """A request that nobody can answer, why, and who was asked."""

    campaign_id: str
    reason: str
    tally: Tally = Tally()


class ProviderActivities:
    """Methods that call AI providers."""

    def __init__(self, ports: GenerationPorts) -> None:
        self._ports = ports

    @activity.defn(name="provider.plan")
    @translated
    async def plan(self, request: PlanCampaign) -> Planned:
        """A campaign is planned once: a repeated attempt finds the stored plan, also that of a person.

        A failure carries an ``Unplanned``.
        """
        attempt = Attempt(self._ports.ladder)
        async with attempt.heartbeating():
            record = await self._record(request.campaign_id)
            ladder = attempt.ladder(record)
            try:
                await plan_of(record, ladder, self._ports, again=request.again)
            except HuntazeError as error:
                raise application_error(error, await unplanned(record, ladder, error, self._ports)) from None
        return Planned(tally=ladder.tally, cost_micros=await self._spent(record))

    @activity.defn(name="provider.draft_page")
    @translated
    async def draft_page(self, request: DraftPage) -> Drafted:
        """Results are stored as they come; a repeated attempt writes only what is missing.

        When the campaign is cancelled meanwhile, calls that are under way are finished and booked first.
        """
        attempt = Attempt(self._ports.ladder)
        async with attempt.heartbeating():
            record = await self._as_allowed(await self._record(request.campaign_id), request.account_id)
            plan = await self._ports.campaigns.plan(record.campaign_id)
            if plan is None:
                raise NotFound(f"campaign {record.campaign_id} has no plan")
            ladder = attempt.ladder(record)
            page = Page(self._ports, record, plan, request, ladder, patient=self._patient())
            work = asyncio.create_task(page.draft())
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                page.stop()
                # What it met on its way matters no more.
                with suppress(HuntazeError):
                    await work
                activity.heartbeat(*attempt.at_rest())
                raise
            if ladder.tally.unresolved or (await self._totals(record)).held_micros:
                # What was charged for lost answers, and what was not, is part of what the next page may spend.
                lost = bool(ladder.tally.unresolved)
                await reconcile_in_passing(record, self._ports.ladder, lost_just_now=lost)
            stored = await page.stored()
        return Drafted(
            page=distribution(stored),
            tally=ladder.tally + _scores(stored),
            cost_micros=await self._spent(record),
            stopped=page.stopped,
        )

    @activity.defn(name="provider.reconcile")
    @translated
    async def reconcile(self, request: ReconcileCosts) -> Reconciled:
        """Book what providers were paid for a campaign and the ledger does not have: answers that got lost. Free what
        is held for those that were never made.

        Raises ``ProviderError`` when a provider can't be asked.
        """
        record = await self._record(request.campaign_id)
        async with heartbeating():
            looked = await reconcile(record, self._ports.ladder)
            await self._correct_result(record)
        return Reconciled(found=looked.found, held=looked.held, cost_micros=await self._spent(record))

    @activity.defn(name="provider.answer")
    @translated
    async def answer(self, request: GenerationInput) -> WorkflowResult:
        """One answer for a waiting caller: kept in the store with its text, returned without it."""
        started = monotonic()
        attempt = Attempt(self._ports.ladder)
        async with attempt.heartbeating():
            record = await self._record(request.campaign_id)
            ladder = attempt.ladder(record)
            try:
                found = await self._found(request.type, record, ladder)
            except HuntazeError as error:
                raise application_error(error, ladder.tally) from None
            finally:
                # Also when there is no answer: what was charged for is charged.
                if ladder.tally.unresolved:
                    await reconcile_in_passing(record, self._ports.ladder, lost_just_now=True)
        costs = await self._totals(record)
        result = WorkflowResult(
            request_id=record.request_id,
            status=CampaignStatus.COMPLETED,
            processing_time=int((monotonic() - started) * 1000),
            provider=provider_used(ladder.tally.providers),
            detailed_costs=DetailedCosts.of(costs),
            fallback_history=ladder.tally.fallbacks,
            fallback_count=ladder.tally.fallback_count,
            routes=ladder.tally.routes,
            cached=ladder.tally.cached,
            unresolved=ladder.tally.unresolved,
            audience=record.audience_size,
        ).model_copy(update=found)
        await self._ports.campaigns.save_result(record.campaign_id, result)
        return result.model_copy(update={"plan": None, "message": None})

    @activity.defn(name="provider.give_up")
    @translated
    async def give_up(self, request: GivenUp) -> None:
        """Record that a request failed, and who was asked before: for its caller, who waits for a result."""
        record = await self._record(request.campaign_id)
        costs = await self._totals(record)
        result = WorkflowResult(
            request_id=record.request_id,
            status=CampaignStatus.FAILED,
            processing_time=max(0, int((datetime.now(UTC) - record.created_at).total_seconds() * 1000)),
            provider=provider_used(request.tally.providers),
            detailed_costs=DetailedCosts.of(costs),
            fallback_history=request.tally.fallbacks,
            fallback_count=request.tally.fallback_count,
            routes=request.tally.routes,
            unresolved=request.tally.unresolved,
            audience=record.audience_size,
            error_type=ErrorType(request.reason) if request.reason in set(ErrorType) else None,
            reason=request.reason,
        )
        await self._ports.campaigns.save_result(record.campaign_id, result)

    async def _found(self, intent: IntentType, record: CampaignRecord, ladder: Ladder) -> dict[str, object]:
        """What was asked for, as fields of the result."""
        match intent:
            case IntentType.CONTENT_VALIDATION:
                return await self._validate(record, ladder)
            case IntentType.CONTENT_PLANNING:
                return {"plan": await plan_of(record, ladder, self._ports)}
            case _:
                return await self._one_message(record, ladder)

    async def _one_message(self, record: CampaignRecord, ladder: Ladder) -> dict[str, object]:
        plan = await plan_of(record, ladder, self._ports)
        audience = await self._ports.campaigns.audience_page(record.campaign_id, record.lanes[0].account_id, 0)
        recipient = audience.recipients[0]
        task = WritingTask(brief=record.brief, message_type=record.message_type, plan=plan, recipients=(recipient,))
        question = writing(self._ports.prompts, task, "write", recipient.recipient_id, "")
        try:
            answer = await ladder.ask(question)
            text, origin = answer.value.get(recipient.recipient_id, ""), written_origin(answer)
            if not text:
                raise ProviderError("the model wrote nothing", fault=ProviderFault.TRANSIENT)
        except (ProviderError, CostLimitExceeded) as error:
            text = general_text(plan, recipient.language, [recipient.name], record.named)
            origin = general_origin(plan)
            told_to_stop = isinstance(error, CostLimitExceeded) and record.on_budget is OnBudget.STOP
            if not text or told_to_stop or (isinstance(error, ProviderError) and error.fault not in NOBODY_CAN):
                raise
            ladder.served_from_cache(question, error)
        text = disclosed(text, region=recipient.region, language=recipient.language)
        report, _ = await self._ports.inspection.single(text, region=recipient.region)
        quality = await self._ports.inspection.quality(record, text, recipient.name, ladder)
        if origin.experiment and origin.arm:
            await ladder.observe(
                ArmObservation(
                    observation_id=f"{record.campaign_id}/draft",
                    experiment=origin.experiment,
                    arm=origin.arm,
                    values={Metric.QUALITY: quality, Metric.COMPLIANCE: report.score},
                )
            )
        message = GeneratedText(recipient_id=recipient.recipient_id, text=text, cached=origin.cached, origin=origin)
        return {
            "plan": plan,
            # A text that must not be sent is not handed out either.
            "message": None if report.blocked else message,
            "compliance": report,
            "compliance_score": report.score,
            "quality_score": quality,
        }

    async def _validate(self, record: CampaignRecord, ladder: Ladder) -> dict[str, object]:
        """Our rules decide; the provider's moderation can only add to what they find."""
        report, flags = await self._ports.inspection.single(record.text)
        if report.moderated is None:
            return {"compliance": report, "compliance_score": report.score}
        if flags is None:
            step = FallbackStep(
                from_provider=Provider.OPENAI, to="rules", reason=ProviderFault.TRANSIENT, purpose="moderation"
            )
            ladder.tally += Tally(fallbacks=(step,), fallback_count=1)
            return {"compliance": report, "compliance_score": report.score}
        ladder.tally += Tally(providers=(Provider.OPENAI,))
        reason = f"moderation: {', '.join(flags.categories)}" if flags.flagged else ""
        return {"compliance": report, "compliance_score": report.score, "reason": reason}

    async def _correct_result(self, record: CampaignRecord) -> None:
        """A stored result says what the ledger says, also when an attempt before this one booked and got no further."""
        result = await self._ports.campaigns.result(record.campaign_id)
        if result is None:
            return
        costs = DetailedCosts.of(await self._totals(record))
        if costs != result.detailed_costs:
            corrected = result.model_copy(update={"detailed_costs": costs})
            await self._ports.campaigns.save_result(record.campaign_id, corrected)

    def _patient(self) -> bool:
        """Whether the page may still wait for the providers; by the engine's clock, from the first attempt on."""
        info = activity.info()
        waited = info.current_attempt_scheduled_time - info.scheduled_time
        return waited < timedelta(seconds=self._ports.patience_s)

    async def _as_allowed(self, record: CampaignRecord, account_id: str) -> CampaignRecord:
        """With no more autonomy than the account's owner allows now, which may be less than at the start."""
        opt_in = await self._ports.autonomy.get(account_id)
        if opt_in.allows(record.compliance_level):
            return record
        return record.model_copy(update={"compliance_level": opt_in.level})

    async def _record(self, campaign_id: str) -> CampaignRecord:
        record = await self._ports.campaigns.get(campaign_id)
        if record is None:
            raise NotFound(f"campaign {campaign_id} is not in the store")
        return record

    async def _spent(self, record: CampaignRecord) -> int:
        return (await self._totals(record)).cost_micros

    async def _totals(self, record: CampaignRecord) -> CostTotals:
        return await self._ports.ladder.costs.campaign_totals(record.campaign_id)


def _scores(messages: Sequence[Message]) -> Tally:
    written = [message for message in messages if message.text and message.compliance is not None]
    return Tally(
        scored=len(written),
        quality_sum=sum(message.quality for message in written),
        compliance_sum=sum(message.compliance.score for message in written if message.compliance is not None),
    )
