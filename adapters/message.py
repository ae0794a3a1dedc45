"""How an update of a message is written: by key, and only from a state that may become the next one."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from adapters.dynamodb import Dynamo, Item, value
from domain.delivery import MessageStatus, sources_of


def message_key(campaign_id: str, message_id: UUID) -> Item:
    """The primary key of a message."""
    return {"campaignId": value(campaign_id), "messageId": value(str(message_id))}


def message_update(
    dynamo: Dynamo,
    key: Item,
    target: MessageStatus,
    changes: Mapping[str, object],
    *,
    sources: Sequence[MessageStatus] | None = None,
    once: Mapping[str, object] | None = None,
    only_if: Mapping[str, object] | None = None,
    forget: Sequence[str] = (),
) -> Item:
    """The arguments of an update to ``target`` from ``sources``, by default all that the state machine allows.

    ``changes`` are set, ``once`` only where there is nothing yet, both by attribute (a dot leads into a map);
    ``only_if``: what the attributes have to be before; ``forget``: attributes that go. A message that fails becomes a
    dead letter of its account; one that is no draft any more leaves the review queue.
    """
    sources = sources or sources_of(target)
    states = {f":from{number}": str(status) for number, status in enumerate(sources)}
    changes = {"status": str(target), **changes}
    once, only_if = once or {}, only_if or {}
    sets = [
        *(f"{_name(path)} = {_value(path)}" for path in changes),
        *(f"{_name(path)} = if_not_exists({_name(path)}, {_value(path)})" for path in once),
        *(["deadLetterOf = accountId"] if target is MessageStatus.FAILED else []),
    ]
    conditions = [f"#status IN ({', '.join(states)})", *(f"{_name(path)} = :was_{path}" for path in only_if)]
    values = {
        **states,
        **{_value(path): raw for path, raw in (*changes.items(), *once.items())},
        **{f":was_{path}": raw for path, raw in only_if.items()},
    }
    paths = [*changes, *once, *only_if]
    return {
        "TableName": dynamo.table("messages"),
        "Key": key,
        "UpdateExpression": f"SET {', '.join(sets)}{_without(*forget, *_leaving(target, sources))}",
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": {f"#{part}": part for path in paths for part in path.split(".")},
        "ExpressionAttributeValues": {name: value(raw) for name, raw in values.items()},
    }


def _leaving(target: MessageStatus, sources: Sequence[MessageStatus]) -> tuple[str, ...]:
    leaves = target is not MessageStatus.DRAFTED and MessageStatus.DRAFTED in sources
    return ("reviewQueue", "reviewPlace") if leaves else ()


def _without(*attributes: str) -> str:
    return f" REMOVE {', '.join(attributes)}" if attributes else ""


def _name(path: str) -> str:
    return ".".join(f"#{part}" for part in path.split("."))


def _value(path: str) -> str:
    return f":{path.replace('.', '_')}"
