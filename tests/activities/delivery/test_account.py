"""What the platform says about an account rather than a message: holds, spent allowances, sessions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.bootstrap import Ports
from domain.alert import AlertKind
from domain.campaign import CampaignRecord, CampaignStatus
from domain.delivery import AccountControl, AccountState, Delivered, Message, MessageStatus, Outcome
from domain.errors import DependencyUnavailable
from tests.activities.delivery.messages import Deliver, accepted, alerts, queue, stored
from tests.local import Simulator


class TestHolds:
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


class TestSessions:
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
