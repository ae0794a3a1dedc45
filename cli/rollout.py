"""``huntaze rollout``: a flag for more and more users, judged on the way, and back at once if need be."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import Api, AsJson, Token, call, show
from cli.console import Complaint, stdout
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient

app = typer.Typer(
    help="Rollouts of flags: start, follow, pause, resume, promote, roll back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ROLLOUTS = "/api/admin/rollouts"
FlagName = Annotated[str, typer.Argument(metavar="FLAG", help="such as hybrid-orchestrator")]
Why = Annotated[str, typer.Option(help="why; kept in the audit log")]
_SHOWN_DECISIONS = 10


@app.command()
def start(
    flag: FlagName,
    reason: Annotated[str, typer.Option(help="why; kept in the audit log")],
    steps: Annotated[str | None, typer.Option(help="percentages, default 5,25,50,100")] = None,
    gates: Annotated[str | None, typer.Option(help="steps that end only by a person's promote, such as 50")] = None,
    bake_seconds: Annotated[int | None, typer.Option(min=1, help="least time on each step; default 600")] = None,
    min_samples: Annotated[int | None, typer.Option(min=1, help="least requests on each step; default 100")] = None,
    max_wait_seconds: Annotated[
        int | None, typer.Option(min=1, help="without a pass on a step before it pauses; default 21600")
    ] = None,
    look_seconds: Annotated[float | None, typer.Option(help="between two looks; default 30")] = None,
    error_rate: Annotated[float | None, typer.Option(help="guardrail: percent; default: the flag's trigger")] = None,
    p95_latency_ms: Annotated[float | None, typer.Option(help="guardrail; default: the flag's trigger")] = None,
    p95_latency_ratio: Annotated[float | None, typer.Option(help="guardrail: canary to baseline")] = None,
    compliance_score: Annotated[float | None, typer.Option(help="guardrail: least mean score, 0 to 1")] = None,
    cost_per_request_micros: Annotated[int | None, typer.Option(help="guardrail: highest mean, in µ$")] = None,
    no_error_rate_increase: Annotated[
        bool, typer.Option("--no-error-rate-increase", help="the canary may fail more often than the baseline")
    ] = False,
    no_error_rate: Annotated[
        bool, typer.Option("--no-error-rate", help="not even the flag's trigger; the baseline is still compared with")
    ] = False,
    no_p95_latency_ms: Annotated[bool, typer.Option("--no-p95-latency-ms", help="not even the flag's trigger")] = False,
    recall_on_rollback: Annotated[
        bool, typer.Option("--recall-on-rollback", help="a rollback by itself also takes back messages")
    ] = False,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Put an enabled flag on the first step; from there on it goes by itself."""
    body = given(
        flag=flag,
        reason=reason,
        steps=numbers(steps),
        manualGates=numbers(gates),
        bakeSeconds=bake_seconds,
        minSamples=min_samples,
        maxWaitSeconds=max_wait_seconds,
        lookSeconds=look_seconds,
        guardrails=given(
            errorRate=error_rate,
            p95LatencyMs=p95_latency_ms,
            p95LatencyRatio=p95_latency_ratio,
            complianceScore=compliance_score,
            costPerRequestMicros=cost_per_request_micros,
            errorRateIncrease=False if no_error_rate_increase else None,
            without=left_out(errorRate=no_error_rate, p95LatencyMs=no_p95_latency_ms),
        ),
        recallOnRollback=recall_on_rollback or None,
    )

    async def ask(client: "ApiClient") -> Any:
        return await client.post(ROLLOUTS, body)

    show(call(ask, api, token, directory, role="admin"), as_json, _show)


