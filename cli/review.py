"""``huntaze review``: what waits for a person, and the person's decisions about it, over HTTP."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import Api, AsJson, Campaign, Cursor, Limit, Token, call, show
from cli.console import Complaint, stdout
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient

app = typer.Typer(
    help="What waits for a person: read it, edit it, let it be sent or not.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

CAMPAIGNS = "/api/v2/campaigns"
Message = Annotated[
    str,
    typer.Argument(
        metavar="MESSAGE", help="as list shows it: ID@REVISION, refused if it was edited since; or ID alone"
    ),
]
_MESSAGE = re.compile(r"([^@]+)(?:@(\d{1,9}))?")
Comment = Annotated[str, typer.Option(help="kept with the decision")]


@app.command("list")
def list_drafts(
    campaign: Annotated[str | None, typer.Option(help="only this campaign's")] = None,
    account: Annotated[str | None, typer.Option(help="only this account's")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Drafts that wait, those that have waited longest first."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get("/api/v2/reviews", campaignId=campaign, accountId=account, limit=limit, cursor=cursor)

    show(call(ask, api, token, directory), as_json, _show_drafts)


@app.command("show")
def show_message(
    campaign: Campaign,
    message: Message,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """One message: its text, what the rules say, the texts before it, who decided what."""
    path = f"{CAMPAIGNS}/{campaign}/messages/{read(message)[0]}"
    answer = call(lambda client: client.get(path), api, token, directory)
    show(answer, as_json, _show_message)


@app.command()
def edit(
    campaign: Campaign,
    message: Message,
    text: Annotated[str | None, typer.Option(help="the new text")] = None,
    file: Annotated[Path | None, typer.Option(help="a file that holds the new text")] = None,
    approve: Annotated[bool, typer.Option("--approve", help="and let it be sent")] = False,
    comment: Comment = "",
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Give a draft another text; the rules are run on it, and the text before it is kept."""
    message_id, revision = read(message)
    body = {
        "text": _text_of(text, file),
        "approve": approve,
        "comment": comment,
        **({} if revision is None else {"revision": revision}),
    }
    path = f"{CAMPAIGNS}/{campaign}/messages/{message_id}/text"
    show(call(lambda client: client.put(path, body), api, token, directory), as_json, _show_message)


