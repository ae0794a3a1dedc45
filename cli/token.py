"""``huntaze token``: a development token, signed with the secret that the API checks with."""

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.console import Complaint
from cli.environment import DIRECTORY, Directory, in_force, running_stack, settings_now

if TYPE_CHECKING:
    from adapters.settings import Settings

RoleName = Literal["creator", "agency", "operator", "admin"]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SECRET_BYTES = 32


def token(
    user: Annotated[str, typer.Option(help="who: the claim sub")],
    role: Annotated[RoleName, typer.Option(help="operator and admin act on everybody's campaigns")] = "agency",
    account: Annotated[
        list[str] | None, typer.Option(help="an OnlyFans account that the user owns; repeat for more")
    ] = None,
    ttl: Annotated[str, typer.Option(help="how long it is valid: 90s, 30m, 1h, 7d")] = "1h",
    directory: Directory = DIRECTORY,
) -> None:
    """Mint a development token (HS256)."""
    print(mint(signing_settings(directory), user=user, role=role, accounts=account or (), ttl_s=seconds(ttl)))


def mint(settings: "Settings", *, user: str, role: str, accounts: Sequence[str], ttl_s: int = 3600) -> str:
    """A token with the claims that the API asks for; refuses where tokens belong to the identity provider."""
    import jwt
    from pydantic import TypeAdapter, ValidationError

    from adapters.settings import Environment
    from domain.model import AccountId

    if settings.environment is Environment.PRODUCTION or settings.jwt_algorithm != "HS256":
        raise Complaint(
            "tokens are not minted here: production and RS256 trust the identity provider alone",
            remedy="get the token from your identity provider, or use HUNTAZE_ENVIRONMENT=development "
            "with HUNTAZE_JWT_ALGORITHM=HS256",
        )
    secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else ""
    if len(secret.encode()) < _SECRET_BYTES:
        raise Complaint(
            f"HUNTAZE_JWT_SECRET has fewer than {_SECRET_BYTES} bytes",
            remedy="set the secret that the API uses; a new one: openssl rand -hex 32",
        )
    if not 1 <= len(user) <= 255:
        raise Complaint("the user must have between 1 and 255 characters", remedy="for example: --user agency-1")
    for name in accounts:
        try:
            TypeAdapter(AccountId).validate_python(name)
        except ValidationError:
            raise Complaint(f"{name!r} is no account id", remedy="for example: --account acct_luna") from None
    now = int(time.time())
    claims = {
        "sub": user,
        "role": role,
        "accounts": sorted(set(accounts)),
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "iat": now,
        "exp": now + ttl_s,
    }
    return jwt.encode(claims, secret, algorithm="HS256")


def signing_settings(directory: Path) -> "Settings":
    """The environment's settings when they hold a secret, else those of the running stack."""
    settings = settings_now()
    if settings.jwt_secret or settings.jwt_algorithm != "HS256" or os.environ.get("HUNTAZE_JWT_SECRET"):
        return settings
    stack = running_stack(directory)
    if stack is None:
        raise Complaint(
            f"there is no HUNTAZE_JWT_SECRET in the environment, and no stack runs on {directory}",
            remedy="start one with: huntaze up; or set the secret that your API uses",
        )
    with in_force(stack.env):
        return settings_now()


def seconds(text: str) -> int:
    """``90s``, ``30m``, ``1h`` and ``7d`` as seconds."""
    found = re.fullmatch(r"([1-9]\d{0,6})([smhd])", text.strip())
    if found is None:
        raise Complaint(f"{text!r} is no duration", remedy="a number and a unit, such as 90s, 30m, 1h or 7d")
    return int(found[1]) * _UNITS_S[found[2]]
