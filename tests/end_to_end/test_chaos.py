"""The chaos run, a small one for real: most of its time it waits until nothing is on its way any more."""

from collections.abc import Mapping
from pathlib import Path

from domain.campaign import CampaignStatus
from domain.delivery import MessageStatus
from local.chaos.plan import Plan
from local.chaos.run import run
from local.chaos.verdict import what_does_not_hold

AI_TROUBLE: tuple[Mapping[str, object], ...] = (
    {"kind": "connection_reset", "endpoint": "chat", "bill": True, "count": 2},
    {"kind": "hang", "endpoint": "chat", "bill": True, "count": 1},
    {"kind": "malformed_json", "endpoint": "chat", "count": 2},
    {"kind": "server_error", "endpoint": "chat", "count": 1},
    {"kind": "connection_reset", "endpoint": "chat", "bill": True, "probability": 0.2, "count": 2},
)
"""Nobody gets a plan at first, though two were billed; the rest is for those who write."""

GATEWAY_TROUBLE: tuple[Mapping[str, object], ...] = (
    {"kind": "accept_then_timeout", "probability": 0.3, "count": 2},
    {"kind": "server_error", "probability": 0.3, "count": 2},
    {"kind": "rate_limited", "probability": 0.3, "count": 2, "retry_after_s": 1},
    {"kind": "connection_reset", "probability": 0.3, "count": 1},
    {"kind": "connection_reset", "probability": 0.3, "count": 1, "after_accept": True},
)
"""So many sends are made that each of these strikes."""

SMALL = Plan(
    recipients=51,
    accounts=3,
    regulars=3,
    kills=2,
    flushes=1,
    redis_restarts=0,
    temporal_restarts=0,
    pace_s=1.5,
    window_s=4.0,
    spare_s=6.0,
    within_s=120,
    max_cost=None,
    gateway_faults=GATEWAY_TROUBLE,
    ai_faults=AI_TROUBLE,
)


async def test_a_small_run_keeps_every_promise(tmp_path: Path) -> None:
    evidence = await run(SMALL, tmp_path, print)
    assert what_does_not_hold(evidence) == ()
    assert evidence.status is CampaignStatus.COMPLETED
    assert len(evidence.told) == 51
    assert len(evidence.booked) == len(evidence.delivered)
    assert len(evidence.besides) == 9 == sum(told.status is MessageStatus.SENT for told in evidence.besides)
    assert evidence.outcomes[MessageStatus.SENT] > 0
    assert evidence.money is not None
    assert evidence.money.unusable >= 2
    assert evidence.money.billed.calls > 51 / 5
