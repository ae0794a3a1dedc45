"""Progress without a terminal: one line a change, and nothing where nothing changed."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cli.progress import changes, dollars, waiting
from domain.campaign import CampaignStatus
from domain.progress import AccountProgress, CampaignProgress

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)


def account(name: str, **changed: Any) -> AccountProgress:
    counts = dict.fromkeys(
        ("drafted", "awaiting_review", "queued", "sent", "failed", "skipped", "cancelled", "rejected"), 0
    )
    return AccountProgress(account_id=name, audience=10, **{**counts, **changed})


def campaign(*accounts: AccountProgress, status: CampaignStatus = CampaignStatus.RUNNING) -> CampaignProgress:
    names = ("drafted", "awaiting_review", "queued", "sent", "failed", "skipped", "cancelled", "rejected")
    sums = {name: sum(getattr(account, name) for account in accounts) for name in names}
    return CampaignProgress(
        campaign_id="c",
        status=status,
        audience=20,
        accounts=accounts,
        pending_reviews=(),
        cost_micros=1_825,
        **sums,
    )


class TestChanges:
    def test_the_first_news_names_every_account(self) -> None:
        assert changes(None, campaign(account("acct_a"), account("acct_b", sent=3)), NOW) == [
            "running: 3 of 20 sent, $0.001825 so far",
            "acct_a: 0 drafted, 0 queued, 0 of 10 sent",
            "acct_b: 0 drafted, 0 queued, 3 of 10 sent",
        ]

    def test_later_only_what_changed(self) -> None:
        before = campaign(account("acct_a"), account("acct_b"))
        until = NOW + timedelta(seconds=57)
        after = campaign(account("acct_a"), account("acct_b", sent=9, failed=1, throttled_until=until))
        assert changes(before, after, NOW) == [
            "acct_b: 0 drafted, 0 queued, 9 of 10 sent, 1 failed, "
            f"throttled until {until.astimezone():%H:%M:%S} (in 57 s)"
        ]

    def test_a_new_status_is_told(self) -> None:
        before, after = campaign(account("acct_a")), campaign(account("acct_a"), status=CampaignStatus.PAUSED)
        assert changes(before, after, NOW) == ["paused: 0 of 20 sent, $0.001825 so far"]


class TestWaiting:
    def test_nobody_waits_when_the_time_has_come(self) -> None:
        assert waiting(account("acct_a", throttled_until=NOW), NOW) == ""
        assert waiting(account("acct_a"), NOW) == ""


class TestDollars:
    def test_to_the_last_micro_dollar(self) -> None:
        assert dollars(1) == "$0.000001"
        assert dollars(1_234_567) == "$1.234567"
