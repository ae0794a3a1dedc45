"""What a new single message has before it in its account's queue."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from api.standing import ahead
from domain.delivery import Priority
from domain.rate_limit import MessageType
from domain.send_queue import QueuedMessage, QueueOutlook
from tests.domain.builders import NOW


def an_outlook(**changes: object) -> QueueOutlook:
    """Two messages of each priority wait; ``changes``: what is different about the second one."""
    messages = tuple(
        QueuedMessage(
            campaign_id="spring",
            message_id=uuid4(),
            priority=priority,
            message_type=MessageType.CUSTOM,
            arrived_at=NOW,
        ).model_copy(update=different)
        for priority in Priority
        for different in ({}, changes)
    )
    return QueueOutlook(account_id="acct_luna", messages=messages)


@pytest.mark.parametrize(
    ("priority", "before"), [(Priority.CRITICAL, 2), (Priority.HIGH, 4), (Priority.MEDIUM, 6), (Priority.LOW, 8)]
)
def test_what_is_as_urgent_or_more_so_goes_first(priority: Priority, before: int) -> None:
    assert ahead(an_outlook(), priority) == before


def test_without_a_queue_nothing_does() -> None:
    assert ahead(None, Priority.LOW) == 0


@pytest.mark.parametrize("changes", [{"parked": True}, {"not_before": datetime.now(UTC) + timedelta(days=1)}])
def test_what_would_not_go_now_does_not(changes: dict[str, object]) -> None:
    assert ahead(an_outlook(**changes), Priority.LOW) == 4
