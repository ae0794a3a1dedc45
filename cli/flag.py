"""``huntaze flags``: who gets the new system, changing that, who changed it, and why a flag decides as it does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from cli.calling import Api, AsJson, Token, call, show
from cli.console import Complaint, stdout
from cli.environment import DIRECTORY, Directory

if TYPE_CHECKING:
    from cli.client import ApiClient
    from cli.table import Table

app = typer.Typer(
    help="Feature flags: who gets the new system, and why.", no_args_is_help=True, pretty_exceptions_enable=False
)

FLAGS = "/api/admin/feature-flags"
SETTABLE = ("enabled", "rolloutPercentage", "userWhitelist", "userBlacklist", "conditions", "rollbackTriggers")
ANY = "any"
NONE = "none"
RULES = {
    "forced_off": "forced off",
    "disabled": "disabled",
    "deny_list": "on the deny list",
    "allow_list": "on the allow list",
    "condition_user_tier": "of another tier",
    "condition_account_age": "account too young",
    "condition_region": "of another region",
    "condition_platform": "on other platforms",
    "in_rollout": "within the percentage",
    "not_in_rollout": "outside the percentage",
}
"""The API's rules so that yes and no make sense of them."""

_FEW = 3
"""Of a list, shown in a table."""

Name = Annotated[str, typer.Argument(metavar="FLAG", help="such as hybrid-orchestrator")]


@app.command("list")
def list_flags(api: Api = None, token: Token = None, directory: Directory = DIRECTORY, as_json: AsJson = False) -> None:
    """Every flag, and how fresh the API's own copy of them is."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get(FLAGS)

    show(call(ask, api, token, directory, role="operator"), as_json, _show_list)


@app.command()
def get(
    name: Name, api: Api = None, token: Token = None, directory: Directory = DIRECTORY, as_json: AsJson = False
) -> None:
    """What is set of one flag."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get(_path(name))

    show(call(ask, api, token, directory, role="operator"), as_json, _show_flag)


@app.command("set")
def set_flag(
    name: Name,
    reason: Annotated[str, typer.Option(help="why; kept on record")],
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="off: for everybody, at once")] = None,
    percentage: Annotated[
        float | None, typer.Option(min=0, max=100, help="of users that get it, in steps of 0.01")
    ] = None,
    allow: Annotated[list[str] | None, typer.Option(help="put a user on the allow list; repeat for more")] = None,
    deny: Annotated[list[str] | None, typer.Option(help="put a user on the deny list; repeat for more")] = None,
    unlist: Annotated[list[str] | None, typer.Option(help="take a user off both lists; repeat for more")] = None,
    tier: Annotated[list[str] | None, typer.Option(help=f"only for these tiers; repeat for more; {ANY}: all")] = None,
    account_age: Annotated[str | None, typer.Option(help=f"only for accounts of at least so many days; {ANY}")] = None,
    region: Annotated[list[str] | None, typer.Option(help=f"only for these regions; {ANY}: all")] = None,
    platform: Annotated[list[str] | None, typer.Option(help=f"only for users of one of these; {ANY}: all")] = None,
    error_rate: Annotated[str | None, typer.Option(help=f"a rollout is rolled back above so many %; {NONE}")] = None,
    latency: Annotated[str | None, typer.Option(help=f"… above this p95 latency in ms; {NONE}")] = None,
    window: Annotated[
        int | None, typer.Option(min=1, max=1_440, help="minutes whose plain rates a promotion looks at")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="drop what was set before instead of adding to it")] = False,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Change what is named, everywhere within a second, or create the flag; administrators only."""
    conditions = {
        "userTier": _values("--tier", tier),
        "accountAge": _number("--account-age", account_age, ANY),
        "region": _values("--region", region),
        "platform": _values("--platform", platform),
    }
    triggers = {
        "errorRateThreshold": _number("--error-rate", error_rate, NONE),
        "latencyThreshold": _number("--latency", latency, NONE),
        "timeWindowMinutes": () if window is None else (window,),
    }
    named = {"enabled": enable, "rolloutPercentage": percentage}

    async def ask(client: "ApiClient") -> Any:
        found = (await client.get(FLAGS))["flags"]
        present = next((flag for flag in found if flag["name"] == name), None)
        kept = {} if reset or present is None else {field: present[field] for field in SETTABLE}
        body = kept | {field: value for field, value in named.items() if value is not None} | {"reason": reason}
        body |= listed(kept, allow or (), deny or (), unlist or ())
        body["conditions"] = kept.get("conditions", {}) | _given(conditions)
        body["rollbackTriggers"] = kept.get("rollbackTriggers", {}) | _given(triggers)
        based_on = {"If-None-Match": "*"} if present is None else {"If-Match": f'"{present["revision"]}"'}
        return await client.put(_path(name), body, based_on)

    show(call(ask, api, token, directory, role="admin"), as_json, _show_change)


@app.command()
def history(
    name: Name,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Who changed a flag, when and why."""

    async def ask(client: "ApiClient") -> Any:
        return await client.get(f"{_path(name)}/history", limit=limit)

    show(call(ask, api, token, directory, role="operator"), as_json, _show_history)


