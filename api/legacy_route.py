"""Whose a legacy request is, and which system it goes to."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.datastructures import Headers

from adapters.settings import Settings
from api.authentication import KeysUnavailable, TokenExpired, TokenVerifier, Unauthenticated
from api.intake import checked_key
from api.legacy_exchange import LegacyExchange
from api.refusals import MalformedRequest
from domain.access import STAFF
from domain.flag import HYBRID_ORCHESTRATOR, FlagDecision, FlagReason, FlagSubject
from domain.legacy import LegacyReason, platforms_of, usable_user, user_of
from domain.legacy_translation import LegacyCampaign, Translation, bad_request, may_send, translate
from domain.observation import Arm
from domain.ports import Flags

T = TypeVar("T")

MAX_READ: Final = 1024 * 1024
"""Bytes of a body that is read to find its user; a larger one is streamed to the legacy system unread."""

SMALL: Final = 32 * 1024
"""Bytes that are read and translated in a millisecond or so."""

CLOSED: Final = frozenset(
    {
        FlagReason.UNKNOWN_FLAG,
        FlagReason.NO_SNAPSHOT,
        FlagReason.FORCED_OFF,
        FlagReason.DISABLED,
        FlagReason.DENY_LIST,
    }
)
"""Off whatever else is known of the user: nothing further is looked at."""

_UNCLEAR: Final[Mapping[str, str]] = {
    LegacyReason.TOKEN_NOT_CHECKED: "Tokens can't be checked at the moment; try again.",
    LegacyReason.TOKEN_EXPIRED: "The token has expired; try again with a new one.",
}


class Identity(NamedTuple):
    """What is known of a request's user. ``accounts``: those that the token lists; ``None``: not limited by one."""

    accounts: frozenset[str] | None = None
    tier: str | None = None
    region: str | None = None
    account_age_days: int | None = None


class Routed(NamedTuple):
    """Where a request goes and why. ``arm``: which side of a rollout it is evidence for; ``None``: of neither, because
    something else than the rollout's percentage decided. ``errors``: it breaks the legacy API's own contract.
    ``repeatable_send``: it may send, and a repetition of it would be known by its ``Idempotency-Key``."""

    reason: str
    user: str = ""
    decision: FlagDecision | None = None
    translation: Translation | None = None
    identity: Identity | None = None
    to_hybrid: bool = False
    arm: Arm | None = None
    errors: tuple[Mapping[str, str], ...] | None = None
    repeatable_send: bool = False

    @property
    def unclear(self) -> str:
        """Why nobody can say whose request it is, for the client; empty: it is known, or never will be."""
        return _UNCLEAR.get(self.reason, "")


