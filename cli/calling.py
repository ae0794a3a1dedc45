"""One call of the API by a command: the options that all of them share, the call itself, and showing its answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from cli.client import ApiClient

# The domain's own words; a test keeps them the same. Importing them here would slow down every --help.
MessageName = Literal["welcome", "follow_up", "promotional", "custom"]
PriorityName = Literal["low", "medium", "high", "critical"]

Api = Annotated[
    str | None, typer.Option(envvar="HUNTAZE_API_URL", help="address of the API; default: the running stack's")
]
Token = Annotated[
    str | None,
    typer.Option(envvar="HUNTAZE_TOKEN", show_envvar=True, help="bearer token; default: minted for the running stack"),
]
AsJson = Annotated[bool, typer.Option("--json", help="the API's own answer, for machines")]
Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="acct_…")]
Campaign = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="campaign id or workflow id")]
Reason = Annotated[str, typer.Option(help="shown to whoever asks later")]
ReasonOnRecord = Annotated[str, typer.Option("--reason", help="why; kept on record")]
Reset = Annotated[bool, typer.Option("--reset", help="drop what was set before instead of adding to it")]
Limit = Annotated[int, typer.Option(min=1, max=100, help="how many at most")]
Cursor = Annotated[str | None, typer.Option(help="continues an earlier list")]


def call(
    ask: Callable[["ApiClient"], Awaitable[Any]],
    api: str | None,
    token: str | None,
    directory: Path,
    accounts: Sequence[str] = (),
    role: str = "agency",
) -> Any:
    """What ``ask`` answers; without ``token``, as the running stack's developer in ``role``, who owns ``accounts``."""
    from cli.client import address_and_token, connect

    url, bearer = address_and_token(api, token, directory, accounts, role)

    async def once() -> Any:
        async with connect(url, bearer) as client:
            return await ask(client)

    try:
        return asyncio.run(once())
    except KeyboardInterrupt:
        print("stopped looking; what was asked for goes on")
        raise typer.Exit(130) from None


def show(answer: Any, as_json: bool, view: Callable[[dict[str, Any]], None] | None) -> None:
    """Print an answer as JSON, or for people."""
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    elif view is not None:
        view(answer)