@app.command()
def plan(
    campaign: Campaign,
    file: Annotated[
        Path | None, typer.Option(help="a JSON file that holds the plan that you give; without it, the plan is shown")
    ] = None,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """What a campaign is to say; write it yourself where no model has."""
    path = f"{CAMPAIGNS}/{campaign}/plan"
    if file is None:
        answer = call(lambda client: client.get(path), api, token, directory)
    else:
        body = _json_of(file)
        answer = call(lambda client: client.put(path, body), api, token, directory)
    show(answer, as_json, _show_plan)


def _deciding(verb: str, summary: str) -> None:
    """``approve`` and ``reject`` differ in one word."""

    def decide(
        campaign: Campaign,
        message: Annotated[
            list[str] | None, typer.Option(help="only this draft, as list shows it: ID@REVISION; may be given again")
        ] = None,
        all_to_come: Annotated[
            bool, typer.Option("--all-to-come", help="also what this campaign drafts from now on")
        ] = False,
        comment: Comment = "",
        api: Api = None,
        token: Token = None,
        directory: Directory = DIRECTORY,
        as_json: AsJson = False,
    ) -> None:
        from cli.campaign_view import show_campaign

        body = decision_of(message or [], all_to_come=all_to_come, comment=comment)
        answer = call(lambda client: client.post(f"{CAMPAIGNS}/{campaign}/{verb}", body), api, token, directory)
        if not as_json:
            print(f"{verb}: accepted; it takes effect in a moment, what follows is the state before it")
        show(answer, as_json, show_campaign)

    app.command(verb, help=summary)(decide)


_deciding("approve", "Let the drafts that wait now be sent, or those that are named.")
_deciding("reject", "Never send the drafts that wait now, or those that are named.")


def decision_of(messages: list[str], *, all_to_come: bool, comment: str) -> dict[str, Any]:
    """The body of a decision: about the revisions that are named, all that waits, or also all that is to come."""
    if messages and all_to_come:
        raise Complaint("--message and --all-to-come contradict each other", remedy="leave one of them out")
    if all_to_come:
        return {"comment": comment, "scope": "campaign"}
    named = [read(message) for message in messages]
    return {
        "comment": comment,
        "messages": [message_id for message_id, _ in named],
        "revisions": {message_id: revision for message_id, revision in named if revision is not None},
    }


def read(message: str) -> tuple[str, int | None]:
    """The id of a message, and the revision that was read, where it is given."""
    found = _MESSAGE.fullmatch(message.strip())
    if found is None:
        raise Complaint(f"{message!r} names no message", remedy="write ID@REVISION, as huntaze review list shows it")
    return found[1], None if found[2] is None else int(found[2])


def _text_of(text: str | None, file: Path | None) -> str:
    """The text that was given in one of two ways."""
    if (text is None) == (file is None):
        raise Complaint("the new text is needed once", remedy="give --text or --file")
    if text is not None:
        return text
    assert file is not None  # noqa: S101 - exactly one of the two is given
    return _content(file).strip()


def _json_of(file: Path) -> Any:
    try:
        return json.loads(_content(file))
    except json.JSONDecodeError as error:
        raise Complaint(f"{file} is not JSON: {error}") from None


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Complaint(f"{file} can't be read: {error}") from None


def _show_drafts(page: dict[str, Any]) -> None:
    from cli.table import Text, table_of

    if not page["drafts"]:
        print("nothing waits for review")
        return
    table = table_of("campaign", "message", "account", "recipient", "expires", "rules", "quality", "text")
    for draft in page["drafts"]:
        table.add_row(
            draft["campaignId"],
            f"{draft['messageId']}@{draft['revision']}",
            draft["accountId"],
            draft["recipientId"],
            draft["expiresAt"][:16].replace("T", " "),
            _rules(draft),
            f"{draft['quality']:.2f}",
            Text(draft["text"] or f"(no text: {draft['reason']})"),
        )
    stdout().print(table)
    print("then: huntaze review approve CAMPAIGN [--message MESSAGE], reject, or edit CAMPAIGN MESSAGE --text …")
    if page["nextCursor"]:
        print(f"there are more: --cursor {page['nextCursor']}")


def _show_message(message: dict[str, Any]) -> None:
    from cli.table import Text, table_of

    why = f" ({message['reason']})" if message["reason"] else ""
    print(f"message {message['messageId']}: {message['status']}{why}, revision {message['revision']}")
    origin = message["origin"] or {}
    facts = {
        "account": message["accountId"],
        "recipient": message["recipientId"],
        "text": message["text"] or "(none)",
        "rules": _rules(message),
        "quality": f"{message['quality']:.2f}",
        "written by": " ".join(
            filter(None, (origin.get("provider"), origin.get("model"), origin.get("promptVersion")))
        ),
        "edited by": origin.get("editedBy", ""),
        "approved by": origin.get("approvedBy", ""),
        "decided by": (message["review"] or {}).get("decidedBy", ""),
        "comment": (message["review"] or {}).get("comment", ""),
        **{f"text {number}": each["text"] for number, each in enumerate(message["earlier"])},
    }
    table = table_of("what", "value")
    for what, value in facts.items():
        if value:
            table.add_row(what, Text(value))
    stdout().print(table)


def _show_plan(plan: dict[str, Any]) -> None:
    from cli.table import Text, table_of

    author = plan["author"] or {}
    by_model = " ".join(filter(None, (author.get("provider"), author.get("model"), author.get("promptVersion"))))
    facts = {
        "theme": plan["theme"],
        "tone": plan["tone"],
        "angle": plan["angle"],
        "call to action": plan["callToAction"],
        **{f"point {number}": each for number, each in enumerate(plan["talkingPoints"], 1)},
        **{f"for anybody, {each['language']}": each["text"] for each in plan["generalTexts"]},
        "written by": plan["writtenBy"] or by_model,
    }
    table = table_of("what", "value")
    for what, value in facts.items():
        if value:
            table.add_row(what, Text(value))
    stdout().print(table)


def _rules(message: dict[str, Any]) -> str:
    report = message["compliance"]
    if report is None:
        return "not checked"
    broken = ", ".join(violation["ruleId"] for violation in report["violations"])
    unseen = " not moderated" if report["moderated"] is False else ""
    return f"{report['score']:.2f}{f' {broken}' if broken else ''}{unseen}"
