"""What a phrasebook holds."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrasebook:
    """One language. Openings have a `{name}`, points have a `{point}`; a moment and a doing make one sentence, so that
    thousands of messages differ as a person's do; everything else is a whole sentence."""

    nameless: str
    openings: tuple[str, ...]
    bodies: tuple[str, ...]
    moments: tuple[str, ...]
    doings: tuple[str, ...]
    by_type: Mapping[str, tuple[str, ...]]
    by_audience: Mapping[str, tuple[str, ...]]
    points: tuple[str, ...]
    closings: tuple[str, ...]
