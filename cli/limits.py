"""``huntaze limits``: how much an account may send, changing that, and who changed it."""

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from cli.calling import Account, Api, AsJson, Limit, MessageName, ReasonOnRecord, Reset, Token, call, show
from cli.console import Complaint, stdout
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient

app = typer.Typer(
    help="How much an account may send, and changing that.", no_args_is_help=True, pretty_exceptions_enable=False
)

LIMITS = "/api/v2/rate-limits"
TierName = Literal["new", "established", "power", "agency"]
_SETTABLE = ("tier", "connectedAt", "account", "recipient", "messageTypes", "pacingMs")
_CAP = re.compile(r"(none|\d{1,8})/(\d{1,6}(?:\.\d+)?)")
_HOW = "LIMIT/SECONDS, such as 10/60; none/60: no limit, 0/60: nothing"


@app.command("show")
def show_limits(
    account: Account,
    message_type: Annotated[MessageName, typer.Option(help="kind of message that would be sent")] = "custom",
    recipient: Annotated[str | None, typer.Option(help="also look at this fan's limits")] = None,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Whether a message would be sent now, and how full each window is. Takes nothing."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get(f"{LIMITS}/{account}", messageType=message_type, recipientId=recipient)

    show(call(ask, api, token, directory, (account,)), as_json, _show_dry_run)


@app.command("set")
def set_limits(
    account: Account,
    reason: ReasonOnRecord,
    tier: Annotated[TierName | None, typer.Option(help="how much the platform trusts the account")] = None,
    connected_at: Annotated[str | None, typer.Option(help="since when the account exists, 2026-11-22T00:00Z")] = None,
    account_cap: Annotated[
        list[str] | None, typer.Option(help=f"of the account; repeat for more windows. {_HOW}")
    ] = None,
    recipient_cap: Annotated[list[str] | None, typer.Option(help="of each fan, written likewise")] = None,
    type_cap: Annotated[list[str] | None, typer.Option(help="of a kind of message: promotional=50/86400")] = None,
    pacing_ms: Annotated[int | None, typer.Option(min=1, help="least gap between two messages, ms")] = None,
    reset: Reset = False,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Change what is named, from the next message on; operators and administrators only."""
    given: dict[str, Any] = {
        "tier": tier,
        "connectedAt": connected_at,
        "account": [cap_of(text) for text in account_cap] if account_cap else None,
        "recipient": [cap_of(text) for text in recipient_cap] if recipient_cap else None,
        "messageTypes": types_of(type_cap) if type_cap else None,
        "pacingMs": pacing_ms,
    }

    async def ask(client: "ApiClient") -> Any:
        present = await client.get(f"{LIMITS}/{account}")
        kept = {} if reset else {name: present["limits"][name] for name in _SETTABLE}
        body = kept | {name: value for name, value in given.items() if value is not None} | {"reason": reason}
        return await client.put(f"{LIMITS}/{account}", body, {"If-Match": f'"{present["revision"]}"'})

    answer = call(ask, api, token, directory, (account,), "operator")
    show(answer, as_json, lambda limits: print(f"{account}: revision {limits['revision']} is in force"))


@app.command()
def history(
    account: Account,
    limit: Limit = 20,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Who changed the limits, when and why."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get(f"{LIMITS}/{account}/history", limit=limit)

    show(call(ask, api, token, directory, (account,)), as_json, _show_history)


def cap_of(text: str) -> dict[str, float | int | None]:
    """``10/60`` as the API writes it."""
    found = _CAP.fullmatch(text.strip())
    if found is None:
        raise Complaint(f"{text!r} is no limit", remedy=f"write {_HOW}")
    return {"limit": None if found[1] == "none" else int(found[1]), "seconds": float(found[2])}


def types_of(texts: list[str]) -> dict[str, list[dict[str, float | int | None]]]:
    """``promotional=50/86400`` as the API writes it; several for one kind are several windows."""
    caps: dict[str, list[dict[str, float | int | None]]] = {}
    for text in texts:
        kind, _, cap = text.partition("=")
        if kind not in get_args(MessageName):
            raise Complaint(
                f"{text!r} names no kind of message",
                remedy=f"write KIND={_HOW}; KIND is one of {', '.join(get_args(MessageName))}",
            )
        caps.setdefault(kind, []).append(cap_of(cap))
    return caps


def _show_dry_run(answer: dict[str, Any]) -> None:
    from cli.table import table_of

    if answer["wouldSend"]:
        print(f"{answer['accountId']}: a {answer['messageType']} message would be sent now")
    else:
        when = f"not before {answer['retryAt']}" if answer["retryAt"] else "not until somebody changes something"
        print(f"{answer['accountId']} ({answer['accountState']}): {when}; binding: {answer['bindingLayer'] or 'none'}")
    table = table_of("layer", "of", "limit", "in s", "used", "remaining", "frees at")
    for window in answer["windows"]:
        numbers = (window["limit"], f"{window['seconds']:g}", window["used"], window["remaining"])
        table.add_row(window["layer"], window["subject"], *map(str, numbers), window["freesAt"] or "")
    stdout().print(table)
    if answer["hold"]:
        print(f"the platform asked to wait until {answer['hold']['until']} ({answer['hold']['reason']})")
    print(f"tier {answer['tier']}, revision {answer['revision']}")


def _show_history(answer: dict[str, Any]) -> None:
    from cli.table import Text, table_of

    table = table_of("revision", "when", "who", "why")
    for limits in answer["history"]:
        table.add_row(str(limits["revision"]), limits["changedAt"] or "", limits["changedBy"], Text(limits["reason"]))
    stdout().print(table)