class LegacyRouter:
    """Decides by the flag, and before anything is stored or started."""

    def __init__(self, flags: Flags, verifier: TokenVerifier, settings: Settings) -> None:
        self._flags = flags
        self._verifier = verifier
        self._trusts = settings.trusts_legacy_user_id
        self._max_audience = settings.max_audience
        self._forced_percentage = settings.hybrid_orchestrator_percentage

    async def listing(self, exchange: LegacyExchange) -> Routed:
        """A request for a user's campaigns."""
        return await self._lead(None, exchange)

    async def campaign(self, body: bytes, exchange: LegacyExchange, *, identify: bool = False) -> Routed:
        """A new campaign; one that can't be ours is the legacy system's.

        ``identify``: find out whose it is although the flag is on for nobody.
        """
        document, readable = await off_the_loop(len(body), lambda: read(body))
        led = await self._lead(document, exchange, identify=identify)
        keyed = "idempotency-key" in exchange.headers
        if led.decision is None or led.decision.reason in CLOSED or not (led.to_hybrid or led.arm or keyed):
            return led
        return await off_the_loop(len(body), lambda: self._translated(led, document, readable, exchange.headers))

    def _translated(self, led: Routed, document: object, readable: bool, headers: Headers) -> Routed:
        if not readable:
            return led._replace(arm=None, errors=({"field": "body", "message": "JSON decode error"},))
        try:
            campaign = LegacyCampaign.model_validate(document)
        except ValidationError as error:
            return led._replace(arm=None, errors=tuple(bad_request(error)))
        key = headers.get("idempotency-key")
        usable_key = key is None or _usable_key(key)
        if led.identity is None:
            return led._replace(repeatable_send=key is not None and usable_key and may_send(campaign))
        translation = translate(campaign, led.identity.accounts, max_audience=self._max_audience)
        if isinstance(translation, LegacyReason):
            return _to_legacy(led, translation)
        if not usable_key:
            return _to_legacy(led, LegacyReason.UNUSABLE_KEY)
        return led._replace(translation=translation, repeatable_send=key is not None and translation.may_send)

    async def _lead(self, document: object, exchange: LegacyExchange, *, identify: bool = False) -> Routed:
        user = user_of(document, exchange.query)
        if user is None:
            return Routed(LegacyReason.NO_USER)
        first = self._flags.evaluate(HYBRID_ORCHESTRATOR, FlagSubject(user_id=user))
        if first.reason in CLOSED:
            return Routed(first.reason, user, first)
        if not usable_user(user):
            return Routed(LegacyReason.UNUSABLE_USER_ID, user, first)
        if not identify and self._is_on_for_nobody():
            return Routed(first.reason, user, first)
        identity = await self._identity(user, exchange.headers)
        if isinstance(identity, LegacyReason):
            return Routed(identity, user, first)
        subject = FlagSubject(
            user_id=user,
            tier=identity.tier,
            account_age_days=identity.account_age_days,
            region=identity.region,
            platforms=platforms_of(document),
        )
        decision = self._flags.evaluate(HYBRID_ORCHESTRATOR, subject)
        return Routed(
            decision.reason, user, decision, identity=identity, to_hybrid=decision.enabled, arm=_arm(decision)
        )

    def _is_on_for_nobody(self) -> bool:
        """Whoever it is: not even the identity provider has to be asked."""
        flag = next((each for each in self._flags.all() if each.name == HYBRID_ORCHESTRATOR), None)
        percentage = flag.rollout_percentage if flag is not None else 0
        if self._forced_percentage is not None:
            percentage = self._forced_percentage
        return percentage == 0 and not (flag is not None and flag.user_whitelist)

    async def _identity(self, user: str, headers: Headers) -> Identity | LegacyReason:
        """By our token, else by what the headers say where the user id is believed as well.

        A token that is none of ours is the legacy system's business.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            try:
                return _of_claims(user, await self._verifier.claims(token.strip()))
            except KeysUnavailable:
                return LegacyReason.TOKEN_NOT_CHECKED
            except TokenExpired:
                if not self._trusts:
                    return LegacyReason.TOKEN_EXPIRED
            except Unauthenticated:
                pass
        if not self._trusts:
            return LegacyReason.UNAUTHENTICATED
        age = headers.get("x-account-age-days", "")
        return Identity(
            tier=headers.get("x-user-tier"),
            region=headers.get("x-user-region"),
            account_age_days=int(age) if age.isascii() and age.isdecimal() and len(age) <= 6 else None,
        )


def read(body: bytes) -> tuple[object, bool]:
    """The JSON document of a body, and whether it is one."""
    try:
        return from_json(body), True
    except ValueError:
        return None, False


async def off_the_loop(size: int, work: Callable[[], T]) -> T:
    """What ``work`` returns; for more than a few bytes it is done where nobody else waits for it."""
    return await asyncio.to_thread(work) if size > SMALL else work()


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


def _usable_key(key: str) -> bool:
    try:
        return bool(checked_key(key))
    except MalformedRequest:
        return False


def _to_legacy(routed: Routed, reason: LegacyReason) -> Routed:
    """A flag that is off is the reason that counts. What could not be ours on either side is no evidence."""
    return routed._replace(arm=None, reason=reason if routed.to_hybrid else routed.reason, to_hybrid=False)


def _arm(decision: FlagDecision | None) -> Arm | None:
    """Only the percentage makes two arms that can be compared."""
    if decision is None:
        return None
    return {FlagReason.IN_ROLLOUT: Arm.CANARY, FlagReason.NOT_IN_ROLLOUT: Arm.BASELINE}.get(decision.reason)
