"""How well a message reads, between 0 and 1: cheap and the same every time, with room for a model's opinion."""

import re
from collections.abc import Sequence
from typing import Final

SHORT, LONG, TOO_LONG = 40, 400, 800
"""Characters: from ``SHORT`` to ``LONG`` is right for a direct message; nobody reads ``TOO_LONG``."""

EASY, HARD = 40, 70
"""Values of the readability index LIX: newspapers are at about 40, laws at 60 and more."""

LONG_WORD: Final = 7
"""Letters from which a word is a long one for LIX."""

_JUDGE_WEIGHT: Final = 2 / 3
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?…:;\n]+")


def quality_score(text: str, name: str) -> float:
    """The mean of four parts, each between 0 and 1; 0 when the text has no word.

    - Personalisation: 1 when the recipient's ``name`` occurs, else 0.
    - Length: 1 from 40 to 400 characters, falling in a straight line to 0 at 0 and at 800.
    - Variety: distinct words as a share of all (a half counts as 1), times the share of three-word sequences that do
      not occur before.
    - Readability: 1 up to a LIX of 40, falling in a straight line to 0 at 70. LIX (C.-H. Björnsson, 1968) is words a
      sentence plus the percentage of words with seven letters or more; it needs no dictionary and serves the European
      languages alike.
    """
    words = _WORD.findall(text.casefold())
    if not words:
        return 0.0
    personal = 1.0 if name.strip() and name.strip().casefold() in text.casefold() else 0.0
    parts = (personal, _length(len(text)), _variety(words), _readability(words, text))
    return round(sum(parts) / len(parts), 4)


def combined(score: float, judged: float | None) -> float:
    """``quality_score`` and the verdict of a model that read the text: two thirds are the model's, which knows meaning.

    Without a model (``None``) the score stays as it is. A verdict outside of 0 to 1 counts as the nearer end.
    """
    if judged is None:
        return score
    return round((1 - _JUDGE_WEIGHT) * score + _JUDGE_WEIGHT * min(1.0, max(0.0, judged)), 4)


def _length(size: int) -> float:
    if size < SHORT:
        return size / SHORT
    return 1.0 if size <= LONG else max(0.0, (TOO_LONG - size) / (TOO_LONG - LONG))


def _variety(words: Sequence[str]) -> float:
    sequences = list(zip(words, words[1:], words[2:], strict=False))
    fresh = len(set(sequences)) / len(sequences) if sequences else 1.0
    return min(1.0, 2 * len(set(words)) / len(words)) * fresh


def _readability(words: Sequence[str], text: str) -> float:
    sentences = sum(1 for part in _SENTENCE_END.split(text) if _WORD.search(part))
    long_words = sum(1 for word in words if len(word) >= LONG_WORD)
    lix = len(words) / max(1, sentences) + 100 * long_words / len(words)
    return min(1.0, max(0.0, (HARD - lix) / (HARD - EASY)))
