"""A request of a new owner, on the stack."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from adapters.bootstrap import Ports
from adapters.breaker import RedisBreaker
from adapters.settings import Settings
from api.intake import accept
from domain.access import Principal, Role
from domain.breaker import BreakerPolicy
from domain.compliance import ComplianceLevel
from domain.provider import PreferredProvider
from domain.review import AutonomyOptIn
from tests.activities.ladder.asking import Asking, Begin, Clock
from tests.local import Simulator
from tests.workflows.launcher import intent
from worker import generation


@pytest.fixture
async def begin(ports: Ports, settings: Settings, ai: Simulator, redis: Redis) -> Begin:
    """Starts a request; ``changes`` are those of the ladder's ports."""

    async def started(*, max_cost: str | None = None, preferred: str = "auto", **changes: Any) -> Asking:
        wanted = intent(1).model_copy(
            update={
                "max_cost": None if max_cost is None else Decimal(max_cost),
                "preferred_provider": PreferredProvider(preferred),
            }
        )
        account = wanted.only_fans_context.account_id
        await ports.autonomy.put(
            AutonomyOptIn(account_id=account, level=ComplianceLevel.RELAXED, granted_at=datetime.now(UTC))
        )
        owner = Principal(user_id=f"owner-{uuid4()}", role=Role.OPERATOR)
        record, _ = await accept(wanted, str(uuid4()), owner, ports, settings, datetime.now(UTC))
        clock = Clock()
        breaker = RedisBreaker(redis, BreakerPolicy(), clock_ms=clock)
        return Asking(replace(generation(ports, settings).ladder, **{"breaker": breaker, **changes}), record, clock)

    return started
