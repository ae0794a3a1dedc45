"""The one place where configuration enters: environment variables with sensible defaults.

Everything that is ours starts with ``HUNTAZE_``; names that the ecosystem already knows
(``OPENAI_API_KEY``, ``AZURE_OPENAI_ENDPOINT``, ``ONLYFANSAPI_API_KEY``, ``LEGACY_BASE_URL``) keep their names.
Temporal reads its own (``TEMPORAL_ADDRESS``, ``TEMPORAL_NAMESPACE``, ``TEMPORAL_API_KEY``, TLS) through
``temporalio.envconfig``; AWS reads its own (``AWS_REGION``, ``AWS_ENDPOINT_URL``, credentials) through boto3.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.breaker import BreakerPolicy
from domain.budget import BudgetCaps
from domain.cost import PriceOverride
from domain.flag import Percentage
from domain.rate_limit import ACCOUNT_CEILING, LimitPolicy
from domain.routing import RoutingPolicy

_ADDRESS = r"^$|^[\w.:\[\]-]+:\d+$"


class Environment(StrEnum):
    """Where the process runs; ``production`` refuses development conveniences."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


def _named(name: str) -> AliasChoices:
    """An environment variable that keeps the name that its ecosystem uses."""
    return AliasChoices(name, name.lower())


