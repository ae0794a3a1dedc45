"""What commands print, and the one way in which they refuse: what is wrong, and how to mend it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_DETAILS_SHOWN = 20
_LOG_WIDTH = 160


class Complaint(Exception):
    """A command can't do what it was asked to; shown without a stack trace, and the command exits with 1."""

    def __init__(self, message: str, *, remedy: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = tuple(details)

    def lines(self) -> list[str]:
        """The complaint as it is printed."""
        shown = [f"  - {detail}" for detail in self.details[:_DETAILS_SHOWN]]
        if more := len(self.details) - len(shown):
            shown.append(f"  - and {more} more")
        return [f"error: {self.message}", *shown, *([f"remedy: {self.remedy}"] if self.remedy else [])]


def tell(complaint: Complaint) -> None:
    """Print a complaint to stderr."""
    print("\n".join(complaint.lines()), file=sys.stderr)


def stdout() -> Console:
    """The console for results; where nobody looks, lines are long, so that they can be searched."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _LOG_WIDTH)
