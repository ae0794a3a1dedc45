"""Who gets in: real keys, a real JWKS endpoint, every way in which a token can be wrong."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import jwt
import pytest
from pydantic import SecretStr

from adapters.settings import Settings
from api.app import create_app
from api.authentication import KeysUnavailable, TokenVerifier, Unauthenticated
from domain.access import Role
from domain.errors import Forbidden
from tests.api.conftest import served
from tests.api.identity import SECRET, IdentityProvider, claims, identity_provider, token

COSTS = "/api/v2/campaigns/costs?from=2026-01-02&to=2026-01-01"
"""An authenticated caller gets a 422 here, without any store behind it."""


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as running:
        yield running


def hs256() -> Settings:
    return Settings(jwt_secret=SecretStr(SECRET))


def rs256(provider: IdentityProvider) -> Settings:
    return Settings(jwt_algorithm="RS256", jwt_jwks_url=provider.url, jwt_secret=None)


@pytest.fixture
async def guarded(alone: None, provider: IdentityProvider) -> AsyncIterator[httpx.AsyncClient]:
    async with served(create_app(rs256(provider))) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


@dataclass
class KeyServer:
    """Where keys are fetched; without a ``document`` it never answers."""

    document: bytes | None
    url: str = ""
    fetches: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.fetches += 1
        await reader.readuntil(b"\r\n\r\n")
        if self.document is None:
            await reader.read()
        else:
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.document), self.document))
        writer.close()


@asynccontextmanager
async def key_server(document: bytes | None) -> AsyncIterator[KeyServer]:
    keys = KeyServer(document)
    server = await asyncio.start_server(keys.serve, "127.0.0.1", 0)
    keys.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
    try:
        yield keys
    finally:
        server.close()


async def answer(client: httpx.AsyncClient, presented: str) -> httpx.Response:
    return await client.get(COSTS, headers={"Authorization": f"Bearer {presented}"})


class TestRs256OverHttp:
    async def test_a_good_token_is_let_in(self, guarded: httpx.AsyncClient, provider: IdentityProvider) -> None:
        assert (await answer(guarded, provider.sign(claims(), "first"))).status_code == 422

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"exp": int(time.time()) - 60}, "expired"),
            ({"exp": None}, "lacks the claim exp"),
            ({"iss": "somebody-else"}, "another issuer"),
            ({"iss": None}, "lacks the claim iss"),
            ({"aud": "another-api"}, "another audience"),
            ({"aud": None}, "lacks the claim aud"),
            ({"sub": None}, "lacks the claim sub"),
            ({"sub": ""}, "claim sub"),
            ({"sub": "\x1fshadow"}, "claim sub"),
            ({"sub": "a" * 256}, "claim sub"),
            ({"accounts": "acct_luna"}, "claim accounts"),
        ],
    )
    async def test_a_wrong_claim_is_401_and_named(
        self, guarded: httpx.AsyncClient, provider: IdentityProvider, changes: dict[str, object], reason: str
    ) -> None:
        refused = await answer(guarded, provider.sign(claims(**changes), "first"))
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
        assert reason in refused.json()["detail"]

    async def test_alg_none_is_401(self, guarded: httpx.AsyncClient) -> None:
        assert (await answer(guarded, jwt.encode(claims(), "", algorithm="none"))).status_code == 401

    async def test_hs256_is_401_when_rs256_is_configured(
        self, guarded: httpx.AsyncClient, provider: IdentityProvider
    ) -> None:
        confused = jwt.encode(claims(), SECRET, algorithm="HS256", headers={"kid": "first"})
        assert (await answer(guarded, confused)).status_code == 401
        assert provider.fetches == 0

    async def test_another_keys_signature_is_401(self, guarded: httpx.AsyncClient, provider: IdentityProvider) -> None:
        provider.rotate("second")
        stolen = provider.sign(claims(), "second", published_as="first")
        assert (await answer(guarded, stolen)).status_code == 401

    async def test_a_changed_payload_is_401(self, guarded: httpx.AsyncClient, provider: IdentityProvider) -> None:
        head, _, signature = provider.sign(claims(), "first").split(".")
        _, payload, _ = provider.sign(claims(role="admin"), "first").split(".")
        assert (await answer(guarded, f"{head}.{payload}.{signature}")).status_code == 401

    @pytest.mark.parametrize("header", [None, "Bearer", "Bearer x.y.z", "Basic dXNlcjpwYXNz", "Bearer é"])
    async def test_no_usable_token_is_401(self, guarded: httpx.AsyncClient, header: str | None) -> None:
        headers = [] if header is None else [(b"Authorization", header.encode())]
        refused = await guarded.get(COSTS, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer ")
        assert refused.json()["errorType"] == "invalid_request"

    @pytest.mark.parametrize("role", [None, "owner"])
    async def test_without_a_known_role_it_is_403(
        self, guarded: httpx.AsyncClient, provider: IdentityProvider, role: str | None
    ) -> None:
        refused = await answer(guarded, provider.sign(claims(role=role), "first"))
        assert refused.status_code == 403
        assert "creator, agency, operator, admin" in refused.json()["detail"]


class TestTokenVerifier:
    async def test_answers_the_principal(self, provider: IdentityProvider) -> None:
        verifier = TokenVerifier(rs256(provider))
        payload = claims(sub="u-7", role="agency", accounts=["acct_a", "acct_b"])
        principal = await verifier.verify(provider.sign(payload, "first"))
        assert (principal.user_id, principal.role) == ("u-7", Role.AGENCY)
        assert principal.accounts == {"acct_a", "acct_b"}

    async def test_keys_are_fetched_once(self, provider: IdentityProvider) -> None:
        verifier = TokenVerifier(rs256(provider))
        for _ in range(5):
            await verifier.verify(provider.sign(claims(), "first"))
        assert provider.fetches == 1

    async def test_unknown_key_ids_do_not_fetch_again_and_again(self, provider: IdentityProvider) -> None:
        verifier = TokenVerifier(rs256(provider))
        await verifier.verify(provider.sign(claims(), "first"))
        for number in range(5):
            with pytest.raises(Unauthenticated):
                await verifier.verify(provider.sign(claims(), "first", published_as=f"forged-{number}"))
        assert provider.fetches == 1

    async def test_unreachable_keys_are_our_trouble_not_the_tokens(self, provider: IdentityProvider) -> None:
        settings = Settings(jwt_algorithm="RS256", jwt_jwks_url="http://127.0.0.1:9/jwks.json")
        with pytest.raises(KeysUnavailable):
            await TokenVerifier(settings).verify(provider.sign(claims(), "first"))

    @pytest.mark.parametrize("document", [b"<html>", b"[]", b'{"keys": []}', b'{"keys": [1]}', b"\xff"])
    async def test_a_broken_key_document_is_our_trouble_too_and_not_fetched_by_every_request(
        self, provider: IdentityProvider, document: bytes
    ) -> None:
        async with key_server(document) as keys:
            verifier = TokenVerifier(Settings(jwt_algorithm="RS256", jwt_jwks_url=keys.url))
            presented = provider.sign(claims(), "first")
            together = await asyncio.gather(*(verifier.verify(presented) for _ in range(5)), return_exceptions=True)
            assert {type(each) for each in together} == {KeysUnavailable}
            with pytest.raises(KeysUnavailable):
                await verifier.verify(presented)
            assert keys.fetches == 1

    async def test_the_keys_are_asked_for_again_later(
        self, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.authentication._AWAY_S", 0.0)
        async with key_server(b"<html>") as keys:
            verifier = TokenVerifier(Settings(jwt_algorithm="RS256", jwt_jwks_url=keys.url))
            with pytest.raises(KeysUnavailable):
                await verifier.verify(provider.sign(claims(), "first"))
            keys.document = provider.jwks()
            assert (await verifier.verify(provider.sign(claims(), "first"))).user_id == "user-1"

    async def test_a_key_that_is_known_outlasts_a_failed_look_for_another(
        self, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.authentication._FETCHED_AGAIN_S", 0.0)
        async with key_server(provider.jwks()) as keys:
            verifier = TokenVerifier(Settings(jwt_algorithm="RS256", jwt_jwks_url=keys.url))
            await verifier.verify(provider.sign(claims(), "first"))
            keys.document = b"<html>"
            with pytest.raises(KeysUnavailable):
                await verifier.verify(provider.sign(claims(), "first", published_as="perhaps-a-new-one"))
            assert (await verifier.verify(provider.sign(claims(), "first"))).user_id == "user-1"

    async def test_nobody_waits_for_ever(self, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("api.authentication._KEY_WAIT_S", 0.2)
        async with key_server(None) as keys:
            verifier = TokenVerifier(Settings(jwt_algorithm="RS256", jwt_jwks_url=keys.url))
            async with asyncio.timeout(2):
                with pytest.raises(KeysUnavailable):
                    await verifier.verify(provider.sign(claims(), "first"))

    async def test_hs256_in_development(self) -> None:
        verifier = TokenVerifier(hs256())
        assert (await verifier.verify(token("u-1", "operator"))).is_staff
        with pytest.raises(Unauthenticated):
            await verifier.verify(token("u-1", secret="another-secret-of-more-than-32-bytes"))

    async def test_an_rs256_token_is_refused_in_development(self, provider: IdentityProvider) -> None:
        with pytest.raises(Unauthenticated, match="HS256"):
            await TokenVerifier(hs256()).verify(provider.sign(claims(), "first"))

    async def test_the_role_is_checked_after_the_signature(self) -> None:
        with pytest.raises(Forbidden):
            await TokenVerifier(hs256()).verify(token(role="nobody"))

    @pytest.mark.parametrize("settings", [{"jwt_secret": None}, {"jwt_secret": "short"}, {"jwt_algorithm": "RS256"}])
    def test_an_unsafe_configuration_does_not_start(
        self, settings: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HUNTAZE_JWT_SECRET", "HUNTAZE_JWT_JWKS_URL"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(ValueError, match="HUNTAZE_JWT_"):
            TokenVerifier(Settings.model_validate(settings))
