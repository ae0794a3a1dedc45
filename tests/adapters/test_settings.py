"""Configuration: strict in production, and silent about secrets."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.settings import Environment, Settings
from domain.rate_limit import AccountTier, Cap, LimitPolicy, MessageType

PRODUCTION = {
    "HUNTAZE_ENVIRONMENT": "production",
    "HUNTAZE_JWT_ALGORITHM": "RS256",
    "HUNTAZE_JWT_JWKS_URL": "https://id.example/jwks.json",
    "ONLYFANSAPI_API_KEY": "key-of-gateway",
    "HUNTAZE_WEBHOOK_SECRET": "key-of-webhooks",
    "OPENAI_API_KEY": "key-of-openai",
    "AZURE_OPENAI_API_KEY": "key-of-azure",
    "AZURE_OPENAI_ENDPOINT": "https://huntaze.openai.azure.com",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment of this test alone, complete for production."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HUNTAZE_{name.upper()}", raising=False)
    for name in ("LEGACY_BASE_URL", "OPENAI_BASE_URL", "OPENAI_API_VERSION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def read() -> Settings:
    """Settings from the environment alone."""
    without_file: dict[str, Any] = {"_env_file": None}
    return Settings(**without_file)


class TestProduction:
    @pytest.mark.usefixtures("environment")
    def test_it_starts_when_everything_is_there(self) -> None:
        assert read().environment is Environment.PRODUCTION

    def test_with_a_legacy_system_it_is_decided_whose_word_counts(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("LEGACY_BASE_URL", "https://legacy.example/base")
        with pytest.raises(ValidationError, match="HUNTAZE_LEGACY_TRUSTS_USER_ID"):
            read()
        environment.setenv("HUNTAZE_LEGACY_TRUSTS_USER_ID", "false")
        assert not read().trusts_legacy_user_id

    @pytest.mark.parametrize("name", sorted(PRODUCTION.keys() - {"HUNTAZE_ENVIRONMENT"}))
    def test_whatever_is_missing_is_named(self, environment: pytest.MonkeyPatch, name: str) -> None:
        environment.delenv(name)
        with pytest.raises(ValidationError, match=name):
            read()

    def test_a_shared_secret_is_for_development_only(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("HUNTAZE_JWT_ALGORITHM", "HS256")
        environment.setenv("HUNTAZE_JWT_SECRET", "s" * 48)
        with pytest.raises(ValidationError, match="RS256"):
            read()

    @pytest.mark.parametrize(
        "ceiling",
        [
            {"limit": 11, "seconds": 60},
            {"limit": 10, "seconds": 59},
            {"limit": None, "seconds": 60},
        ],
        ids=str,
    )
    def test_the_ceiling_of_an_account_can_not_be_loosened(
        self, environment: pytest.MonkeyPatch, ceiling: dict[str, float | None]
    ) -> None:
        environment.setenv("HUNTAZE_RATE_LIMITS", json.dumps({"ceiling": ceiling}))
        with pytest.raises(ValidationError, match="10 messages in any 60 s"):
            read()
        environment.setenv("HUNTAZE_ENVIRONMENT", "development")
        assert read().limit_policy.ceiling == Cap.model_validate(ceiling)

    @pytest.mark.parametrize("ceiling", [{"limit": 4, "seconds": 60}, {"limit": 10, "seconds": 60.5}], ids=str)
    def test_the_ceiling_of_an_account_can_be_tightened(
        self, environment: pytest.MonkeyPatch, ceiling: dict[str, float]
    ) -> None:
        environment.setenv("HUNTAZE_RATE_LIMITS", json.dumps({"ceiling": ceiling}))
        assert read().limit_policy.ceiling == Cap.model_validate(ceiling)

    def test_windows_keep_their_length(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("HUNTAZE_LIMIT_TIME_SCALE", "0.5")
        with pytest.raises(ValidationError, match="HUNTAZE_LIMIT_TIME_SCALE"):
            read()
        environment.setenv("HUNTAZE_ENVIRONMENT", "development")
        assert read().limit_policy.ceiling == Cap(limit=10, seconds=30)

    def test_development_needs_none_of_it(self, environment: pytest.MonkeyPatch) -> None:
        for name in PRODUCTION:
            environment.delenv(name)
        assert read().environment is Environment.DEVELOPMENT


class TestSecrets:
    def test_no_secret_is_ever_printed(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("HUNTAZE_JWT_SECRET", "secret-of-tokens")
        environment.setenv("HUNTAZE_REDIS_URL", "rediss://user:secret-of-redis@cache:6379/0")
        settings = read()
        for shown in (repr(settings), str(settings), f"{settings}", settings.model_dump_json()):
            assert "key-of-" not in shown
            assert "secret-of-tokens" not in shown
        for shown in (repr(settings), str(settings), f"{settings}"):
            assert "secret-of-redis" not in shown

    def test_a_refusal_prints_no_secret(self, environment: pytest.MonkeyPatch) -> None:
        environment.delenv("OPENAI_API_KEY")
        with pytest.raises(ValidationError) as refused:
            read()
        assert "key-of-" not in str(refused.value)


class TestNames:
    @pytest.mark.usefixtures("environment")
    def test_names_that_the_ecosystem_knows_are_kept(self) -> None:
        settings = read()
        assert settings.openai_api_key.get_secret_value() == "key-of-openai"
        assert settings.onlyfans_api_key.get_secret_value() == "key-of-gateway"
        assert settings.azure_openai_endpoint == "https://huntaze.openai.azure.com"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PAGE_SIZE", "0"),
            ("PAGE_SIZE", "101"),
            ("SEND_TIMEOUT_S", "0"),
            ("API_PORT", "65536"),
            ("JWT_ALGORITHM", "none"),
        ],
    )
    def test_a_value_out_of_bounds_is_refused(self, environment: pytest.MonkeyPatch, name: str, value: str) -> None:
        environment.setenv(f"HUNTAZE_{name}", value)
        with pytest.raises(ValidationError, match=name.lower()):
            read()


class TestLimits:
    @pytest.mark.usefixtures("environment")
    def test_without_a_word_they_are_those_of_the_policy(self) -> None:
        assert read().limit_policy == LimitPolicy()

    def test_what_is_left_out_keeps_its_default(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv(
            "HUNTAZE_RATE_LIMITS",
            '{"tiers": {"new": [{"limit": 1, "seconds": 60}]}, "messageTypes": {"custom": []}, "pacingMs": 1500}',
        )
        policy, default = read().limit_policy, LimitPolicy()
        assert policy.tiers == default.tiers | {AccountTier.NEW: (Cap(limit=1, seconds=60),)}
        assert policy.message_types == default.message_types | {MessageType.CUSTOM: ()}
        assert (policy.pacing_ms, policy.recipient, policy.system) == (1500, default.recipient, default.system)

    @pytest.mark.parametrize("content", ['{"tier": {}}', '{"recipient": [{"limit": -1, "seconds": 60}]}'])
    def test_a_misspelling_or_a_senseless_limit_is_refused(self, environment: pytest.MonkeyPatch, content: str) -> None:
        environment.setenv("HUNTAZE_RATE_LIMITS", content)
        with pytest.raises(ValidationError, match="rate_limits"):
            read()


class TestLease:
    def test_a_slot_outlives_the_longest_send(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("HUNTAZE_SEND_TIMEOUT_S", "2.5")
        environment.setenv("HUNTAZE_LEASE_GRACE_S", "1.5")
        assert read().lease_ms == 5_500
