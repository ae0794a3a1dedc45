"""The active fans of an account, seeded by a test or invented."""

import random
from collections.abc import Sequence
from typing import Any

from local.onlyfans.book import NS, iso
from local.onlyfans.model import DAY_S, FanSeed

PAGE_MAX = 20

# fmt: off
_NAMES = (
    "Alex", "Andrea", "Anton", "Bea", "Bruno", "Carla", "Cem", "Chloe", "Dana", "David", "Elena", "Emil",
    "Emma", "Felix", "Fiona", "Georg", "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jonas", "Julia", "Kai", "Lara", "Leo",
    "Lina", "Luca", "Maja", "Marc", "Mila", "Nadia", "Nils", "Olga", "Oscar", "Paula", "Pia", "Rafael",
    "Rosa", "Sam", "Sara", "Simon", "Sofia", "Tara", "Theo", "Tom", "Vera", "Yara", "Zoe",
)
# fmt: on


def invented_fans(seed: FanSeed, now_ns: int) -> list[dict[str, Any]]:
    """`seed.count` fans with the fields that an audience is chosen by; the same seed gives the same fans."""
    dice = random.Random(f"{seed.account}:{seed.seed}")
    return [_invented_fan(1_000_000 + number, dice, now_ns) for number in range(seed.count)]


def _invented_fan(fan_id: int, dice: random.Random, now_ns: int) -> dict[str, Any]:
    name = dice.choice(_NAMES)
    spent = int(dice.paretovariate(1.2) * 10) - 10
    since_ns = now_ns - dice.randrange(400) * DAY_S * NS
    return {
        "view": "s",
        "id": fan_id,
        "name": name,
        "displayName": name,
        "username": f"u{fan_id}",
        "isBlocked": False,
        "isRestricted": False,
        "isPerformer": False,
        "canReceiveChatMessage": True,
        "lastSeen": iso(now_ns - dice.randrange(60 * DAY_S) * NS),
        "subscribedOn": True,
        "subscribedOnData": {"subscribeAt": iso(since_ns), "totalSumm": spent, "tipsSumm": spent // 4},
        "listsStates": [],
    }


def chosen(
    fans: Sequence[dict[str, Any]], query: str | None, at_least: float | None, at_most: float | None
) -> list[dict[str, Any]]:
    """The fans whose name holds `query` and who spent between `at_least` and `at_most` (USD)."""
    needle = (query or "").lower()
    return [
        fan
        for fan in fans
        if needle in f"{fan.get('name', '')} {fan.get('username', '')}".lower()
        and (at_least is None or _spent(fan) >= at_least)
        and (at_most is None or _spent(fan) <= at_most)
    ]


def _spent(fan: dict[str, Any]) -> float:
    return float((fan.get("subscribedOnData") or {}).get("totalSumm") or 0)
