"""The provider's moderation endpoint, asked where it answers: our own rules do without it."""

from collections.abc import Sequence

import structlog

from domain.errors import ProviderError, ProviderFault
from domain.ports import Breaker, LanguageModel
from domain.provider import ModerationAnswer

log = structlog.get_logger(__name__)

TARGET = "moderation"
"""The name of its breaker."""
TIMEOUT_S = 5.0

_OURS = frozenset({ProviderFault.INVALID_REQUEST, ProviderFault.CONTEXT_LENGTH, ProviderFault.CONTENT_POLICY})
"""What a text is to blame for, and not the provider."""


class ProviderModerator:
    """``domain.ports.Moderator``. ``model``: ``None`` when no provider is to be asked."""

    def __init__(self, model: LanguageModel | None, breaker: Breaker) -> None:
        self._model = model
        self._breaker = breaker

    @property
    def asks(self) -> bool:
        return self._model is not None

    async def opinions(self, texts: Sequence[str]) -> Sequence[ModerationAnswer | None]:
        """One for each text; ``None`` where nobody answered."""
        nobody: list[ModerationAnswer | None] = [None] * len(texts)
        if self._model is None or not texts:
            return nobody
        admission = await self._breaker.admit(TARGET)
        if not admission.allowed:
            return nobody
        healthy = False
        try:
            answers = await self._model.moderate(texts, timeout_s=TIMEOUT_S)
            healthy = True
        except ProviderError as error:
            healthy = error.fault in _OURS
            log.warning("moderation_failed", fault=str(error.fault))
            return nobody
        finally:
            await (self._breaker.succeeded if healthy else self._breaker.failed)(TARGET, admission)
        return answers
