"""Campaigns that are late, and what became of their recipients."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from temporalio.testing import ActivityEnvironment

from activities.alternative import AlternativeTaken, TakeAlternative
from activities.withdrawal import Withdraw, Withdrawn
from domain.alternative import AlternativeAction
from domain.campaign import CampaignRecord
from domain.delivery import (
    AccountControl,
    AccountState,
    Message,
    MessageStatus,
    message_id,
)
from domain.rate_limit import AccountLimits, Cap
from tests.workflows.launcher import Handle, Launcher, intent
from worker import activities
from workflows.policies import DELIVERY, ORCHESTRATION

S = MessageStatus
TEXT = "Hello everybody, the new set is here."
MASS = {"onDeadline": "mass_message", "alternativeText": TEXT}
PASSED = timedelta(seconds=-1)
HALF_AN_HOUR = timedelta(minutes=30)
"""Deadlines are moments of the clock on the wall, which goes on while a busy machine prepares a campaign."""


def delivery(deadline: timedelta, **terms: Any) -> dict[str, Any]:
    return {"deadline": (datetime.now(UTC) + deadline).isoformat(), **terms}


async def unhurried(launcher: Launcher, *sizes: int, **changes: Any) -> tuple[CampaignRecord, Handle]:
    """A campaign whose accounts send ten messages an hour: whether a page is late is no matter of seconds."""
    record = await launcher.store(intent(*sizes, **changes))
    for lane in record.lanes:
        ten = AccountLimits(account_id=lane.account_id, account=(Cap(limit=10, seconds=3_600),), revision=1)
        assert await launcher.ports.accounts.put_limits(ten)
    return record, await launcher.start(record)


async def control(launcher: Launcher, account: str, state: AccountState, revision: int) -> None:
    changed = AccountControl(account_id=account, state=state, reason="holiday", revision=revision)
    assert await launcher.ports.accounts.put_control(changed)


async def until_stored(launcher: Launcher, record: CampaignRecord, status: MessageStatus, number: int) -> None:
    """Until so many messages are there; the test's time-out ends the wait."""
    while (await launcher.counts(record)).get(status, 0) != number:
        await asyncio.sleep(0.05)


async def mass_messages(launcher: Launcher) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await launcher.onlyfans.get("messages"))["mass_messages"]
    return found


async def reasons(launcher: Launcher, record: CampaignRecord) -> Counter[tuple[MessageStatus, str]]:
    return Counter((message.status, message.reason) for message in await launcher.messages(record))


async def nobody_got_two(launcher: Launcher, record: CampaignRecord) -> bool:
    """Whether each chat that got something got one message, and as many did as the store calls sent."""
    account = record.lanes[0].account_id
    chats = (await launcher.onlyfans.get("received", account=account))["received"].get(account, {})
    sent = (await launcher.counts(record)).get(S.SENT, 0)
    return len(chats) == sent and all(len(copies) == 1 for copies in chats.values())


class Take:
    """The activity by itself: what one try after the other finds, on the real server's clock."""

    def __init__(self, live: Launcher, record: CampaignRecord) -> None:
        self.ports = live.ports
        self.record = record
        self.account = record.lanes[0].account_id
        self._live = live

    async def fans(self) -> list[str]:
        pages = [
            await self.ports.campaigns.audience_page(self.record.campaign_id, self.account, page)
            for page in range(self.record.lanes[0].pages)
        ]
        return [recipient.recipient_id for page in pages for recipient in page.recipients]

    def activity(self, name: str, **changes: Any) -> Any:
        """One of the worker's activities."""
        served = activities(replace(self.ports, **changes), self._live.env.client, self._live.settings)
        [found] = [each for each in (*served[DELIVERY], *served[ORCHESTRATION]) if each.__name__ == name]
        return found

    async def withdraw(self) -> Withdrawn:
        request = Withdraw(
            campaign_id=self.record.campaign_id,
            account_id=self.account,
            action=AlternativeAction.MASS_MESSAGE,
            why="deadline: not sent by then",
        )
        found: Withdrawn = await ActivityEnvironment().run(self.activity("withdraw"), request)
        return found

    async def once(self, *, withdrawn_from: int | None = None, **changes: Any) -> AlternativeTaken:
        """``withdrawn_from``: the first page that was not drafted when everything before it was withdrawn."""
        take = self.activity("take", **changes)
        request = TakeAlternative(
            campaign_id=self.record.campaign_id,
            account_id=self.account,
            from_page=withdrawn_from or 0,
            pages=self.record.lanes[0].pages,
            action=AlternativeAction.MASS_MESSAGE,
            withdrawn=withdrawn_from is not None,
            batches=(0,),
        )
        taken: AlternativeTaken = await ActivityEnvironment().run(take, request)
        return taken

    async def until_done(self) -> dict[MessageStatus, int]:
        """As the workflow does it, but not for ever."""
        for _ in range(5):
            taken = await self.once()
            if taken.done:
                return taken.counts
            await asyncio.sleep(taken.wait_ms / 1000)
        raise AssertionError(f"still at it: {taken}")

    async def message(self, fan: str) -> Message:
        key = message_id(self.record.campaign_id, self.account, fan)
        return (await self.ports.messages.get_many(self.record.campaign_id, [key]))[key]

    async def busy(self, fan: str) -> None:
        """Others use up the limits of a fan."""
        caps = (Cap(limit=10, seconds=60), Cap(limit=10, seconds=3_600))
        for _ in range(2):
            await self.ports.limiter.reserve_fans(self.account, [fan], caps, call=uuid4(), lease_ms=600_000)

    async def close(self) -> None:
        """From now on no fan may get anything."""
        closed = AccountLimits(account_id=self.account, recipient=(Cap(limit=0, seconds=60),), revision=1)
        assert await self.ports.accounts.put_limits(closed)

    async def calls(self) -> int:
        return len([mass for mass in await mass_messages(self._live) if mass["account"] == self.account])
