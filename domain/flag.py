"""Feature flags: who gets the new system. What a flag says, who is asked for, and how a flag changes."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field, PlainSerializer, ValidationInfo, WithJsonSchema, field_validator

from domain.audit import AuditEntry, list_change
from domain.errors import Conflict
from domain.model import Model, Request

HYBRID_ORCHESTRATOR = "hybrid-orchestrator"
"""The flag that leads a legacy request to the new system."""

HYBRID_SHADOW = "hybrid-shadow"
"""The flag whose percentage of legacy traffic is also run, without effect, through the new system."""


MAX_LISTED = 10_000
"""Ids on one list."""

MAX_LISTED_BYTES = 200_000
"""Of the ids of both lists together, in UTF-8: with up to 3 bytes around each id, and the longest conditions, a flag
fits into an item of DynamoDB, of 400 KB (Amazon DynamoDB Developer Guide, "Quotas" and "Item sizes and formats")."""

_ALL = Decimal(100)
_LISTS = ("userWhitelist", "userBlacklist")

_SHORTEN = "take ids off, or choose larger groups with conditions"

Percentage = Annotated[
    Decimal,
    Field(ge=0, le=_ALL, multiple_of=Decimal("0.01")),
    PlainSerializer(lambda value: int(value) if value == int(value) else float(value), when_used="json"),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 100, "description": "in steps of 0.01"}),
]
"""0 to 100 in steps of 0.01; a number on the wire."""

FlagName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$", examples=[HYBRID_ORCHESTRATOR])]

ListedId = Annotated[str, Field(min_length=1, max_length=128)]
"""A user's id on a list."""

Conditional = Annotated[str, Field(min_length=1, max_length=64)]
"""A value that a condition accepts; compared exactly, upper and lower case too."""


class FlagConditions(Request):
    """What a subject must be for the percentage to apply at all. Empty: everybody. What is unknown of a subject
    fulfils no condition about it."""

    user_tier: tuple[Conditional, ...] = Field(default=(), max_length=100, description="one of these")
    account_age: int | None = Field(default=None, ge=0, le=36_500, description="minimum, in days")
    region: tuple[Conditional, ...] = Field(default=(), max_length=100, description="one of these")
    platform: tuple[Conditional, ...] = Field(default=(), max_length=100, description="one of the subject's is one")


class RollbackTriggers(Request):
    """When a rollout of the flag is rolled back at the latest: the guardrails of a rollout that names none."""

    error_rate_threshold: float | None = Field(default=5.0, gt=0, le=100, description="percent of requests")
    latency_threshold: float | None = Field(default=None, gt=0, le=3_600_000, description="p95, in ms")
    time_window_minutes: int = Field(
        default=5, ge=1, le=1_440, description="the window over which promotion looks at the plain rates"
    )


