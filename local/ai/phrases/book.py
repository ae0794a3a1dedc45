"""What a phrasebook holds."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrasebook:
    """One language. Openings have a `{name}`, points have a `{point}`; everything else is a whole sentence."""

    nameless: str
    openings: tuple[str, ...]
    bodies: tuple[str, ...]
    by_type: Mapping[str, tuple[str, ...]]
    by_audience: Mapping[str, tuple[str, ...]]
    points: tuple[str, ...]
    closings: tuple[str, ...]
