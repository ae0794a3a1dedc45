"""What the answers of the limiter's scripts mean."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from adapters.rate_limit_call import Call
from domain.rate_limit import SYSTEM_SUBJECT, AccountUsage, Layer, Lease, Reservation, Window, WindowUsage

NEVER = -1
"""In place of a moment: not before a limit is changed."""

Verdict = tuple[Call, list[int]]
"""A call and what ``rate_limit_reserve.lua`` answered to it."""


def granted(verdict: Verdict) -> bool:
    """Whether a call admits (and, if asked to, has taken) its slot."""
    return verdict[1][0] == 1


def reservation(account_id: str, verdicts: Sequence[Verdict], lease_id: str | None) -> Reservation:
    """One answer from those of all calls: admitted by all of them, or not before the last one admits."""
    admitted = all(map(granted, verdicts))
    remaining: dict[Layer, int] = {}
    for call, answer in verdicts:
        for window, free in zip(call.windows, answer[4:], strict=True):
            if free <= remaining.get(window.layer, free):
                remaining[window.layer] = free
    remaining = {layer: max(0, free - admitted) for layer, free in remaining.items()}
    now_us = verdicts[0][1][1]
    if not admitted:
        return _denial(verdicts, remaining, now_us)
    lease = None
    if lease_id is not None:
        subjects = tuple(chain.from_iterable(call.names for call, _ in verdicts))
        lease = Lease(
            lease_id=lease_id,
            account_id=account_id,
            subjects=subjects,
            expires_at_us=min(answer[2] for _, answer in verdicts),
        )
    return Reservation(lease=lease, would_grant=True, remaining=remaining, retry_after_ms=0, now_us=now_us)


def denied_fans(fans: Sequence[str], answer: Sequence[Any]) -> dict[str, int | None]:
    """What ``rate_limit_reserve_fans.lua`` answers of fans: who has no slot, and how long (ms) until there is room."""
    _, now_us, _, *denials = answer
    return {fans[number - 1]: None if moment == NEVER else _ms(moment - now_us) for number, moment in denials}


def _denial(verdicts: Sequence[Verdict], remaining: dict[Layer, int], now_us: int) -> Reservation:
    # Calls to different servers have different clocks: waits compare, moments do not.
    waits = [(_wait_us(answer), call, answer) for call, answer in verdicts if answer[0] != 1]
    wait_us, call, answer = max(waits, key=lambda each: each[0])
    window = call.windows[answer[3] - 1] if answer[3] else None
    return Reservation(
        would_grant=False,
        remaining=remaining,
        retry_after_ms=None if wait_us == float("inf") else _ms(int(wait_us)),
        binding_layer=window.layer if window else Layer.PLATFORM,
        window_seconds=window.seconds if window else None,
        now_us=now_us,
    )


def _wait_us(answer: Sequence[int]) -> float:
    return float("inf") if answer[2] == NEVER else answer[2] - answer[1]


def usage(account_id: str, told: Sequence[tuple[Call, list[Any]]]) -> AccountUsage:
    """One view from the answers of ``rate_limit_usage.lua`` to all calls."""
    windows: list[WindowUsage] = []
    grants: dict[str, tuple[int, ...]] = {}
    for call, (_, now_us, _held_until, _reason, *rest) in told:
        count = len(call.windows)
        windows += (_window_usage(*each, now_us) for each in zip(call.windows, rest[:count], strict=True))
        names = [name for name in call.names if name != SYSTEM_SUBJECT]
        grants |= {name: tuple(moments) for name, moments in zip(names, rest[count:], strict=True)}
    _, now_us, held_until, reason = told[0][1][:4]
    held = held_until > now_us
    return AccountUsage(
        account_id=account_id,
        now_us=now_us,
        windows=tuple(windows),
        held_ms=_ms(held_until - now_us) if held else 0,
        held_reason=reason if held else "",
        grants_us=grants,
    )


def _window_usage(window: Window, figures: Sequence[int], now_us: int) -> WindowUsage:
    used, moment = figures
    return WindowUsage(
        layer=window.layer,
        subject=window.subject,
        limit=window.limit,
        seconds=window.seconds,
        used=used,
        remaining=max(0, window.limit - used),
        frees_in_ms=_ms(moment - now_us) if moment > 0 else None,
    )


def _ms(span_us: int) -> int:
    return -(-span_us // 1000)
