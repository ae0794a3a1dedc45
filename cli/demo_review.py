"""The person whom the demo plays: reads what waits for review and decides about it, over the API like anybody."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from cli.client import ApiClient
from local.demo import Reviewed

T = TypeVar("T")
Draft = dict[str, Any]

POLL_S = 0.5
SHOWN = 3
"""Drafts of which the text is printed."""
ADDED = " Thank you for being here!"
"""What the person adds to a text."""

_CAMPAIGNS = "/api/v2/campaigns"
_REVIEWS = "/api/v2/reviews"


async def attended(
    campaign: Coroutine[Any, Any, T], person: Coroutine[Any, Any, Reviewed]
) -> tuple[T, Reviewed | None]:
    """A campaign with a person beside it; ``None`` when it ended before there was anything for the person to do."""
    try:
        async with asyncio.TaskGroup() as group:
            beside = group.create_task(person)
            result = await campaign
            beside.cancel()
    except BaseExceptionGroup as failures:
        # The first failure cancelled the other: it is the one to tell.
        raise failures.exceptions[0] from None
    return result, None if beside.cancelled() else beside.result()


async def approve_everything(client: ApiClient, campaign_id: str) -> Reviewed:
    """Whatever waits is read and approved, and so is what is still to come."""
    drafts = await _waiting(client, campaign_id)
    await _approve(client, campaign_id, f"all {len(drafts)}")
    return Reviewed(waited=len(drafts))


async def decide_one_by_one(client: ApiClient, campaign_id: str) -> Reviewed:
    """One text is edited, one message is rejected, the rest is approved."""
    drafts = await _waiting(client, campaign_id)
    # An English text, for the reader's sake.
    edited = next((draft for draft in drafts if draft["text"].isascii()), drafts[0])
    text = edited["text"] + ADDED
    change = {"text": text, "approve": True, "comment": "A word of thanks.", "revision": edited["revision"]}
    await client.put(f"{_CAMPAIGNS}/{campaign_id}/messages/{edited['messageId']}/text", change)
    print(f"the person edits the text for {edited['recipientId']} and approves it (PUT …/text): {text!r}")
    rejected = next((draft for draft in drafts if draft is not edited), None)
    if rejected is not None:
        print(f"the person rejects the message to {rejected['recipientId']} (POST …/reject)")
        await _reject(client, campaign_id, rejected["messageId"])
    await _approve(client, campaign_id, "the rest")
    return Reviewed(
        waited=len(drafts),
        edited=UUID(edited["messageId"]),
        edited_text=text,
        rejected=UUID(rejected["messageId"]) if rejected is not None else None,
    )


async def parts(client: ApiClient, path: str, field: str, **query: Any) -> AsyncIterator[dict[str, Any]]:
    """Every item of a list that comes in parts."""
    cursor: str | None = None
    while True:
        part = await client.get(path, **query, limit=100, cursor=cursor)
        for item in part[field]:
            yield item
        cursor = part["nextCursor"]
        if cursor is None:
            return


async def _waiting(client: ApiClient, campaign_id: str) -> Sequence[Draft]:
    """The drafts that wait, as soon as every account's first page is written and all of them are listed."""
    while True:
        progress = (await client.get(f"{_CAMPAIGNS}/status", workflowId=campaign_id))["progress"]
        drafts = [draft async for draft in parts(client, _REVIEWS, "drafts", campaignId=campaign_id)]
        written = all(account["drafted"] or account["skipped"] for account in progress["accounts"])
        # The list is about a second behind the campaign.
        if drafts and written and len(drafts) == progress["awaitingReview"]:
            _show(drafts)
            return drafts
        await asyncio.sleep(POLL_S)


def _show(drafts: Sequence[Draft]) -> None:
    reasons = ", ".join(f"{number} × {reason}" for reason, number in Counter(map(_why, drafts)).most_common())
    print(f"GET {_REVIEWS}: {len(drafts)} drafts wait for a person ({reasons})")
    for draft in drafts[:SHOWN]:
        print(f"    {draft['accountId']} to {draft['recipientId']}: {draft['text']!r}")
    if len(drafts) > SHOWN:
        print(f"    and {len(drafts) - SHOWN} more")


def _why(draft: Mapping[str, Any]) -> str:
    """The rules that a text breaks, else why it waits."""
    report = draft["compliance"] or {"violations": ()}
    return ", ".join(violation["ruleId"] for violation in report["violations"]) or str(draft["reason"])


async def _reject(client: ApiClient, campaign_id: str, message_id: str) -> None:
    """Returns when it is carried out: until then an approval of everything would be the last word here as well."""
    body = {"messages": [message_id], "comment": "Not this one."}
    await client.post(f"{_CAMPAIGNS}/{campaign_id}/reject", body)
    while True:
        message = await client.get(f"{_CAMPAIGNS}/{campaign_id}/messages/{message_id}")
        if message["status"] != "drafted":
            return
        await asyncio.sleep(POLL_S)


async def _approve(client: ApiClient, campaign_id: str, which: str) -> None:
    """Everything that waits by then, and all pages to come."""
    print(f"the person approves {which}, and what is still to come (POST …/approve, scope campaign)")
    body = {"scope": "campaign", "comment": "Read and found well."}
    await client.post(f"{_CAMPAIGNS}/{campaign_id}/approve", body)
