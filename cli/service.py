"""``huntaze api``, ``worker`` and ``migrate``: the processes of an installation."""

import asyncio
from typing import Annotated

import typer

from cli.console import Complaint
from cli.environment import settings_now


def api(
    host: Annotated[str | None, typer.Option(help="default: HUNTAZE_API_HOST, else 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="default: HUNTAZE_API_PORT, else 8000")] = None,
) -> None:
    """Serve the HTTP API."""
    settings = settings_now()
    import uvicorn

    from api.authentication import TokenVerifier

    try:
        TokenVerifier(settings)
    except ValueError as error:
        raise Complaint(str(error), remedy="set it in the environment or in .env") from None
    uvicorn.run(
        "api.app:create_app",
        factory=True,
        host=host or settings.api_host,
        port=settings.api_port if port is None else port,
        access_log=False,
        # An answer of the legacy system has its own.
        server_header=False,
        # The application configures the logs: uvicorn's own lines become JSON like all others.
        log_config=None,
    )


def worker(
    queue: Annotated[list[str] | None, typer.Argument(help="task queues to serve; default: all of them")] = None,
) -> None:
    """Run workflows and activities."""
    settings_now()
    from worker import main
    from workflows.policies import TASK_QUEUES

    queues = tuple(queue or TASK_QUEUES)
    if unknown := sorted(set(queues) - set(TASK_QUEUES)):
        raise Complaint(f"there is no task queue {', '.join(unknown)}", remedy=f"choose from: {', '.join(TASK_QUEUES)}")
    try:
        asyncio.run(main(queues))
    except RuntimeError as error:
        # The SDK's way to say that it could not connect.
        raise Complaint(
            f"Temporal can't be reached: {error}", remedy="check TEMPORAL_ADDRESS; huntaze doctor"
        ) from error


def migrate() -> None:
    """Create the tables that are missing."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        created = asyncio.run(_migrate())
    except (BotoCoreError, ClientError) as error:
        raise Complaint(
            f"DynamoDB: {error}", remedy="check AWS_REGION, the credentials and AWS_ENDPOINT_URL; huntaze doctor"
        ) from error
    print("\n".join(f"created {name}" for name in created) or "every table exists")


async def _migrate() -> tuple[str, ...]:
    from adapters.bootstrap import open_tables

    async with open_tables(settings_now()) as tables:
        return await tables.migrate()
