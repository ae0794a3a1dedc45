"""Screening for banned words, by tier. The list is a small stand-in: enough to be refused on purpose."""

import re

from local.onlyfans.model import BannedTier

BANNED_WORDS: dict[BannedTier, tuple[str, ...]] = {
    "strict_ban": ("underage", "incest", "trafficking", "blackmail"),
    "risky": ("escort", "meetup", "drunk", "cashapp", "paypal"),
    "replace_soften": ("choke", "hypnosis", "forced"),
}

# Each choice blocks its own tier and the milder ones below it.
_BLOCKED_TIERS: dict[BannedTier, tuple[BannedTier, ...]] = {
    "strict_ban": ("strict_ban", "risky", "replace_soften"),
    "risky": ("risky", "replace_soften"),
    "replace_soften": ("replace_soften",),
}


def banned_words(text: str, block: BannedTier | None) -> list[str]:
    """The banned words of the text, in the order of the list; none when screening is off."""
    if block is None:
        return []
    words = set(re.findall(r"[a-z]+", text.lower()))
    return [word for tier in _BLOCKED_TIERS[block] for word in BANNED_WORDS[tier] if word in words]
