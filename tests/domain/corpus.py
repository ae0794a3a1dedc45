"""The texts that the rules are measured on; tests/data/README.md says where they come from."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent.parent / "data" / "compliance"


class Sample(NamedTuple):
    """A text, its language, the rule that must find it (``None``: no rule may) and how it is disguised."""

    text: str
    language: str
    rule: str | None
    disguise: str

    @property
    def held_out(self) -> bool:
        """Half of the texts, by their hash. The patterns were first measured on it when the other half passed."""
        return bool(hashlib.sha256(self.text.encode()).digest()[0] & 1)


def samples(name: str) -> Sequence[Sample]:
    """``violations`` or ``harmless``."""
    with (FOLDER / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return [Sample(**json.loads(line)) for line in lines]
