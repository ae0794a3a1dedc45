"""AI providers: which one is asked first, what it is asked, what it answers, and when to ask the other."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import Field

from domain.errors import ProviderFault
from domain.model import Model, RecipientId
from domain.rate_limit import MessageType


class IntentType(StrEnum):
    """What a caller wants done."""

    CONTENT_PLANNING = "content_planning"
    MESSAGE_GENERATION = "message_generation"
    CONTENT_VALIDATION = "content_validation"
    CAMPAIGN_EXECUTION = "campaign_execution"
    DIRECT_MESSAGE = "direct_message"


class Provider(StrEnum):
    """Who answers."""

    AZURE = "azure"
    OPENAI = "openai"


class PreferredProvider(StrEnum):
    """Whom the caller would rather have; ``auto`` leaves it to the routing policy."""

    AZURE = "azure"
    OPENAI = "openai"
    AUTO = "auto"


class ProviderUsed(StrEnum):
    """Who really answered; ``hybrid`` when both did."""

    AZURE = "azure"
    OPENAI = "openai"
    HYBRID = "hybrid"


class RecipientProfile(Model):
    """What the writer may know about a fan. Personal data: stays in the store and in provider calls."""

    recipient_id: RecipientId
    name: str = Field(min_length=1, max_length=80, examples=["Maya"])
    tier: str = Field(default="standard", max_length=40, examples=["vip"])
    region: str = Field(default="", max_length=40, examples=["US"])
    language: str = Field(default="en", pattern=r"^[a-z]{2}(-[A-Z]{2})?$", examples=["en"])
    spend: Decimal = Field(default=Decimal(0), ge=0, description="US dollars, lifetime", examples=["120.50"])
    last_seen: date | None = Field(default=None, examples=["2026-11-01"])


class GeneralText(Model):
    """A text for anybody in one language, written from the brief alone: nothing in it can be personal."""

    language: str
    text: str


class Author(Model):
    """Which model wrote something, and after which version of a prompt."""

    provider: str
    model: str
    prompt_version: str


class ContentPlan(Model):
    """What a campaign says, before it is said to anyone in particular. Made from a brief, without any fan's data."""

    theme: str
    tone: str
    angle: str
    call_to_action: str
    talking_points: tuple[str, ...] = ()
    general_texts: tuple[GeneralText, ...] = Field(
        default=(), description="what fans get when nobody can write to them in person"
    )
    author: Author | None = Field(
        default=None,
        description="the model that wrote it; null for a person, and in plans from before this was kept",
    )
    experiment: str = Field(default="", description="the experiment in which it was written; empty: in none")
    arm: str = Field(default="", description="the arm of that experiment whose model wrote it")
    written_by: str = Field(default="", description="the person who wrote it; empty: a model did")
    written_at: datetime | None = Field(default=None, description="when a person wrote it")

    @property
    def in_short(self) -> str:
        """What the campaign is about, in the place of a brief."""
        return ". ".join((self.theme, self.angle, self.call_to_action, *self.talking_points))

    def general_text(self, language: str) -> str:
        """In this language, else in English, else in any; empty when there is none."""
        by_language = {each.language.partition("-")[0]: each.text for each in reversed(self.general_texts)}
        wanted = language.partition("-")[0]
        return by_language.get(wanted) or by_language.get("en") or next(iter(by_language.values()), "")


class WritingTask(Model):
    """One call: a message for each of these recipients, after one plan."""

    brief: str
    message_type: MessageType
    plan: ContentPlan
    recipients: tuple[RecipientProfile, ...]


class ModerationAnswer(Model):
    """What the provider's moderation endpoint thinks of a text."""

    flagged: bool
    categories: tuple[str, ...] = ()


class FallbackReason(StrEnum):
    """Why a model did not answer, where no ``ProviderFault`` says it.

    ``capability``: the policy says that it can't. ``look_up``: its provider could not say what it was paid for before.
    """

    BREAKER_OPEN = "breaker_open"
    BUDGET = "budget"
    CAPABILITY = "capability"
    DEADLINE = "deadline"
    LOOK_UP = "look_up"


class FallbackStep(Model):
    """One step down the ladder: who could not, why, and what was done instead.

    ``to``: a model (``openai/gpt-4o-mini``), ``rewrite``, ``repair``, ``shorten``, ``cache``, ``rules``, ``review`` or
    ``none``, when nothing was left.
    """

    from_provider: Provider
    to: str
    reason: ProviderFault | FallbackReason
    purpose: str
    model: str = ""


def provider_used(providers: Sequence[Provider]) -> ProviderUsed | None:
    """The one word for a set of providers that answered; ``None`` when nobody did."""
    distinct = set(providers)
    if not distinct:
        return None
    return ProviderUsed.HYBRID if len(distinct) > 1 else ProviderUsed(distinct.pop())
