"""``huntaze queue``: what waits for an account, pausing it, and messages that could not be delivered."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import Account, Api, AsJson, Cursor, Limit, Reason, Token, call, show
from cli.console import stdout
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient

app = typer.Typer(
    help="What waits for an account, pausing it, and what could not be delivered.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

QUEUES = "/api/v2/queues"
Message = Annotated[str, typer.Argument(metavar="ID", help="message id, as dead-letters shows it")]


@app.command("show")
def show_queue(
    account: Account, api: Api = None, token: Token = None, directory: Directory = DIRECTORY, as_json: AsJson = False
) -> None:
    """Depth, age, why the head of the line does not move, and when the last message goes."""
    answer = call(lambda client: client.get(f"{QUEUES}/{account}"), api, token, directory, (account,))
    show(answer, as_json, _show_queue)


def _steering(verb: str, summary: str) -> None:
    """``pause``, ``resume`` and ``drain`` differ in one word."""

    def steer(
        account: Account,
        reason: Reason = "",
        api: Api = None,
        token: Token = None,
        directory: Directory = DIRECTORY,
        as_json: AsJson = False,
    ) -> None:
        async def ask(client: "ApiClient") -> Any:
            return await client.post(f"{QUEUES}/{account}/{verb}", {"reason": reason})

        show(call(ask, api, token, directory, (account,)), as_json, _show_queue)

    app.command(verb, help=summary)(steer)


_steering("pause", "Send nothing more from an account; new messages wait.")
_steering("resume", "Let an account send again, whatever stopped it.")
_steering("drain", "Send what waits, take nothing new.")


@app.command("dead-letters")
def dead_letters(
    account: Account,
    limit: Limit = 50,
    cursor: Cursor = None,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Messages that could not be delivered, newest first."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get(f"{QUEUES}/{account}/dead-letters", limit=limit, cursor=cursor)

    show(call(ask, api, token, directory, (account,)), as_json, _show_letters)


@app.command()
def retry(
    account: Account,
    message: Message,
    force: Annotated[bool, typer.Option("--force", help="although the fan may have it already")] = False,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Send a dead letter again; repeating this is harmless."""

    async def ask(client: "ApiClient") -> Any:
        return await client.post(f"{QUEUES}/{account}/dead-letters/{message}/retry", {"force": force})

    show(
        call(ask, api, token, directory, (account,)),
        as_json,
        lambda retried: print(f"queued as message {retried['messageId']}; see: huntaze message status"),
    )


@app.command()
def discard(
    account: Account,
    message: Message,
    reason: Annotated[str, typer.Option(help="why nobody will send it; kept with the message")],
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Take a message off the list of dead letters."""

    async def ask(client: "ApiClient") -> Any:
        return await client.post(f"{QUEUES}/{account}/dead-letters/{message}/discard", {"reason": reason})

    show(
        call(ask, api, token, directory, (account,)),
        as_json,
        lambda letter: print(f"message {letter['messageId']} is off the list; it stays {letter['status']}"),
    )


def _show_queue(queue: dict[str, Any]) -> None:
    why = f" ({queue['stateReason']})" if queue["stateReason"] else ""
    print(f"{queue['accountId']}: {queue['state']}{why}")
    if not queue["live"]:
        print("the queue does not answer: nothing was ever sent from this account, or no worker runs")
        return
    depths = ", ".join(f"{number} {priority}" for priority, number in queue["depthByPriority"].items() if number)
    print(f"{queue['depth']} waiting" + (f": {depths}; the oldest {queue['oldestAgeSeconds']} s" if depths else ""))
    if queue["headOfLineReason"]:
        until = f" until {queue['throttledUntil']}" if queue["throttledUntil"] else ""
        print(f"waits for: {queue['headOfLineReason']}{until}")
    if queue["lastEta"]:
        print(f"the last one is expected to go at {queue['lastEta']}")


def _show_letters(page: dict[str, Any]) -> None:
    from cli.table import Text, table_of

    if not page["messages"]:
        print("no dead letters")
        return
    table = table_of("message", "recipient", "reason", "attempts", "text")
    for letter in page["messages"]:
        table.add_row(
            letter["messageId"], letter["recipientId"], letter["reason"], str(letter["attempts"]), Text(letter["text"])
        )
    stdout().print(table)
    if page["nextCursor"]:
        print(f"there are more: --cursor {page['nextCursor']}")
