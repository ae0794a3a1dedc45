"""The one screen where the ports meet the adapters."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from adapters.account import DynamoAccounts
from adapters.alert import DynamoAlerts
from adapters.campaign import DynamoCampaigns
from adapters.cost import DynamoCosts, ListPrices
from adapters.delivery import DynamoMessages
from adapters.dynamodb import Dynamo, DynamoDependency, open_dynamo
from adapters.onlyfans import open_gateway
from adapters.provider import open_models
from adapters.rate_limit import RedisLimiter
from adapters.redis import RedisDependency, open_redis
from adapters.review import DynamoAutonomy
from adapters.settings import Settings
from adapters.slot import DynamoSlots
from adapters.webhook import DynamoInbox
from domain.ports import (
    AccountStore,
    Alerts,
    AutonomyStore,
    CampaignStore,
    CostStore,
    DeliveryGate,
    Dependency,
    Gateway,
    Inbox,
    LanguageModel,
    Limiter,
    MessageStore,
    PriceBook,
    SlotLog,
)
from domain.provider import Provider


@dataclass(frozen=True)
class Ports:
    """Everything that the product needs from outside, ready to use."""

    campaigns: CampaignStore
    messages: MessageStore
    costs: CostStore
    autonomy: AutonomyStore
    accounts: AccountStore
    gate: DeliveryGate
    slots: SlotLog
    alerts: Alerts
    inbox: Inbox
    limiter: Limiter
    gateway: Gateway
    models: Mapping[Provider, LanguageModel]
    prices: PriceBook
    dependencies: tuple[Dependency, ...]


@asynccontextmanager
async def open_ports(settings: Settings) -> AsyncIterator[Ports]:
    """Open every connection, and close them all at the end. Nothing is contacted yet."""
    async with AsyncExitStack() as stack:
        dynamo = await stack.enter_async_context(open_dynamo(settings))
        redis = await stack.enter_async_context(open_redis(settings))
        gateway = await stack.enter_async_context(open_gateway(settings))
        models = await stack.enter_async_context(open_models(settings))
        accounts = DynamoAccounts(dynamo)
        slots = DynamoSlots(dynamo)
        yield Ports(
            campaigns=DynamoCampaigns(dynamo),
            messages=DynamoMessages(dynamo),
            costs=DynamoCosts(dynamo),
            autonomy=DynamoAutonomy(dynamo),
            accounts=accounts,
            gate=accounts,
            slots=slots,
            alerts=DynamoAlerts(dynamo),
            inbox=DynamoInbox(dynamo),
            limiter=RedisLimiter(redis, slots),
            gateway=gateway,
            models=models,
            prices=ListPrices(),
            dependencies=(DynamoDependency(dynamo), RedisDependency(redis), gateway, *models.values()),
        )


@asynccontextmanager
async def open_tables(settings: Settings) -> AsyncIterator[Dynamo]:
    """Only the tables, for whoever creates them."""
    async with open_dynamo(settings) as dynamo:
        yield dynamo
