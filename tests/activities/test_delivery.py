"""A delivery round by itself: what a slot, the gate and each answer of the platform lead to."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.delivery import DeliveryActivities, DeliveryPorts
from activities.delivery.findings import LOOK_AGAIN_MS
from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.intake import accept
from domain.access import Principal, Role
from domain.alert import AlertKind
from domain.campaign import CampaignRecord, CampaignStatus
from domain.compliance import ComplianceLevel
from domain.delivery import (
    AccountControl,
    AccountState,
    Attempt,
    Delivered,
    Message,
    MessageStatus,
    Outcome,
    message_id,
)
from domain.errors import DependencyUnavailable, GatewayError, GatewayFault
from domain.ports import Gateway
from domain.rate_limit import AccountLimits, Cap, Lease, LimitPolicy, MessageType, Slot
from domain.review import AutonomyOptIn
from domain.send_queue import Candidate, DeliveryReport, DeliveryRound
from tests.local import Simulator
from tests.workflows.launcher import intent

OPERATOR = Principal(user_id="operator", role=Role.OPERATOR)
Deliver = Callable[..., Awaitable[DeliveryReport]]


@pytest.fixture
async def record(ports: Ports, settings: Settings) -> CampaignRecord:
    """A running campaign with a new account."""
    wanted = intent(1)
    account = wanted.only_fans_context.account_id
    await ports.autonomy.put(
        AutonomyOptIn(account_id=account, level=ComplianceLevel.RELAXED, granted_at=datetime.now(UTC))
    )
    stored, _ = await accept(wanted, str(uuid4()), OPERATOR, ports, settings, datetime.now(UTC))
    await ports.campaigns.set_status(stored.campaign_id, CampaignStatus.RUNNING, "")
    return stored


async def queue(ports: Ports, record: CampaignRecord, *recipients: str, **changes: object) -> list[Message]:
    """Messages of the campaign that wait to be sent."""
    account = record.lanes[0].account_id
    queued = [
        Message(
            message_id=message_id(record.campaign_id, account, recipient),
            campaign_id=record.campaign_id,
            account_id=account,
            recipient_id=recipient,
            page=0,
            message_type=record.message_type,
            status=MessageStatus.QUEUED,
            text="Hello Maya, spring is here.",
            updated_at=datetime.now(UTC),
        ).model_copy(update=changes)
        for recipient in recipients
    ]
    await ports.messages.create_many(queued)
    return queued


@pytest.fixture
async def message(ports: Ports, record: CampaignRecord) -> Message:
    """One message that waits."""
    return (await queue(ports, record, "1000"))[0]


@pytest.fixture
def deliver(ports: Ports, settings: Settings) -> Deliver:
    """Runs one round."""

    async def run(
        *messages: Message, lease_ms: int = 15_000, timeout_s: float = 10, **changes: object
    ) -> DeliveryReport:
        given = DeliveryPorts(
            messages=ports.messages,
            gate=ports.gate,
            accounts=ports.accounts,
            limiter=ports.limiter,
            gateway=ports.gateway,
            alerts=ports.alerts,
            policy=LimitPolicy(),
            lease_ms=lease_ms,
            send_timeout_s=timeout_s,
            grace_s=timeout_s / 10,
        )
        activities = DeliveryActivities(replace(given, **changes))  # type: ignore[arg-type]
        candidates = tuple(
            Candidate(campaign_id=message.campaign_id, message_id=message.message_id) for message in messages
        )
        request = DeliveryRound(account_id=messages[0].account_id, candidates=candidates)
        return await ActivityEnvironment().run(activities.deliver, request)

    return run


async def stored(ports: Ports, message: Message) -> Message:
    return (await ports.messages.get_many(message.campaign_id, [message.message_id]))[message.message_id]


async def grow_old(ports: Ports, message: Message, age: timedelta = timedelta(minutes=1)) -> None:
    """Let an open attempt be old."""
    old = datetime.now(UTC) - age
    slot = Slot(
        lease_id=uuid4().hex,
        account_id=message.account_id,
        message_type=message.message_type,
        recipient_id=message.recipient_id,
        counts_at_us=int(old.timestamp() * 1_000_000),
    )
    attempt = Attempt(message=message, slot=slot)
    await ports.messages.begin_sends([attempt], old)
    await ports.messages.settle(
        [
            Outcome(
                attempt=attempt,
                status=MessageStatus.SENDING,
                reason=message.reason,
                attempts=message.attempts + 1,
                failures=message.failures,
                at=old,
            )
        ]
    )


async def accepted(onlyfans: Simulator) -> int:
    number: int = (await onlyfans.get("report"))["totals"]["accepted"]
    return number


async def alerts(ports: Ports, account_id: str) -> list[AlertKind]:
    since = datetime.now(UTC) - timedelta(hours=1)
    return [alert.kind for alert in await ports.alerts.since(since, account_id=account_id)]


class ImpatientGateway:
    """The real gateway behind a caller that gives up early."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def send(self, **arguments: Any) -> Delivered:
        async with asyncio.timeout(0.1):
            return await self._gateway.send(**arguments)


