"""The audit log: nothing twice, nothing lost, newest first, and figures as they were recorded."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from adapters.audit import DynamoAudit
from adapters.dynamodb import Dynamo, to_cursor
from domain.audit import AuditEntry
from domain.errors import InvalidRequest

NOW = datetime(2026, 11, 22, 18, tzinfo=UTC)


@pytest.fixture
def audit(dynamo: Dynamo) -> DynamoAudit:
    return DynamoAudit(dynamo)


@pytest.fixture
def subject() -> str:
    return f"flag/{uuid4().hex}"


def entry(subject: str, at: datetime = NOW) -> AuditEntry:
    return AuditEntry(entry_id=uuid4().hex, subject=subject, action="changed", actor="ada", at=at, reason="a test")


async def test_an_entry_is_kept_once_and_never_changed(audit: DynamoAudit, subject: str) -> None:
    first = entry(subject)
    assert await audit.record(first)
    assert not await audit.record(first.model_copy(update={"actor": "mallory"}))
    assert (await audit.entries(subject, limit=10, cursor=None)).entries == (first,)


async def test_before_after_and_evidence_come_back_as_they_were(audit: DynamoAudit, subject: str) -> None:
    """Also figures that DynamoDB has no number for."""
    recorded = entry(subject).model_copy(
        update={
            "before": {"rolloutPercentage": 12.5, "userWhitelist": [], "rolloutId": ""},
            "after": {"rolloutPercentage": 25, "nested": {"nothing": None, "list": [1, 2.5, "x"]}},
            "evidence": {"eValue": 1.7e308, "tiny": 5e-324, "share": 1 / 3},
        }
    )
    await audit.record(recorded)
    [found] = (await audit.entries(subject, limit=1, cursor=None)).entries
    assert found == recorded


async def test_a_subject_is_paged_through_newest_first(audit: DynamoAudit, subject: str) -> None:
    kept = [entry(subject, NOW - timedelta(minutes=minute)) for minute in range(5)]
    for each in reversed(kept):
        await audit.record(each)
    await audit.record(entry(f"{subject}-other"))
    assert await pages(audit, subject, limit=2) == [kept[:2], kept[2:4], kept[4:]]
    assert await pages(audit, subject, limit=5) == [kept]


async def test_everything_is_paged_through_over_months(audit: DynamoAudit, subject: str) -> None:
    present = datetime.now(UTC)
    kept = [entry(f"{subject}-{number}", present - timedelta(days=25 * number)) for number in range(6)]
    for each in kept:
        await audit.record(each)
    found = [each for page in await pages(audit, None, limit=2) for each in page]
    assert [each for each in found if each in kept] == kept
    assert found == sorted(found, key=lambda each: each.at, reverse=True)
    assert len({each.entry_id for each in found}) == len(found)


@pytest.mark.parametrize(
    "cursor", ["", "x", to_cursor("text"), to_cursor(["month#2026-11", "z"]), to_cursor(["subject#flag/other", "z"])]
)
async def test_a_cursor_of_another_list_is_refused(audit: DynamoAudit, subject: str, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="start again without it") as refused:
        await audit.entries(subject, limit=1, cursor=cursor)
    assert refused.value.field == "cursor"


@pytest.mark.parametrize(
    "place", [["month#zzzz", "x"], ["month#2026-11", ""], ["month#2026-11", "\ud800"], ["month#2026-11", 7], [7, "x"]]
)
async def test_a_cursor_that_no_list_made_is_refused(audit: DynamoAudit, place: list[object]) -> None:
    with pytest.raises(InvalidRequest, match="start again without it"):
        await audit.entries(None, limit=1, cursor=to_cursor(place))


async def pages(audit: DynamoAudit, subject: str | None, *, limit: int) -> list[list[AuditEntry]]:
    found, cursor = [], None
    while True:
        listing = await audit.entries(subject, limit=limit, cursor=cursor)
        found.append(list(listing.entries))
        cursor = listing.cursor
        if cursor is None:
            return found
