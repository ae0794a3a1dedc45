"""``huntaze providers``: the models that may be asked, and whether their circuit breakers let calls through."""

from typing import TYPE_CHECKING, Any

from cli.calling import Api, AsJson, Token, call, show
from cli.console import stdout
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient


def providers(api: Api = None, token: Token = None, directory: Directory = DIRECTORY, as_json: AsJson = False) -> None:
    """Models and their circuit breakers: which are asked, which are not, and until when."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get("/api/v2/providers")

    show(call(ask, api, token, directory, role="operator"), as_json, show_breakers)


def show_breakers(answer: dict[str, Any]) -> None:
    """One line a breaker."""
    from cli.table import table_of

    table = table_of("breaker", "guards", "status", "until", "failures", "opened", "closed", "rejected")
    for model in answer["providers"]:
        until = (model["openUntil"] or "")[:19].replace("T", " ")
        counters = (str(model[name]) for name in ("failures", "opened", "closed", "rejected"))
        guards, status = (model[name].replace("_", " ") for name in ("guards", "status"))
        table.add_row(model["target"], guards, status, until, *counters)
    stdout().print(table)
    if not all(model["shared"] for model in answer["providers"]):
        print("Redis can't be reached: this is what the API's own process knows")
