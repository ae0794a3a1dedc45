"""The one screen where the ports meet the adapters."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from adapters.account import DynamoAccounts
from adapters.alert import DynamoAlerts
from adapters.audit import DynamoAudit
from adapters.breaker import RedisBreaker
from adapters.budget import RedisBudgets
from adapters.budget_caps import DynamoBudgets
from adapters.campaign import DynamoCampaigns
from adapters.cost import DynamoCosts
from adapters.delivery import DynamoMessages
from adapters.dynamodb import Dynamo, DynamoDependency, open_dynamo
from adapters.experiment import DynamoExperiments
from adapters.flag import DynamoFlags
from adapters.flag_snapshot import open_flags
from adapters.handover import DynamoHandOvers
from adapters.legacy import open_legacy
from adapters.metrics import Metrics
from adapters.moderation import ProviderModerator
from adapters.observation import open_observations
from adapters.onlyfans import open_gateway
from adapters.price import ListPrices
from adapters.prompt import FilePrompts
from adapters.provider import OpenAIModel, open_models, routing_of
from adapters.rate_limit import RedisLimiter
from adapters.redis import RedisDependency, open_redis
from adapters.refusal import DynamoRefusals
from adapters.response_cache import RedisResponseCache
from adapters.review import DynamoAutonomy
from adapters.settings import Settings
from adapters.shadow import DynamoShadow
from adapters.similarity import RedisSimilarityLog
from adapters.slot import DynamoSlots
from adapters.tokens import OfflineTokens
from adapters.webhook import DynamoInbox
from domain.legacy import SHADOW_USER
from domain.ports import (
    AccountStore,
    Alerts,
    AuditLog,
    AutonomyStore,
    Breaker,
    Budgets,
    BudgetStore,
    CampaignStore,
    CostStore,
    DeliveryGate,
    Dependency,
    Experiments,
    Flags,
    FlagStore,
    Gateway,
    HandOvers,
    Inbox,
    LanguageModel,
    LegacySystem,
    Limiter,
    MessageStore,
    Moderator,
    Observations,
    PriceBook,
    Prompts,
    Refusals,
    ResponseCache,
    ShadowStore,
    SimilarityLog,
    SlotLog,
    Tokens,
)
from domain.routing import Capability, RoutingPolicy


@dataclass(frozen=True)
class Ports:
    """Everything that the product needs from outside, ready to use."""

    campaigns: CampaignStore
    messages: MessageStore
    handovers: HandOvers
    costs: CostStore
    autonomy: AutonomyStore
    accounts: AccountStore
    gate: DeliveryGate
    slots: SlotLog
    alerts: Alerts
    inbox: Inbox
    limiter: Limiter
    gateway: Gateway
    models: Mapping[str, LanguageModel]
    moderator: Moderator
    prompts: Prompts
    breaker: Breaker
    refusals: Refusals
    cache: ResponseCache
    similarity: SimilarityLog
    prices: PriceBook
    tokens: Tokens
    budgets: Budgets
    budget_store: BudgetStore
    routing: RoutingPolicy
    experiments: Experiments
    flags: Flags
    flag_store: FlagStore
    audit: AuditLog
    observations: Observations
    legacy: LegacySystem
    shadow: ShadowStore
    metrics: Metrics
    dependencies: tuple[Dependency, ...]


@asynccontextmanager
async def open_ports(settings: Settings, metrics: Metrics | None = None) -> AsyncIterator[Ports]:
    """Open every connection, and close them all at the end. Nothing is contacted yet.

    ``metrics``: the process's own instruments; without them nothing is counted.
    """
    metrics = metrics or Metrics()
    async with AsyncExitStack() as stack:
        dynamo = await stack.enter_async_context(open_dynamo(settings))
        redis = await stack.enter_async_context(open_redis(settings))
        gateway = await stack.enter_async_context(open_gateway(settings))
        models = await stack.enter_async_context(open_models(settings))
        flags = await stack.enter_async_context(open_flags(settings, metrics))
        accounts = DynamoAccounts(dynamo)
        slots = DynamoSlots(dynamo)
        costs = DynamoCosts(dynamo)
        breaker = RedisBreaker(redis, settings.breaker)
        yield Ports(
            campaigns=DynamoCampaigns(dynamo),
            messages=DynamoMessages(dynamo),
            handovers=DynamoHandOvers(dynamo),
            costs=costs,
            autonomy=DynamoAutonomy(dynamo),
            accounts=accounts,
            gate=accounts,
            slots=slots,
            alerts=DynamoAlerts(dynamo, metrics),
            inbox=DynamoInbox(dynamo),
            limiter=RedisLimiter(redis, slots),
            gateway=gateway,
            models=models,
            prompts=FilePrompts(),
            breaker=breaker,
            refusals=DynamoRefusals(dynamo),
            moderator=ProviderModerator(_moderating(models, settings), breaker),
            cache=RedisResponseCache(redis),
            similarity=RedisSimilarityLog(redis),
            prices=ListPrices(settings.prices),
            tokens=OfflineTokens(),
            budgets=RedisBudgets(redis, costs),
            budget_store=DynamoBudgets(
                dynamo, settings.budgets, days_at_most={SHADOW_USER: settings.shadow_daily_cost}
            ),
            routing=routing_of(settings),
            experiments=DynamoExperiments(dynamo),
            flags=flags,
            flag_store=DynamoFlags(dynamo, redis),
            audit=DynamoAudit(dynamo),
            observations=await stack.enter_async_context(open_observations(redis, dynamo)),
            legacy=await stack.enter_async_context(open_legacy(settings)),
            shadow=DynamoShadow(dynamo),
            metrics=metrics,
            dependencies=(DynamoDependency(dynamo), RedisDependency(redis), gateway, *_one_of_each_provider(models)),
        )


def _moderating(models: Mapping[str, OpenAIModel], settings: Settings) -> LanguageModel | None:
    """The first model whose provider has a moderation endpoint, if texts are to be moderated."""
    able = [each.key for each in routing_of(settings).targets if Capability.MODERATION in each.capabilities]
    return models[able[0]] if settings.moderation and able else None


def _one_of_each_provider(models: Mapping[str, OpenAIModel]) -> Sequence[OpenAIModel]:
    """A provider accepts our key, or not, for all of its models."""
    return list({name.partition("/")[0]: model for name, model in models.items()}.values())


@asynccontextmanager
async def open_tables(settings: Settings) -> AsyncIterator[Dynamo]:
    """Only the tables, for whoever creates them."""
    async with open_dynamo(settings) as dynamo:
        yield dynamo
