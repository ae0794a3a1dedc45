"""Bearer tokens: HS256 with a shared secret in development, RS256 with the identity provider's keys elsewhere."""

import asyncio
from typing import Any

import jwt
from pydantic import TypeAdapter, ValidationError

from adapters.settings import Settings
from domain.access import Principal, Role
from domain.errors import Forbidden

_SECRET_BYTES = 32
"""RFC 7518, section 3.2: an HS256 key is at least as long as the hash."""

_KEY_FETCH_S = 3.0
_accounts = TypeAdapter(frozenset[str])


class Unauthenticated(Exception):
    """There is no token, or it can't be trusted; ``challenge`` is the ``WWW-Authenticate`` header (RFC 6750)."""

    def __init__(self, reason: str, *, presented: bool = True) -> None:
        super().__init__(reason)
        error = f', error="invalid_token", error_description="{reason}"' if presented else ""
        self.challenge = f'Bearer realm="huntaze"{error}'


class KeysUnavailable(Exception):
    """The identity provider's keys can't be fetched: our trouble, not the token's."""


class TokenVerifier:
    """Turns a token into a principal. The algorithm is the configured one, whatever the token's header says."""

    def __init__(self, settings: Settings) -> None:
        self._algorithm = settings.jwt_algorithm
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else ""
        self._keys: jwt.PyJWKClient | None = None
        if self._algorithm == "RS256":
            if not settings.jwt_jwks_url:
                raise ValueError("HUNTAZE_JWT_ALGORITHM=RS256 needs HUNTAZE_JWT_JWKS_URL")
            # Fetches at most every 30 s because of an unknown key, so that forged key ids cost nothing.
            self._keys = jwt.PyJWKClient(settings.jwt_jwks_url, timeout=_KEY_FETCH_S, cooldown_duration=30)
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
            if jwt.get_unverified_header(token).get("alg") != self._algorithm:
                raise Unauthenticated(f"the token is not signed with {self._algorithm}")
            claims: dict[str, Any] = jwt.decode(
                token,
                await self._key(token),
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("the token has expired") from error
        except jwt.InvalidIssuerError as error:
            raise Unauthenticated("the token comes from another issuer") from error
        except jwt.InvalidAudienceError as error:
            raise Unauthenticated("the token is meant for another audience") from error
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"the token lacks the claim {error.claim}") from error
        except jwt.PyJWTError as error:
            raise Unauthenticated("the token is not valid") from error
        return claims

    async def _key(self, token: str) -> jwt.PyJWK | str:
        if self._keys is None:
            return self._secret
        try:
            return await asyncio.to_thread(self._keys.get_signing_key_from_jwt, token)
        except jwt.PyJWKClientConnectionError as error:
            raise KeysUnavailable("The keys that tokens are checked with can't be fetched at the moment.") from error


def principal_of(claims: dict[str, Any]) -> Principal:
    """Who a valid token's claims say is calling; raises ``Unauthenticated`` or ``Forbidden``."""
    subject = claims["sub"]
    if not subject or len(subject) > 255:
        raise Unauthenticated("the claim sub must have between 1 and 255 characters")
    try:
        accounts = _accounts.validate_python(claims.get("accounts", []), strict=False)
    except ValidationError as error:
        raise Unauthenticated("the claim accounts must be a list of account ids") from error
    try:
        role = Role(claims.get("role", ""))
    except ValueError as error:
        raise Forbidden(f"The token's claim role must be one of: {', '.join(Role)}.") from error
    return Principal(user_id=subject, role=role, accounts=accounts)
