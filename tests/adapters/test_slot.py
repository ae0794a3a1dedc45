"""Grants as the message store remembers them."""

from datetime import timedelta

import pytest

from adapters.dynamodb import Dynamo, plain
from adapters.settings import Settings
from adapters.slot import DynamoSlots, slot_delete, slot_put
from domain.rate_limit import MessageType, Slot
from tests.adapters.conftest import tables
from tests.domain.builders import NOW, an_account

NOW_US = int(NOW.timestamp() * 1_000_000)


@pytest.fixture
def account() -> str:
    return an_account()


def a_slot(account: str, counts_at_us: int = NOW_US, lease_id: str = "lease", **changes: object) -> Slot:
    fields: dict[str, object] = {
        "lease_id": lease_id,
        "account_id": account,
        "message_type": MessageType.PROMOTIONAL,
        "recipient_id": "fan-1",
        "counts_at_us": counts_at_us,
    }
    return Slot.model_validate(fields | changes)


async def keep(dynamo: Dynamo, *slots: Slot) -> None:
    await dynamo.transact([slot_put(dynamo, slot) for slot in slots])


class TestSlots:
    async def test_those_that_count_from_then_on_in_their_order(self, dynamo: Dynamo, account: str) -> None:
        slots = [a_slot(account, NOW_US + shift, f"lease-{shift}") for shift in (-1, 0, 1, 9_000_000)]
        await keep(dynamo, *reversed(slots))
        assert list(await DynamoSlots(dynamo).slots(account, NOW_US)) == slots[1:]

    async def test_two_leases_that_end_together_are_two(self, dynamo: Dynamo, account: str) -> None:
        slots = [a_slot(account, lease_id=name) for name in ("a", "b")]
        await keep(dynamo, *slots)
        assert list(await DynamoSlots(dynamo).slots(account, 0)) == slots

    async def test_one_without_a_recipient(self, dynamo: Dynamo, account: str) -> None:
        slot = a_slot(account, recipient_id=None)
        await keep(dynamo, slot)
        assert list(await DynamoSlots(dynamo).slots(account, 0)) == [slot]

    async def test_one_for_many_fans_counts_for_them_alone(self, dynamo: Dynamo, account: str) -> None:
        slot = a_slot(account, message_type=None, recipient_id=None, also_for=("fan-1", "fan-2"))
        await DynamoSlots(dynamo).keep([slot])
        assert list(await DynamoSlots(dynamo).slots(account, 0)) == [slot]
        assert slot.subjects == ("recipient:fan-1", "recipient:fan-2")

    async def test_a_hold_counts_nowhere(self, dynamo: Dynamo, account: str) -> None:
        held = Slot(lease_id="hold", account_id=account, counts_at_us=NOW_US, hold="throttled")
        await DynamoSlots(dynamo).keep([held])
        assert list(await DynamoSlots(dynamo).slots(account, NOW_US)) == [held]
        assert held.subjects == ()

    async def test_what_is_given_back_is_forgotten(self, dynamo: Dynamo, account: str) -> None:
        slots = [a_slot(account, lease_id=name) for name in ("a", "b")]
        await keep(dynamo, *slots)
        await dynamo.transact([slot_delete(dynamo, slots[0])])
        assert list(await DynamoSlots(dynamo).slots(account, 0)) == slots[1:]

    async def test_many_are_forgotten_together(self, dynamo: Dynamo, account: str) -> None:
        store = DynamoSlots(dynamo)
        slots = [a_slot(account, NOW_US + number, f"lease-{number}") for number in range(102)]
        await store.keep(slots)
        # Only the name of a slot counts, and one that is not there does no harm.
        named = [Slot(lease_id=each.lease_id, account_id=account, counts_at_us=each.counts_at_us) for each in slots]
        await store.forget(named[1:])
        await store.forget(named[1:2])
        assert list(await store.slots(account, 0)) == slots[:1]

    async def test_all_accounts_however_many_there_are(self, settings: Settings) -> None:
        """A scan reads 1 MB at a time: these need several."""
        async with tables(settings) as dynamo:
            slots = [
                a_slot(f"acct_{number % 7}", NOW_US + number, f"{number:0800d}", recipient_id="f" * 64)
                for number in range(1_200)
            ]
            await dynamo.batch_put("slots", [slot_put(dynamo, slot)["Put"]["Item"] for slot in slots])
            found = await DynamoSlots(dynamo).slots(None, NOW_US + 100)
            assert sorted(found, key=lambda slot: slot.counts_at_us) == slots[100:]

    async def test_it_expires_two_days_after_it_counted(self, dynamo: Dynamo, account: str) -> None:
        item = plain(slot_put(dynamo, a_slot(account))["Put"]["Item"])
        assert item["expiresAt"] == int((NOW + timedelta(days=2)).timestamp())


class TestExpiry:
    async def test_the_tables_let_go_of_what_expired(self, settings: Settings) -> None:
        async with tables(settings) as dynamo:
            for name in ("slots", "alerts", "inbox"):
                answer = await dynamo.call(dynamo.client.describe_time_to_live, TableName=dynamo.table(name))
                assert answer["TimeToLiveDescription"] == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expiresAt"}
