"""Campaigns, results and messages as tables."""

from typing import Any

from cli.console import stdout
from cli.progress import dollars
from cli.table import Text, table_of

_COUNTS = ("drafted", "awaitingReview", "queued", "sent", "failed", "skipped", "cancelled", "rejected", "recalled")
_HEADINGS = ("drafted", "to review", *_COUNTS[2:])


def show_list(page: dict[str, Any]) -> None:
    """Campaigns, newest first."""
    if not page["campaigns"]:
        print("no campaigns yet; start one with: huntaze campaign start")
        return
    table = table_of("campaign", "created", "status", "type", "audience", "accounts", "brief")
    for campaign in page["campaigns"]:
        created = campaign["createdAt"][:19].replace("T", " ")
        table.add_row(
            campaign["campaignId"],
            created,
            _status(campaign),
            campaign["type"],
            str(campaign["audienceSize"]),
            ", ".join(campaign["accountIds"]),
            Text(_shortened(campaign["brief"])),
        )
    stdout().print(table)
    if page["nextCursor"]:
        print("there are more; show more of them with --limit")


def show_campaign(view: dict[str, Any]) -> None:
    """One campaign: status, progress by account, and the result once there is one."""
    campaign, progress = view["campaign"], view["progress"]
    print(f"campaign {campaign['campaignId']}: {_status(campaign)}, {campaign['type']}, owner {campaign['owner']}")
    if progress is not None:
        table = table_of("account", "audience", *_HEADINGS, "throttled until")
        for account in progress["accounts"]:
            counts = (str(account[name]) for name in ("audience", *_COUNTS))
            table.add_row(account["accountId"], *counts, account.get("throttledUntil") or "")
        table.add_row("all", *(str(progress[name]) for name in ("audience", *_COUNTS)), "")
        stdout().print(table)
        print(f"cost so far: {dollars(progress['costMicros'])}")
        known = campaign["campaignId"]
        if awaited := progress.get("planAwaited"):
            until = awaited["expiresAt"][:16].replace("T", " ")
            print(f"no model planned it ({awaited['reason']}); until {until} you can:")
            print(f"  huntaze review plan {known} --file plan.json")
        if progress["pendingReviews"]:
            print("drafts wait for a decision; read them: huntaze review list --campaign", known)
            print("then: huntaze review approve (or reject)", known)
            if progress.get("unwritten"):
                print(f"{progress['unwritten']} of them have no text yet: huntaze review edit {known} MESSAGE --text …")
    if view["result"] is not None:
        show_result(view["result"])


def show_result(result: dict[str, Any]) -> None:
    """What a request came to."""
    costs = result["detailedCosts"]
    ends = ", ".join(f"{number} {name}" for name, number in result["outcomes"].items()) or "no recipients"
    why = f" ({result['reason']})" if result["reason"] else ""
    print(f"{result['status']}{why}: {ends} of {result['audience']}, {result['processingTime'] / 1000:.1f} s")
    spent = f"{dollars(costs['totalCostMicros'])}, {costs['inputTokens']} tokens in, {costs['outputTokens']} out"
    print(f"cost: {spent}; provider: {result['provider'] or 'none'}; fallbacks: {result['fallbackCount']}")
    if result.get("message"):
        print(f"message for {result['message']['recipientId']}: {result['message']['text']}")


def show_messages(page: dict[str, Any]) -> None:
    """Messages with their texts."""
    table = table_of("account", "recipient", "status", "compliance", "reason", "text")
    for message in page["messages"]:
        report = message.get("compliance")
        score = f"{report['score']:.2f}" if report else ""
        table.add_row(
            message["accountId"],
            message["recipientId"],
            message["status"],
            score,
            message["reason"],
            Text(message["text"]),
        )
    stdout().print(table)
    if page["nextCursor"]:
        print(f"there are more: --cursor {page['nextCursor']}")


def show_recall(report: dict[str, Any]) -> None:
    """What a recall came to, or that it is under way."""
    if report.get("status") == "running":
        print("the recall goes on; the same command shows its report when it is done. So far:")
        report = report["report"]
    print(f"{report['recalled']} taken back, {report['cancelled']} never sent")
    left = [(name, entry) for name in ("late", "failed") for entry in report[name]]
    if left:
        table = table_of("could not be taken back", "account", "why", "reason")
        for name, entry in left:
            table.add_row(entry["messageId"], entry["accountId"], name, Text(entry["reason"]))
        stdout().print(table)
    more = report["lateCount"] + report["failedCount"] - len(left)
    if more > 0:
        print(f"and {more} more; see: huntaze campaign messages {report['campaignId']} --status sent")


def _status(campaign: dict[str, Any]) -> str:
    reason = campaign["statusReason"]
    return f"{campaign['status']} ({reason})" if reason else str(campaign["status"])


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
