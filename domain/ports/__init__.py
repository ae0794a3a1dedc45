"""What the product needs from outside, as small protocols. Adapters implement them; nothing else is assumed."""

from domain.ports.campaign import CampaignFilter, CampaignListing, CampaignStore
from domain.ports.cost import Budgets, BudgetStore, CostStore, PriceBook
from domain.ports.delivery import AccountStore, DeliveryGate, GateState, Gateway, HandOvers, Inbox, SendQueues
from domain.ports.flag import Flags, FlagStore, Observations
from domain.ports.legacy import LegacySystem, ShadowStore
from domain.ports.message import MessageListing, MessageStore
from domain.ports.operations import Alerts, AuditLog, Dependency
from domain.ports.provider import (
    Breaker,
    Experiments,
    LanguageModel,
    Moderator,
    Prompts,
    Refusals,
    ResponseCache,
    SimilarityLog,
    Tokens,
)
from domain.ports.rate_limit import Limiter, SlotLog
from domain.ports.review import AutonomyStore, ReviewFilter, ReviewListing, WaitingDraft

__all__ = [
    "AccountStore",
    "Alerts",
    "AuditLog",
    "AutonomyStore",
    "Breaker",
    "BudgetStore",
    "Budgets",
    "CampaignFilter",
    "CampaignListing",
    "CampaignStore",
    "CostStore",
    "DeliveryGate",
    "Dependency",
    "Experiments",
    "FlagStore",
    "Flags",
    "GateState",
    "Gateway",
    "HandOvers",
    "Inbox",
    "LanguageModel",
    "LegacySystem",
    "Limiter",
    "MessageListing",
    "MessageStore",
    "Moderator",
    "Observations",
    "PriceBook",
    "Prompts",
    "Refusals",
    "ResponseCache",
    "ReviewFilter",
    "ReviewListing",
    "SendQueues",
    "ShadowStore",
    "SimilarityLog",
    "SlotLog",
    "Tokens",
    "WaitingDraft",
]