class Settings(BaseSettings):
    """Every setting of API, worker and command line. Secrets print as ``**********``."""

    model_config = SettingsConfigDict(
        env_prefix="HUNTAZE_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        # The input of a refused start-up is its secrets.
        hide_input_in_errors=True,
    )

    environment: Environment = Environment.DEVELOPMENT
    log_level: str = "INFO"

    # API
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65_535)
    api_metrics_address: str = Field(
        default="", pattern=_ADDRESS, description="where the API serves Prometheus metrics; empty: nowhere"
    )
    max_audience: int = Field(default=100_000, ge=1, description="recipients in one campaign")
    max_body_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    jwt_algorithm: str = Field(default="HS256", pattern="^(HS256|RS256)$")
    jwt_secret: SecretStr | None = Field(default=None, description="HS256 key; development only")
    jwt_jwks_url: str | None = Field(default=None, description="RS256 keys of the identity provider")
    jwt_issuer: str = "huntaze"
    jwt_audience: str = "huntaze-api"

    # Redis and DynamoDB
    redis_url: SecretStr = Field(default=SecretStr("redis://127.0.0.1:6379/0"), description="may hold a password")
    table_prefix: str = "huntaze-"
    redis_cluster: bool = Field(default=False, description="the address is a node of a Redis Cluster")
    store_threads: int = Field(default=16, ge=1, description="boto3 calls in flight in one process")

    # OnlyFans gateway
    onlyfans_base_url: str = "https://app.onlyfansapi.com"
    onlyfans_api_key: SecretStr = Field(default=SecretStr(""), validation_alias=_named("ONLYFANSAPI_API_KEY"))
    send_timeout_s: float = Field(default=10.0, gt=0)
    lease_grace_s: float = Field(default=5.0, ge=0.5, description="a slot outlives the send's time-out by this much")

    # Limits
    rate_limits: LimitPolicy = Field(default_factory=LimitPolicy, description="JSON; what is left out has its default")
    limit_time_scale: float = Field(
        default=1.0, gt=0, description="every window is that many times as long; for tests, never in production"
    )
    webhook_secret: SecretStr = Field(default=SecretStr(""), description="signs the gateway's webhooks")

    # AI providers
    openai_base_url: str = Field(default="https://api.openai.com/v1", validation_alias=_named("OPENAI_BASE_URL"))
    openai_api_key: SecretStr = Field(default=SecretStr(""), validation_alias=_named("OPENAI_API_KEY"))
    openai_model: str = "gpt-4o-mini"
    azure_openai_endpoint: str = Field(default="", validation_alias=_named("AZURE_OPENAI_ENDPOINT"))
    azure_openai_api_key: SecretStr = Field(default=SecretStr(""), validation_alias=_named("AZURE_OPENAI_API_KEY"))
    azure_openai_api_version: str = Field(default="2025-02-01-preview", validation_alias=_named("OPENAI_API_VERSION"))
    azure_openai_deployment: str = "gpt-4o"
    azure_openai_model: str = Field(default="gpt-4o", description="model behind the deployment, for its price")
    openai_cheaper_model: str = Field(default="gpt-4.1-nano", description="asked when a budget has too little left")
    routing: RoutingPolicy | None = Field(default=None, description="JSON; by default from the models above")
    provider_timeout_s: float = Field(
        default=30.0, gt=0, le=50, description="less than the minute for which its money is reserved"
    )
    generation_deadline_s: float = Field(default=60.0, gt=0, description="for one answer over all rungs of the ladder")
    draft_patience_s: float = Field(
        default=120.0, ge=0, description="how long a page waits for providers before fans get general texts"
    )
    breaker: BreakerPolicy = Field(default_factory=BreakerPolicy, description="JSON")
    provider_keeps_answers: bool = Field(
        default=True, description="answers are kept at the provider, so that none is bought twice after a crash"
    )
    moderation: bool = Field(default=True, description="the provider's moderation endpoint sees each text as well")
    quality_judge: bool = Field(default=False, description="a model judges each text as well; costs a call")

    # Money
    budgets: BudgetCaps = Field(default_factory=BudgetCaps, description="JSON; US dollars, null is no limit")
    prices: dict[str, PriceOverride] = Field(
        default_factory=dict, description='JSON; by "azure/<model>" or "openai/<model>", over the list prices'
    )

    # Campaigns
    page_size: int = Field(default=50, ge=1, le=100, description="recipients drafted in one activity")
    messages_per_call: int = Field(default=5, ge=1, le=20)
    generation_concurrency: int = Field(default=4, ge=1, le=64, description="provider calls of one page")

    # Flags: for the emergency, over what is stored
    hybrid_orchestrator_enabled: bool | None = Field(
        default=None,
        validation_alias=_named("HYBRID_ORCHESTRATOR_ENABLED"),
        description="false: the flag hybrid-orchestrator is off for everybody; true: on, but for its deny list",
    )
    hybrid_orchestrator_percentage: Percentage | None = Field(
        default=None,
        validation_alias=_named("HYBRID_ORCHESTRATOR_PERCENTAGE"),
        description="0 to 100, instead of the percentage of the flag hybrid-orchestrator",
    )

    # Legacy system
    legacy_base_url: str = Field(
        default="", pattern=r"^$|^https?://[^/?#\s]+(/[^?#\s]*)?$", validation_alias=_named("LEGACY_BASE_URL")
    )
    legacy_host: str = Field(
        default="", description="the Host header that the legacy system gets; empty: the client's, unchanged"
    )
    legacy_trusts_user_id: bool | None = Field(
        default=None,
        description="whether the user id of a legacy request without a token of ours may be believed, because "
        "something in front of us has checked it; null: in development only",
    )
    legacy_connect_timeout_s: float = Field(default=3.0, gt=0)
    legacy_first_byte_timeout_s: float = Field(default=30.0, gt=0, description="from the whole request to the answer")
    legacy_idle_timeout_s: float = Field(default=30.0, gt=0, description="between two pieces of a body, either way")
    legacy_connections: int = Field(default=200, ge=1, description="requests to the legacy system at the same time")
    legacy_answer_within_s: float = Field(
        default=25.0, gt=0, le=60, description="how long a legacy client waits for us before the legacy system answers"
    )
    # A call sets its worst case aside first: a plan by gpt-4o needs room for $0.014 and costs about a tenth.
    shadow_max_cost: Decimal = Field(default=Decimal("0.05"), gt=0, le=10, description="US dollars, of one shadow run")
    shadow_daily_cost: Decimal = Field(default=Decimal("1.00"), ge=0, description="US dollars, of a day's shadow runs")
    shadow_concurrency: int = Field(default=4, ge=1, le=64, description="shadow runs of one process at the same time")

    # Worker
    metrics_address: str = Field(
        default="", pattern=_ADDRESS, description="where a worker serves Prometheus metrics; empty: nowhere"
    )
    drain_timeout_s: float = Field(default=30.0, ge=0, description="time for running activities after SIGTERM")
    max_concurrent_activities: int = Field(default=100, ge=1)

    @model_validator(mode="after")
    def _production_is_strict(self) -> Self:
        if self.environment is not Environment.PRODUCTION:
            return self
        if self.jwt_algorithm != "RS256" or not self.jwt_jwks_url:
            raise ValueError(
                "HUNTAZE_ENVIRONMENT=production needs HUNTAZE_JWT_ALGORITHM=RS256 and HUNTAZE_JWT_JWKS_URL "
                "(HS256 with a shared secret is for development only)"
            )
        ceiling, hard = self.rate_limits.ceiling, ACCOUNT_CEILING
        too_loose = ceiling.limit is None or ceiling.limit > (hard.limit or 0) or ceiling.seconds < hard.seconds
        if self.limit_time_scale != 1 or too_loose:
            raise ValueError(
                "HUNTAZE_ENVIRONMENT=production keeps every account at 10 messages in any 60 s: leave "
                "HUNTAZE_LIMIT_TIME_SCALE out and the ceiling of HUNTAZE_RATE_LIMITS at most as loose as that"
            )
        needed = {
            "HUNTAZE_WEBHOOK_SECRET": self.webhook_secret.get_secret_value(),
            "ONLYFANSAPI_API_KEY": self.onlyfans_api_key.get_secret_value(),
            "OPENAI_API_KEY": self.openai_api_key.get_secret_value(),
            "AZURE_OPENAI_API_KEY": self.azure_openai_api_key.get_secret_value(),
            "AZURE_OPENAI_ENDPOINT": self.azure_openai_endpoint,
        }
        if self.legacy_base_url and self.legacy_trusts_user_id is None:
            raise ValueError(
                "HUNTAZE_ENVIRONMENT=production with LEGACY_BASE_URL needs a decision: "
                "HUNTAZE_LEGACY_TRUSTS_USER_ID=true if something in front has checked the user ids of legacy "
                "requests, else false"
            )
        missing = [name for name, value in needed.items() if not value]
        if missing:
            raise ValueError(f"HUNTAZE_ENVIRONMENT=production needs {', '.join(missing)}")
        return self

    @property
    def limit_policy(self) -> LimitPolicy:
        """The limits of this installation, scaled in time where a test asks for it."""
        return self.rate_limits if self.limit_time_scale == 1 else self.rate_limits.scaled(self.limit_time_scale)

    @property
    def trusts_legacy_user_id(self) -> bool:
        """Whether a legacy request without a token of ours is its user's."""
        if self.legacy_trusts_user_id is None:
            return self.environment is Environment.DEVELOPMENT
        return self.legacy_trusts_user_id

    @property
    def lease_ms(self) -> int:
        """How long a granted slot counts when the outcome never becomes known, in ms.

        One grace is for what arrives after its call was given up, one for the calls before it in a batch.
        """
        return int((self.send_timeout_s + 2 * self.lease_grace_s) * 1000)
