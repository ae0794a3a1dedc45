"""``huntaze demo``: a real campaign over real HTTP on the embedded stack, and the proof that every promise held."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

import typer

from cli.console import Complaint, stdout
from cli.environment import DIRECTORY, EXAMPLE_AUDIENCE, Directory, in_force, require_embedded, settings_now
from cli.stack import Interrupted, RealAi, run, show_addresses, started
from cli.token import mint

if TYPE_CHECKING:
    from cli.client import ApiClient
    from domain.progress import WorkflowResult
    from local.demo import Evidence, Reviewed
    from local.scenario import Scenario
    from local.stack import Stack

ScenarioName = Literal["fallback", "cached", "review", "budget"]

AGENCY = "demo-agency"
BRIEF = "Spring sale: 20 % off the new photo set until Sunday. Warm and personal, thank them for their support."
OPT_IN_REASON = "The demo's texts are written by a simulator and go to a simulator."


@dataclass(frozen=True, slots=True)
class _Show:
    """What is to be shown, with whom, and how it is printed."""

    scenario: "Scenario"
    members: list[dict[str, Any]]
    plain: bool


def demo(
    scenario: Annotated[
        ScenarioName,
        typer.Option(
            help="what to show: a provider that fails, both failing (general texts that were paid for with the plan), "
            "a person who edits and rejects, or a campaign that stops before its maxCost is exceeded"
        ),
    ] = "fallback",
    audience: Annotated[
        Path, typer.Option(help="CSV file of recipients", show_default="examples/audience.csv")
    ] = EXAMPLE_AUDIENCE,
    real_ai: RealAi = False,
    plain: Annotated[bool, typer.Option("--plain", help="lines instead of a moving table")] = False,
    directory: Directory = DIRECTORY,
) -> None:
    """Run a campaign on the embedded stack, watch it, check it, stop the stack (15 to 75 s)."""
    require_embedded()
    from cli.audience import accounts_of, read_audience
    from cli.demo_summary import show
    from local.scenario import SCENARIOS

    chosen = SCENARIOS[scenario]
    if real_ai and chosen.simulated_only:
        raise Complaint(f"the scenario {scenario} needs the simulated AI services", remedy="leave out --real-ai")
    given = read_audience(audience)
    if len(given) < chosen.at_least:
        raise Complaint(
            f"the scenario {scenario} needs {chosen.at_least} fans, {audience} has {len(given)}",
            remedy="name more in the file, or leave out --audience",
        )
    members = chosen.audience(given)
    part = f"the first {len(members)} of " if len(members) < len(given) else ""
    print(f"{audience}: {part}{len(given)} fans; accounts: {', '.join(accounts_of(members))}")
    began = monotonic()
    try:
        evidence = run(_demonstrate(directory, _Show(chosen, members, plain), real_ai))
    except Interrupted:
        print(f"interrupted; the stack is stopped. Its logs are in {directory / 'logs'}")
        raise typer.Exit(130) from None
    show(evidence, chosen, monotonic() - began, stdout())
    _judge(evidence, chosen, directory)


def _judge(evidence: "Evidence", scenario: "Scenario", directory: Path) -> None:
    from local.demo import what_does_not_hold

    if broken := (*what_does_not_hold(evidence), *scenario.broken(evidence)):
        raise Complaint("not every promise held", details=broken, remedy=f"the logs are in {directory / 'logs'}")
    print("every promise held; the stack is stopped")


async def _demonstrate(directory: Path, shown: _Show, real_ai: bool) -> "Evidence":
    async with started(directory, real_ai=real_ai, env=shown.scenario.env) as stack:
        show_addresses(stack)
        story = asyncio.create_task(_campaign(stack, shown))
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


async def _campaign(stack: "Stack", shown: _Show) -> "Evidence":
    from cli.audience import accounts_of
    from cli.client import api_url, connect
    from cli.demo_review import parts
    from domain.delivery import Message
    from local.demo import Simulators

    scenario, accounts = shown.scenario, accounts_of(shown.members)
    simulators = Simulators(stack.addresses, stack.env)
    armed = await simulators.prepare(scenario.faults)
    if armed or not scenario.faults:
        print(scenario.watch_for)
    with in_force(stack.env):
        token = mint(settings_now(), user=AGENCY, role="agency", accounts=accounts)
    async with connect(api_url(stack.env), token) as client:
        await _opt_in(client, scenario, accounts)
        accepted = await client.post(
            "/api/v2/campaigns/hybrid", _request(shown, accounts[0]), {"Idempotency-Key": f"demo-{uuid4()}"}
        )
        campaign_id = accepted["campaignId"]
        print(f"campaign {campaign_id} accepted")
        print(f"in Temporal: {stack.addresses['Temporal UI']}/namespaces/default/workflows/{accepted['workflowId']}")
        result, reviewed = await _to_the_end(client, campaign_id, shown)
        listed = parts(client, f"/api/v2/campaigns/{campaign_id}/messages", "messages")
        messages = [Message.model_validate(message) async for message in listed]
    return await simulators.testify(result, messages, reviewed, fault_armed=armed)


async def _opt_in(client: "ApiClient", scenario: "Scenario", accounts: tuple[str, ...]) -> None:
    """The owner's consent to less review than everything; none is needed for everything."""
    if scenario.level == "strict":
        return
    for account in accounts:
        await client.put(f"/api/v2/accounts/{account}/autonomy", {"level": scenario.level, "reason": OPT_IN_REASON})
    print(f"opt-in to {scenario.level} review recorded for {', '.join(accounts)}")


def _request(shown: _Show, account: str) -> dict[str, Any]:
    return {
        "type": "campaign_execution",
        "brief": BRIEF,
        "onlyFansContext": {
            "accountId": account,
            "messageType": "promotional",
            "complianceLevel": shown.scenario.level,
        },
        "audience": shown.members,
        **shown.scenario.request,
    }


async def _to_the_end(client: "ApiClient", campaign_id: str, shown: _Show) -> "tuple[WorkflowResult, Reviewed | None]":
    """Follow the campaign, and play the person whom it may have to wait for."""
    from cli.demo_review import approve_everything, attended, decide_one_by_one
    from cli.progress import follow

    decide = decide_one_by_one if shown.scenario.level == "strict" else approve_everything
    following = follow(client, campaign_id, stdout(), plain=shown.plain)
    return await attended(following, decide(client, campaign_id))
