"""Dead letters: sent again or let be, and once more under their campaign's rule."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from adapters.bootstrap import Ports
from api.dead_letter import let_be
from domain.access import Principal, Role
from domain.alternative import DeliveryTerms, DeliveryTimes
from domain.campaign import CampaignRecord, CampaignStatus
from domain.dead_letter import retried_by, retry_id
from domain.delivery import Attempt, Message, MessageOrigin, MessageStatus, Outcome
from domain.errors import Conflict
from domain.provider import IntentType
from domain.rate_limit import MessageType, Slot
from tests.api.identity import bearer
from tests.api.test_message import MESSAGES, body, hold, sent_when
from tests.api.test_progress import CAMPAIGNS
from tests.api.test_queue import queue_of
from tests.domain.builders import a_campaign, a_message, a_record
from tests.local import Simulator

Headers = dict[str, str]
OPERATOR = Principal(user_id="operator", role=Role.OPERATOR)
RUNNING: dict[str, Any] = {"status": CampaignStatus.RUNNING}


async def dead_letter(api: httpx.AsyncClient, caller: Headers, account: str) -> dict[str, Any]:
    """A message that the platform refused for its words."""
    refused = await api.post(
        MESSAGES, json=body(account, text="No blackmail, please."), headers=caller | {"Prefer": "wait=30"}
    )
    assert refused.status_code == 422, refused.text
    [letter] = (await api.get(f"{queue_of(account)}/dead-letters", headers=caller)).json()["messages"]
    return dict(letter)


async def unknown_outcome(
    ports: Ports, account: str, campaign: str = "", recipient: str = "1", **changes: Any
) -> Message:
    """A message that was given up without knowing whether it arrived."""
    fields: dict[str, Any] = {"account_id": account, "message_type": MessageType.CUSTOM, **changes}
    letter = a_message(campaign or str(uuid4()), recipient, status=MessageStatus.QUEUED, **fields)
    await ports.messages.create_many([letter])
    slot = Slot(lease_id=str(uuid4()), account_id=account, message_type=MessageType.CUSTOM, counts_at_us=1)
    attempt, now = Attempt(message=letter, slot=slot), datetime.now(UTC)
    assert await ports.messages.begin_sends([attempt], now) == {letter.message_id}
    failed = Outcome(
        attempt=attempt, status=MessageStatus.FAILED, reason="outcome_unknown:recipient_not_found", attempts=1, at=now
    )
    await ports.messages.settle([failed])
    return letter


class Before:
    """The message store; something happens right before a dead letter is closed."""

    def __init__(self, ports: Ports, happens: Callable[[], Awaitable[None]]) -> None:
        self._messages = ports.messages
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._messages, name)

    async def close_dead_letter(self, letter: Message, note: str) -> str:
        await self._happens()
        return await self._messages.close_dead_letter(letter, note)


async def waiting(letter: Message, owner: str, ports: Ports, **changes: Any) -> UUID:
    """What a request has stored in a dead letter's place, before it ended."""
    again = retry_id(letter.message_id)
    record = await ports.campaigns.create(
        a_record(str(again), type=IntentType.DIRECT_MESSAGE, owner=owner, account_id=letter.account_id, **RUNNING), ()
    )
    fields: dict[str, Any] = {"status": MessageStatus.QUEUED, **changes}
    message = letter.model_copy(update={"message_id": again, "campaign_id": record.campaign_id, "batch": 0, **fields})
    await ports.messages.create_many([message])
    return again


