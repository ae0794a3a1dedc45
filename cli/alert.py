"""``huntaze alerts``: what a person should know of."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import Api, AsJson, Token, call, show
from cli.console import stdout
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient


def alerts(
    since: Annotated[str | None, typer.Option(help="from then on, 2026-11-22T00:00Z; default: a day ago")] = None,
    account: Annotated[str | None, typer.Option(help="only this account's; default: all, as an operator")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 100,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Expired sessions, violations of limits, dead letters: what a person should know of."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get("/api/v2/alerts", since=since, accountId=account, limit=limit)

    show(call(ask, api, token, directory, role="operator"), as_json, _show_alerts)


def _show_alerts(answer: dict[str, Any]) -> None:
    from cli.table import Text, table_of

    if not answer["alerts"]:
        print("no alerts")
        return
    table = table_of("when", "severity", "what", "account", "detail")
    for alert in answer["alerts"]:
        when = alert["at"][:19].replace("T", " ")
        table.add_row(when, alert["severity"], alert["kind"], alert["accountId"], Text(alert["detail"]))
    stdout().print(table)
    if answer["more"]:
        print("there are more; show more of them with --limit")
