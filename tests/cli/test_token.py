"""Tokens for development: what the API accepts, and nothing where tokens belong to somebody else."""

from pathlib import Path

import jwt
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from adapters.settings import Environment, Settings
from api.authentication import TokenVerifier
from cli.console import Complaint
from cli.main import app
from cli.token import mint, seconds
from domain.access import Principal, Role

SECRET = "a-development-secret-of-more-than-32-bytes"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No secret in the environment, in ``.env`` or in a running stack."""
    monkeypatch.chdir(tmp_path)
    for name in ("HUNTAZE_JWT_SECRET", "HUNTAZE_JWT_ALGORITHM", "HUNTAZE_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)


def settings(**changes: object) -> Settings:
    return Settings().model_copy(update={"jwt_secret": SecretStr(SECRET), **changes})


class TestMint:
    async def test_the_api_accepts_it(self) -> None:
        token = mint(settings(), user="agency-1", role="agency", accounts=["acct_nova", "acct_luna"])
        principal = await TokenVerifier(settings()).verify(token)
        accounts = frozenset({"acct_luna", "acct_nova"})
        assert principal == Principal(user_id="agency-1", role=Role.AGENCY, accounts=accounts)

    @pytest.mark.parametrize(
        "changes", [{"environment": Environment.PRODUCTION}, {"jwt_algorithm": "RS256"}], ids=["production", "RS256"]
    )
    def test_it_is_refused_where_tokens_come_from_an_identity_provider(self, changes: dict[str, object]) -> None:
        with pytest.raises(Complaint, match="identity provider"):
            mint(settings(**changes), user="u", role="admin", accounts=[])

    def test_a_short_secret_is_refused(self) -> None:
        with pytest.raises(Complaint, match="32 bytes"):
            mint(settings(jwt_secret=SecretStr("short")), user="u", role="admin", accounts=[])

    def test_a_wrong_account_is_named(self) -> None:
        with pytest.raises(Complaint, match="'luna' is no account id"):
            mint(settings(), user="u", role="agency", accounts=["luna"])


class TestSeconds:
    @pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800)])
    def test_units(self, text: str, expected: int) -> None:
        assert seconds(text) == expected

    @pytest.mark.parametrize("text", ["", "1", "0s", "-1h", "1.5h", "h", "1w"])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(Complaint, match="no duration"):
            seconds(text)


class TestCommand:
    def test_claims(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HUNTAZE_JWT_SECRET", SECRET)
        arguments = ["token", "--user", "agency-1", "--role", "agency", "--account", "acct_luna", "--ttl", "30m"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        claims = jwt.decode(
            result.stdout.strip(), SECRET, algorithms=["HS256"], audience="huntaze-api", issuer="huntaze"
        )
        assert claims.pop("exp") - claims.pop("iat") == 1800
        assert claims == {
            "sub": "agency-1",
            "role": "agency",
            "accounts": ["acct_luna"],
            "iss": "huntaze",
            "aud": "huntaze-api",
        }

    def test_without_secret_and_stack_it_says_what_to_do(self) -> None:
        result = CliRunner().invoke(app, ["token", "--user", "agency-1"])
        assert result.exit_code == 1
        assert "no HUNTAZE_JWT_SECRET" in result.stderr
        assert "remedy: start one with: huntaze up" in result.stderr
