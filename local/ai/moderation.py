"""Moderation by a small word list, in the shape of the real endpoint."""

import re
from typing import Any

# `/` and `-` as the API spells them. The order is the API's.
CATEGORY_WORDS: dict[str, tuple[str, ...]] = {
    "harassment": ("idiot", "loser", "worthless"),
    "harassment/threatening": ("threaten", "revenge"),
    "hate": ("subhuman", "vermin"),
    "hate/threatening": ("exterminate",),
    "illicit": ("cocaine", "launder"),
    "illicit/violent": ("bomb", "explosive"),
    "self-harm": ("suicide", "selfharm"),
    "self-harm/intent": ("overdose",),
    "self-harm/instructions": ("noose",),
    "sexual": ("explicit", "porn"),
    "sexual/minors": ("underage", "schoolgirl", "minor"),
    "violence": ("kill", "stab", "murder"),
    "violence/graphic": ("gore", "dismember"),
}

_ALSO_IMAGES = frozenset(
    {"self-harm", "self-harm/intent", "self-harm/instructions", "sexual", "violence", "violence/graphic"}
)
_FLAGGED_SCORE, _CLEAN_SCORE = 0.97, 0.0001


def moderate(text: str) -> dict[str, Any]:
    """One result: the categories whose words the text holds."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    flags = {category: not words.isdisjoint(listed) for category, listed in CATEGORY_WORDS.items()}
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": {name: _FLAGGED_SCORE if flag else _CLEAN_SCORE for name, flag in flags.items()},
        "category_applied_input_types": {
            name: ["text", "image"] if name in _ALSO_IMAGES else ["text"] for name in flags
        },
    }
