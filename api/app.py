"""The HTTP application: ``uvicorn --factory api.app:create_app``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from openfeature.exception import OpenFeatureError

from adapters.bootstrap import open_ports
from adapters.logging import configure
from adapters.metrics import Metrics, serving
from adapters.settings import Settings
from adapters.temporal import connect
from api import openapi, problems
from api.authentication import TokenVerifier
from api.background import Background
from api.direct import DirectMessageRequest
from api.engine import Engine
from api.legacy import LegacyApi
from api.legacy_hybrid import HybridSystem
from api.middleware import BodyLimitMiddleware, HeaderMiddleware, LastResortMiddleware
from api.routes import (
    alert,
    audit,
    budget,
    campaign,
    cost,
    dead_letter,
    delivery,
    experiment,
    flag,
    health,
    legacy,
    message,
    ofrep,
    plan,
    progress,
    provider,
    queue,
    rate_limit,
    recall,
    review,
    rollout,
    shadow,
    statistics,
    webhook,
)
from api.shadow import ShadowRuns
from api.trace import TraceMiddleware
from domain.budget import BudgetChange
from domain.campaign import WorkflowIntent
from domain.compliance import prepare
from domain.model import Model
from domain.plan import PlanRequest
from domain.review import AutonomyRequest, BulkReviewRequest, EditRequest, ReviewRequest
from domain.rollout_request import RolloutRequest
from domain.webhook import WebhookEvent

_CONCEPTS = (
    campaign,
    progress,
    delivery,
    recall,
    review,
    plan,
    cost,
    budget,
    message,
    rate_limit,
    statistics,
    provider,
    experiment,
    queue,
    dead_letter,
    alert,
    flag,
    ofrep,
    rollout,
    audit,
    legacy,
    shadow,
    webhook,
    health,
)
_BODIES: tuple[type[Model], ...] = (
    WorkflowIntent,
    campaign.ControlBody,
    ReviewRequest,
    EditRequest,
    PlanRequest,
    BulkReviewRequest,
    AutonomyRequest,
    DirectMessageRequest,
    BudgetChange,
    rate_limit.LimitsBody,
    queue.AccountControlBody,
    dead_letter.RetryBody,
    dead_letter.DiscardBody,
    flag.FlagBody,
    ofrep.EvaluationRequest,
    RolloutRequest,
    rollout.RolloutControlBody,
    rollout.PromoteBody,
    rollout.RollbackBody,
    WebhookEvent,
)
"""Bodies that are read by hand, for the description."""

_DESCRIPTION = (
    "Durable messaging campaigns: planned and written by AI, checked, approved by people where that is asked, "
    "delivered within every limit, exactly once. Errors are problem details (RFC 9457); branch on `errorType`."
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; its connections open with its lifespan, the one to Temporal at the first request for it."""
    settings = settings or Settings()
    configure(settings.log_level)
    # Its pages bring their scripts along instead of loading them from a public network.
    app = FastAPIOffline(
        title="Huntaze hybrid orchestrator",
        version="2.0.0",
        description=_DESCRIPTION,
        lifespan=_lifespan,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.verifier = TokenVerifier(settings)
    app.state.runtime = serving(settings.api_metrics_address)
    app.state.engine = Engine(partial(connect, runtime=app.state.runtime))

    # The last one added is the outermost.
    app.add_middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes)
    app.add_middleware(LastResortMiddleware)
    app.add_middleware(HeaderMiddleware)
    app.add_middleware(TraceMiddleware)
    problems.install(app)
    app.add_exception_handler(OpenFeatureError, ofrep.failure)
    for concept in _CONCEPTS:
        app.include_router(concept.router)
    app.router.routes.extend(legacy.legacy_routes)
    openapi.describe(app, bodies=_BODIES)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with open_ports(app.state.settings, Metrics(app.state.runtime)) as ports:
        await asyncio.to_thread(prepare)
        app.state.ports = ports
        app.state.background = Background()
        hybrid = HybridSystem(ports, app.state.settings, app.state.engine, app.state.background)
        app.state.shadow = ShadowRuns(ports, app.state.settings, hybrid)
        app.state.legacy = LegacyApi(ports, app.state.settings, app.state.verifier, hybrid, app.state.shadow)
        try:
            yield
        finally:
            await app.state.shadow.close()
            await app.state.background.close()
