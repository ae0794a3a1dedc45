"""Alerts: kept once, shown newest first, and each one a line of the log."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from adapters.alert import KEPT_FOR, DynamoAlerts
from adapters.dynamodb import Dynamo
from adapters.settings import Settings
from domain.alert import Alert, AlertKind, Severity
from tests.adapters.conftest import tables
from tests.domain.builders import an_account

START = datetime.now(UTC)


@pytest.fixture
def account() -> str:
    return an_account()


@pytest.fixture
def alerts(dynamo: Dynamo) -> DynamoAlerts:
    return DynamoAlerts(dynamo)


def an_alert(account: str = "", at: datetime = START, **changes: object) -> Alert:
    fields: dict[str, object] = {
        "alert_id": str(uuid4()),
        "kind": AlertKind.RATE_LIMIT_VIOLATION,
        "severity": Severity.WARNING,
        "at": at,
        "account_id": account,
        "detail": "429 from the gateway",
    }
    return Alert.model_validate(fields | changes)


class TestRaiseAlert:
    async def test_what_was_kept_comes_back_whole(self, alerts: DynamoAlerts, account: str) -> None:
        alert = an_alert(account)
        assert await alerts.raise_alert(alert)
        assert await alerts.since(START, account_id=account) == [alert]

    async def test_a_repetition_changes_nothing_even_at_another_time(self, alerts: DynamoAlerts, account: str) -> None:
        alert = an_alert(account)
        again = alert.model_copy(update={"at": START - timedelta(days=1), "detail": "again"})
        assert await alerts.raise_alert(alert)
        with capture_logs() as lines:
            assert not await alerts.raise_alert(again)
        assert lines == []
        assert await alerts.since(START - timedelta(days=2), account_id=account) == [alert]

    @pytest.mark.parametrize(
        ("severity", "level"), [(Severity.INFO, "info"), (Severity.WARNING, "warning"), (Severity.CRITICAL, "error")]
    )
    async def test_each_is_one_line_of_the_log(
        self, alerts: DynamoAlerts, account: str, severity: Severity, level: str
    ) -> None:
        with capture_logs() as lines:
            await alerts.raise_alert(an_alert(account, severity=severity))
        (line,) = lines
        assert (line["event"], line["log_level"]) == ("alert", level)
        assert (line["kind"], line["severity"], line["account"]) == ("rate_limit_violation", severity, account)


class TestSince:
    async def test_newest_first_over_days(self, alerts: DynamoAlerts, account: str) -> None:
        ages = [timedelta(microseconds=number) for number in (0, 1, 10, 500_000)]
        ages += [timedelta(hours=number) for number in (1, 23, 24, 25, 47, 70)]
        made = [an_alert(account, START - age) for age in ages]
        for alert in reversed(made):
            await alerts.raise_alert(alert)
        assert await alerts.since(START - timedelta(days=3), account_id=account) == made
        assert await alerts.since(START - timedelta(hours=24), account_id=account) == made[:7]

    async def test_the_offset_of_the_moment_does_not_matter(self, alerts: DynamoAlerts, account: str) -> None:
        alert = an_alert(account)
        await alerts.raise_alert(alert)
        assert await alerts.since(START.astimezone(), account_id=account) == [alert]
        assert await alerts.since(START + timedelta(microseconds=1), account_id=account) == []

    async def test_of_one_account_or_of_everybody(self, settings: Settings) -> None:
        async with tables(settings) as dynamo:
            alerts = DynamoAlerts(dynamo)
            mine, theirs, ours = an_alert(an_account()), an_alert(an_account()), an_alert()
            for alert in (mine, theirs, ours):
                await alerts.raise_alert(alert)
            assert await alerts.since(START, account_id=mine.account_id) == [mine]
            found = await alerts.since(START)
            assert {alert.alert_id for alert in found} == {mine.alert_id, theirs.alert_id, ours.alert_id}
            assert len(found) == 3

    async def test_a_day_with_more_than_the_database_reads_at_once(self, settings: Settings) -> None:
        """A query reads 1 MB at a time."""
        async with tables(settings) as dynamo:
            alerts = DynamoAlerts(dynamo)
            made = [an_alert("", START - timedelta(microseconds=number), detail="x" * 30_000) for number in range(80)]
            for alert in made:
                await alerts.raise_alert(alert)
            assert await alerts.since(START - timedelta(seconds=1)) == made

    async def test_what_is_older_than_it_is_kept_for_is_not_shown(self, alerts: DynamoAlerts, account: str) -> None:
        await alerts.raise_alert(an_alert(account, START - KEPT_FOR - timedelta(minutes=1)))
        await alerts.raise_alert(kept := an_alert(account, START - KEPT_FOR + timedelta(hours=1)))
        assert await alerts.since(datetime(2020, 1, 1, tzinfo=UTC), account_id=account) == [kept]
