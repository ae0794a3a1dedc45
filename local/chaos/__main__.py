"""``python -m local.chaos``: exits with 1 when a promise was broken."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from local.chaos.plan import Plan
from local.chaos.report import header, show
from local.chaos.run import run
from local.chaos.verdict import what_does_not_hold

_DEFAULT = Plan()
_SIZES = ("recipients", "accounts", "regulars", "kills", "flushes", "redis_restarts", "temporal_restarts")


def main() -> int:
    """Run, show, judge; the stack's directory stays when something is off, for its logs."""
    parser = argparse.ArgumentParser(prog="python -m local.chaos", description="a campaign in trouble, and its verdict")
    for name in (
        "recipients",
        "accounts",
        "regulars",
        "kills",
        "flushes",
        "redis_restarts",
        "temporal_restarts",
        "seed",
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(_DEFAULT, name))
    plan = replace(_DEFAULT, **vars(parser.parse_args()))
    if plan.regulars > plan.recipients:
        parser.error("regulars are fans of the campaign: there can't be more of them than recipients")
    if plan.least_s < plan.needed_s:
        parser.error(f"{plan.recipients} recipients are too few for a campaign that outlasts the trouble")
    console, directory = Console(), Path(tempfile.mkdtemp(prefix="huntaze-chaos-"))
    console.print(header(plan))
    evidence = asyncio.run(run(plan, directory, lambda line: print(line, flush=True)))
    show(evidence, console)
    if broken := what_does_not_hold(evidence):
        print("NOT every promise held:", *broken, sep="\n  ")
        print(f"the same trouble again: python -m local.chaos --seed {plan.seed}; the logs are in {directory / 'logs'}")
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    print("every promise held; the stack is stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
