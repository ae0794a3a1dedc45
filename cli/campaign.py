"""``huntaze campaign``: ask for campaigns, follow them, steer them, decide about their drafts, over HTTP."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

import typer

from cli.calling import Api, AsJson, Campaign, Cursor, Limit, MessageName, PriorityName, Token, call, show
from cli.console import Complaint, stdout
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient

app = typer.Typer(
    help="Ask for campaigns, follow them, steer them, decide about their drafts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

# The domain's own words; a test keeps them the same. Importing them here would slow down every --help.
IntentName = Literal["campaign_execution", "message_generation"]
ComplianceName = Literal["strict", "moderate", "relaxed"]

CAMPAIGNS = "/api/v2/campaigns"


@app.command()
def start(
    audience: Annotated[Path, typer.Option(help="CSV file of recipients")],
    brief: Annotated[str, typer.Option(help="what the campaign is to say")],
    account: Annotated[
        str | None, typer.Option(help="the account that speaks where the file names none; needed if it names none")
    ] = None,
    type: Annotated[IntentName, typer.Option(help="what is wanted")] = "campaign_execution",
    message_type: Annotated[MessageName, typer.Option(help="kind of message")] = "custom",
    compliance: Annotated[
        ComplianceName, typer.Option(help="strict: a person approves all; less needs the account's recorded opt-in")
    ] = "strict",
    priority: Annotated[PriorityName, typer.Option(help="which campaign of an account goes first")] = "medium",
    max_cost: Annotated[float | None, typer.Option(help="US dollars")] = None,
    review_hours: Annotated[
        int | None, typer.Option(min=1, max=720, help="drafts nobody decides about are skipped after this; default 72")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency-Key: repeating a request with its key is safe")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="show the progress until the end")] = False,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Start a campaign for the recipients of a CSV file."""
    from cli.audience import accounts_of, read_audience

    members = read_audience(audience, account)
    accounts = sorted({*accounts_of(members), *([account] if account else [])})
    intent: dict[str, Any] = {
        "type": type,
        "brief": brief,
        "priority": priority,
        "onlyFansContext": {
            "accountId": account or accounts[0],
            "messageType": message_type,
            "complianceLevel": compliance,
        },
        "audience": members,
        **({} if max_cost is None else {"maxCost": max_cost}),
        **({} if review_hours is None else {"review": {"expiresAfterHours": review_hours}}),
    }
    key = key or f"cli-{uuid4()}"

    async def ask(client: "ApiClient") -> Any:
        accepted = await client.post(f"{CAMPAIGNS}/hybrid", intent, {"Idempotency-Key": key})
        if not as_json:
            print(f"campaign {accepted['campaignId']} {accepted['status']} (Idempotency-Key {key})", flush=True)
        return await _follow(client, accepted["campaignId"], quiet=as_json) if wait else accepted

    answer = call(ask, api, token, directory, accounts)
    show(answer, as_json, _show_result if wait else None)


@app.command()
def status(
    campaign: Annotated[str | None, typer.Argument(metavar="[ID]", help="without one: a list, newest first")] = None,
    limit: Limit = 20,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Where a campaign stands, or a list of them."""

    async def ask(client: "ApiClient") -> Any:
        query = {"workflowId": campaign} if campaign else {"limit": limit}
        return await client.get(f"{CAMPAIGNS}/status", **query)

    from cli import campaign_view as views

    show(call(ask, api, token, directory), as_json, views.show_campaign if campaign else views.show_list)


@app.command()
def watch(
    campaign: Campaign, api: Api = None, token: Token = None, directory: Directory = DIRECTORY, as_json: AsJson = False
) -> None:
    """Follow a campaign until it ends."""
    answer = call(lambda client: _follow(client, campaign, quiet=as_json), api, token, directory)
    show(answer, as_json, _show_result)


@app.command()
def messages(
    campaign: Campaign,
    status: Annotated[str | None, typer.Option(help="only these, such as drafted or failed")] = None,
    account: Annotated[str | None, typer.Option(help="only this account's")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Drafts and outcomes, with their texts."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get(
            f"{CAMPAIGNS}/{campaign}/messages", status=status, accountId=account, limit=limit, cursor=cursor
        )

    from cli.campaign_view import show_messages

    show(call(ask, api, token, directory), as_json, show_messages)


@app.command("opt-in")
def opt_in(
    account: Annotated[str, typer.Option(help="the account whose owner agrees, acct_…")],
    level: Annotated[ComplianceName, typer.Option(help="the most relaxed level that its campaigns may ask for")],
    reason: Annotated[str, typer.Option(help="why less review is right for this account; kept on record")],
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Record that an account's owner allows campaigns with less review than strict."""
    body = {"level": level, "reason": reason}
    path = f"/api/v2/accounts/{account}/autonomy"
    answer = call(lambda client: client.put(path, body), api, token, directory, (account,))
    if not as_json:
        print(f"{account}: campaigns may be as relaxed as {level}, on record since {answer['grantedAt']}")
    show(answer, as_json, None)


def _steering(verb: str, summary: str, field: str) -> None:
    """``pause``, ``resume``, ``cancel``, ``approve`` and ``reject`` differ in one word and one field."""
    option = Annotated[str, typer.Option(f"--{field}", help="shown to whoever asks later")]

    def steer(
        campaign: Campaign,
        why: option = "",
        api: Api = None,
        token: Token = None,
        directory: Directory = DIRECTORY,
        as_json: AsJson = False,
    ) -> None:
        from cli.campaign_view import show_campaign

        body = {field: why} if why else {}
        answer = call(lambda client: client.post(f"{CAMPAIGNS}/{campaign}/{verb}", body), api, token, directory)
        if not as_json:
            print(f"{verb}: accepted; it takes effect in a moment, what follows is the state before it")
        show(answer, as_json, show_campaign)

    app.command(verb, help=summary)(steer)


_steering("pause", "Send nothing more for now.", "reason")
_steering("resume", "Go on after a pause.", "reason")
_steering("cancel", "Stop for good: whatever was not sent never will be.", "reason")
_steering("approve", "Let every draft that waits now be sent.", "comment")
_steering("reject", "Never send the drafts that wait now.", "comment")


@app.command()
def recall(
    campaign: Campaign,
    wait: Annotated[int, typer.Option(min=0, max=25, help="seconds to wait for the report")] = 10,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Cancel a campaign and take back what was sent and still can be; says what could not."""
    from cli.campaign_view import show_recall

    async def ask(client: "ApiClient") -> Any:
        return await client.post(f"{CAMPAIGNS}/{campaign}/recall", headers={"Prefer": f"wait={wait}"})

    show(call(ask, api, token, directory), as_json, show_recall)


async def _follow(client: "ApiClient", campaign: str, *, quiet: bool) -> Any:
    from cli.progress import follow

    if not quiet:
        return (await follow(client, campaign, stdout(), plain=False)).model_dump(mode="json")
    async for name, data in client.events(campaign):
        if name == "done":
            return data
    raise Complaint("the API ended the stream of events without a result", remedy="huntaze campaign status ID")


def _show_result(result: dict[str, Any]) -> None:
    from cli.campaign_view import show_result

    show_result(result)
    if result["status"] != "completed":
        raise typer.Exit(1)
