"""Why a flag decides as it does for somebody: every rule in the order in which they are looked at."""

from collections.abc import Iterator
from decimal import Decimal

from pydantic import Field

from domain.flag import Flag, FlagOverride, FlagReason, FlagSubject
from domain.flag_evaluation import bucket
from domain.model import Model

SENTENCES: dict[FlagReason, str] = {
    FlagReason.UNKNOWN_FLAG: "Off: there is no such flag.",
    FlagReason.NO_SNAPSHOT: "Off: this process has not been able to read the flags yet.",
    FlagReason.FORCED_OFF: "Off: the environment turns it off for everybody.",
    FlagReason.DISABLED: "Off: the flag is disabled.",
    FlagReason.DENY_LIST: "Off: the user is on the deny list.",
    FlagReason.ALLOW_LIST: "On: the user is on the allow list.",
    FlagReason.CONDITION_USER_TIER: "Off: the user's tier is not one of those that the flag is for.",
    FlagReason.CONDITION_ACCOUNT_AGE: "Off: the user's account is not old enough, or its age is not known.",
    FlagReason.CONDITION_REGION: "Off: the user's region is not one of those that the flag is for.",
    FlagReason.CONDITION_PLATFORM: "Off: none of the user's platforms is one of those that the flag is for.",
    FlagReason.IN_ROLLOUT: "On: the user's bucket is within the percentage.",
    FlagReason.NOT_IN_ROLLOUT: "Off: the user's bucket is not within the percentage.",
}
"""Each reason as a sentence for people."""


class Rule(Model):
    """One rule about one subject. The first rule that ``matched`` decides; later ones are shown all the same."""

    rule: FlagReason
    matched: bool
    decides: bool
    detail: str = Field(description="what the rule asks for, and what the subject has")


def rules(flag: Flag, override: FlagOverride, subject: FlagSubject) -> tuple[Rule, ...]:
    """Every rule of a flag for a subject, in the order of evaluation; exactly one decides."""
    found = tuple(_rules(flag, override, subject))
    first = next(index for index, (_, matched, _) in enumerate(found) if matched)
    return tuple(
        Rule(rule=rule, matched=matched, decides=index == first, detail=detail)
        for index, (rule, matched, detail) in enumerate(found)
    )


def percentage_in_force(flag: Flag, override: FlagOverride) -> Decimal:
    """The environment's percentage, else the flag's."""
    return flag.rollout_percentage if override.percentage is None else override.percentage


def override_in_force(override: FlagOverride, *, known: bool) -> str:
    """What the environment of this process forces, as a sentence; empty: nothing. ``known``: the flag is, too."""
    share = None if override.percentage is None else f"{override.percentage.normalize():f} %"
    if override.enabled is False:
        return "The environment of this process turns it off for everybody."
    if override.enabled and not known:
        reached = f"for {share} of users" if share else "for nobody, because it names no percentage"
        return (
            f"The environment of this process turns it on, {reached}; the flag is not known here, so that its lists "
            "and conditions do not count."
        )
    forced = [*(["turns it on"] if override.enabled else []), *([f"sets its percentage to {share}"] if share else [])]
    return f"The environment of this process {' and '.join(forced)}." if forced else ""


def _rules(flag: Flag, override: FlagOverride, subject: FlagSubject) -> Iterator[tuple[FlagReason, bool, str]]:
    forced_off = override.enabled is False
    yield FlagReason.FORCED_OFF, forced_off, f"the environment {'turns' if forced_off else 'does not turn'} it off"
    enabled = flag.enabled or override.enabled is True
    how = " by the environment" if override.enabled is True else ""
    yield FlagReason.DISABLED, not enabled, f"the flag is {'enabled' if enabled else 'disabled'}{how}"
    yield _listed(FlagReason.DENY_LIST, "deny", flag.user_blacklist, subject)
    yield _listed(FlagReason.ALLOW_LIST, "allow", flag.user_whitelist, subject)
    wanted = flag.conditions
    yield _one_of(FlagReason.CONDITION_USER_TIER, "tier", wanted.user_tier, _known(subject.tier))
    yield _old_enough(wanted.account_age, subject.account_age_days)
    yield _one_of(FlagReason.CONDITION_REGION, "region", wanted.region, _known(subject.region))
    yield _one_of(FlagReason.CONDITION_PLATFORM, "platform", wanted.platform, subject.platforms)
    number, percentage = bucket(flag.salt, subject.user_id), percentage_in_force(flag, override)
    inside = number < percentage * 100
    whose = "the environment's" if override.percentage is not None else "the flag's"
    limit = f"buckets below {percentage * 100:.0f} are in ({whose} {percentage.normalize():f} %)"
    detail = f"{limit}; the user's is {number}"
    yield FlagReason.IN_ROLLOUT, inside, detail
    yield FlagReason.NOT_IN_ROLLOUT, not inside, detail


def _listed(
    reason: FlagReason, name: str, users: tuple[str, ...], subject: FlagSubject
) -> tuple[FlagReason, bool, str]:
    on = subject.user_id in users
    return reason, on, f"the user is {'' if on else 'not '}on the {name} list ({len(users)} on it)"


def _one_of(
    reason: FlagReason, what: str, wanted: tuple[str, ...], given: tuple[str, ...]
) -> tuple[FlagReason, bool, str]:
    if not wanted:
        return reason, False, f"any {what} will do"
    has = ", ".join(given) or "not known"
    return reason, not set(wanted) & set(given), f"the {what} must be one of {', '.join(wanted)}; it is {has}"


def _old_enough(wanted: int | None, given: int | None) -> tuple[FlagReason, bool, str]:
    reason = FlagReason.CONDITION_ACCOUNT_AGE
    if wanted is None:
        return reason, False, "any age of the account will do"
    has = "not known" if given is None else f"{given}"
    too_young = given is None or given < wanted
    return reason, too_young, f"the account must be at least {wanted} days old; its age is {has}"


def _known(given: str | None) -> tuple[str, ...]:
    return () if given is None else (given,)
