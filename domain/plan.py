"""Plans that a person writes, where no model gives one: what may be in them, and the waiting for one."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from domain.alert import Alert, AlertKind, Severity
from domain.campaign import CampaignRecord
from domain.compliance import MAX_TEXT_CHARACTERS
from domain.model import Model, Request
from domain.provider import ContentPlan, GeneralText

PERSON = "person"
"""In place of a provider: a person wrote it."""

MAX_POINTS = 10
MAX_LANGUAGES = 8
"""As many as a model writes general texts for."""

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class PlanAwaited(Model):
    """A campaign that nobody has planned: why no model did (an error's type), and until when a person may."""

    reason: str
    since: datetime
    expires_at: datetime


class GeneralTextRequest(Request):
    """A text for anybody who reads one language."""

    language: str = Field(pattern=r"^[a-z]{2}(-[A-Z]{2})?$", examples=["en"])
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT_CHARACTERS)] = (
        Field(description="for any fan: no name and nothing else that is personal")
    )


class PlanRequest(Request):
    """What a campaign is to say, as a person puts it. Texts for fans are written after it."""

    theme: Line = Field(examples=["Spring colours"])
    tone: Line = Field(examples=["warm and calm"])
    angle: Line = Field(examples=["a look behind the scenes"])
    call_to_action: Line = Field(examples=["Have a look at the new set."])
    talking_points: tuple[Line, ...] = Field(default=(), max_length=MAX_POINTS)
    general_texts: tuple[GeneralTextRequest, ...] = Field(
        default=(),
        max_length=MAX_LANGUAGES,
        description="one for each language: what fans get when nobody can write to them in person",
    )

    @field_validator("general_texts")
    @classmethod
    def _one_for_each_language(cls, texts: tuple[GeneralTextRequest, ...]) -> tuple[GeneralTextRequest, ...]:
        languages = [each.language for each in texts]
        if twice := sorted({language for language in languages if languages.count(language) > 1}):
            raise ValueError(f"has more than one text for {', '.join(twice)}; keep one for each language")
        return texts

    def plan(self, user_id: str, now: datetime) -> ContentPlan:
        """As it is stored, with who wrote it and when."""
        texts = tuple(GeneralText(language=each.language, text=each.text) for each in self.general_texts)
        return ContentPlan(
            theme=self.theme,
            tone=self.tone,
            angle=self.angle,
            call_to_action=self.call_to_action,
            talking_points=self.talking_points,
            general_texts=texts,
            written_by=user_id,
            written_at=now,
        )


def plan_awaited_alert(record: CampaignRecord, reason: str, now: datetime) -> Alert:
    """Nothing of the campaign is written until somebody writes its plan; once for each campaign."""
    return Alert(
        alert_id=f"{AlertKind.PLAN_AWAITED}-{record.campaign_id}",
        kind=AlertKind.PLAN_AWAITED,
        severity=Severity.WARNING,
        at=now,
        account_id=record.account_id,
        detail=f"{reason}: campaign {record.campaign_id} needs a plan from a person",
    )
