"""Models, and what surrounds a call to one."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from domain.breaker import Admission, BreakerView
from domain.experiment import ArmObservation, ArmTotals
from domain.prompt import Completion, KeptAnswer, Prompt, ProviderCall, Refusal, Variant
from domain.provider import ContentPlan, ModerationAnswer, WritingTask
from domain.rate_limit import MessageType


class LanguageModel(Protocol):
    """One model at one provider. Raises ``ProviderError``; an error after a billed answer carries its usage."""

    @property
    def keeps_answers(self) -> bool:
        """Whether the provider is to remember what was bought."""
        ...

    async def complete(self, prompt: Prompt, call: ProviderCall) -> Completion:
        """An answer in the prompt's schema."""
        ...

    async def kept_of_step(self, step_id: UUID, *, timeout_s: float) -> Sequence[KeptAnswer]:
        """What was bought for a step already, oldest first; empty where the provider keeps nothing."""
        ...

    async def kept_of_campaign(self, campaign_id: str) -> Sequence[KeptAnswer]:
        """Everything that was bought from this model for a campaign."""
        ...

    async def moderate(self, texts: Sequence[str], *, timeout_s: float) -> Sequence[ModerationAnswer]:
        """What the provider's moderation endpoint thinks of each text."""
        ...


class Moderator(Protocol):
    """The provider's moderation, where there is one. Never raises."""

    @property
    def asks(self) -> bool:
        """Whether anybody is to be asked; otherwise our own rules stand by themselves."""
        ...

    async def opinions(self, texts: Sequence[str]) -> Sequence[ModerationAnswer | None]:
        """One for each text; ``None`` where nobody answered."""
        ...


class Prompts(Protocol):
    """Versioned prompts; the version travels with every message."""

    def plan(self, *, brief: str, message_type: MessageType, languages: Sequence[str], variant: Variant) -> Prompt: ...

    def write(self, task: WritingTask, variant: Variant) -> Prompt: ...

    def judge(self, *, text: str, brief: str) -> Prompt: ...


class Tokens(Protocol):
    """Counts tokens offline."""

    def load(self) -> None:
        """Read the data of today's models now, rather than during the first call."""
        ...

    def count(self, text: str, model: str) -> int:
        """Tokens of ``text`` for a model: exact, or more for a model that is not known."""
        ...

    def of_prompt(self, prompt: Prompt, model: str) -> int:
        """What a prompt is billed as input at most: texts, schema and what a chat adds to each message."""
        ...


class Refusals(Protocol):
    """What providers would not answer, kept with the campaign for attempts to come.

    Raises ``DependencyUnavailable``.
    """

    async def keep(self, campaign_id: str, refusals: Mapping[UUID, Refusal]) -> None:
        """By the step that was refused; each replaces an earlier one of its step."""
        ...

    async def of_steps(self, campaign_id: str, step_ids: Sequence[UUID]) -> Mapping[UUID, Refusal]:
        """Those that are kept of these steps."""
        ...


class Breaker(Protocol):
    """Circuit breakers shared by all workers; a local one takes over while they can't be reached. Never raises."""

    async def admit(self, target: str) -> Admission:
        """Whether ``target`` may be called now. Whoever gets the probe must report its outcome."""
        ...

    async def succeeded(self, target: str, admission: Admission) -> bool:
        """Whether this closed the breaker."""
        ...

    async def failed(self, target: str, admission: Admission) -> bool:
        """Whether this opened the breaker."""
        ...

    async def views(self, targets: Sequence[str]) -> Sequence[BreakerView]: ...


class ResponseCache(Protocol):
    """Answers that hold nothing personal: plans, which are made from a brief alone, with their general texts.

    A lost or unreachable cache is an empty one: never raises.
    """

    async def plan(self, key: str) -> ContentPlan | None: ...

    async def keep_plan(self, key: str, plan: ContentPlan) -> None: ...


class SimilarityLog(Protocol):
    """Fingerprints of a campaign's latest texts. A lost or unreachable log is an empty one: never raises."""

    async def compare(self, campaign_id: str, fingerprints: Mapping[str, int]) -> Mapping[str, int]:
        """Remember fingerprints by message id; answers for each how many others of the campaign are near-identical."""
        ...


class Experiments(Protocol):
    """Results by arm."""

    async def observe(self, observation: ArmObservation) -> None:
        """Add one observation to its arm, once per ``observation_id``."""
        ...

    async def results(self, experiment: str) -> Sequence[ArmTotals]: ...
