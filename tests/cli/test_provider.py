"""`huntaze providers` shows every breaker and the calls that it guards."""

from datetime import UTC, datetime

import pytest

from api.routes.provider import Guarded, ProviderList, ProviderView
from cli.provider import show_breakers
from domain.breaker import BreakerStatus, BreakerView
from domain.provider import Provider
from domain.routing import Target

TARGET = Target(provider=Provider.OPENAI, model="gpt-4o")


def test_each_breaker_has_a_line_that_says_what_it_guards(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    away = BreakerView(target=f"{TARGET.key}/kept", status=BreakerStatus.OPEN, open_for_ms=5_000, opened=3)
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    listed = ProviderList(
        providers=(
            ProviderView.of(TARGET, Guarded.ANSWERS, BreakerView(target=TARGET.key), now),
            ProviderView.of(TARGET, Guarded.KEPT_ANSWERS, away, now),
            ProviderView.of(TARGET, Guarded.MODERATION, BreakerView(target="moderation", shared=False), now),
        )
    )
    show_breakers(listed.model_dump(mode="json", by_alias=True))
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    [answers] = [line for line in lines if "openai/gpt-4o" in line]
    [kept] = [line for line in lines if "openai/gpt-4o/kept" in line]
    [moderation] = [line for line in lines if line.count("moderation") == 2]
    assert answers[:3] == ["openai/gpt-4o", "answers", "closed"]
    assert kept[:6] == ["openai/gpt-4o/kept", "kept", "answers", "open", "2026-11-22", "12:00:05"]
    assert moderation[2] == "closed"
    assert lines[-1][:2] == ["Redis", "can't"]
