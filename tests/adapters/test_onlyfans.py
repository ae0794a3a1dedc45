"""The OnlyFans gateway through its real SDK: one message a key, and every failure by its right name."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr

from adapters.onlyfans import OnlyFansGateway, open_gateway, plain_text, retry_after_s
from adapters.settings import Settings
from domain.delivery import Delivered
from domain.errors import GatewayError, GatewayFault
from tests.domain.builders import an_account
from tests.local import Simulator

F = GatewayFault
FAN = "1002003"


@pytest.fixture(scope="module")
async def opened(settings: Settings) -> AsyncIterator[OnlyFansGateway]:
    async with open_gateway(settings) as gateway:
        yield gateway


@pytest.fixture
def gateway(opened: OnlyFansGateway, onlyfans: Simulator) -> OnlyFansGateway:
    """A gateway whose other side has just forgotten everything."""
    return opened


@pytest.fixture
async def impatient(settings: Settings, onlyfans: Simulator) -> AsyncIterator[OnlyFansGateway]:
    """A gateway that waits for a fifth of a second."""
    async with open_gateway(settings.model_copy(update={"send_timeout_s": 0.2})) as gateway:
        yield gateway


async def send(
    gateway: OnlyFansGateway,
    text: str = "Hello Maya",
    *,
    account: str = "acct_luna",
    key: UUID | None = None,
    screening: str | None = None,
) -> Delivered:
    return await gateway.send(account_id=account, recipient_id=FAN, text=text, key=key or uuid4(), screening=screening)


async def refusal(gateway: OnlyFansGateway, **options: Any) -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        await send(gateway, **options)
    return refused.value


async def accepted(onlyfans: Simulator) -> int:
    report = await onlyfans.get("report")
    return int(report["totals"]["accepted"])


class TestSend:
    async def test_a_message_arrives_once_where_it_was_sent_to(
        self, gateway: OnlyFansGateway, onlyfans: Simulator
    ) -> None:
        key, account = uuid4(), an_account()
        before = datetime.now(UTC).replace(microsecond=0)
        delivered = await send(gateway, "Grüße, Maya 🎉", account=account, key=key)
        (message,) = (await onlyfans.get("messages"))["messages"]
        assert (message["account"], message["chat_id"], message["text"]) == (account, FAN, "Grüße, Maya 🎉")
        assert message["idempotency_key"] == str(key)
        assert delivered.platform_message_id == str(message["message_id"])
        assert delivered.created_at is not None
        assert delivered.created_at >= before
        assert (delivered.cancel_seconds, delivered.replayed) == (119, False)

    async def test_the_same_key_is_answered_with_the_same_message(
        self, gateway: OnlyFansGateway, onlyfans: Simulator
    ) -> None:
        key = uuid4()
        first, again = await send(gateway, key=key), await send(gateway, key=key)
        assert again.platform_message_id == first.platform_message_id
        assert (first.replayed, again.replayed) == (False, True)
        assert await accepted(onlyfans) == 1

    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            ({"kind": "rate_limited"}, F.THROTTLED),
            ({"kind": "server_error", "status": 500}, F.SERVER_ERROR),
            ({"kind": "server_error", "status": 503}, F.SERVER_ERROR),
            ({"kind": "server_error", "status": 502}, F.SERVER_ERROR),
            ({"kind": "server_error", "status": 504}, F.SERVER_ERROR),
            ({"kind": "timeout_before_accept", "hang_s": 0}, F.SERVER_ERROR),
            ({"kind": "accept_then_timeout", "hang_s": 0}, F.SERVER_ERROR),
            ({"kind": "connection_reset"}, F.UNKNOWN_OUTCOME),
            ({"kind": "connection_reset", "after_accept": True}, F.UNKNOWN_OUTCOME),
            ({"kind": "session_expired"}, F.SESSION_EXPIRED),
            ({"kind": "banned_words"}, F.BANNED_WORDS),
        ],
        ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else value,
    )
    async def test_every_failure_has_its_name_and_a_repetition_never_doubles(
        self, gateway: OnlyFansGateway, onlyfans: Simulator, fault: dict[str, Any], expected: F
    ) -> None:
        await onlyfans.fault(**fault, count=1)
        key = uuid4()
        error = await refusal(gateway, key=key)
        assert (error.fault, error.retry_after_s) == (expected, None)
        if expected is not F.BANNED_WORDS:
            await send(gateway, key=key)
            assert await accepted(onlyfans) == 1

    @pytest.mark.parametrize("seconds", [0, 7, 2.5])
    async def test_when_to_come_back_is_kept(
        self, gateway: OnlyFansGateway, onlyfans: Simulator, seconds: float
    ) -> None:
        await onlyfans.fault("rate_limited", retry_after_s=seconds, count=1)
        assert (await refusal(gateway)).retry_after_s == seconds

    async def test_what_the_platform_still_admits_is_kept(self, gateway: OnlyFansGateway, onlyfans: Simulator) -> None:
        await onlyfans.post("limits", {"per_minute": 2, "per_day": 3})
        left = [await send(gateway) for _ in range(2)]
        assert [(each.remaining_minute, each.remaining_day) for each in left] == [(1, 2), (0, 1)]
        assert (await refusal(gateway)).fault is F.THROTTLED

    async def test_a_replayed_answer_says_nothing_about_what_is_admitted_now(self, gateway: OnlyFansGateway) -> None:
        key = uuid4()
        await send(gateway, key=key)
        again = await send(gateway, key=key)
        assert (again.replayed, again.remaining_minute, again.remaining_day) == (True, None, None)

    async def test_slowness_is_no_failure(self, gateway: OnlyFansGateway, onlyfans: Simulator) -> None:
        await onlyfans.fault("latency", latency_ms=50, count=1)
        await send(gateway)

    @pytest.mark.parametrize(("kind", "arrived"), [("timeout_before_accept", 0), ("accept_then_timeout", 1)])
    async def test_no_answer_in_time_leaves_the_outcome_open(
        self, impatient: OnlyFansGateway, onlyfans: Simulator, kind: str, arrived: int
    ) -> None:
        await onlyfans.fault(kind, count=1)
        key = uuid4()
        assert (await refusal(impatient, key=key)).fault is F.UNKNOWN_OUTCOME
        assert await accepted(onlyfans) == arrived
        assert (await send(impatient, key=key)).replayed is bool(arrived)
        assert await accepted(onlyfans) == 1

    async def test_a_key_whose_first_call_still_runs_leaves_the_outcome_open(
        self, gateway: OnlyFansGateway, onlyfans: Simulator
    ) -> None:
        await onlyfans.fault("latency", latency_ms=500, count=1)
        key = uuid4()
        answers = await asyncio.gather(send(gateway, key=key), send(gateway, key=key), return_exceptions=True)
        (error,) = (answer for answer in answers if isinstance(answer, GatewayError))
        assert error.fault is F.UNKNOWN_OUTCOME
        assert await accepted(onlyfans) == 1

    async def test_a_key_with_another_text_is_an_invalid_request(
        self, gateway: OnlyFansGateway, onlyfans: Simulator
    ) -> None:
        key = uuid4()
        await send(gateway, key=key)
        assert (await refusal(gateway, key=key, text="Something else")).fault is F.INVALID_REQUEST
        assert await accepted(onlyfans) == 1

    async def test_a_text_that_the_gateway_does_not_take_is_an_invalid_request(self, gateway: OnlyFansGateway) -> None:
        assert (await refusal(gateway, text="")).fault is F.INVALID_REQUEST

    @pytest.mark.parametrize(("screening", "text"), [("strict_ban", "blackmail"), ("risky", "a drunk night")])
    async def test_the_gateways_own_screening_refuses(
        self, gateway: OnlyFansGateway, onlyfans: Simulator, screening: str, text: str
    ) -> None:
        assert (await refusal(gateway, text=text, screening=screening)).fault is F.BANNED_WORDS
        await send(gateway, text=text)
        assert await accepted(onlyfans) == 1

    async def test_an_unknown_key_of_ours_is_a_matter_of_authentication(self, settings: Settings) -> None:
        changed = settings.model_copy(update={"onlyfans_api_key": SecretStr("invalid")})
        async with open_gateway(changed) as gateway:
            assert (await refusal(gateway)).fault is F.AUTH

    async def test_an_unknown_address_is_an_unknown_recipient(self, settings: Settings) -> None:
        changed = settings.model_copy(update={"onlyfans_base_url": f"{settings.onlyfans_base_url}/nowhere"})
        async with open_gateway(changed) as gateway:
            assert (await refusal(gateway)).fault is F.RECIPIENT_NOT_FOUND

    async def test_a_refused_connection_sent_nothing(self, settings: Settings) -> None:
        async with open_gateway(settings.model_copy(update={"onlyfans_base_url": "http://127.0.0.1:9"})) as gateway:
            assert (await refusal(gateway)).fault is F.TRANSIENT

    async def test_no_failure_repeats_the_text(self, gateway: OnlyFansGateway, onlyfans: Simulator) -> None:
        await onlyfans.fault("server_error", count=1)
        assert "Hello Maya" not in str(await refusal(gateway))


async def unsend(gateway: OnlyFansGateway, platform_message_id: str) -> None:
    await gateway.unsend(account_id="acct_luna", recipient_id=FAN, platform_message_id=platform_message_id)


class TestUnsend:
    async def test_it_is_gone_from_the_chat(self, gateway: OnlyFansGateway) -> None:
        kept, taken_back = await send(gateway, "Hello Maya"), await send(gateway, "Hello Mia")
        await unsend(gateway, taken_back.platform_message_id)
        assert await find(gateway, "Hello Mia") == []
        (found,) = await find(gateway, "Hello Maya")
        assert found.platform_message_id == kept.platform_message_id

    async def test_what_is_gone_already_counts_as_taken_back(self, gateway: OnlyFansGateway) -> None:
        delivered = await send(gateway)
        await unsend(gateway, delivered.platform_message_id)
        await unsend(gateway, delivered.platform_message_id)
        await unsend(gateway, "4711")

    async def test_what_is_older_than_a_day_stays(self, gateway: OnlyFansGateway, onlyfans: Simulator) -> None:
        delivered = await send(gateway)
        await onlyfans.post("clock", {"advance_s": 86_400})
        with pytest.raises(GatewayError) as refused:
            await unsend(gateway, delivered.platform_message_id)
        assert refused.value.fault is F.INVALID_REQUEST

    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            ({"kind": "rate_limited", "retry_after_s": 3}, F.THROTTLED),
            ({"kind": "server_error"}, F.SERVER_ERROR),
            ({"kind": "session_expired"}, F.SESSION_EXPIRED),
            ({"kind": "connection_reset"}, F.UNKNOWN_OUTCOME),
        ],
        ids=lambda value: value["kind"] if isinstance(value, dict) else value,
    )
    async def test_every_failure_has_its_name(
        self, gateway: OnlyFansGateway, onlyfans: Simulator, fault: dict[str, Any], expected: F
    ) -> None:
        delivered = await send(gateway)
        await onlyfans.fault(**fault, endpoint="unsend", count=1)
        with pytest.raises(GatewayError) as refused:
            await unsend(gateway, delivered.platform_message_id)
        assert refused.value.fault is expected
        await unsend(gateway, delivered.platform_message_id)


async def send_mass(
    gateway: OnlyFansGateway, *, key: UUID | None = None, screening: str | None = None, save_for_later: bool = False
) -> Delivered:
    return await gateway.send_mass(
        account_id="acct_luna",
        recipient_ids=[FAN, "1002004"],
        text="Hello everybody, blackmail is no topic",
        key=key or uuid4(),
        screening=screening,
        save_for_later=save_for_later,
    )


class TestSendMass:
    async def test_every_recipient_has_it_in_the_chat(self, gateway: OnlyFansGateway) -> None:
        delivered = await send_mass(gateway)
        assert delivered.created_at is not None
        assert (delivered.replayed, delivered.cancel_seconds) == (False, None)
        assert delivered.remaining_minute is not None
        for recipient in (FAN, "1002004"):
            found = await gateway.find_sent(
                account_id="acct_luna",
                recipient_id=recipient,
                text="Hello everybody, blackmail is no topic",
                since=datetime.now(UTC),
            )
            assert len(found) == 1

    async def test_saved_for_later_nobody_has_it(self, gateway: OnlyFansGateway) -> None:
        assert (await send_mass(gateway, save_for_later=True)).platform_message_id
        assert await find(gateway, "Hello everybody, blackmail is no topic") == []

    async def test_the_same_key_is_answered_with_the_same_message(
        self, gateway: OnlyFansGateway, onlyfans: Simulator
    ) -> None:
        key = uuid4()
        first, again = await send_mass(gateway, key=key), await send_mass(gateway, key=key)
        assert again.platform_message_id == first.platform_message_id
        assert (again.replayed, again.remaining_minute) == (True, None)

    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            ({"kind": "rate_limited"}, F.THROTTLED),
            ({"kind": "server_error"}, F.SERVER_ERROR),
            ({"kind": "accept_then_timeout", "hang_s": 0}, F.SERVER_ERROR),
            ({"kind": "connection_reset", "after_accept": True}, F.UNKNOWN_OUTCOME),
        ],
        ids=lambda value: value["kind"] if isinstance(value, dict) else value,
    )
    async def test_every_failure_has_its_name_and_a_repetition_never_doubles(
        self, gateway: OnlyFansGateway, onlyfans: Simulator, fault: dict[str, Any], expected: F
    ) -> None:
        await onlyfans.fault(**fault, endpoint="mass", count=1)
        key = uuid4()
        with pytest.raises(GatewayError) as refused:
            await send_mass(gateway, key=key)
        assert refused.value.fault is expected
        delivered = await send_mass(gateway, key=key)
        assert (await send_mass(gateway, key=key)).platform_message_id == delivered.platform_message_id
        chat = await find(gateway, "Hello everybody, blackmail is no topic")
        assert len(chat) == 1

    async def test_the_gateways_own_screening_refuses(self, gateway: OnlyFansGateway) -> None:
        with pytest.raises(GatewayError) as refused:
            await send_mass(gateway, screening="strict_ban")
        assert refused.value.fault is F.BANNED_WORDS


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"Retry-After": "120"}, 120),
            ({"Retry-After": "0"}, 0),
            ({"Retry-After": "2.5"}, 2.5),
            (
                {
                    "Retry-After": "Sun, 22 Nov 2026 05:01:30 GMT",
                    "Date": "Sun, 22 Nov 2026 05:00:00 GMT",
                },
                90,
            ),
            (
                {
                    "Retry-After": "Sunday, 22-Nov-26 05:00:01 GMT",
                    "Date": "Sun, 22 Nov 2026 05:00:00 GMT",
                },
                1,
            ),
            ({"Retry-After": "Sun Nov 22 05:00:07 2026", "Date": "Sun, 22 Nov 2026 05:00:00 GMT"}, 7),
            ({"Retry-After": "Sun, 22 Nov 2015 05:00:00 GMT"}, 0),
            ({"Retry-After": "Sun, 22 Nov 2026 04:00:00 GMT", "Date": "Sun, 22 Nov 2026 05:00:00 GMT"}, 0),
            ({}, None),
            ({"Retry-After": ""}, None),
            ({"Retry-After": "soon"}, None),
            ({"Retry-After": "-3"}, None),
            ({"Retry-After": "nan"}, None),
            ({"Retry-After": "inf"}, None),
        ],
    )
    def test_a_number_of_seconds_or_a_date_by_the_senders_clock(
        self, headers: dict[str, str], seconds: float | None
    ) -> None:
        assert retry_after_s(httpx.Response(429, headers=headers)) == seconds


async def find(
    gateway: OnlyFansGateway, text: str = "Hello Maya", since: datetime | None = None
) -> Sequence[Delivered]:
    return await gateway.find_sent(
        account_id="acct_luna", recipient_id=FAN, text=text, since=since or datetime.now(UTC)
    )


class TestFindSent:
    async def test_a_message_that_was_sent_is_found_with_its_receipt(self, gateway: OnlyFansGateway) -> None:
        delivered = await send(gateway)
        (found,) = await find(gateway)
        assert found.platform_message_id == delivered.platform_message_id
        assert (found.created_at, found.replayed) == (delivered.created_at, True)

    async def test_all_that_say_the_same_are_found_oldest_first(self, gateway: OnlyFansGateway) -> None:
        sent = [await send(gateway) for _ in range(3)]
        assert [each.platform_message_id for each in await find(gateway)] == [each.platform_message_id for each in sent]

    @pytest.mark.parametrize("later", [99, 100, 230])
    async def test_it_is_found_however_many_messages_came_after_it(
        self, gateway: OnlyFansGateway, onlyfans: Simulator, later: int
    ) -> None:
        delivered = await send(gateway)
        fan_writes = {"account": "acct_luna", "chat_id": FAN, "text": "hi"}
        await asyncio.gather(*(onlyfans.post("incoming", fan_writes) for _ in range(later)))
        (found,) = await find(gateway)
        assert found.platform_message_id == delivered.platform_message_id

    async def test_another_text_is_not_it(self, gateway: OnlyFansGateway) -> None:
        await send(gateway, "Hello Mia")
        assert await find(gateway) == []

    async def test_what_the_fan_wrote_is_not_it(self, gateway: OnlyFansGateway, onlyfans: Simulator) -> None:
        await onlyfans.post("incoming", {"account": "acct_luna", "chat_id": FAN, "text": "Hello Maya"})
        assert await find(gateway) == []

    async def test_what_was_sent_long_before_is_not_it(self, gateway: OnlyFansGateway) -> None:
        await send(gateway)
        assert await find(gateway, since=datetime.now(UTC) + timedelta(hours=1)) == []

    async def test_a_clock_that_is_a_little_behind_does_not_hide_it(self, gateway: OnlyFansGateway) -> None:
        await send(gateway)
        assert await find(gateway, since=datetime.now(UTC) + timedelta(minutes=1)) != []

    async def test_an_empty_chat_has_nothing(self, gateway: OnlyFansGateway) -> None:
        assert await find(gateway) == []

    async def test_a_chat_that_can_not_be_read_says_so(self, gateway: OnlyFansGateway, onlyfans: Simulator) -> None:
        await onlyfans.fault("rate_limited", endpoint="list", retry_after_s=3, count=1)
        with pytest.raises(GatewayError) as refused:
            await find(gateway)
        assert (refused.value.fault, refused.value.retry_after_s) == (F.THROTTLED, 3)


class TestCheck:
    async def test_it_costs_nothing_and_names_the_address(
        self, gateway: OnlyFansGateway, onlyfans: Simulator, settings: Settings
    ) -> None:
        assert (await gateway.check())["address"].rstrip("/") == settings.onlyfans_base_url
        assert await accepted(onlyfans) == 0


class TestPlainText:
    @pytest.mark.parametrize(
        "listed",
        ["Hello Maya, 5 < 6 & more", "<p>Hello Maya, 5 &lt; 6 &amp; more</p>", "Hello  Maya,<br />5 &lt; 6 & more"],
    )
    def test_what_the_gateway_lists_as_html_is_what_was_sent(self, listed: str) -> None:
        assert plain_text(listed) == plain_text("Hello Maya, 5 < 6 & more")
