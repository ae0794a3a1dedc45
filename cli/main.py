"""``huntaze``: every command by name. Modules are imported by the command that needs them, so help is quick."""

from typing import Any

import typer
from typer.core import TyperGroup

from cli import (
    alert,
    budget,
    campaign,
    demo,
    doctor,
    experiment,
    flag,
    limits,
    message,
    provider,
    queue,
    review,
    rollout,
    service,
    stack,
    token,
)
from cli.console import Complaint, tell


class _Commands(TyperGroup):
    """A complaint of any command is printed, not raised."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except Complaint as complaint:
            tell(complaint)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    help="Durable, exact messaging campaigns: the stack on one machine, its services, and campaigns.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for command in (
    demo.demo,
    stack.up,
    doctor.doctor,
    token.token,
    service.api,
    service.worker,
    service.migrate,
    alert.alerts,
    experiment.experiments,
    provider.providers,
):
    app.command()(command)
for group in (campaign, review, message, queue, limits, budget, rollout):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])
app.add_typer(flag.app, name="flags")
