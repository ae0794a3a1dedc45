"""Whose a message in a chat is: each stored slot names the message that it admitted.

So the log of slots tells which messages of an account were tried lately, without another write for each of them.
"""

from collections.abc import Sequence
from datetime import datetime

from adapters.attempt import begin_items
from adapters.dynamodb import Dynamo, Item, from_item, value
from adapters.message import message_key
from domain.delivery import Attempt, Message


def begin_named(dynamo: Dynamo, attempt: Attempt, now: datetime) -> list[Item]:
    """The beginning of an attempt (``begin_items``), with the message's key beside its slot."""
    update, slot = begin_items(dynamo, attempt, now)
    named = {**slot["Put"]["Item"], **message_key(attempt.message.campaign_id, attempt.message.message_id)}
    return [update, {"Put": {**slot["Put"], "Item": named}}]


async def sent_beside(dynamo: Dynamo, message: Message) -> Sequence[Message]:
    """``MessageStore.sent_beside``: one query of all slots of the account, and what they name."""
    own = message_key(message.campaign_id, message.message_id)
    keys: list[Item] = []
    async for slot in dynamo.query(
        TableName=dynamo.table("slots"),
        KeyConditionExpression="accountId = :account",
        FilterExpression="recipientId = :recipient AND attribute_exists(messageId)",
        ExpressionAttributeValues={
            ":account": value(message.account_id),
            ":recipient": value(message.recipient_id),
        },
        ConsistentRead=True,
    ):
        key = {name: slot[name] for name in own}
        if key != own and key not in keys:
            keys.append(key)
    return [from_item(Message, item) for item in await dynamo.batch_get("messages", keys)]
