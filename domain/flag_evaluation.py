"""Who gets a flag. Pure: a flag and a subject in, a decision with its reason out.

A subject is asked for in this order, and the first answer stands: forced off by the environment or disabled, deny list,
allow list, conditions, sticky bucket. A bucket depends on the flag's salt and the subject's id alone, so a percentage
that rises takes nobody's place away, and after a fall to 0 the same subjects come first again.
"""

import hashlib
from collections.abc import Callable

from domain.flag import NOT_OVERRIDDEN, Flag, FlagConditions, FlagDecision, FlagOverride, FlagReason, FlagSubject

BUCKETS = 10_000
"""Steps of 0.01 %."""

NO_BUCKET = -1
"""The bucket of a decision that needed none."""

Evaluation = Callable[[FlagSubject], FlagDecision]
"""One revision of a flag, ready to be asked again and again."""


def bucket(salt: str, unit: str) -> int:
    """0 to 9,999, evenly and for ever the same for the same salt and unit: the first 8 bytes of a SHA-256."""
    digest = hashlib.sha256(f"{salt}:{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def evaluate(flag: Flag, subject: FlagSubject, override: FlagOverride = NOT_OVERRIDDEN) -> FlagDecision:
    """Whether the subject gets the flag, and why; the same answer as ``compiled`` gives, which is for hot loops."""

    def decided(enabled: bool, reason: FlagReason, position: int = NO_BUCKET) -> FlagDecision:
        return FlagDecision(flag.name, enabled, reason, position, flag.revision)

    if off := _off(flag, override):
        return decided(False, off)
    if subject.user_id in flag.user_blacklist:
        return decided(False, FlagReason.DENY_LIST)
    if subject.user_id in flag.user_whitelist:
        return decided(True, FlagReason.ALLOW_LIST)
    if unmet := _unmet(flag.conditions, subject):
        return decided(False, unmet)
    position = bucket(flag.salt, subject.user_id)
    if position < _enabled_buckets(flag, override):
        return decided(True, FlagReason.IN_ROLLOUT, position)
    return decided(False, FlagReason.NOT_IN_ROLLOUT, position)


def compiled(flag: Flag, override: FlagOverride = NOT_OVERRIDDEN) -> Evaluation:
    """``evaluate`` for one revision, for about 1 µs a subject: everything that does not depend on it is done here."""
    name, revision = flag.name, flag.revision

    def constant(enabled: bool, reason: FlagReason) -> FlagDecision:
        return FlagDecision(name, enabled, reason, NO_BUCKET, revision)

    if off := _off(flag, override):
        disabled = constant(False, off)
        return lambda _subject: disabled
    denied, allowed = frozenset(flag.user_blacklist), frozenset(flag.user_whitelist)
    deny, allow = constant(False, FlagReason.DENY_LIST), constant(True, FlagReason.ALLOW_LIST)
    conditions = tuple((met, constant(False, reason)) for reason, met in _conditions(flag.conditions))
    enabled_buckets = _enabled_buckets(flag, override)
    salted = hashlib.sha256(f"{flag.salt}:".encode())
    inside, outside = FlagReason.IN_ROLLOUT, FlagReason.NOT_IN_ROLLOUT
    new, number = tuple.__new__, int.from_bytes

    def decision(subject: FlagSubject) -> FlagDecision:
        user_id = subject.user_id
        if user_id in denied:
            return deny
        if user_id in allowed:
            return allow
        for met, refusal in conditions:
            if not met(subject):
                return refusal
        digest = salted.copy()
        digest.update(user_id.encode())
        position = number(digest.digest()[:8], "big") % BUCKETS
        if position < enabled_buckets:
            return new(FlagDecision, (name, True, inside, position, revision))
        return new(FlagDecision, (name, False, outside, position, revision))

    return decision


def without_flag(name: str, reason: FlagReason, override: FlagOverride = NOT_OVERRIDDEN) -> Evaluation:
    """What is decided by the environment alone while a flag is not known: off for ``reason``, unless it is forced on,
    which then reaches the percentage that the environment names, in the buckets that the flag would have."""
    if override.enabled is None:
        unknown = FlagDecision(name, False, reason, NO_BUCKET, 0)
        return lambda _subject: unknown
    # No stored flag: its revision is none, and nobody wrote it.
    forced = Flag.model_construct(name=name, salt=name, revision=0)  # type: ignore[call-arg]
    return compiled(forced, override)


def _off(flag: Flag, override: FlagOverride) -> FlagReason | None:
    """Why nobody gets the flag."""
    if override.enabled is False:
        return FlagReason.FORCED_OFF
    return None if flag.enabled or override.enabled else FlagReason.DISABLED


def _unmet(conditions: FlagConditions, subject: FlagSubject) -> FlagReason | None:
    """The first condition that the subject does not fulfil."""
    if conditions.user_tier and subject.tier not in conditions.user_tier:
        return FlagReason.CONDITION_USER_TIER
    if conditions.account_age is not None and (
        subject.account_age_days is None or subject.account_age_days < conditions.account_age
    ):
        return FlagReason.CONDITION_ACCOUNT_AGE
    if conditions.region and subject.region not in conditions.region:
        return FlagReason.CONDITION_REGION
    if conditions.platform and not set(subject.platforms) & set(conditions.platform):
        return FlagReason.CONDITION_PLATFORM
    return None


def _conditions(conditions: FlagConditions) -> list[tuple[FlagReason, Callable[[FlagSubject], bool]]]:
    """The same for hot loops: only the conditions that there are, each with how it is met."""
    tiers, regions, platforms = map(frozenset, (conditions.user_tier, conditions.region, conditions.platform))
    found: list[tuple[FlagReason, Callable[[FlagSubject], bool]]] = []
    if tiers:
        found.append((FlagReason.CONDITION_USER_TIER, lambda subject: subject.tier in tiers))
    if (least_days := conditions.account_age) is not None:
        found.append(
            (
                FlagReason.CONDITION_ACCOUNT_AGE,
                lambda subject: subject.account_age_days is not None and subject.account_age_days >= least_days,
            )
        )
    if regions:
        found.append((FlagReason.CONDITION_REGION, lambda subject: subject.region in regions))
    if platforms:
        found.append((FlagReason.CONDITION_PLATFORM, lambda subject: not platforms.isdisjoint(subject.platforms)))
    return found


def _enabled_buckets(flag: Flag, override: FlagOverride) -> int:
    """The buckets below this one get the flag."""
    percentage = flag.rollout_percentage if override.percentage is None else override.percentage
    return int(percentage * BUCKETS / 100)