class CountingGateway:
    """The real gateway, and how often it was asked to send."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.sends = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)

    async def send(self, **arguments: Any) -> Delivered:
        self.sends += 1
        return await self._gateway.send(**arguments)


class RefusingGateway:
    """The real gateway, with another body for each key: it refuses every key that it knows."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def send(self, *, text: str, **arguments: Any) -> Delivered:
        return await self._gateway.send(text=f"{text} ", **arguments)


class TestSending:
    async def test_a_message_is_sent_and_its_slot_is_remembered(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        report = await deliver(message)
        assert [settled.status for settled in report.settled] == [MessageStatus.SENT]
        assert await accepted(onlyfans) == 1
        assert (await stored(ports, message)).platform_message_id
        slots = await ports.slots.slots(message.account_id, 0)
        assert [(slot.recipient_id, slot.message_type) for slot in slots] == [("1000", message.message_type)]

    async def test_ten_are_sent_and_the_eleventh_waits_for_the_account(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        messages = await queue(ports, record, *(str(number) for number in range(11)))
        report = await deliver(*messages)
        assert len(report.settled) == 10
        assert await accepted(onlyfans) == 10
        assert report.reason == "rate_limit:account"
        assert 0 < report.wait_ms <= 60_000
        assert (await stored(ports, messages[10])).status is MessageStatus.QUEUED

    async def test_a_limited_fan_steps_aside(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        account = record.lanes[0].account_id
        await ports.accounts.put_limits(
            AccountLimits(account_id=account, recipient=(Cap(limit=1, seconds=3600),), revision=1)
        )
        first = await queue(ports, record, "1")
        await deliver(*first)
        again = (await queue(ports, record, "1", message_id=uuid4(), text="Hello again, Maya."))[0]
        other = (await queue(ports, record, "2"))[0]
        report = await deliver(again, other)
        assert [settled.message_id for settled in report.settled] == [other.message_id]
        assert [(deferred.message_id, deferred.reason) for deferred in report.deferred] == [
            (again.message_id, "rate_limit:recipient")
        ]
        assert report.wait_ms == 0

    async def test_a_limited_type_steps_aside(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        account = record.lanes[0].account_id
        await ports.accounts.put_limits(
            AccountLimits(
                account_id=account, message_types={MessageType.WELCOME: (Cap(limit=1, seconds=60),)}, revision=1
            )
        )
        welcome = await queue(ports, record, "1", "2", "3", message_type=MessageType.WELCOME)
        other = await queue(ports, record, "4")
        report = await deliver(*welcome, *other)
        assert [settled.message_id for settled in report.settled] == [welcome[0].message_id, other[0].message_id]
        assert list(report.type_waits_ms) == [MessageType.WELCOME]
        assert report.wait_ms == 0

    async def test_a_type_that_admits_one_shortly_is_waited_for(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        account = record.lanes[0].account_id
        await ports.accounts.put_limits(
            AccountLimits(
                account_id=account, message_types={MessageType.WELCOME: (Cap(limit=2, seconds=0.5),)}, revision=1
            )
        )
        welcome = await queue(ports, record, "1", "2", "3", "4", "5", message_type=MessageType.WELCOME)
        report = await deliver(*welcome)
        assert {settled.message_id for settled in report.settled} == {message.message_id for message in welcome}
        book = await onlyfans.get("report", window=0.5)
        assert book["accounts"][account]["max_in_window"] == 2

    async def test_a_limit_of_zero_sends_nothing_until_it_is_changed(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        closed = AccountLimits(account_id=message.account_id, account=(Cap(limit=0, seconds=60),), revision=1)
        await ports.accounts.put_limits(closed)
        report = await deliver(message)
        assert (report.wait_ms, report.reason) == (LOOK_AGAIN_MS, "rate_limit:account")
        assert await accepted(onlyfans) == 0
        await ports.accounts.put_limits(AccountLimits(account_id=message.account_id, revision=2))
        assert [settled.status for settled in (await deliver(message)).settled] == [MessageStatus.SENT]

    async def test_a_call_that_could_outlive_its_slot_is_not_made(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        report = await deliver(message, lease_ms=5_000, timeout_s=10)
        assert [deferred.reason for deferred in report.deferred] == ["slot_too_short"]
        assert await accepted(onlyfans) == 0
        left = await stored(ports, message)
        assert (left.status, left.attempts) == (MessageStatus.QUEUED, 0)

    async def test_a_blocked_text_is_never_sent(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        blocked = await queue(ports, record, "1", text="Pay me on PayPal instead.")
        report = await deliver(*blocked)
        assert [settled.status for settled in report.settled] == [MessageStatus.SKIPPED]
        assert (await stored(ports, blocked[0])).reason.startswith("compliance_violation:")

    async def test_a_message_that_is_too_late_is_skipped(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        late = await queue(ports, record, "1", expires_at=datetime.now(UTC) - timedelta(seconds=1))
        report = await deliver(*late)
        assert [settled.status for settled in report.settled] == [MessageStatus.SKIPPED]
        assert (await stored(ports, late[0])).reason == "expired"
        assert await accepted(onlyfans) == 0

    async def test_what_was_erased_does_not_stop_the_queue(
        self, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        lost = Message(
            message_id=uuid4(),
            campaign_id=str(uuid4()),
            account_id=record.lanes[0].account_id,
            recipient_id="1",
            page=0,
            message_type=MessageType.CUSTOM,
            status=MessageStatus.QUEUED,
            updated_at=datetime.now(UTC),
        )
        report = await deliver(lost)
        assert [settled.message_id for settled in report.settled] == [lost.message_id]
        assert await accepted(onlyfans) == 0


class TestTheGate:
    async def test_a_paused_campaign_sends_nothing(
        self, ports: Ports, record: CampaignRecord, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await ports.campaigns.set_status(record.campaign_id, CampaignStatus.PAUSED, "")
        report = await deliver(message)
        assert report.paused_campaigns == (record.campaign_id,)
        assert await accepted(onlyfans) == 0

    async def test_a_pause_takes_effect_within_one_message(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        messages = await queue(ports, record, "1", "2", "3", "4")

        class PausingGateway:
            """The real gateway; while the second call is under way somebody pauses the campaign."""

            calls = 0

            async def send(self, **arguments: Any) -> Delivered:
                self.calls += 1
                if self.calls == 2:
                    await ports.campaigns.set_status(record.campaign_id, CampaignStatus.PAUSED, "")
                return await ports.gateway.send(**arguments)

        report = await deliver(*messages, gateway=PausingGateway())
        assert await accepted(onlyfans) == 2
        assert len(report.settled) == 2
        assert report.paused_campaigns == (record.campaign_id,)
        states = [(await stored(ports, message)).status for message in messages]
        assert states == [MessageStatus.SENT, MessageStatus.SENT, MessageStatus.QUEUED, MessageStatus.QUEUED]

    async def test_a_paused_account_sleeps_until_woken(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await ports.accounts.put_control(
            AccountControl(account_id=message.account_id, state=AccountState.PAUSED, revision=1)
        )
        report = await deliver(message)
        assert (report.wait_ms, report.reason) == (LOOK_AGAIN_MS, "account:paused")
        assert await accepted(onlyfans) == 0

    async def test_a_cancelled_campaign_ends_its_messages_even_on_a_paused_account(
        self, ports: Ports, record: CampaignRecord, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await ports.accounts.put_control(
            AccountControl(account_id=message.account_id, state=AccountState.PAUSED, revision=1)
        )
        await ports.campaigns.set_status(record.campaign_id, CampaignStatus.CANCELLING, "")
        report = await deliver(message)
        assert [settled.status for settled in report.settled] == [MessageStatus.CANCELLED]
        assert await accepted(onlyfans) == 0


class TestFaults:
    async def test_429_holds_the_account_and_is_a_violation(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await onlyfans.fault("rate_limited", retry_after_s=30)
        report = await deliver(message)
        assert (report.wait_ms, report.reason) == (30_000, "gateway:throttled")
        assert await alerts(ports, message.account_id) == [AlertKind.RATE_LIMIT_VIOLATION]
        left = await stored(ports, message)
        assert (left.status, left.attempts) == (MessageStatus.QUEUED, 0)
        second = await deliver(message)
        assert second.reason == "rate_limit:platform"
        assert 0 < second.wait_ms <= 30_000
        assert await accepted(onlyfans) == 0

    async def test_a_spent_allowance_of_the_platform_holds_the_account(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await onlyfans.post("limits", {"per_minute": 1})
        await deliver(message)
        assert await accepted(onlyfans) == 1
        assert await alerts(ports, message.account_id) == [AlertKind.RATE_LIMIT_VIOLATION]
        usage = await ports.limiter.usage(message.account_id, ())
        assert 0 < usage.held_ms <= 60_000

    async def test_a_spent_allowance_stops_the_batch_that_found_it_out(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        messages = await queue(ports, record, "1", "2", "3")
        await onlyfans.post("limits", {"per_minute": 1})
        report = await deliver(*messages)
        assert await accepted(onlyfans) == 1
        assert (report.wait_ms, report.reason) == (60_000, "platform_allowance_spent")
        states = [(await stored(ports, message)).status for message in messages]
        assert states == [MessageStatus.SENT, MessageStatus.QUEUED, MessageStatus.QUEUED]

    async def test_a_hold_outlives_a_limiter_that_is_away(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        class AwayForHolds:
            """The real limiter, which can't be reached at the moment of the hold."""

            def __getattr__(self, name: str) -> Any:
                return getattr(ports.limiter, name)

            async def hold(self, *_: object) -> None:
                raise DependencyUnavailable("away")

        await onlyfans.fault("rate_limited", retry_after_s=30)
        report = await deliver(message, limiter=AwayForHolds())
        assert (report.wait_ms, report.reason) == (30_000, "gateway:throttled")
        assert await alerts(ports, message.account_id) == [AlertKind.RATE_LIMIT_VIOLATION]

    async def test_a_hold_outlives_a_process_that_ends_right_after_the_429(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        class EndsWithTheProcess:
            """The real store, of which nothing is heard any more once the outcome is known."""

            def __getattr__(self, name: str) -> Any:
                return getattr(ports.messages, name)

            async def settle(self, _: Sequence[Outcome]) -> None:
                raise ConnectionError("the process is ending")

        await onlyfans.fault("rate_limited", retry_after_s=30, count=1)
        with pytest.raises(ConnectionError):
            await deliver(message, messages=EndsWithTheProcess())
        assert (await deliver(message)).reason == "rate_limit:platform"
        assert await accepted(onlyfans) == 0

    async def test_a_session_that_expires_elsewhere_stops_a_running_round(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        messages = await queue(ports, record, "1", "2", "3")
        account = messages[0].account_id

        class Expiring:
            """The real gateway; a webhook comes in during the first call."""

            async def send(self, **arguments: Any) -> Delivered:
                control = AccountControl(account_id=account, state=AccountState.SESSION_EXPIRED, revision=1)
                await ports.accounts.put_control(control)
                return await ports.gateway.send(**arguments)

        report = await deliver(*messages, gateway=Expiring())
        assert await accepted(onlyfans) == 1
        assert report.reason == "account:session_expired"
        assert (await ports.accounts.control(account)).state is AccountState.SESSION_EXPIRED

    async def test_an_end_counts_as_the_store_has_it(
        self, ports: Ports, record: CampaignRecord, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        slot = Slot(lease_id="x", account_id=message.account_id, message_type=message.message_type, counts_at_us=0)

        class Overtaken:
            """The real store; another worker marks the message before it can be ended here."""

            def __getattr__(self, name: str) -> Any:
                return getattr(ports.messages, name)

            async def transition(self, *arguments: Any, **options: Any) -> int:
                await ports.messages.begin_sends([Attempt(message=message, slot=slot)], datetime.now(UTC))
                return await ports.messages.transition(*arguments, **options)

        await ports.campaigns.set_status(record.campaign_id, CampaignStatus.CANCELLING, "")
        report = await deliver(message, messages=Overtaken())
        assert report.settled == ()
        assert [deferred.message_id for deferred in report.deferred] == [message.message_id]

    async def test_an_expired_session_pauses_the_account_and_says_so(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await onlyfans.fault("session_expired", count=1)
        await deliver(message)
        control = await ports.accounts.control(message.account_id)
        assert control.state is AccountState.SESSION_EXPIRED
        assert await alerts(ports, message.account_id) == [AlertKind.SESSION_EXPIRED]
        waiting = await deliver(message)
        assert waiting.reason == "account:session_expired"
        assert await accepted(onlyfans) == 0

    async def test_a_session_that_nobody_declared_working_is_tried_after_a_while(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        long_ago = datetime.now(UTC) - timedelta(minutes=6)
        await ports.accounts.put_control(
            AccountControl(
                account_id=message.account_id, state=AccountState.SESSION_EXPIRED, changed_at=long_ago, revision=1
            )
        )
        report = await deliver(message)
        assert [settled.status for settled in report.settled] == [MessageStatus.SENT]
        assert (await ports.accounts.control(message.account_id)).state is AccountState.ACTIVE
        assert await alerts(ports, message.account_id) == [AlertKind.SESSION_RECONNECTED]

    async def test_no_answer_leaves_the_outcome_open_and_the_same_key_settles_it(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await onlyfans.fault("accept_then_timeout", hang_s=0.2, count=1)
        report = await deliver(message, lease_ms=700, timeout_s=0.1, gateway=ImpatientGateway(ports.gateway))
        assert [deferred.reason for deferred in report.deferred] in (
            ["gateway:unknown_outcome"],
            ["gateway:server_error"],
        )
        assert (await stored(ports, message)).status is MessageStatus.SENDING
        await deliver(await stored(ports, message))
        assert (await stored(ports, message)).status is MessageStatus.SENT
        totals = (await onlyfans.get("report"))["totals"]
        assert (totals["accepted"], totals["duplicate_count"]) == (1, 0)

    async def test_an_error_of_the_platform_is_followed_by_reading_the_chat(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await onlyfans.fault("server_error", status=500, count=1)
        report = await deliver(message)
        assert [deferred.reason for deferred in report.deferred] == ["gateway:server_error"]
        left = await stored(ports, message)
        assert (left.status, left.reason) == (MessageStatus.SENDING, "server_error")
        early = await deliver(left, lease_ms=600_000)
        assert [deferred.reason for deferred in early.deferred] == ["outcome_open"]
        assert await accepted(onlyfans) == 0
        await grow_old(ports, left)
        report = await deliver(left)
        assert [settled.status for settled in report.settled] == [MessageStatus.SENT]
        assert await accepted(onlyfans) == 1

    async def test_a_message_that_did_arrive_despite_the_error_is_not_sent_again(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await onlyfans.fault("server_error", count=1, after_accept=True)
        await deliver(message)
        assert (await stored(ports, message)).status is MessageStatus.SENDING
        report = await deliver(message, lease_ms=600_000)
        assert [settled.status for settled in report.settled] == [MessageStatus.SENT]
        assert await accepted(onlyfans) == 1

    async def test_a_message_that_arrives_late_is_not_sent_again(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await onlyfans.fault("server_error", status=504, count=1, after_accept=True, arrives_after_s=2)
        await deliver(message)
        await grow_old(ports, await stored(ports, message), timedelta(seconds=10))
        watched = CountingGateway(ports.gateway)
        await deliver(message, lease_ms=600_000, gateway=watched)
        async with asyncio.timeout(30):
            while not await accepted(onlyfans):
                await asyncio.sleep(0.05)
        await deliver(message, lease_ms=600_000, gateway=watched)
        assert (await stored(ports, message)).status is MessageStatus.SENT
        assert watched.sends == 0

    async def test_what_is_too_old_for_its_key_waits_as_well_for_what_may_still_arrive(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        (message,) = await queue(
            ports,
            record,
            "1",
            status=MessageStatus.SENDING,
            reason="unknown_outcome",
            attempts=9,
            failures=8,
            first_attempt_at=datetime.now(UTC) - timedelta(hours=24),
        )
        report = await deliver(message, lease_ms=600_000)
        assert [deferred.reason for deferred in report.deferred] == ["outcome_open"]
        assert (await stored(ports, message)).status is MessageStatus.SENDING
        await grow_old(ports, message)
        await deliver(message)
        left = await stored(ports, message)
        assert (left.status, left.reason) == (MessageStatus.FAILED, "no_answer_after_8_attempts")

    async def test_a_refusal_is_no_word_about_an_earlier_attempt(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await onlyfans.fault("connection_reset", count=1, after_accept=True)
        await deliver(message)
        assert (await stored(ports, message)).reason == "unknown_outcome"
        report = await deliver(message, gateway=RefusingGateway(ports.gateway))
        assert [deferred.reason for deferred in report.deferred] == ["gateway:invalid_request"]
        report = await deliver(message)
        assert [settled.status for settled in report.settled] == [MessageStatus.SENT]
        assert await accepted(onlyfans) == 1

    async def test_a_refused_message_that_certainly_reached_nobody_fails_with_the_refusal(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await onlyfans.fault("timeout_before_accept", hang_s=1, count=1)
        await deliver(message, lease_ms=700, timeout_s=0.1, gateway=ImpatientGateway(ports.gateway))
        await onlyfans.fault("banned_words", count=1)
        await deliver(message)
        assert (await stored(ports, message)).status is MessageStatus.SENDING
        await grow_old(ports, await stored(ports, message))
        report = await deliver(message)
        assert [settled.status for settled in report.settled] == [MessageStatus.FAILED]
        assert (await stored(ports, message)).reason == "banned_words"
        assert await accepted(onlyfans) == 0

    async def test_a_throttled_look_into_a_chat_holds_the_account(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        left_open = {"status": MessageStatus.SENDING, "reason": "server_error", "attempts": 1}
        messages = [
            *await queue(ports, record, "1", "2", **left_open),
            *await queue(ports, record, "3"),
        ]
        await onlyfans.fault("rate_limited", endpoint="list", retry_after_s=30)
        report = await deliver(*messages)
        assert (report.wait_ms, report.reason) == (30_000, "gateway:throttled")
        assert await alerts(ports, messages[0].account_id) == [AlertKind.RATE_LIMIT_VIOLATION]
        assert 0 < (await ports.limiter.usage(messages[0].account_id, ())).held_ms <= 30_000
        assert [rule["fired"] for rule in (await onlyfans.get("faults"))["faults"]] == [1]
        assert await accepted(onlyfans) == 0

    async def test_cancelled_messages_are_not_looked_for_while_the_platform_throttles(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        messages = await queue(ports, record, "1", "2", status=MessageStatus.SENDING, attempts=1)
        await ports.campaigns.set_status(record.campaign_id, CampaignStatus.CANCELLING, "")
        await onlyfans.fault("rate_limited", endpoint="list", retry_after_s=30)
        report = await deliver(*messages)
        assert (report.wait_ms, report.reason) == (30_000, "gateway:throttled")
        assert [rule["fired"] for rule in (await onlyfans.get("faults"))["faults"]] == [1]

    async def test_a_limit_that_was_changed_while_a_chat_was_read_applies_to_the_next_grant(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        account = record.lanes[0].account_id
        (left_open,) = await queue(ports, record, "1", status=MessageStatus.SENDING, reason="server_error", attempts=1)
        (other,) = await queue(ports, record, "2")

        class Closing:
            """The real gateway; while a chat is read, somebody closes the account by a limit of 0."""

            def __getattr__(self, name: str) -> Any:
                return getattr(ports.gateway, name)

            async def find_sent(self, **arguments: Any) -> Sequence[Delivered]:
                closed = AccountLimits(account_id=account, account=(Cap(limit=0, seconds=60),), revision=1)
                await ports.accounts.put_limits(closed)
                return await ports.gateway.find_sent(**arguments)

        (first,) = await queue(ports, record, "3")
        report = await deliver(first, left_open, other, gateway=Closing())
        assert [settled.message_id for settled in report.settled] == [first.message_id]
        assert report.reason == "rate_limit:account"
        assert await accepted(onlyfans) == 1

    async def test_the_last_attempt_is_followed_by_a_dead_letter(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        tired = await queue(
            ports,
            record,
            "1",
            status=MessageStatus.SENDING,
            reason="server_error",
            attempts=9,
            failures=8,
            updated_at=datetime.now(UTC) - timedelta(minutes=1),
        )
        report = await deliver(*tired)
        assert [settled.status for settled in report.settled] == [MessageStatus.FAILED]
        listing = await ports.messages.dead_letters(tired[0].account_id, limit=10, cursor=None)
        assert [letter.reason for letter in listing.messages] == ["server_error_after_8_attempts"]
        assert await alerts(ports, tired[0].account_id) == [AlertKind.DEAD_LETTER]

    async def test_banned_words_fail_the_message_and_give_the_slot_back(
        self, ports: Ports, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await onlyfans.fault("banned_words", count=1)
        report = await deliver(message)
        assert [settled.status for settled in report.settled] == [MessageStatus.FAILED]
        assert (await stored(ports, message)).reason == "banned_words"

    async def test_a_chat_that_is_gone_ends_what_can_no_longer_be_known(
        self, ports: Ports, record: CampaignRecord, message: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        slot = Slot(lease_id="x", account_id=message.account_id, message_type=message.message_type, counts_at_us=0)
        await ports.messages.begin_sends([Attempt(message=message, slot=slot)], datetime.now(UTC))
        await ports.campaigns.set_status(record.campaign_id, CampaignStatus.CANCELLING, "")
        await onlyfans.fault("banned_words", endpoint="list")
        report = await deliver(message)
        assert [settled.status for settled in report.settled] == [MessageStatus.FAILED]
        assert (await stored(ports, message)).reason == "outcome_unknown:banned_words"


class TestTheSameTextTwice:
    """Two messages that say the same to the same fan; one of them was tried, and its outcome is open."""

    async def tried(self, ports: Ports, record: CampaignRecord) -> Message:
        """A message that never arrived, and whose attempt is an hour old. The fan may be written to often."""
        limits = AccountLimits(
            account_id=record.lanes[0].account_id, recipient=(Cap(limit=10, seconds=60),), revision=1
        )
        await ports.accounts.put_limits(limits)
        (message,) = await queue(ports, record, "1", message_id=uuid4())
        await grow_old(ports, message.model_copy(update={"reason": "server_error"}), timedelta(hours=1))
        return await stored(ports, message)

    async def arrivals(self, onlyfans: Simulator, ports: Ports, *messages: Message) -> None:
        """Each message is sent, with a message of its own at the platform."""
        left = [await stored(ports, message) for message in messages]
        assert [each.status for each in left] == [MessageStatus.SENT] * len(left)
        assert len({each.platform_message_id for each in left}) == len(left) == await accepted(onlyfans)

    async def test_what_another_message_was_sent_as_is_no_evidence(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        lost = await self.tried(ports, record)
        (other,) = await queue(ports, record, "1")
        await deliver(other)
        await deliver(lost)
        await self.arrivals(onlyfans, ports, lost, other)

    async def test_of_two_in_the_chat_the_other_one_is_it(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        (late,) = await queue(ports, record, "1", message_id=uuid4())
        (other,) = await queue(ports, record, "1")
        await deliver(other)
        await onlyfans.fault("server_error", count=1, after_accept=True)
        await deliver(late)
        await deliver(late)
        await self.arrivals(onlyfans, ports, late, other)

    async def test_what_a_killed_worker_sent_is_settled_by_its_key_first(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        lost = await self.tried(ports, record)
        (other,) = await queue(ports, record, "1")
        await onlyfans.fault("connection_reset", count=1, after_accept=True)
        await deliver(other)
        report = await deliver(lost)
        assert [deferred.reason for deferred in report.deferred] == ["outcome_open"]
        await deliver(other)
        await deliver(lost)
        await self.arrivals(onlyfans, ports, lost, other)

    async def test_of_two_that_are_both_read_back_one_takes_it_and_the_other_is_sent(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        lost = await self.tried(ports, record)
        (other,) = await queue(ports, record, "1")
        await onlyfans.fault("server_error", count=1, after_accept=True)
        await deliver(other)
        await grow_old(ports, await stored(ports, other))
        await deliver(lost, other)
        await self.arrivals(onlyfans, ports, lost, other)


class TestBlockedOnTheWay:
    """An attempt is open, and the rules, which have changed meanwhile, forbid its text."""

    TEXT = "Meet me at the hotel tonight."

    async def begun(self, ports: Ports, record: CampaignRecord, **changes: object) -> Message:
        open_attempt = {"status": MessageStatus.SENDING, "attempts": 1, "first_attempt_at": datetime.now(UTC)}
        (message,) = await queue(ports, record, "1", text=self.TEXT, **open_attempt | changes)
        return message

    async def test_what_arrived_is_on_record_as_sent(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        message = await self.begun(ports, record)
        await ports.gateway.send(
            account_id=message.account_id,
            recipient_id=message.recipient_id,
            text=message.text,
            key=message.message_id,
            screening="risky",
        )
        report = await deliver(message)
        assert [settled.status for settled in report.settled] == [MessageStatus.SENT]
        assert (await stored(ports, message)).platform_message_id
        assert await accepted(onlyfans) == 1

    async def test_what_may_still_arrive_is_waited_for_and_not_sent(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        message = await self.begun(ports, record)
        report = await deliver(message)
        assert [deferred.reason for deferred in report.deferred] == ["outcome_open"]
        assert (await stored(ports, message)).status is MessageStatus.SENDING
        assert await accepted(onlyfans) == 0

    @pytest.mark.parametrize("reason", ["", "server_error", "unknown_outcome"])
    async def test_what_did_not_arrive_is_not_sent_any_more(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver, reason: str
    ) -> None:
        old = datetime.now(UTC) - timedelta(minutes=1)
        message = await self.begun(ports, record, reason=reason, updated_at=old)
        report = await deliver(message)
        assert [settled.status for settled in report.settled] == [MessageStatus.SKIPPED]
        assert (await stored(ports, message)).reason == "compliance_violation:meet-up"
        assert await accepted(onlyfans) == 0


class TestMarkedAndNeverTried:
    """``sending`` without an attempt: a mass message marks everybody so before its call."""

    async def marked(self, ports: Ports, record: CampaignRecord, **changes: object) -> Message:
        (message,) = await queue(ports, record, "1", status=MessageStatus.SENDING, **changes)
        return message

    async def test_it_is_queued_again_when_the_platform_throttles(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        message = await self.marked(ports, record)
        await onlyfans.fault("rate_limited", retry_after_s=30)
        await deliver(message)
        left = await stored(ports, message)
        assert (left.status, left.attempts) == (MessageStatus.QUEUED, 0)

    async def test_it_is_queued_again_when_the_gate_says_no(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        message = await self.marked(ports, record)

        class PausingLimiter:
            """The real limiter; once it has granted a slot, somebody pauses the campaign."""

            def __getattr__(self, name: str) -> Any:
                return getattr(ports.limiter, name)

            async def intact(self, leases: Sequence[Lease]) -> frozenset[str]:
                await ports.campaigns.set_status(record.campaign_id, CampaignStatus.PAUSED, "")
                return await ports.limiter.intact(leases)

        await deliver(message, limiter=PausingLimiter())
        left = await stored(ports, message)
        assert (left.status, left.attempts) == (MessageStatus.QUEUED, 0)
        assert await accepted(onlyfans) == 0

    async def test_it_ends_at_once_since_nothing_can_arrive(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        message = await self.marked(ports, record)
        await ports.campaigns.set_status(record.campaign_id, CampaignStatus.CANCELLING, "")
        report = await deliver(message)
        assert [settled.status for settled in report.settled] == [MessageStatus.CANCELLED]
        assert (await stored(ports, message)).reason == "campaign_cancelled"


@pytest.mark.parametrize(("for_many", "end"), [(False, MessageStatus.FAILED), (True, MessageStatus.QUEUED)])
async def test_a_gateway_that_is_away_for_long_fails_one_message_and_not_one_for_many(
    ports: Ports, record: CampaignRecord, deliver: Deliver, for_many: bool, end: MessageStatus
) -> None:
    class NobodyThere:
        async def send(self, **_: object) -> Delivered:
            raise GatewayError("connection refused", fault=GatewayFault.TRANSIENT)

    (message,) = await queue(ports, record, "1", attempts=20, failures=20)
    await deliver(message, gateway=NobodyThere(), for_many=for_many)
    assert (await stored(ports, message)).status is end
