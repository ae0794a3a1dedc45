"""The in-process provider behind the real OpenFeature SDK: values, reasons and errors in the standard's words."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from queue import Queue
from typing import Any
from uuid import uuid4

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus
from redis.asyncio import Redis

from adapters.dynamodb import Dynamo
from adapters.flag import DynamoFlags, channel_of, stored_flags
from adapters.flag_snapshot import FlagSnapshot
from adapters.openfeature import REASONS, FlagsProvider, details_of
from adapters.redis import RedisClient
from domain.flag import FlagConfig, FlagDecision, FlagReason, changed
from domain.flag_evaluation import NO_BUCKET, bucket

NOW = datetime(2026, 11, 22, tzinfo=UTC)

Stored = Callable[..., Awaitable[str]]


@pytest.fixture
def snapshot(dynamo: Dynamo, redis: RedisClient) -> FlagSnapshot:
    """A snapshot that reads when it is told to."""
    assert isinstance(redis, Redis)
    return FlagSnapshot(partial(stored_flags, dynamo), redis, channel_of(dynamo), {})


@pytest.fixture
def stored(dynamo: Dynamo, redis: RedisClient, snapshot: FlagSnapshot) -> Stored:
    """Stores a flag, and answers its name once the snapshot has it."""

    async def store(**config: Any) -> str:
        name = f"flag-{uuid4().hex[:8]}"
        wanted = FlagConfig.model_validate({"name": name, "enabled": True, **config})
        flag, entry = changed(None, wanted, actor="ana", at=NOW, reason="test")
        assert await DynamoFlags(dynamo, redis).put(flag, entry)
        await snapshot.refresh()
        return name

    return store


@pytest.fixture
async def client(snapshot: FlagSnapshot) -> AsyncIterator[OpenFeatureClient]:
    """The SDK's client in a domain of this test alone."""
    domain = uuid4().hex
    api.set_provider_and_wait(FlagsProvider(snapshot), domain)
    yield api.get_client(domain)
    api.clear_providers()


def user(name: str = "user-1", **attributes: Any) -> EvaluationContext:
    return EvaluationContext(name, attributes)


class TestValues:
    @pytest.mark.parametrize(
        ("config", "attributes", "value", "reason", "ours"),
        [
            ({"enabled": False}, {}, False, Reason.DISABLED, "disabled"),
            ({"userWhitelist": ["user-1"]}, {}, True, Reason.TARGETING_MATCH, "allow_list"),
            ({"userBlacklist": ["user-1"]}, {}, False, Reason.TARGETING_MATCH, "deny_list"),
            ({"rolloutPercentage": 100}, {}, True, Reason.SPLIT, "in_rollout"),
            ({"rolloutPercentage": 0}, {}, False, Reason.SPLIT, "not_in_rollout"),
            ({"conditions": {"userTier": ["vip"]}}, {"userTier": "new"}, False, Reason.DEFAULT, "condition_user_tier"),
            ({"conditions": {"accountAge": 30}}, {"accountAge": 29}, False, Reason.DEFAULT, "condition_account_age"),
            ({"conditions": {"region": ["fr"]}}, {}, False, Reason.DEFAULT, "condition_region"),
            ({"conditions": {"platform": ["web"]}}, {"platform": "ios"}, False, Reason.DEFAULT, "condition_platform"),
        ],
    )
    async def test_with_their_reason(
        self,
        client: OpenFeatureClient,
        stored: Stored,
        config: dict[str, Any],
        attributes: dict[str, Any],
        value: bool,
        reason: Reason,
        ours: str,
    ) -> None:
        name = await stored(**config)
        # The other value as the default, so that it can't be mistaken for the answer.
        found = client.get_boolean_details(name, not value, user(**attributes))
        assert (found.value, found.reason, found.error_code) == (value, reason, None)
        assert found.variant == ("on" if value else "off")
        assert (found.flag_metadata["reason"], found.flag_metadata["revision"]) == (ours, 1)

    async def test_every_attribute_reaches_the_conditions(self, client: OpenFeatureClient, stored: Stored) -> None:
        name = await stored(
            rolloutPercentage=100,
            conditions={"userTier": ["vip"], "accountAge": 30, "region": ["fr"], "platform": ["web"]},
        )
        known = user(userTier="vip", accountAge=30, region="fr", platforms=["ios", "web"], shoeSize=43)
        assert client.get_boolean_value(name, False, known)

    async def test_a_bucket_is_told_where_one_was_drawn(self, client: OpenFeatureClient, stored: Stored) -> None:
        drawn, listed = await stored(rolloutPercentage=100), await stored(userWhitelist=["user-1"])
        assert client.get_boolean_details(drawn, False, user()).flag_metadata["bucket"] == bucket(drawn, "user-1")
        assert "bucket" not in client.get_boolean_details(listed, False, user()).flag_metadata

    async def test_asynchronous_callers_get_the_same(self, client: OpenFeatureClient, stored: Stored) -> None:
        name = await stored(rolloutPercentage=50)
        for number in range(20):
            someone = user(f"user-{number}")
            there = await client.get_boolean_details_async(name, False, someone)
            assert there == client.get_boolean_details(name, False, someone)

    def test_every_reason_has_one_of_the_standard(self) -> None:
        without_a_value = {FlagReason.UNKNOWN_FLAG, FlagReason.NO_SNAPSHOT}
        assert set(FlagReason) - REASONS.keys() == without_a_value
        for reason in REASONS:
            assert details_of(FlagDecision("a", True, reason, NO_BUCKET, 1)).reason == REASONS[reason]


