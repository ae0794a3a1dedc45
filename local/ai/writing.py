"""The simulated author: plans and personal messages, the same for the same request, different for everybody else."""

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from local.ai.phrases import phrasebook

TEXT_MIN, TEXT_MAX = 60, 280
POINT_MAX = 50
NAME_MAX = 30
AWAY_DAYS = 14

_VIP_TIERS = frozenset({"vip", "whale", "gold", "platinum", "diamond", "top", "power", "premium"})
_NEW_TIERS = frozenset({"new", "trial", "free", "bronze", "starter"})
_PLAIN_WORDS = re.compile(r"[^\W\d_]+(?:[ ',’&-]+[^\W\d_]+)*")
_SIGNS = ("", "", "", " ✨", " 💛", " 😊")

_PLANS: Mapping[str, tuple[str, ...]] = {
    "theme": ("Golden hour diaries", "Colours of the season", "A look behind the scenes", "Slow Sunday"),
    "tone": ("warm and playful", "friendly and curious", "calm and personal", "cheerful and direct"),
    "angle": (
        "Share how the new series came about and ask for an opinion",
        "Thank each fan for something specific and show what is new",
        "Let fans choose what comes next",
        "Tell one small story from the making of the series",
    ),
    "call_to_action": ("Have a look and tell me your favourite", "Write back with your idea", "Choose the next theme"),
}
_POINTS = (
    "a brand new series this week",
    "outtakes that nobody has seen yet",
    "your wishes decide what comes next",
    "a softer style than before",
    "stories from behind the camera",
    "a look at the next theme",
)


def dice_for(*parts: object) -> random.Random:
    """Dice that fall the same way for the same parts."""
    meaning = json.dumps(parts, sort_keys=True, default=str)
    return random.Random(hashlib.sha256(meaning.encode()).digest())


def plan(request: Mapping[str, Any]) -> dict[str, Any]:
    """A campaign plan. A theme, tone, angle or call to action that the request names is kept."""
    dice = dice_for("plan", request)
    chosen: dict[str, Any] = {name: request.get(name) or dice.choice(options) for name, options in _PLANS.items()}
    languages = dict.fromkeys(map(str, request.get("languages") or ["en"]))
    return {
        **chosen,
        "talking_points": dice.sample(_POINTS, 3),
        "general_texts": [{"language": each, "text": general_text(request, each)} for each in languages],
    }


def general_text(request: Mapping[str, Any], language: str) -> str:
    """A text of 60 to 280 characters for anybody who reads this language: it addresses nobody by name."""
    dice = dice_for("general", request, language)
    book = phrasebook(language)
    return " ".join([*dice.sample(book.bodies, 2), dice.choice(book.closings)])


def judgement(text: str) -> dict[str, Any]:
    """What a benevolent model thinks of a text, the same for the same text."""
    return {"score": dice_for("judgement", text).randint(70, 100)}


def messages(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One message for each recipient of a batch request; no two texts are the same."""
    brief = {name: value for name, value in request.items() if name != "recipients"}
    seen: set[str] = set()
    batch = []
    for recipient in request.get("recipients") or ():
        text = _distinct_text(brief, recipient, seen)
        seen.add(text)
        batch.append({"recipient_id": recipient.get("recipient_id"), "text": text})
    return batch


def single_message(request: Mapping[str, Any]) -> dict[str, Any]:
    """One message for the one recipient of the request."""
    brief = {name: value for name, value in request.items() if name != "recipient"}
    return {"text": write(brief, request.get("recipient") or {})}


def free_text(prompt: str) -> str:
    """A short sensible text for a request without a schema."""
    return write({"prompt": prompt}, {})


def _distinct_text(brief: Mapping[str, Any], recipient: Mapping[str, Any], seen: set[str]) -> str:
    take = 0
    while (text := write(brief, recipient, take)) in seen:
        take += 1
    return text


def write(brief: Mapping[str, Any], recipient: Mapping[str, Any], take: int = 0) -> str:
    """A friendly text of 60 to 280 characters with the recipient's name, in the recipient's language."""
    # The brief counts too: two campaigns must not send the same words to the same person.
    dice = dice_for("message", brief, recipient, take)
    book = phrasebook(recipient.get("language"))
    name = str(recipient.get("name") or book.nameless)[:NAME_MAX]
    message_type = str(brief.get("message_type") or "custom")
    extras = book.by_audience[_audience(recipient)] + book.by_type.get(message_type, book.by_type["custom"])
    points = _safe_points(brief.get("plan"))
    opening = dice.choice(book.openings).format(name=name)
    middle = [
        dice.choice(book.bodies),
        f"{dice.choice(book.moments)} {dice.choice(book.doings)}.",
        dice.choice(extras),
        *([dice.choice(book.points).format(point=dice.choice(points))] if points else []),
    ]
    dice.shuffle(middle)
    closing = dice.choice(book.closings) + dice.choice(_SIGNS)
    while len(text := " ".join([opening, *middle, closing])) > TEXT_MAX:
        middle.pop()
    return text


def _audience(recipient: Mapping[str, Any]) -> str:
    tier = str(recipient.get("tier") or "").lower()
    if (recipient.get("last_seen_days") or 0) >= AWAY_DAYS:
        return "away"
    if tier in _VIP_TIERS:
        return "vip"
    return "new" if tier in _NEW_TIERS else "regular"


def _safe_points(given: object) -> Sequence[str]:
    """Talking points in plain short words: no links, handles, addresses, numbers."""
    listed = given.get("talking_points") if isinstance(given, Mapping) else None
    points = [str(point).strip().rstrip(".!") for point in listed or ()]
    return [point for point in points if len(point) <= POINT_MAX and _PLAIN_WORDS.fullmatch(point)]
