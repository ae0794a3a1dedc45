"""OpenFeature: this process's flags for whoever speaks the standard, in OpenFeature's own words.

``openfeature.api.set_provider(FlagsProvider(ports.flags))``; the remote protocol (OFREP) answers through it too.
"""

# ruff: noqa: ARG002 - the standard's methods take a default; the SDK returns it when one of ours raises

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import (
    FlagNotFoundError,
    InvalidContextError,
    ProviderNotReadyError,
    TargetingKeyMissingError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata
from pydantic import Field, ValidationError

from domain.flag import FlagDecision, FlagReason, FlagSubject
from domain.model import Model
from domain.ports import Flags

REASONS: Mapping[FlagReason, Reason] = {
    FlagReason.FORCED_OFF: Reason.DISABLED,
    FlagReason.DISABLED: Reason.DISABLED,
    FlagReason.DENY_LIST: Reason.TARGETING_MATCH,
    FlagReason.ALLOW_LIST: Reason.TARGETING_MATCH,
    FlagReason.CONDITION_USER_TIER: Reason.DEFAULT,
    FlagReason.CONDITION_ACCOUNT_AGE: Reason.DEFAULT,
    FlagReason.CONDITION_REGION: Reason.DEFAULT,
    FlagReason.CONDITION_PLATFORM: Reason.DEFAULT,
    FlagReason.IN_ROLLOUT: Reason.SPLIT,
    FlagReason.NOT_IN_ROLLOUT: Reason.SPLIT,
}
"""OpenFeature's reason for each of ours that comes with a value; a condition that is not met matched nothing."""


class _Attributes(Model):
    """What flags look at in an evaluation context; everything else in it is left alone."""

    user_tier: str | None = None
    account_age: int | None = Field(default=None, ge=0, description="days")
    region: str | None = None
    platform: str | tuple[str, ...] = ()
    platforms: str | tuple[str, ...] = ()


class FlagsProvider(AbstractProvider):
    """Boolean flags from the snapshot of this process: no I/O, so that the asynchronous methods need none either."""

    def __init__(self, flags: Flags) -> None:
        super().__init__()
        self._flags = flags
        self._unsubscribe: Callable[[], None] | None = None

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Emit ``PROVIDER_CONFIGURATION_CHANGED``, with the flags' names, whenever the snapshot changes."""
        self._unsubscribe = self._flags.on_change(
            lambda names: self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=list(names)))
        )

    def shutdown(self) -> None:
        """Emit nothing any more."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name="huntaze")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """The decision with reason, variant (``on``, ``off``) and, as metadata, our own reason, bucket and revision.

        Raises ``TargetingKeyMissingError``, ``InvalidContextError``, ``FlagNotFoundError`` or
        ``ProviderNotReadyError``; clients of the SDK get ``default_value`` with the error's code.
        """
        decision = self._flags.evaluate(flag_key, subject_of(evaluation_context or EvaluationContext()))
        return details_of(decision)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Raises ``TypeMismatchError``."""
        self._refuse(flag_key, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Raises ``TypeMismatchError``."""
        self._refuse(flag_key, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Raises ``TypeMismatchError``."""
        self._refuse(flag_key, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Raises ``TypeMismatchError``."""
        self._refuse(flag_key, evaluation_context)

    def _refuse(self, flag_key: str, evaluation_context: EvaluationContext | None) -> NoReturn:
        # A flag that is not there at all is the more useful error.
        self.resolve_boolean_details(flag_key, False, evaluation_context)
        raise TypeMismatchError(f"{flag_key} is a boolean flag; ask for a boolean")


def subject_of(context: EvaluationContext) -> FlagSubject:
    """The subject that a context describes: the targeting key is the user's id.

    Attributes: ``userTier``, ``accountAge`` (days), ``region``, ``platform`` or ``platforms``; others are ignored.
    Raises ``TargetingKeyMissingError`` and ``InvalidContextError``, which names the attribute.
    """
    if not context.targeting_key:
        raise TargetingKeyMissingError("targetingKey: flags are evaluated for a user; send the user's id")
    try:
        known = _Attributes.model_validate(dict(context.attributes))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise InvalidContextError(f"{first['loc'][0]}: {first['msg']}") from None
    subject = FlagSubject(
        user_id=context.targeting_key,
        tier=known.user_tier,
        account_age_days=known.account_age,
        region=known.region,
        platforms=(*_several(known.platform), *_several(known.platforms)),
    )
    for name, texts in _texts(subject).items():
        if not all(map(_encodable, texts)):
            raise InvalidContextError(f"{name}: holds half of a surrogate pair, which is no character")
    return subject


def details_of(decision: FlagDecision) -> FlagResolutionDetails[bool]:
    """A decision as OpenFeature tells it; raises ``FlagNotFoundError`` and ``ProviderNotReadyError``."""
    if decision.reason is FlagReason.NO_SNAPSHOT:
        raise ProviderNotReadyError("this process has not been able to read the flags yet; try again in a moment")
    if decision.reason is FlagReason.UNKNOWN_FLAG:
        raise FlagNotFoundError(f"there is no flag {decision.flag}; create it first, or correct its spelling")
    # Without a bucket nothing was drawn: the key would only be noise.
    drawn = {"bucket": decision.bucket} if decision.bucket >= 0 else {}
    return FlagResolutionDetails(
        value=decision.enabled,
        reason=REASONS[decision.reason],
        variant="on" if decision.enabled else "off",
        flag_metadata={"reason": decision.reason.value, "revision": decision.revision, **drawn},
    )


def _several(named: str | tuple[str, ...]) -> tuple[str, ...]:
    return (named,) if isinstance(named, str) else named


def _texts(subject: FlagSubject) -> Mapping[str, Sequence[str]]:
    return {
        "targetingKey": (subject.user_id,),
        "userTier": (subject.tier or "",),
        "region": (subject.region or "",),
        "platforms": subject.platforms,
    }


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
