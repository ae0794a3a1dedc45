"""Bearer tokens: HS256 with a shared secret in development, RS256 with the identity provider's keys elsewhere."""

import asyncio
from time import monotonic
from typing import Any, Final

import jwt
import structlog
from pydantic import TypeAdapter, ValidationError

from adapters.settings import Settings
from domain.access import Principal, Role
from domain.errors import Forbidden

_log = structlog.get_logger()

_SECRET_BYTES = 32
"""RFC 7518, section 3.2: an HS256 key is at least as long as the hash."""

_MAX_SUBJECT: Final = 255
_KEY_FETCH_S: Final = 3.0
"""For connecting to the identity provider, and between two pieces of its answer."""

_KEY_WAIT_S: Final = 5.0
"""For the whole answer."""

_KEYS_KEPT_S: Final = 300.0
_FETCHED_AGAIN_S: Final = 30.0
"""After a fetch, the next one because of a key id that is not known: forged ids cost nothing."""

_AWAY_S: Final = 10.0
"""After a fetch that failed, the next one."""

_accounts = TypeAdapter(frozenset[str])


class Unauthenticated(Exception):
    """There is no token, or it can't be trusted; ``challenge`` is the ``WWW-Authenticate`` header (RFC 6750)."""

    def __init__(self, reason: str, *, presented: bool = True) -> None:
        super().__init__(reason)
        error = f', error="invalid_token", error_description="{reason}"' if presented else ""
        self.challenge = f'Bearer realm="huntaze"{error}'


class TokenExpired(Unauthenticated):
    """Whose it was is not in doubt, but it is over."""

    def __init__(self) -> None:
        super().__init__("the token has expired")


class KeysUnavailable(Exception):
    """The identity provider's keys can't be fetched: our trouble, not the token's."""


class TokenVerifier:
    """Turns a token into a principal. The algorithm is the configured one, whatever the token's header says."""

    def __init__(self, settings: Settings) -> None:
        self._algorithm = settings.jwt_algorithm
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else ""
        self._keys: _ProviderKeys | None = None
        if self._algorithm == "RS256":
            if not settings.jwt_jwks_url:
                raise ValueError("HUNTAZE_JWT_ALGORITHM=RS256 needs HUNTAZE_JWT_JWKS_URL")
            self._keys = _ProviderKeys(settings.jwt_jwks_url)
        elif len(self._secret.encode()) < _SECRET_BYTES:
            raise ValueError(
                f"HUNTAZE_JWT_SECRET needs at least {_SECRET_BYTES} bytes, for example: openssl rand -hex 32"
            )

    async def verify(self, token: str) -> Principal:
        """The principal of a valid token; raises ``Unauthenticated``, ``KeysUnavailable`` or ``Forbidden``."""
        return principal_of(await self.claims(token))

    async def claims(self, token: str) -> dict[str, Any]:
        """What a valid token says; raises ``Unauthenticated`` or ``KeysUnavailable``."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != self._algorithm:
                raise Unauthenticated(f"the token is not signed with {self._algorithm}")
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret if self._keys is None else await self._keys.key(header.get("kid")),
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        except jwt.InvalidIssuerError as error:
            raise Unauthenticated("the token comes from another issuer") from error
        except jwt.InvalidAudienceError as error:
            raise Unauthenticated("the token is meant for another audience") from error
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"the token lacks the claim {error.claim}") from error
        except jwt.PyJWTError as error:
            raise Unauthenticated("the token is not valid") from error
        return claims


class _ProviderKeys:
    """The identity provider's keys by id: fetched by one request for all, and not asked for again and again."""

    def __init__(self, url: str) -> None:
        self._client = jwt.PyJWKClient(url, timeout=_KEY_FETCH_S, cache_jwk_set=False)
        self._known: dict[str, jwt.PyJWK] = {}
        self._kept_until = self._not_before = float("-inf")
        self._away = False
        self._fetching = asyncio.Lock()

    async def key(self, key_id: str | None) -> jwt.PyJWK:
        """Raises ``KeysUnavailable``, and ``Unauthenticated`` for a key that the provider does not have."""
        if found := self._present(key_id):
            return found
        async with self._fetching:
            # Whoever waited finds what the one before has fetched, or that it could not be.
            if self._present(key_id) is None and monotonic() >= self._not_before:
                await self._fetch()
        if found := self._present(key_id):
            return found
        if self._away:
            raise KeysUnavailable("The keys that tokens are checked with can't be fetched at the moment.")
        raise Unauthenticated("the token is signed with a key that is not known")

    def _present(self, key_id: str | None) -> jwt.PyJWK | None:
        return self._known.get(key_id or "") if monotonic() < self._kept_until else None

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_KEY_WAIT_S):
                keys = await asyncio.to_thread(self._client.get_signing_keys)
        except Exception as error:  # noqa: BLE001 - away, silent, or no key document: there is no key in any case
            self._away, self._not_before = True, monotonic() + _AWAY_S
            _log.warning("authentication.keys_not_fetched", error=type(error).__name__)
            return
        self._away, self._known = False, {str(key.key_id): key for key in keys}
        self._kept_until, self._not_before = monotonic() + _KEYS_KEPT_S, monotonic() + _FETCHED_AGAIN_S


def principal_of(claims: dict[str, Any]) -> Principal:
    """Who a valid token's claims say is calling; raises ``Unauthenticated`` or ``Forbidden``."""
    subject = claims["sub"]
    # Users of our own, such as that of shadow runs, have a control character in their ids: nobody can log in as one.
    if not subject or len(subject) > _MAX_SUBJECT or not subject.isprintable():
        raise Unauthenticated(f"the claim sub must have between 1 and {_MAX_SUBJECT} printable characters")
    try:
        accounts = _accounts.validate_python(claims.get("accounts", []), strict=False)
    except ValidationError as error:
        raise Unauthenticated("the claim accounts must be a list of account ids") from error
    try:
        role = Role(claims.get("role", ""))
    except ValueError as error:
        raise Forbidden(f"The token's claim role must be one of: {', '.join(Role)}.") from error
    return Principal(user_id=subject, role=role, accounts=accounts)
