"""The headers about limits, as values."""

from typing import Any

import pytest

from api.quota import Quota, rate_limit_view
from domain.delivery import AccountControl
from domain.errors import DependencyUnavailable
from domain.rate_limit import AccountLimits, AccountUsage, Layer, MessageType, Reservation, WindowUsage
from tests.domain.builders import NOW

SECOND = 1_000_000
NOW_US = 1_000 * SECOND


def window(limit: int, used: int, *, seconds: float = 60, subject: str = "account", **changes: Any) -> WindowUsage:
    return WindowUsage(
        layer=Layer.ACCOUNT,
        subject=subject,
        limit=limit,
        seconds=seconds,
        used=used,
        remaining=max(0, limit - used),
        **changes,
    )


def headers(*windows: WindowUsage, **changes: Any) -> tuple[str | None, str | None]:
    usage = AccountUsage(account_id="acct_luna", now_us=NOW_US, windows=windows, **changes)
    found = Quota(
        limits=AccountLimits(account_id="acct_luna"),
        reservation=Reservation(would_grant=True, now_us=NOW_US),
        usage=usage,
    ).headers()
    return found.get("X-RateLimit-Remaining"), found.get("X-RateLimit-Reset")


def test_an_unused_window_is_whole_already() -> None:
    assert headers(window(10, 0)) == ("10", "0")


def test_the_tightest_window_counts_and_its_oldest_grant_leaves_first() -> None:
    grants = {"account": (NOW_US - 70 * SECOND, NOW_US - 20 * SECOND, NOW_US - 5 * SECOND)}
    wide = window(80, 3, seconds=3600)
    assert headers(wide, window(10, 2), grants_us=grants) == ("8", "40")


def test_full_windows_are_waited_for_together() -> None:
    full = (window(2, 2, frees_in_ms=1_500), window(80, 80, seconds=3600, frees_in_ms=90_001), window(9, 1))
    assert headers(*full) == ("0", "91")


def test_the_platforms_own_word_comes_first() -> None:
    assert headers(window(10, 0), held_ms=61_000) == ("0", "61")


def test_a_limit_of_nothing_is_never_reset() -> None:
    assert headers(window(0, 0)) == ("0", None)
    assert headers(window(0, 0, subject="other"), window(2, 2, frees_in_ms=5)) == ("0", None)


def test_grants_that_nobody_knows_may_take_a_whole_window() -> None:
    assert headers(window(10, 1, subject="recipient:1", seconds=30)) == ("9", "30")


def test_without_limits_there_is_nothing_to_say() -> None:
    assert headers() == (None, None)


def test_a_limiter_that_is_away_admits_nothing() -> None:
    away = Quota(limits=AccountLimits(account_id="acct_luna"), reservation=None, usage=None)
    assert away.headers() == {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "5"}
    assert (away.admits, away.never) == (False, False)
    with pytest.raises(DependencyUnavailable):
        rate_limit_view(away, AccountControl(account_id="acct_luna"), MessageType.CUSTOM, None, NOW)
