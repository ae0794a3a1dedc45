"""``huntaze demo``: a real campaign over real HTTP on the embedded stack, and the proof that every promise held."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from cli.console import Complaint, stdout
from cli.environment import DIRECTORY, EXAMPLE_AUDIENCE, Directory, in_force, require_embedded, settings_now
from cli.stack import Interrupted, RealAi, run, show_addresses, started
from cli.token import mint

if TYPE_CHECKING:
    from local.demo import Evidence
    from local.stack import Stack

AGENCY = "demo-agency"
BRIEF = "Spring sale: 20 % off the new photo set until Sunday. Warm and personal, thank them for their support."
OPT_IN = {"level": "relaxed", "reason": "The demo's texts are written by a simulator and go to a simulator."}


def demo(
    audience: Annotated[
        Path, typer.Option(help="CSV file of recipients", show_default="examples/audience.csv")
    ] = EXAMPLE_AUDIENCE,
    real_ai: RealAi = False,
    plain: Annotated[bool, typer.Option("--plain", help="lines instead of a moving table")] = False,
    directory: Directory = DIRECTORY,
) -> None:
    """Run a campaign on the embedded stack, watch it, check it, stop the stack (about 70 s)."""
    require_embedded()
    from cli.audience import accounts_of, read_audience
    from cli.demo_summary import show

    members = read_audience(audience)
    print(f"{audience}: {len(members)} fans of {len(accounts_of(members))} accounts")
    began = monotonic()
    try:
        evidence = run(_demonstrate(directory, members, real_ai, plain))
    except Interrupted:
        print(f"interrupted; the stack is stopped. Its logs are in {directory / 'logs'}")
        raise typer.Exit(130) from None
    show(evidence, monotonic() - began, stdout())
    _judge(evidence, directory)


def _judge(evidence: "Evidence", directory: Path) -> None:
    from local.demo import what_does_not_hold

    if broken := what_does_not_hold(evidence):
        raise Complaint("not every promise held", details=broken, remedy=f"the logs are in {directory / 'logs'}")
    print("every promise held; the stack is stopped")


async def _demonstrate(directory: Path, members: list[dict[str, Any]], real_ai: bool, plain: bool) -> "Evidence":
    async with started(directory, real_ai=real_ai) as stack:
        show_addresses(stack)
        story = asyncio.create_task(_campaign(stack, members, plain))
        failure = asyncio.create_task(stack.wait_failed())
        try:
            await asyncio.wait((story, failure), return_when=asyncio.FIRST_COMPLETED)
            if failure.done():
                raise Complaint(
                    str(failure.result()), remedy=f"the whole logs are in {directory / 'logs'}; the stack is stopped"
                )
            return await story
        finally:
            story.cancel()
            failure.cancel()
            await asyncio.gather(story, failure, return_exceptions=True)


async def _campaign(stack: "Stack", members: list[dict[str, Any]], plain: bool) -> "Evidence":
    from cli.audience import accounts_of
    from cli.client import api_url, connect
    from cli.progress import follow
    from local.demo import Simulators

    accounts = accounts_of(members)
    simulators = Simulators(stack.addresses, stack.env)
    await simulators.prepare()
    if simulators.azure:
        print("Azure OpenAI will answer the planning call with 503, once: watch for the fallback to OpenAI")
    with in_force(stack.env):
        token = mint(settings_now(), user=AGENCY, role="agency", accounts=accounts)
    async with connect(api_url(stack.env), token) as client:
        for account in accounts:
            await client.put(f"/api/v2/accounts/{account}/autonomy", OPT_IN)
        print(f"opt-in to relaxed review recorded for {', '.join(accounts)}")
        intent = {
            "type": "campaign_execution",
            "brief": BRIEF,
            "onlyFansContext": {
                "accountId": accounts[0],
                "messageType": "promotional",
                "complianceLevel": "relaxed",
            },
            "audience": members,
        }
        accepted = await client.post("/api/v2/campaigns/hybrid", intent, {"Idempotency-Key": f"demo-{uuid4()}"})
        print(f"campaign {accepted['campaignId']} accepted")
        print(f"in Temporal: {stack.addresses['Temporal UI']}/namespaces/default/workflows/{accepted['workflowId']}")
        result = await follow(client, accepted["campaignId"], stdout(), plain=plain)
    return await simulators.testify(result)
