"""Feature flags: what is set, who set it, setting it, and why a flag decides as it does for somebody."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import Field

from adapters.flag_snapshot import flag_overrides
from api.body import JsonBody
from api.dependencies import Administrator, PortsNow, SettingsNow, allow
from api.examples import FLAG
from api.flag import SENTENCES, Rule, override_in_force, percentage_in_force, rules
from api.openapi import body as documented
from api.openapi import problems
from api.refusals import MalformedRequest, PreconditionFailed
from api.revision import IfMatch, etag, replace
from domain.access import STAFF
from domain.errors import DependencyUnavailable, InvalidRequest, NotFound
from domain.flag import (
    NOT_OVERRIDDEN,
    Conditional,
    Flag,
    FlagConfig,
    FlagDecision,
    FlagName,
    FlagOverride,
    FlagReason,
    FlagSnapshotStanding,
    FlagSubject,
    Percentage,
    changed,
)
from domain.flag_evaluation import NO_BUCKET, bucket
from domain.model import Model, Request

router = APIRouter(prefix="/api/admin/feature-flags", tags=["flags"], dependencies=[Depends(allow(STAFF))])

Name = Annotated[FlagName, Path(description="the flag's name")]


class FlagBody(FlagConfig):
    """All that is set of a flag, and why it changes. What is left out has its default; the name is in the path."""

    name: str = Field(default="", pattern=r"^([a-z][a-z0-9-]{0,63})?$", description="the path's, or left out")
    reason: str = Field(min_length=3, max_length=500, examples=["The first users of the new system."])

    def config(self, name: str) -> FlagConfig:
        """Without the reason, for the flag that the path names."""
        if self.name not in {"", name}:
            raise InvalidRequest(f"must be {name}, as in the path, or be left out", field="name")
        settings = {field: getattr(self, field) for field in FlagConfig.model_fields}
        return FlagConfig(**settings | {"name": name})


class EvaluateQuery(Request):
    """For whom; what is left out is not known, and fulfils no condition about it."""

    user_id: str = Field(min_length=1, max_length=255)
    user_tier: Conditional | None = None
    account_age: int | None = Field(default=None, ge=0, le=36_500, description="days")
    region: Conditional | None = None
    platform: tuple[Conditional, ...] = Field(default=(), max_length=100, description="repeat for several")

    def subject(self) -> FlagSubject:
        """As flags see them."""
        return FlagSubject(
            user_id=self.user_id,
            tier=self.user_tier,
            account_age_days=self.account_age,
            region=self.region,
            platforms=self.platform,
        )


class HistoryQuery(Request):
    """How far back."""

    limit: int = Field(default=20, ge=1, le=100)


class FlagList(Model):
    """The flags as stored, by name. ``overrides``: what this process's environment forces, by flag; ``snapshot``: how
    fresh the copy is that this process decides by."""

    flags: tuple[Flag, ...]
    overrides: dict[str, FlagOverride]
    snapshot: FlagSnapshotStanding


class FlagHistory(Model):
    """Every revision, newest first; the first one is in force now."""

    history: tuple[Flag, ...]


class Explanation(Model):
    """What a flag decides for somebody, and why. ``rules`` come in the order in which they are looked at."""

    flag: str
    user_id: str
    enabled: bool
    reason: FlagReason
    explanation: str = Field(
        description="the reason as a sentence, and what the environment forces",
        examples=[SENTENCES[FlagReason.ALLOW_LIST]],
    )
    bucket: int | None = Field(description="the user's, 0 to 9,999; null: none is known here")
    rollout_percentage: Percentage | None = Field(description="in force; null: none is known here")
    revision: int = Field(description="of the flag; 0: it is not known here")
    override: FlagOverride | None = Field(description="what the environment of this process forces; null: nothing")
    rules: tuple[Rule, ...] = Field(description="none: the flag is not known here")
    snapshot: FlagSnapshotStanding = Field(description="how fresh the copy is that this process decides by")


@router.get("", summary="Every flag", responses=problems(401, 403, 503))
async def flags(ports: PortsNow, settings: SettingsNow) -> FlagList:
    """With revision, who changed it when and why, and the rollout that steers its percentage, if one does."""
    found = sorted(await ports.flag_store.all(), key=lambda flag: flag.name)
    return FlagList(flags=tuple(found), overrides=dict(flag_overrides(settings)), snapshot=ports.flags.standing())


@router.get("/{name}", summary="One flag", responses=problems(401, 403, 404, 422, 503))
async def flag(name: Name, ports: PortsNow, response: Response) -> Flag:
    """As stored now; the ETag is its revision."""
    found = await ports.flag_store.get(name)
    if found is None:
        raise _unknown(name)
    response.headers["ETag"] = etag(found)
    return found


@router.put(
    "/{name}",
    summary="Create a flag, or replace what is set",
    responses={201: {"model": Flag, "description": "Created"}, **problems(400, 401, 403, 409, 412, 413, 422, 503)},
    openapi_extra=documented(FlagBody, FLAG),
)
async def change(
    name: Name,
    caller: Administrator,
    ports: PortsNow,
    body: Annotated[FlagBody, Depends(JsonBody(FlagBody))],
    response: Response,
    if_match: IfMatch = None,
    if_none_match: Annotated[str | None, Header(description="`*`: only create the flag")] = None,
) -> Flag:
    """Administrators only. In force in every process within a second. While a rollout steers the percentage, changing
    it is 409; turning the flag off never is."""
    config = body.config(name)
    only_create = _only_create(if_none_match)

    async def read() -> _Present:
        present = await ports.flag_store.get(name)
        if present is not None and only_create:
            raise PreconditionFailed(
                f"There is a flag {name} already, at revision {present.revision}; send that as If-Match to change it.",
                field="If-None-Match",
            )
        if present is None and if_match is not None and if_match.strip() == "*":
            raise PreconditionFailed(f"There is no flag {name} yet; leave If-Match out to create it.", field="If-Match")
        return _Present(present)

    async def write(present: _Present) -> Flag | None:
        flag, entry = changed(present.flag, config, actor=caller.user_id, at=datetime.now(UTC), reason=body.reason)
        return flag if await ports.flag_store.put(flag, entry) else None

    stored = await replace(f"settings of the flag {name}", if_match, read, write)
    # Whoever asks this process next sees the change; where it can't be read now, the push brings it.
    with suppress(DependencyUnavailable):
        await ports.flags.refresh()
    response.status_code = 201 if stored.revision == 1 else 200
    response.headers["ETag"] = etag(stored)
    return stored


@router.get("/{name}/history", summary="Who changed a flag, and why", responses=problems(401, 403, 404, 422, 503))
async def history(name: Name, query: Annotated[HistoryQuery, Query()], ports: PortsNow) -> FlagHistory:
    """Every revision with its author, time and reason; rollouts are among the authors."""
    found = await ports.flag_store.history(name, limit=query.limit)
    if not found:
        raise _unknown(name)
    return FlagHistory(history=tuple(found))


@router.get("/{name}/evaluate", summary="Why a flag decides as it does", responses=problems(401, 403, 404, 422, 503))
async def explain(
    name: Name, query: Annotated[EvaluateQuery, Query()], ports: PortsNow, settings: SettingsNow
) -> Explanation:
    """The decision of this process for a user, from its snapshot, with every rule. Decides nothing by itself: it is
    not observed by a rollout."""
    subject = query.subject()
    decision = ports.flags.evaluate(name, subject)
    known = next((each for each in ports.flags.all() if each.name == name), None)
    override = flag_overrides(settings).get(name)
    forced = override or NOT_OVERRIDDEN
    if decision.reason is FlagReason.NO_SNAPSHOT:
        raise DependencyUnavailable("This process has not been able to read the flags yet; try again in a moment.")
    if decision.reason is FlagReason.UNKNOWN_FLAG:
        raise _unknown(name)
    return Explanation(
        flag=name,
        user_id=subject.user_id,
        enabled=decision.enabled,
        reason=decision.reason,
        explanation=f"{SENTENCES[decision.reason]} {override_in_force(forced, known=known is not None)}".rstrip(),
        bucket=_bucket(known, decision, subject),
        rollout_percentage=forced.percentage if known is None else percentage_in_force(known, forced),
        revision=decision.revision,
        override=override,
        rules=() if known is None else rules(known, forced, subject),
        snapshot=ports.flags.standing(),
    )


class _Present(NamedTuple):
    """What is stored, which may be nothing: revision 0."""

    flag: Flag | None

    @property
    def revision(self) -> int:
        return 0 if self.flag is None else self.flag.revision


def _bucket(known: Flag | None, decision: FlagDecision, subject: FlagSubject) -> int | None:
    """The user's, also where another rule decided."""
    if known is not None:
        return bucket(known.salt, subject.user_id)
    return None if decision.bucket == NO_BUCKET else decision.bucket


def _only_create(if_none_match: str | None) -> bool:
    if if_none_match is not None and if_none_match.strip() != "*":
        raise MalformedRequest('If-None-Match must be "*", without quotes.', field="If-None-Match")
    return if_none_match is not None


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no flag {name}; list them at /api/admin/feature-flags, or create it with a PUT.")