class FlagConfig(Request):
    """What an administrator sets."""

    name: FlagName
    enabled: bool = False
    rollout_percentage: Percentage = Field(default=Decimal(0), json_schema_extra={"default": 0})
    user_whitelist: tuple[ListedId, ...] = Field(
        default=(), max_length=MAX_LISTED, description="on whatever the conditions and the percentage say"
    )
    user_blacklist: tuple[ListedId, ...] = Field(
        default=(), max_length=MAX_LISTED, description="off whatever the environment, the conditions and percentage say"
    )
    conditions: FlagConditions = FlagConditions()
    rollback_triggers: RollbackTriggers = RollbackTriggers()

    @field_validator("user_whitelist", "user_blacklist", mode="before")
    @classmethod
    def _not_too_many(cls, ids: object) -> object:
        if isinstance(ids, list | tuple) and len(ids) > MAX_LISTED:
            raise ValueError(f"names {len(ids):,} users, and there may be {MAX_LISTED:,}; {_SHORTEN}")
        return ids

    @field_validator("user_whitelist", "user_blacklist")
    @classmethod
    def _once(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(ids))

    @field_validator("user_blacklist")
    @classmethod
    def _beside_the_whitelist(cls, denied: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        allowed: tuple[str, ...] = info.data.get("user_whitelist", ())
        both = sorted(set(allowed) & set(denied))
        if both:
            named = ", ".join(both[:3]) + (f" and {len(both) - 3} more" if both[3:] else "")
            raise ValueError(f"userWhitelist holds {named} too; take each id off one of the two lists")
        return denied

    @field_validator("user_whitelist", "user_blacklist")
    @classmethod
    def _fitting(cls, ids: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        others: tuple[str, ...] = info.data.get("user_whitelist", ())
        size = sum(len(each.encode()) for each in (*others, *ids))
        if size > MAX_LISTED_BYTES:
            raise ValueError(
                f"the ids of userWhitelist and userBlacklist may be {MAX_LISTED_BYTES:,} bytes long together, and with "
                f"these they are {size:,}; {_SHORTEN}"
            )
        return ids


class Flag(FlagConfig):
    """A flag as stored: revision ``n`` with who wrote it. ``salt`` never changes, or users would change sides.

    ``rollout_id``: the rollout that steers its percentage now; empty: none.
    """

    # A process of the previous release can read what the next one writes.
    model_config = ConfigDict(extra="ignore")

    salt: str
    revision: int = 1
    changed_by: str
    changed_at: datetime
    reason: str
    rollout_id: str = ""


class FlagSubject(Model):
    """For whom a flag is evaluated; ``None`` and empty: not known."""

    user_id: str
    tier: str | None = None
    account_age_days: int | None = None
    region: str | None = None
    platforms: tuple[str, ...] = ()


class FlagReason(StrEnum):
    """Why a decision is what it is, in the order in which they are looked at."""

    UNKNOWN_FLAG = "unknown_flag"
    NO_SNAPSHOT = "no_snapshot"
    FORCED_OFF = "forced_off"
    DISABLED = "disabled"
    DENY_LIST = "deny_list"
    ALLOW_LIST = "allow_list"
    CONDITION_USER_TIER = "condition_user_tier"
    CONDITION_ACCOUNT_AGE = "condition_account_age"
    CONDITION_REGION = "condition_region"
    CONDITION_PLATFORM = "condition_platform"
    IN_ROLLOUT = "in_rollout"
    NOT_IN_ROLLOUT = "not_in_rollout"


class FlagDecision(NamedTuple):
    """``bucket``: 0 to 9,999, ``-1`` where none was needed. ``revision``: of the flag, 0 when there is none."""

    flag: str
    enabled: bool
    reason: FlagReason
    bucket: int
    revision: int


class FlagOverride(Model):
    """What the environment forces for the emergency: ``enabled`` False turns the flag off for everybody, at once;
    True turns a disabled flag on, but for its deny list; ``percentage`` replaces the flag's own."""

    enabled: bool | None = None
    percentage: Percentage | None = None


NOT_OVERRIDDEN = FlagOverride()


class FlagSnapshotStanding(Model):
    """How fresh this process's snapshot is."""

    loaded: bool
    age_ms: int | None = Field(description="since it was last known to be the present state; null: never")
    pushed: bool = Field(description="changes are pushed to this process; else it asks for them")
    revisions: dict[str, int] = Field(description="of each flag")


class FlagChange(NamedTuple):
    """The next revision of a flag, and what the audit log says about it; both are stored, or neither."""

    flag: Flag
    entry: AuditEntry


def changed(present: Flag | None, config: FlagConfig, *, actor: str, at: datetime, reason: str) -> FlagChange:
    """What a person makes of a flag; ``present`` None: it is new.

    Raises ``Conflict`` when the percentage would change while a rollout steers it. Turning the flag off is allowed at
    any time, and leaves a steered percentage as it is.
    """
    percentage = config.rollout_percentage
    if present is not None and present.rollout_id and percentage != present.rollout_percentage:
        if config.enabled:
            raise Conflict(
                f"The rollout {present.rollout_id} steers the percentage, which is {present.rollout_percentage} now: "
                "roll it back first, or set enabled to false, which is always allowed.",
                field="rolloutPercentage",
            )
        percentage = present.rollout_percentage
    settings = {field: getattr(config, field) for field in FlagConfig.model_fields}
    flag = Flag(
        **{**settings, "rollout_percentage": percentage},
        salt=config.name if present is None else present.salt,
        revision=1 if present is None else present.revision + 1,
        changed_by=actor,
        changed_at=at,
        reason=reason,
        rollout_id="" if present is None else present.rollout_id,
    )
    return FlagChange(flag, _entry(present, flag, action="created" if present is None else "changed"))


def steered(
    present: Flag,
    percentage: Decimal,
    *,
    rollout_id: str,
    actor: str,
    at: datetime,
    reason: str,
    action: str = "steered",
    evidence: dict[str, Any] | None = None,
    releases: bool = False,
) -> FlagChange:
    """What the rollout ``rollout_id`` makes of a flag. It steers it from then on, or, when it ``releases`` it, no more.

    Raises ``Conflict`` when another rollout steers the flag.
    """
    if present.rollout_id not in {"", rollout_id}:
        raise Conflict(f"The rollout {present.rollout_id} steers {present.name}: roll it back or wait for its end.")
    flag = present.model_copy(
        update={
            "rollout_percentage": percentage,
            "revision": present.revision + 1,
            "changed_by": actor,
            "changed_at": at,
            "reason": reason,
            "rollout_id": "" if releases else rollout_id,
        }
    )
    return FlagChange(flag, _entry(present, flag, action=action, evidence=evidence))


def _entry(present: Flag | None, flag: Flag, *, action: str, evidence: dict[str, Any] | None = None) -> AuditEntry:
    """Before and after: the revision and what differs. Of a list, how long it was and is, and who came and went."""
    before, after = ({} if present is None else _audited(present)), _audited(flag)
    differing = [field for field in after if before.get(field) != after[field] or field == "revision"]
    for field in _LISTS:
        before[field], after[field] = list_change(before.get(field, ()), after[field])
    return AuditEntry(
        entry_id=f"flag/{flag.name}/{flag.revision}",
        subject=f"flag/{flag.name}",
        action=action,
        actor=flag.changed_by,
        at=flag.changed_at,
        reason=flag.reason,
        before=None if present is None else {field: before[field] for field in differing},
        after={field: after[field] for field in differing},
        evidence=evidence,
    )


def _audited(flag: Flag) -> dict[str, Any]:
    return flag.model_dump(mode="json", by_alias=True, exclude={"changed_by", "changed_at", "reason"})