@pytest.mark.usefixtures("worker", "onlyfans")
class TestRetryAndDiscard:
    async def test_a_retry_is_one_message_however_often_it_is_asked_for(
        self, api: httpx.AsyncClient, caller: Headers, account: str, staff: Headers
    ) -> None:
        letter = await dead_letter(api, caller, account)
        url = f"{queue_of(account)}/dead-letters/{letter['messageId']}"
        assert (await api.get(url, headers=caller)).json() == letter
        answers = [await api.post(f"{url}/retry", headers=headers) for headers in (caller, caller, staff)]
        assert [answer.status_code for answer in answers] == [202, 202, 202]
        [retried] = {answer.json()["messageId"] for answer in answers}
        # The words are still the same, so it fails again, as another dead letter.
        again = await sent_when(api, caller, retried, "failed")
        assert (again["text"], again["recipientId"]) == (letter["text"], letter["recipientId"])
        [left] = (await api.get(f"{queue_of(account)}/dead-letters", headers=caller)).json()["messages"]
        assert left["messageId"] == retried
        assert (await api.get(url, headers=caller)).status_code == 404

    async def test_whoever_asks_for_a_retry_approves_it_then(
        self, api: httpx.AsyncClient, caller: Headers, owner: str, account: str, ports: Ports
    ) -> None:
        asked_at = datetime.now(UTC)
        origin = MessageOrigin(
            provider="openai",
            model="gpt-4o-mini",
            prompt_version="write.v2",
            approved_by="ana",
            approved_at=asked_at - timedelta(days=1),
        )
        letter = await unknown_outcome(ports, account, text="Hello Maya, spring is here.", origin=origin)
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}/retry"
        retried = (await api.post(url, json={"force": True}, headers=caller)).json()["messageId"]
        (again,) = (await ports.messages.get_many(retried, [UUID(retried)])).values()
        assert again.origin is not None
        assert (again.origin.model, again.origin.prompt_version) == ("gpt-4o-mini", "write.v2")
        assert again.origin.approved_by == owner
        assert again.origin.approved_at is not None
        assert again.origin.approved_at >= asked_at

    @pytest.mark.parametrize(
        ("text", "rule"),
        [
            ("Pay me on PayPal, Maya.", "off-platform-payment"),
            ("My minor in college was art, Maya.", "moderation-sexual-minors"),
        ],
    )
    async def test_what_is_blocked_by_now_is_not_sent_again(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports, text: str, rule: str
    ) -> None:
        letter = await unknown_outcome(ports, account, text=text)
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}"
        refused = await api.post(f"{url}/retry", json={"force": True}, headers=caller)
        assert (refused.status_code, refused.json()["errorType"]) == (422, "compliance_violation")
        assert rule in refused.json()["errors"][0]["message"]
        assert (await api.get(url, headers=caller)).json()["text"] == text

    async def test_a_discarded_one_is_off_the_list(self, api: httpx.AsyncClient, caller: Headers, account: str) -> None:
        letter = await dead_letter(api, caller, account)
        url = f"{queue_of(account)}/dead-letters/{letter['messageId']}"
        assert (await api.post(f"{url}/discard", json={}, headers=caller)).status_code == 422
        discarded = await api.post(f"{url}/discard", json={"reason": "The fan has left."}, headers=caller)
        assert (discarded.status_code, discarded.json()["status"]) == (200, "failed")
        assert (await api.get(f"{queue_of(account)}/dead-letters", headers=caller)).json()["messages"] == []
        assert (await api.post(f"{url}/retry", headers=caller)).status_code == 404

    async def test_a_discarded_one_is_not_sent_by_a_retry_that_got_no_further(
        self, api: httpx.AsyncClient, caller: Headers, account: str, owner: str, ports: Ports
    ) -> None:
        letter = await unknown_outcome(ports, account, text="Hello Maya, spring is here.")
        again = await waiting(letter, owner, ports)
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}/discard"
        assert (await api.post(url, json={"reason": "The fan has left."}, headers=caller)).status_code == 200
        assert (await sent_when(api, caller, str(again), "cancelled"))["reason"].startswith("discarded_by:")
        retry = f"{queue_of(account)}/dead-letters/{letter.message_id}/retry"
        assert (await api.post(retry, headers=caller)).status_code == 404

    async def test_one_that_was_sent_again_is_not_discarded(
        self, api: httpx.AsyncClient, caller: Headers, account: str, owner: str, ports: Ports
    ) -> None:
        letter = await unknown_outcome(ports, account, text="Hello Maya, spring is here.")
        again = await waiting(letter, owner, ports, status=MessageStatus.SENT)
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}"
        refused = await api.post(f"{url}/discard", json={"reason": "The fan has left."}, headers=caller)
        assert (refused.status_code, str(again) in refused.json()["detail"]) == (409, True)
        assert (await api.post(f"{url}/retry", headers=caller)).json()["messageId"] == str(again)

    async def test_a_discard_that_a_retry_overtakes_takes_nothing_away(
        self, caller: Headers, owner: str, account: str, ports: Ports
    ) -> None:
        letter = await unknown_outcome(ports, account, text="Hello Maya, spring is here.")
        again = await waiting(letter, owner, ports)

        async def overtaken() -> None:
            await ports.messages.close_dead_letter(letter, retried_by("ana", again))

        with pytest.raises(Conflict):
            await let_be(letter, OPERATOR, "The fan has left.", replace(ports, messages=Before(ports, overtaken)))
        assert (await ports.messages.get_many(str(again), [again]))[again].status is not MessageStatus.CANCELLED

    async def test_what_a_retry_stores_during_a_discard_is_cancelled(
        self, owner: str, account: str, ports: Ports
    ) -> None:
        letter = await unknown_outcome(ports, account, text="Hello Maya, spring is here.")

        async def stored() -> None:
            await waiting(letter, owner, ports)

        await let_be(letter, OPERATOR, "The fan has left.", replace(ports, messages=Before(ports, stored)))
        again = retry_id(letter.message_id)
        assert (await ports.messages.get_many(str(again), [again]))[again].status is MessageStatus.CANCELLED

    async def test_a_retry_says_that_the_one_before_it_was_cancelled(
        self, api: httpx.AsyncClient, caller: Headers, account: str, owner: str, ports: Ports
    ) -> None:
        letter = await unknown_outcome(ports, account, text="Hello Maya, spring is here.")
        await waiting(letter, owner, ports, status=MessageStatus.CANCELLED, reason="campaign_cancelled")
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}"
        refused = await api.post(f"{url}/retry", json={"force": True}, headers=caller)
        assert (refused.status_code, "cancelled (campaign_cancelled)" in refused.json()["detail"]) == (409, True)
        assert (await api.get(url, headers=caller)).status_code == 200

    async def test_a_retry_goes_on_where_one_got_no_further(
        self, api: httpx.AsyncClient, caller: Headers, account: str, owner: str, ports: Ports
    ) -> None:
        letter = await unknown_outcome(ports, account, text="Hello Maya, spring is here.")
        again = await waiting(letter, owner, ports)
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}/retry"
        # It was forced before.
        assert (await api.post(url, headers=caller)).status_code == 202
        await sent_when(api, caller, str(again), "sent")
        assert (await api.get(f"{queue_of(account)}/dead-letters", headers=caller)).json()["messages"] == []

    async def test_what_the_fan_may_have_already_is_sent_again_only_on_purpose(
        self, api: httpx.AsyncClient, caller: Headers, account: str, ports: Ports
    ) -> None:
        letter = await unknown_outcome(ports, account)
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}/retry"
        refused = await api.post(url, headers=caller)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "force")
        retried = await api.post(url, json={"force": True}, headers=caller)
        assert retried.status_code == 202
        sent = await sent_when(api, caller, retried.json()["messageId"], "sent")
        assert (sent["text"], sent["recipientId"]) == (letter.text, letter.recipient_id)

    async def test_of_another_account_is_404(self, api: httpx.AsyncClient, caller: Headers, account: str) -> None:
        letter = await dead_letter(api, caller, account)
        elsewhere = f"acct_{uuid4().hex[:16]}"
        url = f"{queue_of(elsewhere)}/dead-letters/{letter['messageId']}"
        assert (await api.post(f"{url}/retry", headers=bearer("staff", "admin"))).status_code == 404


