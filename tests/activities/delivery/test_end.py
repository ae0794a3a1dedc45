"""How messages end that are not sent, and what was marked and never tried."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from adapters.bootstrap import Ports
from domain.alert import AlertKind
from domain.campaign import CampaignRecord, CampaignStatus
from domain.delivery import Attempt, Delivered, Message, MessageStatus
from domain.errors import GatewayError, GatewayFault
from domain.rate_limit import Lease, Slot
from tests.activities.delivery.messages import Deliver, accepted, alerts, queue, stored
from tests.local import Simulator


class TestEnds:
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


class TestSentOnceMore:
    """A dead letter's second message, which obeys its campaign."""

    @pytest.fixture
    async def again(self, ports: Ports, record: CampaignRecord) -> Message:
        fields = {
            "campaign_id": str(uuid4()),
            "part_of": record.campaign_id,
            "status": CampaignStatus.RUNNING,
            "fingerprint": "again",
        }
        part = await ports.campaigns.create(record.model_copy(update=fields), ())
        return (await queue(ports, part, "1000"))[0]

    async def test_waits_for_a_paused_campaign_and_looks_again(
        self, ports: Ports, record: CampaignRecord, again: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await ports.campaigns.want(record.campaign_id, CampaignStatus.PAUSED)
        report = await deliver(again)
        [waits] = report.deferred
        assert (waits.message_id, waits.delay_ms, waits.reason) == (again.message_id, 60_000, "campaign_paused")
        # The queue would wait for a word that nobody says.
        assert report.paused_campaigns == ()
        await ports.campaigns.set_status(record.campaign_id, CampaignStatus.RUNNING, "")
        assert [settled.status for settled in (await deliver(again)).settled] == [MessageStatus.SENT]

    async def test_ends_with_a_cancelled_campaign(
        self, ports: Ports, record: CampaignRecord, again: Message, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        await ports.campaigns.want(record.campaign_id, CampaignStatus.CANCELLING)
        assert [settled.status for settled in (await deliver(again)).settled] == [MessageStatus.CANCELLED]
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
