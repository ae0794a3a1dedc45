"""What every benchmark prints: a table, the goals, and as its last line one JSON object."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Options:
    """``check``: exit with 1 when a goal is missed; ``quick``: under a minute, with less to go by."""

    check: bool
    quick: bool


def options(description: str) -> Options:
    """The command line that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--quick", action="store_true", help="take less than a minute")
    given = parser.parse_args()
    return Options(check=given.check, quick=given.quick)


@dataclass
class Report:
    """The figures of one benchmark and what they should have been."""

    benchmark: str
    figures: dict[str, float] = field(default_factory=dict)
    goals: dict[str, dict[str, float | bool]] = field(default_factory=dict)

    def figure(self, name: str, value: float) -> None:
        """A measured value."""
        self.figures[name] = round(value, 6)

    def at_least(self, name: str, goal: float) -> None:
        """The figure ``name`` is to reach ``goal``."""
        self.goals[name] = {"atLeast": goal, "met": self.figures[name] >= goal}

    def at_most(self, name: str, goal: float) -> None:
        """The figure ``name`` is not to exceed ``goal``."""
        self.goals[name] = {"atMost": goal, "met": self.figures[name] <= goal}

    @property
    def met(self) -> bool:
        """Whether every goal was."""
        return all(goal["met"] for goal in self.goals.values())

    def finish(self, chosen: Options) -> None:
        """Print the goals and the last line; with ``--check``, exit with 1 when a goal was missed."""
        table("goals", ("figure", "measured", "goal", "met"), [self._row(name) for name in self.goals])
        line = {"benchmark": self.benchmark, "figures": self.figures, "goals": self.goals, "met": self.met}
        print(json.dumps(line))
        if chosen.check and not self.met:
            sys.exit(1)

    def _row(self, name: str) -> tuple[str, str, str, str]:
        goal = self.goals[name]
        bound = f"at least {goal['atLeast']:g}" if "atLeast" in goal else f"at most {goal['atMost']:g}"
        return name, f"{self.figures[name]:g}", bound, "yes" if goal["met"] else "NO"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    drawn = Table(*columns, title=title, title_justify="left")
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    Console().print(drawn)
