"""From an answer to a message: rules, disclosure, similarity and moderation decide whether a person has to look."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from activities.ladder import Answered, Ladder, Question
from domain.campaign import CampaignRecord
from domain.compliance import ComplianceReport, check
from domain.compliance_disclosure import disclosed
from domain.delivery import Message, MessageOrigin, MessageStatus, message_id
from domain.errors import HuntazeError
from domain.experiment import ArmObservation, Metric
from domain.moderation import moderated
from domain.plan import PERSON
from domain.ports import Moderator, Prompts, SimilarityLog
from domain.prompt import read_judgement
from domain.provider import Author, ContentPlan, IntentType, ModerationAnswer, RecipientProfile
from domain.quality import combined, quality_score
from domain.review import AWAITING_REVIEW, MANUAL_REVIEW, needs_review
from domain.routing import CACHE
from domain.similarity import fingerprint

GENERAL_TEXT = "general_text"

JUDGE_TIMEOUT_S = 20.0
"""How long a text waits for its judge."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Text:
    """A text for one recipient. ``why``: the reason for a general one."""

    recipient: RecipientProfile
    text: str
    origin: MessageOrigin
    why: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message belongs."""

    record: CampaignRecord
    account_id: str
    page: int


class Inspection:
    """Looks at texts before they become messages."""

    def __init__(
        self,
        similarity: SimilarityLog,
        prompts: Prompts,
        moderator: Moderator,
        *,
        judged: bool,
    ) -> None:
        self._similarity = similarity
        self._prompts = prompts
        self._moderator = moderator
        self._judged = judged

    async def messages(
        self, place: Place, texts: Sequence[Text], ladder: Ladder, *, judged: bool = True
    ) -> list[Message]:
        """Drafted, approved or skipped, with their scores. ``judged``: a judge may be asked, where there is one."""
        if not texts:
            return []
        record = place.record
        said = [disclosed(each.text, region=each.recipient.region, language=each.recipient.language) for each in texts]
        ids = [message_id(record.campaign_id, place.account_id, each.recipient.recipient_id) for each in texts]
        prints = {
            str(each_id): fingerprint(text, each.recipient.name)
            for each_id, text, each in zip(ids, said, texts, strict=True)
        }
        alike, flags, qualities = await asyncio.gather(
            self._similarity.compare(record.campaign_id, prints),
            self._moderator.opinions(said),
            asyncio.gather(
                *(
                    self.quality(record, text, each.recipient.name, ladder, judged=judged)
                    for text, each in zip(said, texts, strict=True)
                )
            ),
        )
        found = []
        for each, each_id, text, flag, quality in zip(texts, ids, said, flags, qualities, strict=True):
            report = self._reported(check(text, region=each.recipient.region, alike=alike.get(str(each_id), 0)), flag)
            found.append(_message(place, each, text, report, quality))
        await self._observe(found, ladder)
        return found

    async def quality(
        self, record: CampaignRecord, text: str, name: str, ladder: Ladder, *, judged: bool = True
    ) -> float:
        """The score of a text for whoever has this name, with the judge's opinion where one is asked."""
        opinion = await self._judgement(record, text, ladder) if judged else None
        return combined(quality_score(text, name), opinion)

    async def single(self, text: str, *, region: str = "") -> tuple[ComplianceReport, ModerationAnswer | None]:
        """The report about a text by itself, and what of it is the provider's opinion; ``None`` where there is none."""
        (opinion,) = await self._moderator.opinions([text])
        return self._reported(check(text, region=region), opinion), opinion

    def _reported(self, report: ComplianceReport, opinion: ModerationAnswer | None) -> ComplianceReport:
        return moderated(report, opinion) if self._moderator.asks else report

    async def _judgement(self, record: CampaignRecord, text: str, ladder: Ladder) -> float | None:
        if not self._judged:
            return None
        prompt = self._prompts.judge(text=text, brief=record.brief)
        question = Question(
            IntentType.CONTENT_VALIDATION,
            "judge",
            record.campaign_id,
            lambda _: prompt,
            read_judgement,
            key=text,
            # A text that is paid for is not kept back for an opinion that may come twice.
            waits=False,
        )
        try:
            async with asyncio.timeout(JUDGE_TIMEOUT_S):
                return (await ladder.ask(question)).value
        except (HuntazeError, TimeoutError):
            # The text is paid for; it is worth more than an opinion about it.
            return None

    async def _observe(self, messages: Sequence[Message], ladder: Ladder) -> None:
        for message in messages:
            origin = message.origin
            if origin is None or not origin.experiment or not origin.arm or message.compliance is None:
                continue
            await ladder.observe(
                ArmObservation(
                    observation_id=f"{message.message_id}/draft",
                    experiment=origin.experiment,
                    arm=origin.arm,
                    values={Metric.QUALITY: message.quality, Metric.COMPLIANCE: message.compliance.score},
                )
            )


