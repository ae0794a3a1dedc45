"""What a check found out about a part."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class State(StrEnum):
    """``warning``: works, or is not needed everywhere."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table; ``remedy`` is empty where nothing ails."""

    part: str
    state: State
    told: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """For machines."""
        return asdict(self)


def ok(part: str, told: str) -> Finding:
    """Nothing to do."""
    return Finding(part, State.OK, told)


def warning(part: str, told: str, remedy: str) -> Finding:
    """Works, or is not needed everywhere."""
    return Finding(part, State.WARNING, told, remedy)


def failed(part: str, told: str, remedy: str) -> Finding:
    """Does not work, and is needed."""
    return Finding(part, State.FAILED, told, remedy)