Failed = Callable[..., Awaitable[str]]


@pytest.mark.usefixtures("worker")
class TestUnderItsCampaign:
    """The message that takes a dead letter's place obeys what became of the campaign."""

    @pytest.fixture
    async def campaign(self, ports: Ports, account: str, owner: str) -> CampaignRecord:
        """One that ran to its end."""
        fields: dict[str, Any] = {"account_id": account, "owner": owner, "status": CampaignStatus.COMPLETED}
        return await ports.campaigns.create(a_record(a_campaign(), **fields), ())

    @pytest.fixture
    def failed(self, ports: Ports, account: str, campaign: CampaignRecord) -> Failed:
        """Stores a dead letter of the campaign; returns its URL."""

        async def build(**changes: Any) -> str:
            letter = await unknown_outcome(
                ports, account, campaign.campaign_id, text="Hello Maya, spring is here.", **changes
            )
            return f"{queue_of(account)}/dead-letters/{letter.message_id}"

        return build

    async def retried(self, api: httpx.AsyncClient, caller: Headers, url: str) -> str:
        answer = await api.post(f"{url}/retry", json={"force": True}, headers=caller)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["messageId"])

    async def of_one_that_expires(self, ports: Ports, account: str, owner: str, until: datetime) -> str:
        terms = DeliveryTerms(times=DeliveryTimes(expires_at=until))
        fields: dict[str, Any] = {"account_id": account, "owner": owner, "delivery": terms}
        campaign = await ports.campaigns.create(a_record(a_campaign(), status=CampaignStatus.COMPLETED, **fields), ())
        letter = await unknown_outcome(ports, account, campaign.campaign_id, text="Hello Maya, spring is here.")
        return f"{queue_of(account)}/dead-letters/{letter.message_id}"

    async def test_it_expires_when_the_first_one_would_have(
        self, api: httpx.AsyncClient, caller: Headers, ports: Ports, account: str, owner: str
    ) -> None:
        await hold(ports, account)
        until = datetime.now(UTC) + timedelta(hours=1)
        again = await self.retried(api, caller, await self.of_one_that_expires(ports, account, owner, until))
        found = (await api.get(f"{MESSAGES}/{again}", headers=caller)).json()
        assert datetime.fromisoformat(found["expiresAt"]) == until

    async def test_one_that_is_too_late_is_409_and_stays_on_the_list(
        self, api: httpx.AsyncClient, caller: Headers, ports: Ports, account: str, owner: str
    ) -> None:
        until = datetime(2026, 11, 1, 12, tzinfo=UTC)
        url = await self.of_one_that_expires(ports, account, owner, until)
        refused = await api.post(f"{url}/retry", json={"force": True}, headers=caller)
        assert (refused.status_code, "2026-11-01T12:00:00Z" in refused.json()["detail"]) == (409, True)
        assert (await api.get(url, headers=caller)).status_code == 200

    async def test_one_that_was_not_to_wait_can_be_sent_later(
        self, api: httpx.AsyncClient, caller: Headers, ports: Ports, account: str, failed: Failed
    ) -> None:
        """Such a message has five seconds of its own, which nobody has asked for."""
        url = await failed(expires_at=datetime(2026, 11, 1, 12, tzinfo=UTC))
        await sent_when(api, caller, await self.retried(api, caller, url), "sent")

    @pytest.mark.parametrize("whose", ["its own", "its part's", "the whole's"])
    async def test_after_a_recall_it_is_409(
        self, api: httpx.AsyncClient, caller: Headers, ports: Ports, account: str, campaign: CampaignRecord, whose: str
    ) -> None:
        part = await ports.campaigns.create(
            a_record(a_campaign(), account_id=account, owner=campaign.owner, part_of=campaign.campaign_id), ()
        )
        of = campaign if whose == "its own" else part
        letter = await unknown_outcome(ports, account, of.campaign_id, text="Hello Maya, spring is here.")
        recalled = part if whose == "its part's" else campaign
        await ports.campaigns.mark_recalled(recalled.campaign_id, datetime.now(UTC))
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}/retry"
        refused = await api.post(url, json={"force": True}, headers=caller)
        assert (refused.status_code, "was recalled" in refused.json()["detail"]) == (409, True)

    async def test_after_a_cancellation_it_is_409(
        self, api: httpx.AsyncClient, caller: Headers, ports: Ports, account: str
    ) -> None:
        fields: dict[str, Any] = {"account_id": account, "status": CampaignStatus.CANCELLED}
        campaign = await ports.campaigns.create(a_record(a_campaign(), **fields), ())
        letter = await unknown_outcome(ports, account, campaign.campaign_id, text="Hello Maya, spring is here.")
        url = f"{queue_of(account)}/dead-letters/{letter.message_id}/retry"
        refused = await api.post(url, json={"force": True}, headers=caller)
        assert (refused.status_code, "was cancelled" in refused.json()["detail"]) == (409, True)

    async def test_a_recall_takes_back_what_was_sent_once_more_and_cancels_what_waits(
        self,
        api: httpx.AsyncClient,
        caller: Headers,
        ports: Ports,
        account: str,
        onlyfans: Simulator,
        failed: Failed,
        campaign: CampaignRecord,
    ) -> None:
        sent = await self.retried(api, caller, await failed())
        await sent_when(api, caller, sent, "sent")
        await hold(ports, account)
        waits = await self.retried(api, caller, await failed(recipient="1002004"))
        answer = await api.post(f"{CAMPAIGNS}/{campaign.campaign_id}/recall", headers=caller | {"Prefer": "wait=60"})
        assert answer.status_code == 200, answer.text
        report = answer.json()
        assert (report["recalled"], report["cancelled"], report["complete"]) == (1, 1, True)
        # Nobody knows whether the fans have the first ones.
        assert [each["reason"] for each in report["failed"]] == ["outcome_unknown:recipient_not_found"] * 2
        await sent_when(api, caller, sent, "recalled")
        await sent_when(api, caller, waits, "cancelled")
        [arrived] = (await onlyfans.get("received"))["received"][account].values()
        assert [copy["unsent"] for copy in arrived] == [True]