def author(answer: Answered[R]) -> Author:
    """Who gave an answer."""
    target = answer.target
    return Author(provider=target.provider, model=target.price_name, prompt_version=answer.prompt_version)


def written_origin(answer: Answered[R]) -> MessageOrigin:
    """That of a text that was written for its recipient."""
    return MessageOrigin(**dict(author(answer)), experiment=answer.experiment, arm=answer.arm)


def general_origin(plan: ContentPlan) -> MessageOrigin:
    """That of a plan's text for anybody: whoever wrote the plan wrote it, before it was known whom it is for."""
    nameless = Author(provider=PERSON if plan.written_by else CACHE, model="", prompt_version="")
    return MessageOrigin(**dict(plan.author or nameless), cached=True)


def by_model(recipient: RecipientProfile, text: str, answer: Answered[Mapping[str, str]]) -> Text:
    """A text that a model wrote for this recipient."""
    return Text(recipient, text, written_origin(answer))


def general(recipient: RecipientProfile, text: str, plan: ContentPlan, why: str) -> Text:
    """The plan's text for anybody: paid for with the plan, so it costs nothing more."""
    return Text(recipient, text, general_origin(plan), why)


def without_text(place: Place, recipient: RecipientProfile, why: str) -> Message:
    """Nobody could write it: a person does, or rejects it."""
    return _blank(place, recipient, MessageStatus.DRAFTED, f"{MANUAL_REVIEW}:{why}")


def skipped(place: Place, recipient: RecipientProfile, why: str) -> Message:
    """Not written and not to be written."""
    return _blank(place, recipient, MessageStatus.SKIPPED, why)


def _message(place: Place, text: Text, said: str, report: ComplianceReport, quality: float) -> Message:
    origin, level = text.origin, place.record.compliance_level
    status, reason = MessageStatus.APPROVED, f"{GENERAL_TEXT}:{text.why}" if text.why else ""
    if report.blocked:
        status, reason = MessageStatus.SKIPPED, _rules(report)
    elif needs_review(level, report):
        status, reason = MessageStatus.DRAFTED, reason or AWAITING_REVIEW
    else:
        origin = origin.model_copy(update={"approved_by": f"policy:{level}", "approved_at": datetime.now(UTC)})
    return _blank(place, text.recipient, status, reason).model_copy(
        update={"text": said, "origin": origin, "compliance": report, "quality": quality}
    )


def _blank(place: Place, recipient: RecipientProfile, status: MessageStatus, reason: str) -> Message:
    record = place.record
    return Message(
        message_id=message_id(record.campaign_id, place.account_id, recipient.recipient_id),
        campaign_id=record.campaign_id,
        owner=record.owner,
        account_id=place.account_id,
        recipient_id=recipient.recipient_id,
        page=place.page,
        message_type=record.message_type,
        status=status,
        reason=reason,
        expires_at=record.delivery.times.expires_at,
        updated_at=datetime.now(UTC),
    )


def _rules(report: ComplianceReport) -> str:
    return "compliance_violation:" + ",".join(violation.rule_id for violation in report.violations)
