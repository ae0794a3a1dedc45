"""What the legacy system takes and keeps."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from local.faults import FaultBook, FaultRule

ACTION_TYPES = {
    "content_planning": "content_planning",
    "generate_content": "content_planning",
    "create_post": "content_planning",
    "plan_campaign": "campaign_execution",
    "send_message": "message_generation",
    "validate_content": "content_validation",
}


class CampaignBody(BaseModel):
    """`POST /api/campaigns`; `user_id` and `platform` in either spelling."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    user_id: str = Field(min_length=1)
    action: str = Field(min_length=1)
    payload: dict[str, Any]
    platform: str | None = None
    platforms: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def both_spellings(cls, given: Any) -> Any:
        """Clients say `userId` as often as `user_id`."""
        if isinstance(given, dict) and "user_id" not in given and "userId" in given:
            return {**given, "user_id": given["userId"]}
        return given


class LegacyFault(FaultRule):
    """An outage; it concerns every path that starts with `path`."""

    kind: Literal["latency", "hang", "server_error", "connection_reset"]
    path: str = "/api/campaigns"
    status: int = Field(default=500, ge=500, le=599, description="of a server_error")


@dataclass(frozen=True)
class Campaign:
    """A processed campaign."""

    id: str
    user_id: str
    type: str
    platforms: tuple[str, ...]
    payload: dict[str, Any]
    created_at: str

    def summary(self) -> dict[str, Any]:
        """One entry of the list of campaigns."""
        return {
            "id": self.id,
            "userId": self.user_id,
            "status": "completed",
            "type": self.type,
            "createdAt": self.created_at,
            "provider": "legacy",
        }

    def result(self) -> dict[str, Any]:
        """What the system says it has done."""
        content_type = self.payload.get("contentType", "post")
        return {
            **self.summary(),
            "platforms": list(self.platforms),
            "content": f"Legacy {content_type} for {', '.join(self.platforms) or 'every platform'}",
        }


@dataclass
class LegacySystem:
    """The campaigns in memory, the faults, and every request that reached the system."""

    campaigns: dict[str, Campaign] = field(default_factory=dict)
    faults: FaultBook[LegacyFault] = field(default_factory=FaultBook[LegacyFault])
    requests: list[dict[str, str]] = field(default_factory=list)
    waiting: int = 0

    def process(self, body: CampaignBody) -> Campaign:
        """Runs a campaign at once and keeps it."""
        platforms = body.platforms or ((body.platform,) if body.platform else ())
        return self._keep(body.user_id, ACTION_TYPES.get(body.action, "content_planning"), platforms, body.payload)

    def duplicate(self, campaign: Campaign) -> Campaign:
        """A copy under a new id."""
        return self._keep(campaign.user_id, campaign.type, campaign.platforms, campaign.payload)

    def _keep(self, user_id: str, kind: str, platforms: tuple[str, ...], payload: dict[str, Any]) -> Campaign:
        number = len(self.campaigns) + 1
        digest = hashlib.sha256(f"{user_id}:{number}".encode()).hexdigest()
        campaign = Campaign(f"legacy-{digest[:16]}", user_id, kind, platforms, payload, datetime.now(UTC).isoformat())
        self.campaigns[campaign.id] = campaign
        return campaign