class TestEvents:
    async def test_a_change_is_told_with_the_flags_name(self, client: OpenFeatureClient, stored: Stored) -> None:
        told: Queue[EventDetails] = Queue()
        await stored()
        client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, told.put)
        name = await stored()
        found = await asyncio.to_thread(told.get, timeout=30)
        assert (found.provider_name, found.flags_changed) == ("huntaze", [name])

    async def test_only_changes_are_told_and_only_until_the_provider_is_shut_down(
        self, snapshot: FlagSnapshot, stored: Stored
    ) -> None:
        told: list[list[str] | None] = []
        provider = FlagsProvider(snapshot)
        provider.attach(lambda _provider, _event, details: told.append(details.flags_changed))
        await stored()
        provider.initialize(EvaluationContext())
        name = await stored()
        await snapshot.refresh()
        assert told == [[name]]
        provider.shutdown()
        await stored()
        assert told == [[name]]


class TestErrors:
    async def test_no_snapshot_yet(self, client: OpenFeatureClient) -> None:
        found = client.get_boolean_details("hybrid-orchestrator", True, user())
        assert (found.value, found.reason, found.error_code) == (True, Reason.ERROR, ErrorCode.PROVIDER_NOT_READY)
        # It is the snapshot that is missing, and may come at any moment.
        assert client.get_provider_status() is ProviderStatus.READY

    async def test_an_unknown_flag(self, client: OpenFeatureClient, stored: Stored) -> None:
        await stored()
        found = client.get_boolean_details("nothing", True, user())
        assert (found.value, found.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)
        assert client.get_string_details("nothing", "x", user()).error_code is ErrorCode.FLAG_NOT_FOUND

    @pytest.mark.parametrize("nobody", [None, EvaluationContext(), user("")])
    async def test_nobody_to_evaluate_for(
        self, client: OpenFeatureClient, stored: Stored, nobody: EvaluationContext | None
    ) -> None:
        found = client.get_boolean_details(await stored(), True, nobody)
        assert (found.value, found.error_code) == (True, ErrorCode.TARGETING_KEY_MISSING)

    @pytest.mark.parametrize(
        ("attribute", "wrong"), [("accountAge", "old"), ("accountAge", -1), ("userTier", 3), ("platforms", [1])]
    )
    async def test_an_attribute_of_the_wrong_kind_is_named(
        self, client: OpenFeatureClient, stored: Stored, attribute: str, wrong: Any
    ) -> None:
        found = client.get_boolean_details(await stored(), True, user(**{attribute: wrong}))
        assert (found.value, found.error_code) == (True, ErrorCode.INVALID_CONTEXT)
        assert (found.error_message or "").startswith(f"{attribute}: ")

    @pytest.mark.parametrize(
        ("name", "context"),
        [
            ("targetingKey", user("\ud800")),
            ("userTier", user(userTier="\ud800")),
            ("region", user(region="\udfff")),
            ("platforms", user(platform="web", platforms=["ios", "\ud800"])),
        ],
    )
    async def test_what_is_no_text_is_named(
        self, client: OpenFeatureClient, stored: Stored, name: str, context: EvaluationContext
    ) -> None:
        found = client.get_boolean_details(await stored(), True, context)
        assert (found.value, found.error_code) == (True, ErrorCode.INVALID_CONTEXT)
        assert (found.error_message or "").startswith(f"{name}: ")

    async def test_any_other_type_is_a_mismatch(self, client: OpenFeatureClient, stored: Stored) -> None:
        name = await stored(rolloutPercentage=100)
        asked: list[tuple[Any, Any]] = [
            (client.get_string_details, "default"),
            (client.get_integer_details, 7),
            (client.get_float_details, 0.5),
            (client.get_object_details, {"a": 1}),
        ]
        for ask, default in asked:
            found = ask(name, default, user())
            assert (found.value, found.error_code) == (default, ErrorCode.TYPE_MISMATCH)
