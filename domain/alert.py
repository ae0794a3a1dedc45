"""Alerts: events that a person should know of, kept in the alert store; channels carry them further."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from domain.model import Model


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertKind(StrEnum):
    """What happened."""

    RATE_LIMIT_VIOLATION = "rate_limit_violation"
    SESSION_EXPIRED = "session_expired"
    SESSION_RECONNECTED = "session_reconnected"
    GATEWAY_AUTH = "gateway_auth"
    DEAD_LETTER = "dead_letter"
    BUDGET_EXHAUSTED = "budget_exhausted"
    UNKNOWN_PRICE = "unknown_price"
    PROVIDER_AUTH = "provider_auth"
    PLAN_AWAITED = "plan_awaited"
    CLOSING_IDENTITY_VIOLATED = "closing_identity_violated"
    ROLLOUT_ROLLED_BACK = "rollout_rolled_back"
    ROLLOUT_PAUSED = "rollout_paused"
    ROLLOUT_COMPLETED = "rollout_completed"


class Alert(Model):
    """One event. ``alert_id`` makes a repetition harmless; ``detail`` holds no personal data."""

    alert_id: str
    kind: AlertKind
    severity: Severity
    at: datetime
    account_id: str = Field(default="", description="empty: concerns the whole installation")
    detail: str = ""
