"""``huntaze budget``: how budgets stand, setting them, and who set them."""

import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer

from cli.calling import Api, AsJson, Limit, ReasonOnRecord, Reset, Token, call, show
from cli.console import Complaint, stdout
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient

app = typer.Typer(
    help="How much may be spent on AI, and setting that.", no_args_is_help=True, pretty_exceptions_enable=False
)

EVERYBODY = "global"
BUDGETS = "/api/v2/budgets"
OF_USER = "/api/v2/user-budgets"
_DOLLARS = re.compile(r"\d{1,7}(?:\.\d{1,6})?")
_HOW = "US dollars, such as 2.50; none: no limit, 0: nothing"

Subject = Annotated[str, typer.Argument(metavar="USER", help="a user's id, or global: everybody")]
IsUser = Annotated[bool, typer.Option("--is-user", help="USER is a user's id even if it is global")]


@app.command("show")
def show_budgets(
    user: Annotated[str | None, typer.Argument(help="whose; default: the caller's. Others: staff only")] = None,
    campaign: Annotated[str | None, typer.Option(help="with the budgets of this campaign")] = None,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """What is spent, set aside and left of every budget, now."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get(BUDGETS, user=user, campaignId=campaign)

    show(call(ask, api, token, directory, role="operator"), as_json, _show_standings)


@app.command("set")
def set_budgets(
    subject: Subject,
    reason: ReasonOnRecord,
    campaign: Annotated[str | None, typer.Option(help=f"for each campaign. {_HOW}")] = None,
    user_day: Annotated[str | None, typer.Option(help="for each user and UTC day")] = None,
    user_month: Annotated[str | None, typer.Option(help="for each user and UTC month")] = None,
    global_day: Annotated[str | None, typer.Option(help="for everybody together and UTC day")] = None,
    global_month: Annotated[str | None, typer.Option(help="for everybody together and UTC month")] = None,
    is_user: IsUser = False,
    reset: Reset = False,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Change what is named, within a second; administrators only."""
    given = {
        "campaign": campaign,
        "userDay": user_day,
        "userMonth": user_month,
        "globalDay": global_day,
        "globalMonth": global_month,
    }
    named = {name: dollars_of(text) for name, text in given.items() if text is not None}
    path, query = address(subject, is_user=is_user)

    async def ask(client: "ApiClient") -> Any:
        present = await client.get(path, **query)
        body = ({} if reset else set_caps(present)) | named | {"reason": reason}
        return await client.put(f"{path}?{urlencode(query)}", body, {"If-Match": f'"{present["revision"]}"'})

    answer = call(ask, api, token, directory, role="admin")
    show(answer, as_json, lambda found: print(f"{subject}: revision {found['revision']} is in force"))


@app.command()
def history(
    subject: Subject,
    limit: Limit = 20,
    is_user: IsUser = False,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Who set what, when and why."""

    path, query = address(subject, is_user=is_user)

    async def ask(client: "ApiClient") -> Any:
        return await client.get(f"{path}/history", limit=limit, **query)

    show(call(ask, api, token, directory, role="operator"), as_json, _show_history)


def address(subject: str, *, is_user: bool) -> tuple[str, dict[str, str]]:
    """Path and query of what is set for a user, or for everybody. In a query an id may hold any character."""
    everybody = subject == EVERYBODY and not is_user
    return (f"{BUDGETS}/{EVERYBODY}", {}) if everybody else (OF_USER, {"user": subject})


def dollars_of(text: str) -> str | None:
    """``2.50`` as the API takes it; ``none``: no limit."""
    text = text.strip()
    if text == "none":
        return None
    if not _DOLLARS.fullmatch(text):
        raise Complaint(f"{text!r} is no budget", remedy=f"write {_HOW}")
    return text


def set_caps(settings: dict[str, Any]) -> dict[str, Any]:
    """The caps of an answer that were set, without those that are defaults."""
    return {field: settings["caps"][field] for field in settings["setFields"]}


def _money(dollars: float | None) -> str:
    return "no limit" if dollars is None else f"${dollars:,.6f}"


def _show_standings(answer: dict[str, Any]) -> None:
    from cli.table import Text, table_of

    table = table_of("budget", "of", "period", "cap", "spent", "set aside", "left")
    for each in answer["budgets"]:
        amounts = map(_money, (each["cap"], each["committed"], each["reserved"], each["remaining"]))
        table.add_row(each["scope"], Text(each["subject"] or "everybody"), each["period"], *amounts)
    stdout().print(table)
    if answer["exhausted"]:
        print(f"nothing left: {', '.join(answer['exhausted'])}")


def _show_history(answer: dict[str, Any]) -> None:
    from cli.table import Text, table_of

    table = table_of("revision", "when", "who", "what", "why")
    for each in answer["history"]:
        caps = ", ".join(f"{name} {'no limit' if cap is None else f'${cap}'}" for name, cap in set_caps(each).items())
        table.add_row(
            str(each["revision"]), each["changedAt"] or "", Text(each["changedBy"]), caps, Text(each["reason"])
        )
    stdout().print(table)
