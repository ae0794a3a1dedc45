"""AI providers: which one is asked first, what it is asked, what it answers, and when to ask the other."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum

from pydantic import Field

from domain.cost import Usage
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


class ContentPlan(Model):
    """What a campaign says, before it is said to anyone in particular."""

    theme: str
    tone: str
    angle: str
    call_to_action: str
    talking_points: tuple[str, ...] = ()


class WritingTask(Model):
    """One call: a message for each of these recipients, after one plan."""

    brief: str
    message_type: MessageType
    plan: ContentPlan
    recipients: tuple[RecipientProfile, ...]


class PlanAnswer(Model):
    """A plan and what it cost in tokens. ``model``: the name that the price book knows."""

    plan: ContentPlan
    usage: Usage
    model: str
    prompt_version: str


class WritingAnswer(Model):
    """Texts by recipient id; a recipient without a text was refused or forgotten by the model."""

    texts: dict[str, str]
    usage: Usage
    model: str
    prompt_version: str


class ModerationAnswer(Model):
    """What the provider's moderation endpoint thinks of a text."""

    flagged: bool
    categories: tuple[str, ...] = ()


class FallbackStep(Model):
    """One step down the ladder: who failed, how, and who was asked instead (``none``: nobody was left)."""

    from_provider: Provider
    to: str
    reason: ProviderFault
    purpose: str


_DEFAULT_ROUTE: dict[IntentType, Provider] = {
    IntentType.CONTENT_PLANNING: Provider.AZURE,
    IntentType.CAMPAIGN_EXECUTION: Provider.AZURE,
    IntentType.MESSAGE_GENERATION: Provider.OPENAI,
    IntentType.CONTENT_VALIDATION: Provider.OPENAI,
}

_FALLS_BACK = frozenset(
    {
        ProviderFault.THROTTLED,
        ProviderFault.TRANSIENT,
        ProviderFault.TIMEOUT,
        ProviderFault.AUTH,
        ProviderFault.MALFORMED_OUTPUT,
    }
)


def route(intent: IntentType, preferred: PreferredProvider = PreferredProvider.AUTO) -> tuple[Provider, ...]:
    """The providers to ask, in order. Planning starts at Azure, messages at OpenAI, a preference goes first."""
    first = _DEFAULT_ROUTE[intent] if preferred is PreferredProvider.AUTO else Provider(preferred)
    return (first, *(provider for provider in Provider if provider is not first))


def falls_back(fault: ProviderFault) -> bool:
    """Whether another provider may be asked after ``fault``.

    A refusal on content policy is never shopped around, and a request that is invalid here is invalid there.
    """
    return fault in _FALLS_BACK


def provider_used(providers: Sequence[Provider]) -> ProviderUsed | None:
    """The one word for a set of providers that answered; ``None`` when nobody did."""
    distinct = set(providers)
    if not distinct:
        return None
    return ProviderUsed.HYBRID if len(distinct) > 1 else ProviderUsed(distinct.pop())
