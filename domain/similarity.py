"""Whether two messages are the same but for small changes: 64-bit similarity hashes (M. Charikar, 2002).

A fingerprint has, at each of its bits, what most of the text's words and word pairs have there. Texts that share most
of these differ in few bits, unrelated ones in about half of them. It is an integer that can be stored and compared
anywhere; it does not tell the text.
"""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Final

from domain.compliance_text import normalise

NEAR: Final = 10
"""Bits by which near-identical messages may differ.

One word of twenty exchanged makes about 8 bits, two make 12. Unrelated texts differ in about 32, and hardly in
fewer than 18.
"""

_BITS: Final = 64
_LANE: Final = 4
"""Hexadecimal digits in which the ones at a bit are counted: up to 65,535 words and pairs."""
_WORD = re.compile(r"[^\W_]+")


def fingerprint(text: str, name: str) -> int:
    """The fingerprint of ``text`` without the recipient's ``name``: 64 bits, the same on every machine.

    Case, accents, punctuation, emojis and disguised letters make no difference.
    """
    named = set(_words(name))
    words = [word for word in _words(text) if word not in named]
    features = [*words, *(f"{first} {second}" for first, second in pairwise(words))]
    return _majority(_hash(feature) for feature in features)


def near_identical(one: int, other: int) -> bool:
    """Whether the texts of two fingerprints differ by no more than small changes."""
    return (one ^ other).bit_count() <= NEAR


def alike(of: int, earlier: Sequence[int]) -> int:
    """How many of the ``earlier`` fingerprints are near-identical to ``of``."""
    return sum(near_identical(of, each) for each in earlier)


def _words(text: str) -> list[str]:
    return _WORD.findall(normalise(text))


def _hash(feature: str) -> int:
    return int.from_bytes(blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=_BITS // 8).digest(), "big")


def _majority(hashes: Iterable[int]) -> int:
    """The bits that more than half of the hashes have. Each bit is widened to a counter, so that a sum counts all."""
    total, count = 0, 0
    for each in hashes:
        total += int(("0" * (_LANE - 1)).join(f"0{each:0{_BITS}b}"), 16)
        count += 1
    counters = f"{total:0{_BITS * _LANE}x}"
    lanes = (int(counters[start : start + _LANE], 16) for start in range(0, len(counters), _LANE))
    return int("".join("1" if 2 * ones > count else "0" for ones in lanes), 2)
