"""An attempt without an answer: settled by its key, or by what its chat shows."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from adapters.bootstrap import Ports
from domain.campaign import CampaignRecord
from domain.compliance import SCREENING
from domain.delivery import CLOCK_TOLERANCE, Delivered, Message, MessageStatus
from domain.rate_limit import AccountLimits, Cap
from tests.activities.delivery.gateways import CountingGateway, ImpatientGateway, RefusingGateway
from tests.activities.delivery.messages import Deliver, accepted, grow_old, queue, stored
from tests.local import Simulator


class TestOpenOutcomes:
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

    async def test_a_limit_that_was_changed_while_a_chat_was_read_applies_to_what_was_granted_before(
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
        assert (report.settled, report.reason) == ((), "limits_changed")
        assert (await deliver(first, other)).reason == "rate_limit:account"
        assert await accepted(onlyfans) == 0


class TestTheSameTextTwice:
    """Two messages that say the same to the same fan; one of them was tried, and its outcome is open."""

    @pytest.fixture(autouse=True)
    async def often(self, ports: Ports, record: CampaignRecord) -> None:
        """The fan may be written to often."""
        account = record.lanes[0].account_id
        await ports.accounts.put_limits(
            AccountLimits(account_id=account, recipient=(Cap(limit=10, seconds=60),), revision=1)
        )

    async def tried(self, ports: Ports, record: CampaignRecord) -> Message:
        """A message that never arrived, and whose attempt is an hour old."""
        (message,) = await queue(ports, record, "1", message_id=uuid4())
        await grow_old(ports, message.model_copy(update={"reason": "server_error"}), timedelta(hours=1))
        return await stored(ports, message)

    async def arrived(self, ports: Ports, record: CampaignRecord, message: Message) -> None:
        """The platform took it; nobody knows."""
        await ports.gateway.send(
            account_id=message.account_id,
            recipient_id=message.recipient_id,
            text=message.text,
            key=message.message_id,
            screening=SCREENING[record.compliance_level],
        )

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

    @pytest.mark.parametrize("arrived_first", [True, False])
    @pytest.mark.parametrize(
        ("age", "reason"), [(timedelta(hours=1), "server_error"), (timedelta(hours=23, minutes=30), "unknown_outcome")]
    )
    async def test_nobody_takes_what_the_key_of_another_still_knows(
        self,
        ports: Ports,
        record: CampaignRecord,
        onlyfans: Simulator,
        deliver: Deliver,
        age: timedelta,
        reason: str,
        arrived_first: bool,
    ) -> None:
        """Both are read back, one arrived, and its key, which nobody relies on any more, is alive."""
        (lost,) = await queue(ports, record, "1", message_id=uuid4())
        (arrived,) = await queue(ports, record, "1")
        await self.arrived(ports, record, arrived)
        older = timedelta(minutes=1)
        await grow_old(ports, arrived.model_copy(update={"reason": reason}), age + older * arrived_first)
        await grow_old(ports, lost.model_copy(update={"reason": reason}), age + older * (not arrived_first))
        for _ in range(2):
            await deliver(lost, arrived)
        await self.arrivals(onlyfans, ports, lost, arrived)

    async def test_who_may_still_arrive_is_waited_for(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        lost = await self.tried(ports, record)
        (other,) = await queue(ports, record, "1")
        await onlyfans.fault("server_error", count=1, after_accept=True)
        await deliver(other)
        report = await deliver(lost)
        assert [deferred.reason for deferred in report.deferred] == ["outcome_open"]
        assert await accepted(onlyfans) == 1

    async def test_of_two_that_are_both_read_back_one_takes_it_and_the_other_is_sent(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        lost = await self.tried(ports, record)
        (other,) = await queue(ports, record, "1")
        await onlyfans.fault("server_error", count=1, after_accept=True)
        await deliver(other)
        await grow_old(ports, await stored(ports, other))
        for _ in range(2):
            await deliver(lost, other)
        await self.arrivals(onlyfans, ports, lost, other)

    async def test_what_came_before_the_other_one_was_tried_is_not_left_to_it(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        (older,) = await queue(ports, record, "1", message_id=uuid4(), reason="server_error")
        (younger,) = await queue(ports, record, "1", reason="unknown_outcome")
        await self.arrived(ports, record, older)
        await grow_old(ports, older)
        await grow_old(ports, younger, -2 * CLOCK_TOLERANCE)
        report = await deliver(older)
        assert [settled.status for settled in report.settled] == [MessageStatus.SENT]

    async def test_what_ends_unsent_does_not_leave_its_arrival_to_one_whose_key_tells_otherwise(
        self, ports: Ports, record: CampaignRecord, onlyfans: Simulator, deliver: Deliver
    ) -> None:
        late = {"expires_at": datetime.now(UTC), "reason": "unknown_outcome", "message_id": uuid4()}
        (expired,) = await queue(ports, record, "1", **late)
        (other,) = await queue(ports, record, "1", reason="unknown_outcome")
        await self.arrived(ports, record, expired)
        await grow_old(ports, expired, timedelta(minutes=2))
        await grow_old(ports, other)
        report = await deliver(expired)
        assert [deferred.reason for deferred in report.deferred] == ["outcome_open"]
        await deliver(other)
        await deliver(expired)
        await self.arrivals(onlyfans, ports, expired, other)


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