@app.command()
def status(
    flag: Annotated[str | None, typer.Argument(help="this one's; default: of all flags")] = None,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Where rollouts stand, what the last look said, and what was decided."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get(ROLLOUTS if flag is None else f"{ROLLOUTS}/{flag}")

    show(call(ask, api, token, directory, role="operator"), as_json, _show_all if flag is None else _show)


def _steering(verb: str, summary: str, role: str) -> None:
    """``pause`` and ``resume`` differ in a word, and in who may."""

    def steer(
        flag: FlagName,
        reason: Why = "",
        api: Api = None,
        token: Token = None,
        directory: Directory = DIRECTORY,
        as_json: AsJson = False,
    ) -> None:
        async def ask(client: "ApiClient") -> Any:
            return await client.post(f"{ROLLOUTS}/{flag}/{verb}", {"reason": reason})

        show(call(ask, api, token, directory, role=role), as_json, _show)

    app.command(verb, help=summary)(steer)


_steering("pause", "Stay on this step; guardrails go on.", "operator")
_steering("resume", "Go on after a pause.", "admin")


@app.command()
def promote(
    flag: FlagName,
    reason: Why = "",
    stands_at: Annotated[
        float | None, typer.Option("--from", help="refuse unless it stands at this percentage; default: where it is")
    ] = None,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """To the next step now, unless the canary fails. Repeat it with --from after a time-out: one step, not two."""

    async def ask(client: "ApiClient") -> Any:
        start = stands_at
        if start is None:
            report = (await client.get(f"{ROLLOUTS}/{flag}"))["report"]
            start = report["percentage"] if report else None
            if start is not None and not as_json:
                print(f"from {start:g} %")
        return await client.post(f"{ROLLOUTS}/{flag}/promote", given(**{"reason": reason, "from": start}))

    show(call(ask, api, token, directory, role="admin"), as_json, _show)


@app.command()
def rollback(
    flag: FlagName,
    reason: Why = "",
    gradual: Annotated[bool, typer.Option("--gradual", help="down the steps, one each bake time")] = False,
    recall: Annotated[bool, typer.Option("--recall", help="take back messages that may still be unsent")] = False,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Back to 0 %, also while Temporal is away."""

    async def ask(client: "ApiClient") -> Any:
        return await client.post(
            f"{ROLLOUTS}/{flag}/rollback", {"reason": reason, "gradual": gradual, "recall": recall}
        )

    show(call(ask, api, token, directory, role="operator"), as_json, _show)


def given(**options: Any) -> dict[str, Any]:
    """Without what was left out: the API's defaults apply."""
    return {name: value for name, value in options.items() if value is not None and value != {}}


def left_out(**triggers: bool) -> list[str] | None:
    """The triggers of the flag that a rollout does not look at."""
    return [name for name, is_so in triggers.items() if is_so] or None


def numbers(text: str | None) -> list[float] | None:
    """``5,25,50,100`` as the API takes it."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise Complaint(f"{text!r} are no percentages", remedy="write them with commas: 5,25,50,100") from None


def _show(view: dict[str, Any]) -> None:
    from cli.flag import override_in_words
    from cli.table import Text, table_of

    report = view["report"]
    standing = report["summary"] if report else view["status"]
    print(f"{view['flag']}: {standing}; the flag is at {view['percentage']} %{'' if view['enabled'] else ', disabled'}")
    if view["override"]:
        print(f"the environment overrides it: {override_in_words(view['override'])}")
    if view["message"]:
        print(view["message"])
    if report is None:
        if view["status"] == "running":
            print("no worker answers now; see the Temporal UI, workflow", view["workflowId"])
        return
    steps = " → ".join(f"{step} %" for step in report["steps"])
    print(f"{steps}, started by {report['startedBy']} at {report['startedAt']}: {report['reason']}")
    if not report["decisions"]:
        return
    table = table_of("when", "what", "from", "to", "by", "why")
    for decision in report["decisions"][-_SHOWN_DECISIONS:]:
        ends = (f"{decision['before']} %", f"{decision['after']} %")
        what = decision["kind"].replace("_", " ")
        table.add_row(decision["at"], what, *ends, decision["by"], Text(decision["reason"]))
    stdout().print(table)


def _show_all(answer: dict[str, Any]) -> None:
    from cli.table import Text, table_of

    if not answer["rollouts"]:
        print("no rollouts; start one with: huntaze rollout start FLAG --reason …")
        return
    table = table_of("flag", "workflow", "flag at", "standing")
    for view in answer["rollouts"]:
        standing = view["report"]["summary"] if view["report"] else view["message"]
        table.add_row(view["flag"], view["status"], f"{view['percentage']} %", Text(standing))
    stdout().print(table)
