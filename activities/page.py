"""The drafting of one page: bounded concurrency, what is bought is stored, and nobody on it is forgotten."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from pydantic import Field

from activities.draft import Inspection, Place, Text, by_model, general, skipped, without_text
from activities.ladder import OUTAGES, Answered, Ladder, LadderPorts, Question
from domain.campaign import CampaignRecord, OnBudget
from domain.delivery import Message, message_id
from domain.errors import CostLimitExceeded, HuntazeError, ProviderError, ProviderFault
from domain.general_text import general_text
from domain.model import AccountId, Model
from domain.ports import AutonomyStore, CampaignStore, MessageStore, Prompts, ResponseCache
from domain.prompt import read_batch
from domain.provider import (
    ContentPlan,
    IntentType,
    RecipientProfile,
    WritingTask,
)
from domain.routing import decide

REVIEW = "review"
"""In a step: a person writes."""

MAX_WRITING_ROUNDS = 2
"""Recipients that the model forgot are asked for once more, then a person writes to them."""

NOBODY_CAN = OUTAGES | {ProviderFault.MALFORMED_OUTPUT}
"""No model could write; it was not about what was to be written."""


Texts = Question[Mapping[str, str]]
"""Asks for texts by recipient id."""


class DraftPage(Model):
    """Write the messages of one page."""

    campaign_id: str
    account_id: AccountId
    page: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class GenerationPorts:
    """What writing needs. ``patience_s``: how long a page waits for providers before fans get general texts."""

    campaigns: CampaignStore
    messages: MessageStore
    autonomy: AutonomyStore
    prompts: Prompts
    cache: ResponseCache
    ladder: LadderPorts
    inspection: Inspection
    messages_per_call: int
    concurrency: int
    patience_s: float


class Page:
    """The drafting of one page: bounded concurrency, results stored call by call."""

    def __init__(
        self,
        ports: GenerationPorts,
        record: CampaignRecord,
        plan: ContentPlan,
        request: DraftPage,
        ladder: Ladder,
        *,
        patient: bool,
    ) -> None:
        self._ports = ports
        self._record = record
        self._plan = plan
        self._request = request
        self._ladder = ladder
        self._patient = patient
        # Nobody is asked about a brief again in whose place a person has put a plan.
        judged = record.model_copy(update={"brief": plan.in_short}) if plan.written_by else record
        self._place = Place(judged, request.account_id, request.page)
        self._purpose = f"write/{request.account_id}/{request.page}"
        self._known: set[str] = set()
        self._cancelled = False
        self.stopped = ""

    def stop(self) -> None:
        """Begin no further call."""
        self._cancelled = True
        self._ladder.stop()

    async def stored(self) -> list[Message]:
        """What the store has of the page."""
        recipients = await self._recipients()
        ids = [message_id(self._record.campaign_id, self._request.account_id, each.recipient_id) for each in recipients]
        return list((await self._ports.messages.get_many(self._record.campaign_id, ids)).values())

    async def draft(self) -> None:
        """Everything that is missing. Every group is tried before the first failure is raised."""
        self._known = {message.recipient_id for message in await self.stored()}
        limit = asyncio.Semaphore(self._ports.concurrency)

        async def write(name: str, group: Sequence[RecipientProfile]) -> None:
            async with limit:
                if self._cancelled:
                    return
                if self.stopped:
                    # A budget that is spent ends those as well who were not asked for yet.
                    await self._keep(
                        (), ((), [skipped(self._place, who, self.stopped) for who in self._missing(group)])
                    )
                else:
                    await self._write(name, group)

        groups = self._groups(await self._recipients())
        outcomes = await asyncio.gather(
            *(write(str(number), group) for number, group in enumerate(groups)), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _recipients(self) -> Sequence[RecipientProfile]:
        request = self._request
        page = await self._ports.campaigns.audience_page(request.campaign_id, request.account_id, request.page)
        return page.recipients

    def _groups(self, recipients: Sequence[RecipientProfile]) -> list[Sequence[RecipientProfile]]:
        """The same for every attempt, so that what one bought the next one finds; each for one model."""
        by_model: dict[str, list[RecipientProfile]] = {}
        for recipient in recipients:
            decision = decide(
                self._ports.ladder.routing,
                IntentType.MESSAGE_GENERATION,
                preferred=self._record.preferred_provider,
                unit=recipient.recipient_id,
            )
            by_model.setdefault(f"{decision.arm}/{decision.candidates[0].target.key}", []).append(recipient)
        size = self._ports.messages_per_call
        return [group[start : start + size] for group in by_model.values() for start in range(0, len(group), size)]

    def _missing(self, group: Sequence[RecipientProfile]) -> list[RecipientProfile]:
        return [recipient for recipient in group if recipient.recipient_id not in self._known]

    async def _write(self, name: str, group: Sequence[RecipientProfile]) -> None:
        """As ``_write_together``, one after another for those of whom something else was refused before."""
        parts = await self._by_refusal(name, self._missing(group))
        if len(parts) < 2:
            await self._write_together(name, group)
        else:
            for part_name, part in parts.items():
                await self._write_together(part_name, part)

    async def _write_together(self, name: str, group: Sequence[RecipientProfile]) -> None:
        """A message for each recipient who has none, whatever it takes; raises only what may pass while there is
        patience.

        What was bought is kept before anything else is asked for, or raised. A group whose one half is written goes on
        with the other one under its name, by which an attempt finds what one before it has bought.
        """
        texts: list[Text] = []
        left = self._missing(group)
        halves = {"a": group[: len(group) // 2], "b": group[len(group) // 2 :]}
        if len(left) < len(group):
            for half, part in halves.items():
                if self._missing(part) == left and left:
                    await self._write(f"{name}{half}", part)
                    return
        for number in range(MAX_WRITING_ROUNDS):
            if not left:
                break
            if self._cancelled:
                await self._keep(texts)
                return
            question = self._question(f"{name}/{number}", left)
            try:
                answer = await self._ladder.ask(question)
            except CostLimitExceeded as error:
                await self._keep(texts, self._without_money(question, left, error))
                return
            except ProviderError as error:
                if error.fault is ProviderFault.CONTEXT_LENGTH and len(left) > 1:
                    await self._keep(texts)
                    for half, part in halves.items():
                        await self._write(f"{name}{half}", part)
                    return
                if self._ladder.stopped or (error.fault in OUTAGES and self._patient):
                    await self._keep(texts)
                    raise
                await self._keep(texts, self._without_model(question, left, error))
                return
            except HuntazeError:
                await self._keep(texts)
                raise
            texts += (by_model(who, answer.value[who.recipient_id], answer) for who in left if _has(answer, who))
            left = [who for who in left if not _has(answer, who)]
        forgotten = [without_text(self._place, who, str(ProviderFault.MALFORMED_OUTPUT)) for who in left]
        await self._keep(texts, ((), forgotten))

    async def _by_refusal(
        self, name: str, left: Sequence[RecipientProfile]
    ) -> Mapping[str, Sequence[RecipientProfile]]:
        """Fans by what was refused of them before: what one model will not write for some is not asked of others."""
        refused = await self._ladder.refused(self._question(name, left)) if left else []
        parts: dict[str, list[RecipientProfile]] = {}
        for who, refusal in zip_longest(left, refused):
            part = f"{name}!{refusal.target}!{refusal.reworded}" if refusal else name
            parts.setdefault(part, []).append(who)
        return parts

    def _question(self, name: str, group: Sequence[RecipientProfile]) -> Texts:
        task = WritingTask(
            brief=self._record.brief,
            message_type=self._record.message_type,
            plan=self._plan,
            recipients=tuple(group),
        )
        question = writing(self._ports.prompts, task, self._purpose, group[0].recipient_id, name)
        # By fan: a later attempt may ask for other groups.
        return replace(question, about=tuple(who.recipient_id for who in group))

    async def _keep(self, texts: Sequence[Text], rest: tuple[Sequence[Text], Sequence[Message]] = ((), ())) -> None:
        """Store what was written, and ``rest``: further texts, and messages that are ready."""
        more, messages = rest
        written = await self._ports.inspection.messages(
            self._place, [*texts, *more], self._ladder, judged=not self._cancelled
        )
        kept = [*written, *messages]
        await self._ports.messages.create_many(kept)
        self._known |= {message.recipient_id for message in kept}

    def _without_money(
        self, question: Texts, left: Sequence[RecipientProfile], error: CostLimitExceeded
    ) -> tuple[Sequence[Text], Sequence[Message]]:
        if self._record.on_budget is OnBudget.STOP:
            self.stopped = str(error.error_type)
            return [], [skipped(self._place, who, self.stopped) for who in left]
        return self._general(question, left, error, f"budget:{error.scope}")

    def _without_model(
        self, question: Texts, left: Sequence[RecipientProfile], error: ProviderError
    ) -> tuple[Sequence[Text], Sequence[Message]]:
        """Outages end with a general text; what is about the content goes to a person, or has been written by one."""
        if error.fault in NOBODY_CAN or self._plan.written_by:
            return self._general(question, left, error, str(error.fault))
        self._ladder.step_below(question, REVIEW, error)
        return [], [without_text(self._place, who, str(error.fault)) for who in left]

    def _general(
        self, question: Texts, left: Sequence[RecipientProfile], error: ProviderError | CostLimitExceeded, why: str
    ) -> tuple[Sequence[Text], Sequence[Message]]:
        names = [who.name for who in left]
        texts = [(who, general_text(self._plan, who.language, names, self._record.named)) for who in left]
        found = [general(who, text, self._plan, why) for who, text in texts if text]
        if found:
            self._ladder.served_from_cache(question, error, len(found))
        if len(found) < len(left):
            self._ladder.step_below(question, REVIEW, error)
        return found, [without_text(self._place, who, why) for who, text in texts if not text]


def writing(prompts: Prompts, task: WritingTask, purpose: str, unit: str, key: str) -> Texts:
    """The question for the messages of one group."""
    return Question(
        IntentType.MESSAGE_GENERATION, purpose, unit, lambda variant: prompts.write(task, variant), read_batch, key
    )


def _has(answer: Answered[Mapping[str, str]], recipient: RecipientProfile) -> bool:
    return bool(answer.value.get(recipient.recipient_id))
