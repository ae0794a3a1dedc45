"""The tables of the product: keys, indexes, and where items expire."""

from collections.abc import Mapping, Sequence
from typing import Any


def _table(
    hash_key: str,
    range_key: str,
    indexes: Mapping[str, tuple[str, str]] | None = None,
    local: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    held: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """``indexes``: their hash and range keys; ``local``: their range keys and what they hold beside all keys.

    ``held``: the same for those of the ``indexes`` that do not hold everything.
    """
    indexes, local, held = indexes or {}, local or {}, held or {}
    names = {
        hash_key,
        range_key,
        *(name for pair in indexes.values() for name in pair),
        *(name for name, _ in local.values()),
    }
    definition: dict[str, Any] = {
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in sorted(names)],
        "KeySchema": [
            {"AttributeName": hash_key, "KeyType": "HASH"},
            {"AttributeName": range_key, "KeyType": "RANGE"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
    }
    if indexes:
        definition["GlobalSecondaryIndexes"] = [
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": keys[0], "KeyType": "HASH"},
                    {"AttributeName": keys[1], "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(held[index])}
                if index in held
                else {"ProjectionType": "ALL"},
            }
            for index, keys in indexes.items()
        ]
    if local:
        definition["LocalSecondaryIndexes"] = [
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": hash_key, "KeyType": "HASH"},
                    {"AttributeName": key, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(attributes)},
            }
            for index, (key, attributes) in local.items()
        ]
    return definition


TABLES: dict[str, dict[str, Any]] = {
    "campaigns": _table("campaignId", "item", {"by_owner": ("owner", "createdAt"), "by_kind": ("kind", "createdAt")}),
    "messages": _table(
        "campaignId",
        "messageId",
        # Failed messages that nobody has closed: only they have the attribute ``deadLetterOf``.
        # Drafts that wait for a person: only they have the attribute ``reviewQueue``, a shard of their owner.
        {"dead_letters": ("deadLetterOf", "updatedAt"), "reviews": ("reviewQueue", "reviewPlace")},
        # Where messages stand, read consistently by account and without their texts. The price of a local index:
        # one campaign may hold 10 GB.
        {"by_account": ("accountId", ("page", "status", "reason", "batch"))},
        held={"reviews": ("owner", "accountId")},
    ),
    "costs": _table("scope", "entry"),
    "accounts": _table("accountId", "item"),
    "slots": _table("accountId", "slot"),
    "alerts": _table("scope", "entry"),
    "inbox": _table("scope", "entry"),
    "experiments": _table("scope", "entry"),
    "flags": _table("scope", "entry"),
    "observations": _table("scope", "entry"),
    "audit": _table("scope", "entry"),
    "shadow": _table("scope", "entry"),
}
"""Every table by its name without the prefix."""

EXPIRY = "expiresAt"
"""The attribute, in epoch seconds, after which DynamoDB may delete an item, in its own time; nothing relies on it."""

EXPIRING = frozenset({"slots", "alerts", "inbox", "experiments", "observations", "shadow"})
"""The tables in which items expire."""
