"""``huntaze message``: send one message, see what became of it, cancel it."""

from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from cli.calling import Api, AsJson, MessageName, PriorityName, Token, call, show
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient

app = typer.Typer(
    help="Send single messages, and see what became of them.", no_args_is_help=True, pretty_exceptions_enable=False
)

MESSAGES = "/api/v2/onlyfans/messages"
Message = Annotated[str, typer.Argument(metavar="ID", help="the message id that send printed")]


@app.command()
def send(
    account: Annotated[str, typer.Option(help="the account that speaks, acct_…")],
    recipient: Annotated[str, typer.Option(help="the fan's id at the gateway")],
    text: Annotated[str, typer.Option(help="what the message says")],
    message_type: Annotated[MessageName, typer.Option(help="kind of message")] = "custom",
    priority: Annotated[PriorityName, typer.Option(help="which message of the account goes first")] = "high",
    not_before: Annotated[str | None, typer.Option(help="not earlier than this, such as 2026-11-22T18:00Z")] = None,
    expires_at: Annotated[str | None, typer.Option(help="skip it rather than send it after this")] = None,
    queue: Annotated[bool, typer.Option(help="let it wait; --no-queue: now or not at all")] = True,
    key: Annotated[str | None, typer.Option(help="Idempotency-Key: repeating a message with its key is safe")] = None,
    wait: Annotated[int | None, typer.Option(min=0, max=25, help="seconds to wait until it is sent")] = None,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Send one message now, or queue it."""
    body: dict[str, Any] = {
        "accountId": account,
        "recipientId": recipient,
        "text": text,
        "messageType": message_type,
        "priority": priority,
        "queue": queue,
        **{name: time for name, time in (("notBefore", not_before), ("expiresAt", expires_at)) if time},
    }
    headers = {"Idempotency-Key": key or f"cli-{uuid4()}"} | ({} if wait is None else {"Prefer": f"wait={wait}"})

    async def ask(client: "ApiClient") -> Any:
        return await client.post(MESSAGES, body, headers)

    show(call(ask, api, token, directory, (account,)), as_json, _show_message)


@app.command()
def status(
    message: Message, api: Api = None, token: Token = None, directory: Directory = DIRECTORY, as_json: AsJson = False
) -> None:
    """Where a message stands."""
    show(call(lambda client: client.get(f"{MESSAGES}/{message}"), api, token, directory), as_json, _show_message)


@app.command()
def cancel(
    message: Message, api: Api = None, token: Token = None, directory: Directory = DIRECTORY, as_json: AsJson = False
) -> None:
    """Never send a message that still waits."""
    answer = call(lambda client: client.post(f"{MESSAGES}/{message}/cancel"), api, token, directory)
    show(answer, as_json, _show_message)


def _show_message(message: dict[str, Any]) -> None:
    why = f" ({message['reason']})" if message["reason"] else ""
    print(f"message {message['messageId']} to {message['recipientId']}: {message['status']}{why}")
    if message["position"] is not None:
        print(
            f"place {message['position']} in the queue, expected {message['eta'] or 'at a time that nobody can tell'}"
        )
    if message["platformMessageId"]:
        print(f"sent {message['sentAt']} as {message['platformMessageId']}")
