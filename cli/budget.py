"""``huntaze budget``: how budgets stand, setting them, and who set them."""

import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from cli.calling import Api, AsJson, Token, call, show
from cli.console import Complaint, stdout
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient

app = typer.Typer(
    help="How much may be spent on AI, and setting that.", no_args_is_help=True, pretty_exceptions_enable=False
)

BUDGETS = "/api/v2/budgets"
_DOLLARS = re.compile(r"\d{1,7}(?:\.\d{1,6})?")
_HOW = "US dollars, such as 2.50; none: no limit, 0: nothing"

Subject = Annotated[str, typer.Argument(metavar="USER", help="a user's id, or global: everybody")]


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
    reason: Annotated[str, typer.Option(help="why; kept on record")],
    campaign: Annotated[str | None, typer.Option(help=f"for each campaign. {_HOW}")] = None,
    user_day: Annotated[str | None, typer.Option(help="for each user and UTC day")] = None,
    user_month: Annotated[str | None, typer.Option(help="for each user and UTC month")] = None,
    global_day: Annotated[str | None, typer.Option(help="for everybody together and UTC day")] = None,
    global_month: Annotated[str | None, typer.Option(help="for everybody together and UTC month")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="drop what was set before instead of adding to it")] = False,
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
    path = f"{BUDGETS}/{quote(subject, safe='')}"

    async def ask(client: "ApiClient") -> Any:
        present = await client.get(path)
        kept = {} if reset else set_caps(present)
        return await client.put(path, kept | named | {"reason": reason}, {"If-Match": f'"{present["revision"]}"'})

    answer = call(ask, api, token, directory, role="admin")
    show(answer, as_json, lambda found: print(f"{subject}: revision {found['revision']} is in force"))


@app.command()
def history(
    subject: Subject,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Who set what, when and why."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get(f"{BUDGETS}/{quote(subject, safe='')}/history", limit=limit)

    show(call(ask, api, token, directory, role="operator"), as_json, _show_history)


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
    names = {_snake_case(name): name for name in settings["caps"]}
    return {names[field]: settings["caps"][names[field]] for field in settings["setFields"]}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


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
