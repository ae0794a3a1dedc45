"""The examples that the API's description shows; the tests send them."""

from typing import Any

INTENT: dict[str, Any] = {
    "type": "campaign_execution",
    "requestId": "spring-sale-1",
    "brief": "Spring sale: 20 % off the new photo set until Sunday, warm and personal.",
    "priority": "high",
    "maxCost": 5,
    "onlyFansContext": {"accountId": "acct_luna", "messageType": "promotional", "complianceLevel": "strict"},
    "audience": [
        {"recipientId": "1002003", "name": "Maya", "tier": "vip", "language": "en", "spend": "120.50"},
        {"recipientId": "1002004", "name": "Leo", "language": "fr"},
    ],
}

REVIEW: dict[str, Any] = {"pages": [{"accountId": "acct_luna", "page": 0}], "comment": "Reads well."}

EDIT: dict[str, Any] = {
    "text": "Hi Maya, the new photo set is up: would you like a preview?",
    "approve": True,
    "comment": "Less pushy.",
    "revision": 0,
}

PLAN: dict[str, Any] = {
    "theme": "Spring colours",
    "tone": "warm and calm",
    "angle": "a look behind the scenes",
    "callToAction": "Have a look at the new set.",
    "talkingPoints": ["three weeks of work", "a colour for every day"],
    "generalTexts": [{"language": "en", "text": "The new set is up, in all the colours of spring. Have a look!"}],
}

BULK_REVIEW: dict[str, Any] = {
    "items": [
        {"campaignId": "5d0c9d3b-6a52-5a0e-9a6c-1f3f5c9f1a11", "verdict": "approve"},
        {
            "campaignId": "0b7b5f6e-4f5e-5c39-8a53-5f6f1d0c2b22",
            "verdict": "reject",
            "messages": ["8d1c0e5a-2f0b-5b7e-9a51-3c2c6a1f4d33"],
            "revisions": {"8d1c0e5a-2f0b-5b7e-9a51-3c2c6a1f4d33": 0},
            "comment": "Not our tone.",
        },
    ]
}

AUTONOMY: dict[str, Any] = {"level": "moderate", "reason": "Texts were reviewed for three months."}

DIRECT_MESSAGE: dict[str, Any] = {
    "accountId": "acct_luna",
    "recipientId": "1002003",
    "text": "Thank you for the lovely tip, Maya! The new set is up tonight.",
    "priority": "high",
}

LIMITS: dict[str, Any] = {
    "tier": "power",
    "messageTypes": {"promotional": [{"limit": 100, "seconds": 86400}]},
    "pacingMs": 2000,
    "reason": "The account has grown for a year.",
}

BUDGET: dict[str, Any] = {"userDay": "25.00", "userMonth": "400", "reason": "The quarter's marketing budget."}

FLAG: dict[str, Any] = {
    "enabled": True,
    "rolloutPercentage": 5,
    "userWhitelist": ["user-1"],
    "conditions": {"userTier": ["vip"], "accountAge": 30},
    "reason": "The first users of the new system.",
}

EVALUATION: dict[str, Any] = {"context": {"targetingKey": "user-1", "userTier": "vip", "accountAge": 90}}

ROLLOUT: dict[str, Any] = {
    "flag": "hybrid-orchestrator",
    "steps": [5, 25, 50, 100],
    "bakeSeconds": 600,
    "minSamples": 200,
    "guardrails": {"errorRate": 5, "p95LatencyRatio": 1.5},
    "reason": "The new system for everybody.",
}

ROLLOUT_CONTROL: dict[str, Any] = {"reason": "Wait for the support team."}

ROLLBACK: dict[str, Any] = {"reason": "Fans complain about odd texts.", "gradual": False, "recall": True}

ACCOUNT_CONTROL: dict[str, Any] = {"reason": "The creator is on holiday until Monday."}

DEAD_LETTER_RETRY: dict[str, Any] = {"force": False}

DEAD_LETTER_DISCARD: dict[str, Any] = {"reason": "The fan has left."}

WEBHOOK: dict[str, Any] = {
    "event": "accounts.session_expired",
    "account_id": "acct_luna",
    "payload": {
        "state": "authenticated",
        "progress": "started",
        "latestAuthAttempt": {
            "started_at": "2026-11-22T07:30:00.000000Z",
            "completed_at": None,
            "success": False,
            "error_message": None,
            "needs_otp": False,
            "needs_face_otp": False,
            "otp_phone_ending": None,
        },
    },
}

ERROR_FIELDS: dict[int, list[dict[str, str]]] = {
    403: [{"field": "onlyFansContext.accountId", "message": "use an account that the token's claim accounts lists"}],
    409: [{"field": "Idempotency-Key", "message": "use a new key for a new request"}],
    413: [{"field": "audience", "message": "at most 100000 recipients fit in one campaign; split it"}],
    422: [{"field": "audience[3].recipientId", "message": "this field is required"}],
}
"""For some statuses, what ``errors`` of a problem looks like."""
