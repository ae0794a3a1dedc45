"""Where commands find the product's parts: in the environment, or at the embedded stack that runs here."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import Complaint

if TYPE_CHECKING:
    from adapters.settings import Settings
    from local.state import StackState

EXAMPLE_AUDIENCE = Path(__file__).resolve().parent.parent / "examples" / "audience.csv"

Directory = Annotated[Path, typer.Option(envvar="HUNTAZE_DIRECTORY", help="state, logs and data of the embedded stack")]
DIRECTORY = Path(".huntaze")

_ADDRESSES = ("HUNTAZE_REDIS_URL", "TEMPORAL_ADDRESS", "AWS_ENDPOINT_URL")


def require_embedded() -> None:
    """The embedded stack is an extra that the production image does not carry."""
    try:
        import local.stack  # noqa: F401
    except ImportError as error:
        raise Complaint(
            f"the embedded stack is not installed here ({error.name} is missing)",
            remedy="install it with: pip install 'huntaze[local]', or run the command where the parts are reachable",
        ) from error


def running_stack(directory: Path) -> "StackState | None":
    """The embedded stack that runs on ``directory``; None also where the embedded stack is not installed."""
    try:
        from local.state import load_running
    except ImportError:
        return None
    return load_running(directory)


def names_its_parts() -> bool:
    """Whether the environment itself says where the parts are; a running stack is then left alone."""
    return any(os.environ.get(name) for name in _ADDRESSES)


@contextmanager
def in_force(env: Mapping[str, str]) -> Iterator[None]:
    """For a block, this process sees what the stack's processes see: no account or key of the user's own."""
    from local.process import child_environment

    before = dict(os.environ)
    os.environ.update(child_environment(env))
    for name in before.keys() - child_environment(env).keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def settings_now() -> "Settings":
    """The settings as the environment has them; a wrong one is named, its value is not shown."""
    from pydantic import ValidationError

    from adapters.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        raise Complaint(
            "the settings are not valid",
            details=wrong_settings(error),
            remedy="correct them in the environment or in .env; .env.example explains each",
        ) from None


def wrong_settings(error: Exception) -> tuple[str, ...]:
    """What a validation error of the settings says, variable by variable."""
    from pydantic import ValidationError

    from adapters.settings import Settings

    if not isinstance(error, ValidationError):
        return (type(error).__name__,)
    found = []
    for problem in error.errors(include_input=False, include_url=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        prefixed = field in Settings.model_fields
        name = f"HUNTAZE_{field.upper()}: " if prefixed else f"{field.upper()}: " if field else ""
        found.append(f"{name}{problem['msg'].removeprefix('Value error, ')}")
    return tuple(found)
