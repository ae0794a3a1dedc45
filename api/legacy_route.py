"""Whose a legacy request is, and which system it goes to."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.datastructures import Headers

from api.authentication import KeysUnavailable, TokenVerifier, Unauthenticated
from api.intake import checked_key
from api.legacy_exchange import LegacyExchange
from api.refusals import MalformedRequest
from domain.access import STAFF
from domain.flag import HYBRID_ORCHESTRATOR, FlagDecision, FlagReason, FlagSubject
from domain.legacy import (
    LegacyCampaign,
    LegacyReason,
    Translation,
    bad_request,
    platforms_of,
    translate,
    user_of,
)
from domain.observation import Arm
from domain.ports import Flags

MAX_READ: Final = 1024 * 1024
"""Bytes of a body that is read to find its user; a larger one is streamed to the legacy system unread."""

_CLOSED: Final = frozenset(
    {
        FlagReason.UNKNOWN_FLAG,
        FlagReason.NO_SNAPSHOT,
        FlagReason.FORCED_OFF,
        FlagReason.DISABLED,
        FlagReason.DENY_LIST,
    }
)
"""Off whatever else is known of the user: nothing further is looked at."""


class Identity(NamedTuple):
    """What is known of a request's user. ``accounts``: those that the token lists; ``None``: not limited by one."""

    accounts: frozenset[str] | None = None
    tier: str | None = None
    region: str | None = None
    account_age_days: int | None = None


class Routed(NamedTuple):
    """Where a request goes and why. ``arm``: which side of a rollout it is evidence for; ``None``: of neither, because
    something else than the rollout's percentage decided. ``errors``: it breaks the legacy API's own contract."""

    reason: str
    user: str = ""
    decision: FlagDecision | None = None
    translation: Translation | None = None
    identity: Identity | None = None
    to_hybrid: bool = False
    arm: Arm | None = None
    errors: tuple[Mapping[str, str], ...] | None = None


async def route_list(exchange: LegacyExchange, flags: Flags, verifier: TokenVerifier, trusts: bool) -> Routed:
    """A request for a user's campaigns."""
    return await _lead(None, exchange, flags, verifier, trusts)


async def route_campaign(
    body: bytes, exchange: LegacyExchange, flags: Flags, verifier: TokenVerifier, trusts: bool
) -> Routed:
    """A new campaign. Whatever can't be ours is the legacy system's, before anything is stored or started."""
    document, readable = read(body)
    routed = await _lead(document, exchange, flags, verifier, trusts)
    if routed.identity is None:
        return routed
    if not readable:
        return routed._replace(errors=({"field": "body", "message": "JSON decode error"},))
    try:
        campaign = LegacyCampaign.model_validate(document)
    except ValidationError as error:
        return routed._replace(errors=tuple(bad_request(error)))
    translation = translate(campaign, routed.identity.accounts)
    if isinstance(translation, LegacyReason):
        return _to_legacy(routed, translation)
    if not _usable_key(exchange.headers):
        return _to_legacy(routed, LegacyReason.UNUSABLE_KEY)
    return routed._replace(translation=translation, arm=_arm(routed.decision))


def read(body: bytes) -> tuple[object, bool]:
    """The JSON document of a body, and whether it is one."""
    try:
        return from_json(body), True
    except ValueError:
        return None, False


async def _lead(
    document: object, exchange: LegacyExchange, flags: Flags, verifier: TokenVerifier, trusts: bool
) -> Routed:
    user = user_of(document, exchange.query)
    if user is None:
        return Routed(LegacyReason.NO_USER)
    first = flags.evaluate(HYBRID_ORCHESTRATOR, FlagSubject(user_id=user))
    if first.reason in _CLOSED:
        return Routed(first.reason, user, first)
    identity = await _identity(user, exchange.headers, verifier, trusts)
    if isinstance(identity, LegacyReason):
        return Routed(identity, user, first)
    subject = FlagSubject(
        user_id=user,
        tier=identity.tier,
        account_age_days=identity.account_age_days,
        region=identity.region,
        platforms=platforms_of(document),
    )
    decision = flags.evaluate(HYBRID_ORCHESTRATOR, subject)
    return Routed(decision.reason, user, decision, identity=identity, to_hybrid=decision.enabled)


async def _identity(user: str, headers: Headers, verifier: TokenVerifier, trusts: bool) -> Identity | LegacyReason:
    """By our token, else by what the headers say where the user id is believed as well.

    A token that is none of ours is the legacy system's business.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        try:
            return _of_claims(user, await verifier.claims(token.strip()))
        except KeysUnavailable:
            return LegacyReason.TOKEN_NOT_CHECKED
        except Unauthenticated:
            pass
    if not trusts:
        return LegacyReason.UNAUTHENTICATED
    age = headers.get("x-account-age-days", "")
    return Identity(
        tier=headers.get("x-user-tier"),
        region=headers.get("x-user-region"),
        account_age_days=int(age) if age.isascii() and age.isdecimal() and len(age) <= 6 else None,
    )


def _of_claims(user: str, claims: Mapping[str, Any]) -> Identity | LegacyReason:
    staff = claims.get("role") in STAFF
    if claims["sub"] != user and not staff:
        return LegacyReason.TOKEN_OF_ANOTHER_USER
    listed = claims.get("accounts")
    accounts = frozenset(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else frozenset()
    tier, region = claims.get("tier"), claims.get("region")
    return Identity(
        accounts=None if staff else accounts,
        tier=tier if isinstance(tier, str) else None,
        region=region if isinstance(region, str) else None,
        account_age_days=_age_days(claims.get("account_created")),
    )


def _age_days(created: object) -> int | None:
    """From an ISO date or moment, or from epoch seconds."""
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(created, str):
            moment = datetime.fromisoformat(created)
        elif isinstance(created, int | float) and not isinstance(created, bool):
            moment = datetime.fromtimestamp(created, UTC)
        else:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0, (datetime.now(UTC) - moment).days)
    return None


def _usable_key(headers: Headers) -> bool:
    key = headers.get("idempotency-key")
    try:
        return key is None or bool(checked_key(key))
    except MalformedRequest:
        return False


def _to_legacy(routed: Routed, reason: LegacyReason) -> Routed:
    """A flag that is off is the reason that counts."""
    return routed._replace(reason=reason, to_hybrid=False) if routed.to_hybrid else routed


def _arm(decision: FlagDecision | None) -> Arm | None:
    """Only the percentage makes two arms that can be compared."""
    if decision is None:
        return None
    return {FlagReason.IN_ROLLOUT: Arm.CANARY, FlagReason.NOT_IN_ROLLOUT: Arm.BASELINE}.get(decision.reason)
