"""Plans, drafts and single answers from the AI providers, down the ladder, with every cost booked."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic

from pydantic import Field
from temporalio import activity

from activities.failure import heartbeating, translated
from activities.ladder import Ladder
from domain.campaign import CampaignRecord, CampaignStatus, GenerationInput
from domain.compliance import ComplianceReport, check, quality_score
from domain.delivery import Message, MessageOrigin, MessageStatus, message_id
from domain.errors import NotFound, ProviderError, ProviderFault
from domain.lane import PageDrafted
from domain.model import AccountId, Model
from domain.ports import CampaignStore, CostStore, LanguageModel, MessageStore, PriceBook
from domain.progress import DetailedCosts, GeneratedText, Tally, WorkflowResult
from domain.provider import (
    ContentPlan,
    FallbackStep,
    IntentType,
    Provider,
    RecipientProfile,
    WritingAnswer,
    WritingTask,
    provider_used,
)
from domain.review import needs_review

MAX_WRITING_ROUNDS = 2
"""Recipients that the model forgot are asked for once more, then their message ends as skipped."""


class PlanCampaign(Model):
    """Plan the campaign of this id."""

    campaign_id: str


class Planned(Model):
    """Who planned, what it took, and the campaign's cost so far in µ$."""

    tally: Tally
    cost_micros: int


class DraftPage(Model):
    """Write the messages of one page."""

    campaign_id: str
    account_id: AccountId
    page: int = Field(ge=0)


class Drafted(Model):
    """How the page's recipients are distributed now, and the campaign's cost so far in µ$."""

    page: PageDrafted
    tally: Tally
    cost_micros: int


