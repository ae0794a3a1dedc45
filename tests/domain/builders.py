"""Values for tests, complete and unremarkable unless a test says otherwise."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from domain.campaign import AudiencePage, CampaignRecord, WorkflowIntent, lanes_of
from domain.compliance import ComplianceLevel, ComplianceReport
from domain.cost import CostEntry, Usage
from domain.delivery import Message, MessageOrigin, MessageStatus, Priority, message_id
from domain.provider import IntentType, PreferredProvider, RecipientProfile
from domain.rate_limit import MessageType

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)


def an_account() -> str:
    """An account that no other test has."""
    return f"acct_{uuid4().hex[:16]}"


def a_campaign() -> str:
    """A campaign id that no other test has."""
    return str(uuid4())


def recipients(count: int, first: int = 1) -> tuple[RecipientProfile, ...]:
    return tuple(RecipientProfile(recipient_id=f"fan-{number}", name="Maya") for number in range(first, first + count))


def an_intent(**changes: Any) -> WorkflowIntent:
    body = {
        "type": "campaign_execution",
        "brief": "Spring sale: the new photo set.",
        "onlyFansContext": {"accountId": "acct_luna"},
        "audience": [{"recipientId": "1", "name": "Maya"}],
    }
    return WorkflowIntent.model_validate(body | changes)


def a_record(campaign_id: str, pages: Sequence[AudiencePage] = (), **changes: Any) -> CampaignRecord:
    lanes = lanes_of(pages)
    fields: dict[str, Any] = {
        "campaign_id": campaign_id,
        "request_id": "spring-sale-1",
        "owner": "user-1",
        "type": IntentType.CAMPAIGN_EXECUTION,
        "message_type": MessageType.PROMOTIONAL,
        "compliance_level": ComplianceLevel.STRICT,
        "priority": Priority.MEDIUM,
        "preferred_provider": PreferredProvider.AUTO,
        "brief": "Spring sale",
        "account_id": "acct_luna",
        "lanes": lanes,
        "audience_size": sum(lane.audience for lane in lanes),
        "page_size": 6,
        "fingerprint": "f" * 64,
        "created_at": NOW,
    }
    return CampaignRecord(**fields | changes)


def a_message(campaign_id: str, recipient: str = "1", **changes: Any) -> Message:
    account = changes.get("account_id", "acct_luna")
    fields: dict[str, Any] = {
        "message_id": message_id(campaign_id, account, recipient),
        "campaign_id": campaign_id,
        "account_id": account,
        "recipient_id": recipient,
        "page": 0,
        "message_type": MessageType.PROMOTIONAL,
        "status": MessageStatus.DRAFTED,
        "text": "Hello Maya, the new set is here.",
        "origin": MessageOrigin(provider="openai", model="gpt-4o-mini", prompt_version="write.v1"),
        "compliance": ComplianceReport(score=1.0),
        "quality": 0.8333,
        "updated_at": NOW,
    }
    return Message(**fields | changes)


def messages(campaign_id: str, count: int, **changes: Any) -> list[Message]:
    return [a_message(campaign_id, f"fan-{number}", **changes) for number in range(count)]


def a_cost(operation: UUID | None = None, **changes: Any) -> CostEntry:
    fields: dict[str, Any] = {
        "operation_id": operation or uuid4(),
        "campaign_id": "campaign-1",
        "owner": "user-1",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "purpose": "write",
        "usage": Usage(input_tokens=100, output_tokens=40),
        "cost_micros": 39,
        "price_version": "book-1",
        "at": NOW,
    }
    return CostEntry(**fields | changes)
