"""``huntaze experiments``: the A/B tests between models, and what is known of their arms."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import Api, AsJson, Token, call, show
from cli.console import stdout
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient

_DECIMALS = {"cost_micros": 1, "latency_ms": 1}
"""Of micro-dollars and milliseconds; scores from 0 to 1 are shown with three."""


def experiments(
    name: Annotated[str | None, typer.Argument(help="results of this one; default: list them all")] = None,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Experiments between models, or the results of one with 95 % confidence intervals."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get("/api/v2/experiments" if name is None else f"/api/v2/experiments/{name}")

    answer = call(ask, api, token, directory, role="operator")
    show(answer, as_json, _show_list if name is None else _show_results)


def _show_list(answer: dict[str, Any]) -> None:
    from cli.table import table_of

    if not answer["experiments"]:
        print("no experiments; the routing policy (HUNTAZE_ROUTING) defines them")
        return
    table = table_of("experiment", "intent", "arm", "model", "share")
    for experiment in answer["experiments"]:
        for arm in experiment["arms"]:
            model = f"{arm['provider']}/{arm['model']}"
            table.add_row(experiment["name"], experiment["intent"], arm["arm"], model, f"{arm['share']:.1%}")
    stdout().print(table)


def _show_results(answer: dict[str, Any]) -> None:
    from cli.table import table_of

    table = table_of("arm", "metric", "n", "mean", "95 % interval", "to baseline", "95 % interval", "verdict")
    for row in result_rows(answer["results"]):
        table.add_row(*row)
    stdout().print(table)


def result_rows(results: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The API's results, a row for each metric of an arm that has values."""
    rows: list[tuple[str, ...]] = []
    for arm in results:
        for metric, found in arm["metrics"].items():
            if not found["count"]:
                continue
            decimals = _DECIMALS.get(metric, 3)
            compared = arm["toBaseline"].get(metric)
            rows.append(
                (
                    arm["arm"],
                    metric,
                    str(found["count"]),
                    _number(found["mean"], decimals),
                    _interval(found["interval"], decimals),
                    _number(compared["difference"], decimals, sign="+") if compared else "",
                    _interval(compared["interval"], decimals, sign="+") if compared else "",
                    compared["verdict"].replace("_", " ") if compared else "",
                )
            )
    return rows


def _number(value: float | None, decimals: int, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign},.{decimals}f}"


def _interval(ends: dict[str, float] | None, decimals: int, sign: str = "") -> str:
    if ends is None:
        return ""
    return f"{_number(ends['low'], decimals, sign)} to {_number(ends['high'], decimals, sign)}"