class ProviderActivities:
    """Methods that call AI providers. ``messages_per_call``: recipients in one request."""

    def __init__(
        self,
        campaigns: CampaignStore,
        messages: MessageStore,
        costs: CostStore,
        models: Mapping[Provider, LanguageModel],
        prices: PriceBook,
        *,
        messages_per_call: int,
        concurrency: int,
    ) -> None:
        self._campaigns = campaigns
        self._messages = messages
        self._costs = costs
        self._models = models
        self._prices = prices
        self._messages_per_call = messages_per_call
        self._concurrency = concurrency

    @activity.defn(name="provider.plan")
    @translated
    async def plan(self, request: PlanCampaign) -> Planned:
        """A campaign is planned once: a repeated attempt finds the stored plan."""
        record = await self._record(request.campaign_id)
        ladder = self._ladder(record)
        async with heartbeating(lambda: ladder.tally):
            await self._plan(record, ladder)
        return Planned(tally=ladder.tally, cost_micros=await self._spent(record))

    @activity.defn(name="provider.draft_page")
    @translated
    async def draft_page(self, request: DraftPage) -> Drafted:
        """Results are stored as they come; a repeated attempt writes only what is missing.

        When the campaign is cancelled meanwhile, calls that are under way are finished and booked first.
        """
        record = await self._record(request.campaign_id)
        plan = await self._campaigns.plan(record.campaign_id)
        if plan is None:
            raise NotFound(f"campaign {record.campaign_id} has no plan")
        ladder = self._ladder(record)
        stop = asyncio.Event()
        async with heartbeating(lambda: ladder.tally):
            work = asyncio.create_task(self._draft_missing(record, plan, request, ladder, stop))
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                stop.set()
                await work
                raise
            stored = await self._stored_page(request)
        return Drafted(
            page=_distribution(stored),
            tally=ladder.tally + _scores(stored),
            cost_micros=await self._spent(record),
        )

    @activity.defn(name="provider.answer")
    @translated
    async def answer(self, request: GenerationInput) -> WorkflowResult:
        """One answer for a waiting caller: kept in the store with its text, returned without it."""
        record = await self._record(request.campaign_id)
        started = monotonic()
        ladder = self._ladder(record)
        async with heartbeating(lambda: ladder.tally):
            if request.type is IntentType.CONTENT_VALIDATION:
                found = await self._validate(record, ladder)
            elif request.type is IntentType.CONTENT_PLANNING:
                found = {"plan": await self._plan(record, ladder)}
            else:
                found = await self._one_message(record, ladder)
        costs = await self._costs.campaign_totals(record.campaign_id)
        result = WorkflowResult(
            request_id=record.request_id,
            status=CampaignStatus.COMPLETED,
            processing_time=int((monotonic() - started) * 1000),
            provider=provider_used(ladder.tally.providers),
            detailed_costs=DetailedCosts.of(costs),
            fallback_history=ladder.tally.fallbacks,
            fallback_count=ladder.tally.fallback_count,
            audience=record.audience_size,
        ).model_copy(update=found)
        await self._campaigns.save_result(record.campaign_id, result)
        return result.model_copy(update={"plan": None, "message": None})

    async def _plan(self, record: CampaignRecord, ladder: Ladder) -> ContentPlan:
        stored = await self._campaigns.plan(record.campaign_id)
        if stored is not None:
            return stored
        _, answer = await ladder.ask(
            IntentType.CONTENT_PLANNING,
            "plan",
            lambda model: model.plan(brief=record.brief, message_type=record.message_type),
        )
        await self._campaigns.save_plan(record.campaign_id, answer.plan)
        return answer.plan

    async def _draft_missing(
        self, record: CampaignRecord, plan: ContentPlan, page: DraftPage, ladder: Ladder, stop: asyncio.Event
    ) -> None:
        audience = await self._campaigns.audience_page(page.campaign_id, page.account_id, page.page)
        stored = {message.recipient_id for message in await self._stored_page(page)}
        missing = [recipient for recipient in audience.recipients if recipient.recipient_id not in stored]
        limit = asyncio.Semaphore(self._concurrency)

        async def draft(group: Sequence[RecipientProfile]) -> None:
            async with limit:
                if not stop.is_set():
                    await self._messages.create_many(await self._write(record, plan, page, group, ladder))

        size = self._messages_per_call
        groups = [missing[start : start + size] for start in range(0, len(missing), size)]
        # Every group is tried before the first failure is reported: what succeeded is stored and stays.
        outcomes = await asyncio.gather(*(draft(group) for group in groups), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _write(
        self,
        record: CampaignRecord,
        plan: ContentPlan,
        page: DraftPage,
        group: Sequence[RecipientProfile],
        ladder: Ladder,
    ) -> list[Message]:
        messages: list[Message] = []
        open_recipients = list(group)
        for _ in range(MAX_WRITING_ROUNDS):
            if not open_recipients:
                break
            task = WritingTask(
                brief=record.brief,
                message_type=record.message_type,
                plan=plan,
                recipients=tuple(open_recipients),
            )
            try:
                provider, answer = await ladder.ask(
                    IntentType.MESSAGE_GENERATION, f"write/{page.account_id}/{page.page}", _writing(task)
                )
            except ProviderError as error:
                if error.fault not in {ProviderFault.CONTENT_POLICY, ProviderFault.CONTEXT_LENGTH}:
                    raise
                return messages + [_unwritten(record, page, who, error.fault) for who in open_recipients]
            for recipient in open_recipients:
                if text := answer.texts.get(recipient.recipient_id):
                    origin = MessageOrigin(provider=provider, model=answer.model, prompt_version=answer.prompt_version)
                    messages.append(_written(record, page, recipient, text, origin))
            open_recipients = [who for who in open_recipients if not answer.texts.get(who.recipient_id)]
        return messages + [_unwritten(record, page, who, ProviderFault.MALFORMED_OUTPUT) for who in open_recipients]

    async def _one_message(self, record: CampaignRecord, ladder: Ladder) -> dict[str, object]:
        plan = await self._plan(record, ladder)
        audience = await self._campaigns.audience_page(record.campaign_id, record.lanes[0].account_id, 0)
        recipient = audience.recipients[0]
        task = WritingTask(brief=record.brief, message_type=record.message_type, plan=plan, recipients=(recipient,))
        _, answer = await ladder.ask(IntentType.MESSAGE_GENERATION, "write", lambda model: model.write(task))
        text = answer.texts.get(recipient.recipient_id)
        if text is None:
            raise ProviderError("the model wrote nothing", fault=ProviderFault.TRANSIENT)
        report = check(text)
        return {
            "plan": plan,
            "message": GeneratedText(recipient_id=recipient.recipient_id, text=text),
            "compliance": report,
            "compliance_score": report.score,
            "quality_score": quality_score(text, recipient.name),
        }

    async def _validate(self, record: CampaignRecord, ladder: Ladder) -> dict[str, object]:
        """Our rules decide; the provider's moderation can only lower the score to 0."""
        report = check(record.text)
        try:
            # Only OpenAI has a moderation endpoint; it is free of charge.
            verdict = await self._models[Provider.OPENAI].moderate(record.text)
        except ProviderError as error:
            step = FallbackStep(from_provider=Provider.OPENAI, to="rules", reason=error.fault, purpose="moderation")
            ladder.tally += Tally(fallbacks=(step,), fallback_count=1)
            return {"compliance": report, "compliance_score": report.score}
        ladder.tally += Tally(providers=(Provider.OPENAI,))
        score = 0.0 if verdict.flagged else report.score
        reason = f"moderation: {', '.join(verdict.categories)}" if verdict.flagged else ""
        return {"compliance": report, "compliance_score": score, "reason": reason}

    async def _stored_page(self, page: DraftPage) -> list[Message]:
        audience = await self._campaigns.audience_page(page.campaign_id, page.account_id, page.page)
        ids = [message_id(page.campaign_id, page.account_id, who.recipient_id) for who in audience.recipients]
        return list((await self._messages.get_many(page.campaign_id, ids)).values())

    def _ladder(self, record: CampaignRecord) -> Ladder:
        details = activity.info().heartbeat_details
        tally = Tally.model_validate(details[0]) if details else Tally()
        return Ladder(record, self._models, self._prices, self._costs, tally)

    async def _record(self, campaign_id: str) -> CampaignRecord:
        record = await self._campaigns.get(campaign_id)
        if record is None:
            raise NotFound(f"campaign {campaign_id} is not in the store")
        return record

    async def _spent(self, record: CampaignRecord) -> int:
        return (await self._costs.campaign_totals(record.campaign_id)).cost_micros


def _writing(task: WritingTask) -> Callable[[LanguageModel], Awaitable[WritingAnswer]]:
    return lambda model: model.write(task)


def _written(
    record: CampaignRecord, page: DraftPage, recipient: RecipientProfile, text: str, origin: MessageOrigin
) -> Message:
    report = check(text)
    status, reason = MessageStatus.APPROVED, ""
    if report.blocked:
        status, reason = MessageStatus.SKIPPED, _rules(report)
    elif needs_review(record.compliance_level, report):
        status, reason = MessageStatus.DRAFTED, "awaiting_review"
    else:
        origin = origin.model_copy(update={"approved_by": f"policy:{record.compliance_level}"})
    return _message(record, page, recipient, status, reason).model_copy(
        update={
            "text": text,
            "origin": origin,
            "compliance": report,
            "quality": quality_score(text, recipient.name),
        }
    )


def _unwritten(record: CampaignRecord, page: DraftPage, recipient: RecipientProfile, fault: ProviderFault) -> Message:
    return _message(record, page, recipient, MessageStatus.SKIPPED, str(fault))


def _message(
    record: CampaignRecord, page: DraftPage, recipient: RecipientProfile, status: MessageStatus, reason: str
) -> Message:
    return Message(
        message_id=message_id(record.campaign_id, page.account_id, recipient.recipient_id),
        campaign_id=record.campaign_id,
        account_id=page.account_id,
        recipient_id=recipient.recipient_id,
        page=page.page,
        message_type=record.message_type,
        status=status,
        reason=reason,
        expires_at=record.delivery.times.expires_at,
        updated_at=datetime.now(UTC),
    )


def _rules(report: ComplianceReport) -> str:
    return "compliance_violation:" + ",".join(violation.rule_id for violation in report.violations)


def _distribution(messages: Sequence[Message]) -> PageDrafted:
    counts: dict[MessageStatus, int] = {}
    for message in messages:
        if message.status.is_terminal:
            counts[message.status] = counts.get(message.status, 0) + 1
    return PageDrafted(
        awaiting=sum(message.status is MessageStatus.DRAFTED for message in messages),
        ready=sum(message.status is MessageStatus.APPROVED for message in messages),
        counts=counts,
    )


def _scores(messages: Sequence[Message]) -> Tally:
    written = [message for message in messages if message.text and message.compliance is not None]
    return Tally(
        scored=len(written),
        quality_sum=sum(message.quality for message in written),
        compliance_sum=sum(message.compliance.score for message in written if message.compliance is not None),
    )
