"""A delivery round: which messages are admitted, and what the gate says right before each call."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from activities.delivery.findings import LOOK_AGAIN_MS
from adapters.bootstrap import Ports
from domain.campaign import CampaignRecord, CampaignStatus
from domain.delivery import AccountControl, AccountState, Delivered, Message, MessageStatus
from domain.rate_limit import AccountLimits, Cap, Lease, MessageType
from tests.activities.delivery.messages import Deliver, accepted, queue, stored
from tests.local import Simulator


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

    async def test_a_limit_that_changes_after_a_grant_holds_for_its_send(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        messages = await queue(ports, record, "1", "2", "3")
        account = record.lanes[0].account_id
        two = AccountLimits(account_id=account, account=(Cap(limit=2, seconds=60),), revision=1)

        class ChangedMeanwhile:
            """The real limiter; once slots are granted, somebody lowers the limit."""

            def __getattr__(self, name: str) -> Any:
                return getattr(ports.limiter, name)

            async def intact(self, leases: Sequence[Lease]) -> frozenset[str]:
                await ports.accounts.put_limits(two)
                return await ports.limiter.intact(leases)

        report = await deliver(*messages, limiter=ChangedMeanwhile())
        assert (report.settled, report.wait_ms, report.reason) == ((), 1, "limits_changed")
        assert [(left.status, left.attempts) for left in [await stored(ports, each) for each in messages]] == [
            (MessageStatus.QUEUED, 0)
        ] * 3
        report = await deliver(*messages)
        assert [settled.status for settled in report.settled] == [MessageStatus.SENT] * 2
        assert report.reason == "rate_limit:account"
        assert await accepted(onlyfans) == 2

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