@app.command()
def explain(
    name: Name,
    user: Annotated[str, typer.Argument(metavar="USER", help="a user's id")],
    tier: Annotated[str | None, typer.Option(help="the user's tier")] = None,
    account_age: Annotated[int | None, typer.Option(min=0, help="days")] = None,
    region: Annotated[str | None, typer.Option(help="the user's region")] = None,
    platform: Annotated[list[str] | None, typer.Option(help="repeat for several")] = None,
    api: Api = None,
    token: Token = None,
    directory: Directory = DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Whether a user gets it, and why: every rule in order."""

    async def ask(client: "ApiClient") -> Any:
        subject = {"userId": user, "userTier": tier, "accountAge": account_age, "region": region, "platform": platform}
        return await client.get(f"{_path(name)}/evaluate", **subject)

    show(call(ask, api, token, directory, role="operator"), as_json, _show_explanation)


def listed(
    present: dict[str, Any], allow: Sequence[str], deny: Sequence[str], unlist: Sequence[str]
) -> dict[str, list[str]]:
    """Both lists after additions; whoever is put on one leaves the other, and ``unlist`` leaves both."""
    both = [user for user in allow if user in deny]
    if both:
        raise Complaint(f"{both[0]!r} can't be on both lists", remedy="name each user with --allow or with --deny")
    allowed = [user for user in present.get("userWhitelist", []) if user not in {*deny, *unlist, *allow}]
    denied = [user for user in present.get("userBlacklist", []) if user not in {*deny, *unlist, *allow}]
    return {"userWhitelist": [*allowed, *dict.fromkeys(allow)], "userBlacklist": [*denied, *dict.fromkeys(deny)]}


def _path(name: str) -> str:
    return f"{FLAGS}/{quote(name, safe='')}"


def _given(options: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Options that were given: empty where not, else holding their one value."""
    return {field: option[0] for field, option in options.items() if option}


def _values(option: str, given: list[str] | None) -> tuple[list[str], ...]:
    if not given:
        return ()
    if ANY in given and len(given) > 1:
        raise Complaint(f"{option} {ANY} goes with no other {option}", remedy=f"leave out {option} {ANY}")
    return ([] if given == [ANY] else given,)


def _number(option: str, given: str | None, nothing: str) -> tuple[float | None, ...]:
    if given is None:
        return ()
    if given == nothing:
        return (None,)
    try:
        return (float(given),)
    except ValueError:
        raise Complaint(f"{option} {given!r} is no number", remedy=f"write a number, or {nothing}") from None


def _show_list(answer: dict[str, Any]) -> None:
    if not answer["flags"]:
        print('no flags yet; create one: huntaze flags set hybrid-orchestrator --enable --percentage 5 --reason "…"')
    else:
        stdout().print(_flags_table(answer["flags"]))
    for name, override in answer["overrides"].items():
        print(f"the environment overrides {name}: {override_in_words(override)}")
    print(_freshness(answer["snapshot"]))


def _flags_table(flags: list[dict[str, Any]]) -> "Table":
    from cli.table import Text, table_of

    table = table_of("flag", "on", "percent", "allow", "deny", "conditions", "revision", "when", "who", "rollout")
    for flag in flags:
        table.add_row(
            flag["name"],
            "yes" if flag["enabled"] else "no",
            f"{flag['rolloutPercentage']:g}",
            str(len(flag["userWhitelist"])),
            str(len(flag["userBlacklist"])),
            Text(conditions_in_words(flag["conditions"])),
            str(flag["revision"]),
            flag["changedAt"],
            Text(flag["changedBy"]),
            flag["rolloutId"],
        )
    return table


def _show_flag(flag: dict[str, Any]) -> None:
    print(f"{flag['name']}: {'enabled' if flag['enabled'] else 'disabled'}, {flag['rolloutPercentage']:g} % of users")
    print(f"allow list: {_users(flag['userWhitelist'])}")
    print(f"deny list: {_users(flag['userBlacklist'])}")
    print(f"conditions: {conditions_in_words(flag['conditions']) or 'none'}")
    print(f"a rollout is rolled back: {_triggers(flag['rollbackTriggers'])}")
    print(f"a promotion looks at the plain rates of {flag['rollbackTriggers']['timeWindowMinutes']} minutes")
    if flag["rolloutId"]:
        print(f"steered by the rollout {flag['rolloutId']}")
    print(f"revision {flag['revision']}, {flag['changedAt']}, {flag['changedBy']}: {flag['reason']}")


def _show_change(flag: dict[str, Any]) -> None:
    created = "created; " if flag["revision"] == 1 else ""
    state = "enabled" if flag["enabled"] else "disabled"
    percentage = f"{flag['rolloutPercentage']:g} %"
    print(f"{flag['name']}: {created}revision {flag['revision']} is in force: {state}, {percentage}")


def _show_history(answer: dict[str, Any]) -> None:
    from cli.table import Text, table_of

    table = table_of("revision", "when", "who", "on", "percent", "allow", "deny", "conditions", "why")
    for flag in answer["history"]:
        table.add_row(
            str(flag["revision"]),
            flag["changedAt"],
            Text(flag["changedBy"]),
            "yes" if flag["enabled"] else "no",
            f"{flag['rolloutPercentage']:g}",
            str(len(flag["userWhitelist"])),
            str(len(flag["userBlacklist"])),
            Text(conditions_in_words(flag["conditions"])),
            Text(flag["reason"]),
        )
    stdout().print(table)


def _show_explanation(answer: dict[str, Any]) -> None:
    from cli.table import Text, table_of

    print(f"{answer['flag']} for {answer['userId']}: {answer['explanation']}")
    table = table_of("rule", "applies", "decides", "why")
    for rule in answer["rules"]:
        decides = ("on" if answer["enabled"] else "off") if rule["decides"] else ""
        table.add_row(RULES[rule["rule"]], "yes" if rule["matched"] else "no", decides, Text(rule["detail"]))
    stdout().print(table)
    print(f"revision {answer['revision']}; {_freshness(answer['snapshot'])}")


def conditions_in_words(conditions: dict[str, Any]) -> str:
    """Only those that are set, such as ``tier vip or gold, age ≥ 30 days``."""
    age = conditions["accountAge"]
    words = [
        f"{what} {' or '.join(conditions[field])}"
        for what, field in (("tier", "userTier"), ("region", "region"), ("platform", "platform"))
        if conditions[field]
    ]
    return ", ".join([*words, *([f"age ≥ {age} days"] if age is not None else [])])


def override_in_words(override: dict[str, Any]) -> str:
    """Such as ``on, 5 %``."""
    forced = {True: "on", False: "off", None: None}[override["enabled"]]
    percentage = None if override["percentage"] is None else f"{override['percentage']:g} %"
    return ", ".join(word for word in (forced, percentage) if word is not None)


def _users(users: list[str]) -> str:
    more = len(users) - _FEW
    return ", ".join(users[:_FEW]) + (f" and {more} more" if more > 0 else "") or "nobody"


def _triggers(triggers: dict[str, Any]) -> str:
    named = [
        f"above {triggers[field]:g} {unit}"
        for field, unit in (("errorRateThreshold", "% errors"), ("latencyThreshold", "ms at p95"))
        if triggers[field] is not None
    ]
    return " or ".join(named) if named else "by no threshold of the flag"


def _freshness(snapshot: dict[str, Any]) -> str:
    if not snapshot["loaded"]:
        return "the API has not been able to read the flags yet"
    how = "changes are pushed to it" if snapshot["pushed"] else "it asks for changes, because none can be pushed now"
    return f"the API decides by a copy that was the present state {snapshot['ageMs'] / 1000:.1f} s ago; {how}"
