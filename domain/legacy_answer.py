"""What legacy clients get: our results in the legacy API's shape."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from domain.campaign import CampaignRecord, CampaignStatus, campaign_id
from domain.compliance import ComplianceLevel
from domain.delivery import Priority
from domain.legacy import LEGACY_USER, NEUTRAL_ACCOUNT, AnsweredBy
from domain.progress import WorkflowResult
from domain.provider import ContentPlan, IntentType, PreferredProvider
from domain.rate_limit import MessageType

ANSWERED_BY_LEGACY: Final = "answered_by_legacy"
"""The reason of a request that was ended here because the legacy system answered it instead."""

Json = dict[str, Any]

_STATUSES: Final[Mapping[CampaignStatus, str]] = {
    CampaignStatus.COMPLETED: "completed",
    CampaignStatus.FAILED: "failed",
    CampaignStatus.CANCELLED: "cancelled",
}
AWAITING_REVIEW: Final = "awaiting_review"
PROCESSING: Final = "processing"


def left_to_legacy(user: str, key: str, at: datetime) -> CampaignRecord:
    """What is on record of a request that the legacy system does: under the id that it would have here, so that a
    repetition of it is known. It holds nothing of the request itself, and is in nobody's list."""
    return CampaignRecord(
        campaign_id=campaign_id(user, key),
        request_id=key,
        owner=LEGACY_USER,
        type=IntentType.CAMPAIGN_EXECUTION,
        message_type=MessageType.CUSTOM,
        compliance_level=ComplianceLevel.STRICT,
        priority=Priority.MEDIUM,
        preferred_provider=PreferredProvider.AUTO,
        brief="",
        account_id=NEUTRAL_ACCOUNT,
        lanes=(),
        audience_size=0,
        page_size=1,
        fingerprint="",
        created_at=at,
        status=CampaignStatus.CANCELLED,
        status_reason=ANSWERED_BY_LEGACY,
    )


def success(data: Json, message: str = "") -> Json:
    """``result`` and ``data`` are the same; ``message`` is present only when there is one."""
    return {"status": "success", **({"message": message} if message else {}), "result": data, "data": data}


def failure(message: str, errors: Sequence[Mapping[str, str]] | None = None) -> Json:
    """What went wrong; ``errors`` only in a 400."""
    body: Json = {"status": "error", "message": message, "data": None}
    return body if errors is None else body | {"errors": list(errors)}


def status_of(status: CampaignStatus, *, waiting: bool = False) -> str:
    """In the legacy API's words. ``waiting``: drafts wait for a person."""
    return _STATUSES.get(status, AWAITING_REVIEW if waiting else PROCESSING)


def summary(record: CampaignRecord, user_id: str, *, waiting: bool = False) -> Json:
    """One entry of the list."""
    return {
        "id": record.campaign_id,
        "userId": user_id,
        "status": status_of(record.status, waiting=waiting),
        "type": str(record.routed_as or record.type),
        "createdAt": record.created_at.isoformat(),
        "provider": str(AnsweredBy.HYBRID),
    }


def data_of(
    record: CampaignRecord,
    result: WorkflowResult | None,
    *,
    user_id: str,
    platforms: Sequence[str],
    waiting: bool = False,
) -> Json:
    """The legacy result: the same keys and types, whatever has happened so far."""
    blocked = result is not None and result.compliance is not None and result.compliance.blocked
    entry = summary(record, user_id, waiting=waiting)
    if result is not None:
        entry["status"] = status_of(result.status)
    if blocked and record.type is not IntentType.CONTENT_VALIDATION:
        # A text that must not be sent is not handed out either, by whichever API.
        entry["status"] = status_of(CampaignStatus.FAILED)
    return {**entry, "platforms": list(platforms), "content": content_of(record, result)}


def message_of(result: WorkflowResult | None) -> str:
    """What a client should be told beside the data; mostly nothing."""
    if result is None or result.compliance is None or not result.compliance.blocked:
        return ""
    rules = ", ".join(sorted({violation.rule_id for violation in result.compliance.violations}))
    return f"The text must not be sent; it breaks: {rules}"


def content_of(record: CampaignRecord, result: WorkflowResult | None) -> str:
    """The text that was asked for, or a sentence about what happens instead."""
    if record.type is IntentType.CAMPAIGN_EXECUTION:
        recipients = f"{record.audience_size} recipient{'s' if record.audience_size != 1 else ''}"
        return f"A campaign for {recipients}; a person approves each text before it is sent."
    if result is None:
        return ""
    if record.type is IntentType.CONTENT_VALIDATION:
        violations = result.compliance.violations if result.compliance else ()
        rules = ", ".join(dict.fromkeys(violation.rule_id for violation in violations))
        return f"The text breaks: {rules}" if rules else "The text breaks no rule."
    if record.type is IntentType.MESSAGE_GENERATION:
        return result.message.text if result.message else ""
    return _post(result.plan) if result.plan else ""


def merged(theirs: Iterable[Json], ours: Iterable[Json]) -> list[Json]:
    """Both systems' campaigns, newest first, each with its ``provider``; entries without a readable time last."""
    entries = [*(entry | {"provider": entry.get("provider", str(AnsweredBy.LEGACY))} for entry in theirs), *ours]
    return sorted(entries, key=lambda entry: _moment(entry.get("createdAt")), reverse=True)


def _post(plan: ContentPlan) -> str:
    text = plan.general_text("en")
    return text or " ".join(filter(None, (plan.theme, plan.angle, *plan.talking_points, plan.call_to_action)))


def _moment(given: object) -> datetime:
    """With UTC where no zone is named, as the legacy system means it."""
    earliest = datetime.min.replace(tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else earliest
    except ValueError:
        return earliest
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
