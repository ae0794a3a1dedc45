"""The OnlyFans simulator, called through the real SDK."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from onlyfansapi import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncOnlyFansAPI,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    UnprocessableEntityError,
)

from local.faults import FaultBook, FaultRule
from local.onlyfans.book import max_in_window
from tests.local import Simulator, running

ACCOUNT, CHAT = "acct_one", "4711"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Simulator]:
    async with running("local.onlyfans") as simulator:
        yield simulator


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(server: Simulator) -> Simulator:
    await server.reset()
    return server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(server: Simulator) -> AsyncIterator[AsyncOnlyFansAPI]:
    async with AsyncOnlyFansAPI(api_key="key", base_url=server.url, max_retries=0, timeout=10) as sdk:
        yield sdk


@pytest.fixture
def sdk(gateway: Simulator, client: AsyncOnlyFansAPI) -> AsyncOnlyFansAPI:
    """The SDK in front of a gateway that has just forgotten everything."""
    return client


async def send(sdk: AsyncOnlyFansAPI, text: str = "Hello", key: str | None = None, **options: Any) -> int:
    """Sends a message; answers its id."""
    if key is not None:
        options["idempotency_key"] = key
    options.setdefault("account", ACCOUNT)
    sent = await sdk.chats.messages.send(options.pop("chat_id", CHAT), text=text, **options)
    assert sent.data is not None
    assert sent.data.id is not None
    return sent.data.id


async def texts(sdk: AsyncOnlyFansAPI, **query: Any) -> list[str | None]:
    page = await sdk.chats.messages.list(CHAT, account=ACCOUNT, **query)
    assert page.data is not None
    return [message.text for message in page.data]


def body_of(error: APIStatusError) -> dict[str, Any]:
    assert isinstance(error.body, dict)
    return error.body


class TestSend:
    async def test_the_answer_carries_what_the_product_needs(self, sdk: AsyncOnlyFansAPI) -> None:
        sent = await sdk.chats.messages.send(CHAT, account=ACCOUNT, text="Hello")
        assert sent.data is not None
        assert sent.data.text == "Hello"
        assert sent.data.cancel_seconds == 119
        assert sent.data.created_at is not None
        meta = sent.api_meta
        assert meta is not None
        assert meta.api_credits is not None
        assert meta.api_credits.used == 1
        assert meta.api_rate_limits is not None
        assert (meta.api_rate_limits.limit_minute, meta.api_rate_limits.remaining_minute) == (1000, 999)
        assert (meta.api_rate_limits.limit_day, meta.api_rate_limits.remaining_day) == (50_000, 49_999)

    async def test_a_paid_message_with_media(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await send(sdk, "For you", price=12, media_files=["ofapi_media_1"])
        [entry] = (await gateway.get("messages", account=ACCOUNT))["messages"]
        assert entry["price"] == 12

    @pytest.mark.parametrize(
        "options",
        [
            {"text": ""},
            {"text": "x", "price": 2, "media_files": ["m"]},
            {"text": "x", "price": 201, "media_files": ["m"]},
            {"text": "x", "price": 10},
        ],
        ids=["no text", "too cheap", "too dear", "price without media"],
    )
    async def test_what_makes_no_sense_is_refused(
        self, gateway: Simulator, sdk: AsyncOnlyFansAPI, options: dict[str, Any]
    ) -> None:
        with pytest.raises(UnprocessableEntityError):
            await send(sdk, **options)
        assert (await gateway.get("report"))["totals"]["accepted"] == 0

    @pytest.mark.parametrize(
        ("level", "found"),
        [("strict_ban", ["underage", "escort"]), ("risky", ["escort"]), ("replace_soften", [])],
    )
    async def test_banned_words_are_listed_by_tier(self, sdk: AsyncOnlyFansAPI, level: Any, found: list[str]) -> None:
        text = "An escort, underage"
        if not found:
            await send(sdk, text, block_banned_words=level)
            return
        with pytest.raises(UnprocessableEntityError) as refused:
            await send(sdk, text, block_banned_words=level)
        assert body_of(refused.value)["banned_words"] == found

    async def test_an_invalid_key_is_refused(self, sdk: AsyncOnlyFansAPI) -> None:
        with pytest.raises(AuthenticationError):
            await send(sdk.with_options(api_key="invalid"))

    async def test_whoami_names_the_team(self, sdk: AsyncOnlyFansAPI) -> None:
        team = (await sdk.whoami.retrieve()).team
        assert team is not None
        assert team.slug == "local-team"


class TestIdempotency:
    async def test_the_same_request_is_replayed(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        first = await send(sdk, key="k1")
        raw = await sdk.chats.messages.with_raw_response.send(CHAT, account=ACCOUNT, text="Hello", idempotency_key="k1")
        replayed = await raw.parse()
        assert raw.headers["Idempotent-Replayed"] == "true"
        assert replayed.data is not None
        assert replayed.data.id == first
        assert replayed.api_meta is not None
        assert replayed.api_meta.api_credits is not None
        assert replayed.api_meta.api_credits.used == 0
        report = await gateway.get("report")
        assert report["accounts"][ACCOUNT]["accepted"] == 1
        assert report["accounts"][ACCOUNT]["replays"] == 1
        assert report["totals"]["by_idempotency_key"] == {"k1": 1}

    async def test_a_key_counts_for_its_account_alone(self, sdk: AsyncOnlyFansAPI) -> None:
        first = await send(sdk, key="k")
        assert await send(sdk, key="k", account="acct_two") != first

    @pytest.mark.parametrize("other", [{"text": "Other"}, {"chat_id": "4712"}])
    async def test_another_body_or_chat_is_a_mismatch(self, sdk: AsyncOnlyFansAPI, other: dict[str, Any]) -> None:
        await send(sdk, key="k")
        with pytest.raises(UnprocessableEntityError) as refused:
            await send(sdk, key="k", **other)
        assert body_of(refused.value)["code"] == "IDEMPOTENCY_KEY_MISMATCH"

    async def test_a_running_request_is_a_conflict(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await gateway.fault("latency", latency_ms=1500, count=1)
        first = asyncio.create_task(send(sdk, key="k"))
        while (await gateway.get("faults"))["faults"][0]["fired"] == 0:
            pass
        with pytest.raises(ConflictError) as refused:
            await send(sdk, key="k")
        assert body_of(refused.value)["code"] == "IDEMPOTENCY_CONFLICT"
        assert await send(sdk, key="k2") > 0
        assert await first == await send(sdk, key="k")

    async def test_an_unusable_key_is_refused(self, sdk: AsyncOnlyFansAPI) -> None:
        with pytest.raises(BadRequestError) as refused:
            await send(sdk, key="k" * 256)
        assert body_of(refused.value)["code"] == "IDEMPOTENCY_KEY_INVALID"
        assert await send(sdk, key="k" * 255) > 0

    async def test_a_key_is_forgotten_after_a_day(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        first = await send(sdk, key="k")
        await gateway.post("clock", {"advance_s": 86_399})
        assert await send(sdk, key="k") == first
        await gateway.post("clock", {"advance_s": 2})
        assert await send(sdk, key="k") != first
        report = await gateway.get("report")
        assert report["totals"]["duplicate_count"] == 1
        assert report["totals"]["duplicates"][0]["idempotency_keys"] == ["k", "k"]

    @pytest.mark.parametrize("kind", ["rate_limited", "server_error", "session_expired"])
    async def test_what_settles_nothing_is_not_stored(
        self, gateway: Simulator, sdk: AsyncOnlyFansAPI, kind: str
    ) -> None:
        await gateway.fault(kind, count=1)
        with pytest.raises(APIStatusError):
            await send(sdk, key="k")
        assert await send(sdk, key="k") > 0

    async def test_a_refusal_is_stored(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await gateway.fault("banned_words", count=1, words=["moon"])
        for _ in range(2):
            with pytest.raises(UnprocessableEntityError) as refused:
                await send(sdk, key="k")
            assert body_of(refused.value)["banned_words"] == ["moon"]


class TestChats:
    async def test_a_chat_is_listed_newest_first_in_pages(self, sdk: AsyncOnlyFansAPI) -> None:
        ids = [await send(sdk, f"text {number}") for number in range(12)]
        assert await texts(sdk) == [f"text {number}" for number in range(11, 1, -1)]
        assert await texts(sdk, first_id=str(ids[2])) == ["text 1", "text 0"]
        assert await texts(sdk, order="asc", last_id=str(ids[10]), limit="100") == ["text 10", "text 11"]
        page = await sdk.chats.messages.list(CHAT, account=ACCOUNT, limit="5")
        assert page.api_pagination is not None
        assert str(page.api_pagination.next_page).endswith(f"first_id={ids[7]}")
        with pytest.raises(UnprocessableEntityError):
            await texts(sdk, limit="101")

    async def test_a_fans_message_is_told_apart(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await send(sdk)
        await gateway.post("incoming", {"account": ACCOUNT, "chat_id": CHAT, "text": "Hi back"})
        page = await sdk.chats.messages.list(CHAT, account=ACCOUNT)
        assert page.data is not None
        assert [(message.text, message.is_sent_by_me) for message in page.data] == [
            ("Hi back", False),
            ("Hello", True),
        ]
        assert (await gateway.get("report"))["totals"]["accepted"] == 1

    async def test_a_young_message_can_be_taken_back(self, sdk: AsyncOnlyFansAPI) -> None:
        message_id = str(await send(sdk))
        deleted = await sdk.chats.messages.delete(message_id, account=ACCOUNT, chat_id=CHAT)
        assert deleted.data is not None
        assert deleted.data.success is True
        assert await texts(sdk) == []
        with pytest.raises(NotFoundError):
            await sdk.chats.messages.delete(message_id, account=ACCOUNT, chat_id=CHAT)

    async def test_an_old_message_stays(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        message_id = str(await send(sdk))
        await gateway.post("clock", {"advance_s": 86_401})
        with pytest.raises(UnprocessableEntityError):
            await sdk.chats.messages.delete(message_id, account=ACCOUNT, chat_id=CHAT)

    async def test_a_mass_message_reaches_the_named_fans(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        sent = await sdk.mass_messaging.send(ACCOUNT, text="All of you", user_ids=[CHAT, "4712"])
        assert sent.data is not None
        assert (sent.data.total, sent.data.is_done) == (2, True)
        assert await texts(sdk) == ["All of you"]
        later = await sdk.mass_messaging.send(ACCOUNT, text="Later", user_ids=[CHAT], save_for_later=True)
        assert later.data is not None
        assert later.data.pending == 1
        report = (await gateway.get("report"))["accounts"][ACCOUNT]
        assert (report["accepted"], report["mass_messages"], report["mass_recipients"]) == (0, 2, 3)

    async def test_a_mass_message_is_sent_once_a_key(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        for _ in range(2):
            await sdk.mass_messaging.send(ACCOUNT, text="All", user_ids=[CHAT], extra_headers={"Idempotency-Key": "m"})
        [mass] = (await gateway.get("messages", account=ACCOUNT))["mass_messages"]
        assert mass["idempotency_key"] == "m"
        assert list(mass["copies"]) == [CHAT]

    async def test_fans_come_in_pages(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        fan = {"id": 99, "name": "Zed", "subscribedOnData": {"totalSumm": 1_000_000}}
        await gateway.post("fans", {"account": ACCOUNT, "count": 24, "fans": [fan]})
        seen: list[int | None] = []
        more = True
        while more:
            page = (await sdk.fans.list_active(ACCOUNT, limit=20, offset=len(seen))).data
            assert page is not None
            assert page.list is not None
            seen += [entry.id for entry in page.list]
            more = bool(page.has_more)
        assert len(set(seen)) == 25
        for choice in ({"query": "zed"}, {"filter": {"total_spent": 999_999}}):
            found = (await sdk.fans.list_active(ACCOUNT, **choice)).data
            assert found is not None
            assert [entry.id for entry in found.list or ()] == [99]


class TestFaults:
    async def test_a_rate_limit_says_when_to_come_back(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await gateway.fault("rate_limited", count=1, retry_after_s=7)
        await gateway.fault("rate_limited", count=1)
        with pytest.raises(RateLimitError) as first:
            await send(sdk)
        with pytest.raises(RateLimitError) as second:
            await send(sdk)
        assert first.value.response.headers["Retry-After"] == "7"
        assert "Retry-After" not in second.value.response.headers

    async def test_a_server_error(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await gateway.fault("server_error", status=502)
        with pytest.raises(InternalServerError) as failed:
            await send(sdk)
        assert failed.value.status_code == 502

    async def test_a_server_error_after_the_acceptance_has_sent(
        self, gateway: Simulator, sdk: AsyncOnlyFansAPI
    ) -> None:
        await gateway.fault("server_error", count=1, after_accept=True)
        with pytest.raises(InternalServerError):
            await send(sdk, key="k")
        assert await texts(sdk) == ["Hello"]
        await send(sdk, key="k")
        assert await texts(sdk) == ["Hello", "Hello"]

    async def test_a_message_may_arrive_after_its_server_error(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await gateway.fault("server_error", count=1, after_accept=True, arrives_after_s=0.5)
        with pytest.raises(InternalServerError):
            await send(sdk)
        async with asyncio.timeout(20):
            while not await texts(sdk):
                await asyncio.sleep(0.02)
        assert (await gateway.get("accepted"))["accepted"] == 1

    async def test_an_expired_session(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await gateway.fault("session_expired", account=ACCOUNT, endpoint="any")
        with pytest.raises(AuthenticationError) as failed:
            await sdk.fans.list_active(ACCOUNT)
        assert body_of(failed.value)["code"] == "SESSION_EXPIRED"
        assert await send(sdk, account="acct_two") > 0

    async def test_a_timeout_before_the_acceptance_sends_nothing(
        self, gateway: Simulator, sdk: AsyncOnlyFansAPI
    ) -> None:
        await gateway.fault("timeout_before_accept", count=1)
        with pytest.raises(APITimeoutError):
            await send(sdk, key="k", timeout=0.2)
        assert (await gateway.get("report"))["totals"]["accepted"] == 0
        await send(sdk, key="k")
        assert await texts(sdk) == ["Hello"]

    async def test_a_timeout_after_the_acceptance_has_sent(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await gateway.fault("accept_then_timeout", count=1)
        with pytest.raises(APITimeoutError):
            await send(sdk, key="k", timeout=1)
        assert await texts(sdk) == ["Hello"]
        await send(sdk, key="k")
        report = await gateway.get("report")
        assert report["accounts"][ACCOUNT]["accepted"] == 1
        assert report["accounts"][ACCOUNT]["replays"] == 1

    async def test_a_hanging_gateway_gives_up_in_the_end(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await gateway.fault("timeout_before_accept", hang_s=0)
        with pytest.raises(InternalServerError) as failed:
            await send(sdk)
        assert failed.value.status_code == 504

    @pytest.mark.parametrize("after_accept", [False, True])
    async def test_a_reset_connection(self, gateway: Simulator, sdk: AsyncOnlyFansAPI, after_accept: bool) -> None:
        await gateway.fault("connection_reset", count=1, after_accept=after_accept)
        with pytest.raises(APIConnectionError) as failed:
            await send(sdk, key="k")
        assert isinstance(failed.value.__cause__, httpx.ReadError)
        assert (await gateway.get("report"))["totals"]["accepted"] == int(after_accept)
        await send(sdk, key="k")
        assert (await gateway.get("report"))["totals"]["accepted"] == 1

    async def test_faults_keep_to_their_scope_and_are_counted(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await gateway.fault("server_error", chat_id="4712")
        await send(sdk)
        with pytest.raises(InternalServerError):
            await send(sdk, chat_id="4712")
        assert [rule["fired"] for rule in (await gateway.get("faults"))["faults"]] == [1]
        await gateway.http.delete("/_control/faults")
        await send(sdk, chat_id="4712")

    async def test_the_same_seed_draws_the_same_faults(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        async def draws() -> list[bool]:
            await gateway.reset()
            await gateway.fault("server_error", probability=0.5, seed=3)
            outcomes = await asyncio.gather(*(send(sdk) for _ in range(20)), return_exceptions=True)
            return sorted(isinstance(outcome, InternalServerError) for outcome in outcomes)

        first = await draws()
        assert first == await draws()
        assert 0 < sum(first) < 20

    def test_several_probable_faults_are_independent(self) -> None:
        draws, probability, kinds = 4_000, 0.1, ("a", "b", "c", "d")

        def fired(seeds: tuple[int, ...]) -> list[str | None]:
            book: FaultBook[FaultRule] = FaultBook()
            for kind, seed in zip(kinds, seeds, strict=True):
                book.add(FaultRule(kind=kind, probability=probability, seed=seed))
            strikes = [book.strike(lambda _rule: True) for _ in range(draws)]
            return [strike.rule.kind if strike.rule else None for strike in strikes]

        alike, different = fired((1, 1, 1, 1)), fired((1, 2, 3, 4))
        assert alike != different
        for outcome in (alike, different):
            left = float(draws)
            for kind in kinds:
                # A rule is asked only when none before it struck; five standard deviations of what is left.
                expected = left * probability
                assert abs(outcome.count(kind) - expected) < 5 * (expected * (1 - probability)) ** 0.5
                left -= outcome.count(kind)

    async def test_several_probable_faults_are_in_force_at_once(self, gateway: Simulator) -> None:
        await gateway.fault("server_error", probability=0.3, seed=1)
        await gateway.fault("rate_limited", probability=0.3, seed=2)
        headers = {"Authorization": "Bearer key"}
        path = f"/api/{ACCOUNT}/chats/{CHAT}/messages"
        statuses = [
            (await gateway.http.post(path, json={"text": "Hello"}, headers=headers)).status_code for _ in range(60)
        ]
        assert set(statuses) == {200, 429, 503}
        fired = [rule["fired"] for rule in (await gateway.get("faults"))["faults"]]
        assert fired == [statuses.count(503), statuses.count(429)]

    async def test_the_platform_can_enforce_a_limit(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        await gateway.post("limits", {"per_minute": 2})
        await send(sdk)
        await gateway.post("clock", {"advance_s": 50})
        await send(sdk)
        with pytest.raises(RateLimitError) as refused:
            await send(sdk, key="k")
        assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 10
        await gateway.post("clock", {"advance_s": 10})
        await send(sdk, key="k")
        assert (await gateway.get("report"))["accounts"][ACCOUNT]["max_in_window"] == 2


class TestBook:
    async def test_windows_slide(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        for pause_s in (0, 45, 10, 10):
            await gateway.post("clock", {"advance_s": pause_s})
            await send(sdk, f"after {pause_s}")
        assert (await gateway.get("report", window=60))["accounts"][ACCOUNT]["max_in_window"] == 3
        assert (await gateway.get("report", window=15))["accounts"][ACCOUNT]["max_in_window"] == 2
        assert (await gateway.get("report", window=120))["accounts"][ACCOUNT]["max_in_window"] == 4

    async def test_one_report_tells_of_several_windows_in_every_layer(
        self, gateway: Simulator, sdk: AsyncOnlyFansAPI
    ) -> None:
        for pause_s, account, chat in (
            (0, ACCOUNT, "1"),
            (0, ACCOUNT, "2"),
            (30, ACCOUNT, "1"),
            (0, "acct_two", "1"),
            (50, "acct_two", "1"),
        ):
            await gateway.post("clock", {"advance_s": pause_s})
            await send(sdk, f"after {pause_s}", account=account, chat_id=chat)
        report = await gateway.get("report", window=[20, 60, 120])
        assert (report["window"], report["windows"]) == (20, [20, 60, 120])
        assert report["accounts"][ACCOUNT]["max_in_window"] == 2
        assert report["accounts"][ACCOUNT]["max_in_windows"] == [2, 3, 3]
        assert report["accounts"]["acct_two"]["max_in_windows"] == [1, 2, 2]
        assert report["recipients"] == {"count": 3, "max_in_windows": [1, 2, 2]}
        assert report["totals"]["max_in_windows"] == [2, 4, 5]
        assert await gateway.get("accepted") == {"accepted": 5}

    async def test_a_window_without_length_is_refused(self, gateway: Simulator) -> None:
        assert (await gateway.http.get("/_control/report", params={"window": [60, 0]})).status_code == 422

    async def test_it_knows_who_got_what_and_what_was_taken_back(
        self, gateway: Simulator, sdk: AsyncOnlyFansAPI
    ) -> None:
        own = await send(sdk, "For you", key="k")
        await sdk.mass_messaging.send(ACCOUNT, text="For all", user_ids=[CHAT, "4712"])
        await sdk.mass_messaging.send(ACCOUNT, text="Later", user_ids=["4713"], save_for_later=True)
        await sdk.chats.messages.delete(str(own), account=ACCOUNT, chat_id=CHAT)
        received = (await gateway.get("received", account=ACCOUNT))["received"][ACCOUNT]
        assert {
            chat: [(copy["text"], copy["mass"], copy["unsent"]) for copy in copies] for chat, copies in received.items()
        } == {CHAT: [("For you", False, True), ("For all", True, False)], "4712": [("For all", True, False)]}
        book = await gateway.get("messages", account=ACCOUNT)
        assert [(message["idempotency_key"], message["unsent"]) for message in book["messages"]] == [("k", True)]
        assert [list(mass["copies"]) for mass in book["mass_messages"]] == [[CHAT, "4712"], ["4713"]]
        assert (await gateway.get("report"))["totals"]["unsent"] == 1

    async def test_two_mass_messages_with_one_text_are_duplicates(
        self, gateway: Simulator, sdk: AsyncOnlyFansAPI
    ) -> None:
        for key in ("a", "b"):
            await sdk.mass_messaging.send(ACCOUNT, text="All", user_ids=[CHAT], extra_headers={"Idempotency-Key": key})
        totals = (await gateway.get("report"))["totals"]
        assert (totals["accepted"], totals["duplicate_count"]) == (0, 1)

    async def test_the_same_text_twice_is_a_duplicate(self, gateway: Simulator, sdk: AsyncOnlyFansAPI) -> None:
        ids = [await send(sdk, key="a"), await send(sdk, key="b")]
        await send(sdk, chat_id="4712")
        totals = (await gateway.get("report"))["totals"]
        assert totals["accepted"] == 3
        assert [entry["message_ids"] for entry in totals["duplicates"]] == [ids]

    @given(st.lists(st.integers(0, 60)).map(sorted), st.integers(1, 20))
    def test_the_fullest_window_is_exact(self, times: list[int], window: int) -> None:
        brute = max((sum(end - window < at <= end for at in times) for end in range(-1, 82)), default=0)
        assert max_in_window(times, window) == brute


class TestWebhooks:
    async def test_events_are_signed_repeated_and_shuffled(self, gateway: Simulator) -> None:
        received: list[tuple[str, bytes]] = []

        async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
            received.append((headers["signature"], await reader.readexactly(int(headers["content-length"]))))
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(receive, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            await gateway.post("webhooks", {"url": f"http://127.0.0.1:{port}/hook", "secret": "s3"})
            events = [
                {"event": "messages.received", "account_id": ACCOUNT, "payload": {"id": number}} for number in range(5)
            ]
            emission = {"events": events, "duplicates": 1, "shuffle": True, "seed": 1}
            answer = await gateway.post("webhooks/emit", emission)
        assert [delivery["status"] for delivery in answer["deliveries"]] == [204] * 10
        for signature, body in received:
            assert signature == hmac.new(b"s3", body, hashlib.sha256).hexdigest()
        order = [json.loads(body)["payload"]["id"] for _, body in received]
        assert sorted(order) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert order != sorted(order)
        assert json.loads(received[0][1]).keys() == {"event", "account_id", "payload"}
