"""Settings, connections, ports, worker: everything that runs workflows and activities.

``python worker.py`` serves every task queue in one process, ``python worker.py delivery`` only the named ones.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.alternative import AlternativeActivities
from activities.campaign import CampaignActivities
from activities.delivery import DeliveryActivities, DeliveryPorts
from activities.draft import Inspection
from activities.handover import HandOverWatch
from activities.ladder import LadderPorts
from activities.page import GenerationPorts
from activities.provider import ProviderActivities
from activities.recall import RecallActivities
from activities.review import ReviewActivities
from activities.rollout import RolloutActivities
from activities.send_queue import SubmissionActivities
from activities.withdrawal import WithdrawalActivities
from adapters.bootstrap import Ports, open_ports
from adapters.logging import configure
from adapters.metrics import Metrics, serving
from adapters.settings import Settings
from adapters.temporal import TemporalSendQueues, connect
from domain.compliance import prepare
from workflows.campaign import CampaignWorkflow
from workflows.cost import CostReconciliationWorkflow
from workflows.delivery import SendQueueWorkflow
from workflows.policies import DELIVERY, GENERATION, ORCHESTRATION, TASK_QUEUES
from workflows.provider import GenerationWorkflow
from workflows.recall import RecallWorkflow
from workflows.rollout import RolloutWorkflow

WORKFLOWS = (
    CampaignWorkflow,
    SendQueueWorkflow,
    GenerationWorkflow,
    RecallWorkflow,
    CostReconciliationWorkflow,
    RolloutWorkflow,
)


def activities(ports: Ports, client: Client, settings: Settings) -> dict[str, Sequence[Callable[..., Any]]]:
    """Every activity by the task queue that serves it."""
    policy = settings.limit_policy
    campaign = CampaignActivities(
        ports.campaigns,
        ports.messages,
        ports.costs,
        ports.limiter,
        ports.accounts,
        ports.alerts,
        ports.observations,
        policy=policy,
    )
    review = ReviewActivities(ports.campaigns, ports.messages, ports.experiments)
    queues = TemporalSendQueues(client, ORCHESTRATION)
    submission = SubmissionActivities(
        ports.campaigns,
        ports.messages,
        queues,
        ports.limiter,
        ports.accounts,
        policy=policy,
    )
    provider = ProviderActivities(generation(ports, settings))
    sending = DeliveryPorts(
        messages=ports.messages,
        gate=ports.gate,
        accounts=ports.accounts,
        limiter=ports.limiter,
        gateway=ports.gateway,
        alerts=ports.alerts,
        policy=policy,
        lease_ms=settings.lease_ms,
        send_timeout_s=settings.send_timeout_s,
        grace_s=settings.lease_grace_s,
    )
    delivery = DeliveryActivities(sending)
    alternative = AlternativeActivities(ports.campaigns, sending, queues)
    withdrawal = WithdrawalActivities(ports.campaigns, ports.messages)
    recall = RecallActivities(ports.campaigns, sending)
    rollout = RolloutActivities(ports.flag_store, ports.observations, ports.audit, ports.alerts, ports.campaigns)
    return {
        ORCHESTRATION: (
            campaign.has_plan,
            campaign.set_status,
            campaign.close_lane,
            campaign.finish,
            campaign.report_imbalance,
            provider.give_up,
            review.decide_page,
            submission.submit_page,
            submission.resubmit,
            submission.outlook,
            withdrawal.withdraw,
            rollout.begin,
            rollout.steer,
            rollout.look,
            rollout.announce,
            rollout.routed_campaigns,
        ),
        GENERATION: (provider.plan, provider.draft_page, provider.answer, provider.reconcile),
        DELIVERY: (delivery.deliver, alternative.take, recall.stop, recall.unsend),
    }


def generation(ports: Ports, settings: Settings) -> GenerationPorts:
    """Everything that writing needs."""
    return GenerationPorts(
        campaigns=ports.campaigns,
        messages=ports.messages,
        autonomy=ports.autonomy,
        prompts=ports.prompts,
        cache=ports.cache,
        ladder=LadderPorts(
            models=ports.models,
            routing=ports.routing,
            prices=ports.prices,
            tokens=ports.tokens,
            costs=ports.costs,
            budgets=ports.budgets,
            budget_store=ports.budget_store,
            breaker=ports.breaker,
            refusals=ports.refusals,
            experiments=ports.experiments,
            alerts=ports.alerts,
            call_timeout_s=settings.provider_timeout_s,
            deadline_s=settings.generation_deadline_s,
        ),
        inspection=Inspection(ports.similarity, ports.prompts, ports.moderator, judged=settings.quality_judge),
        messages_per_call=settings.messages_per_call,
        concurrency=settings.generation_concurrency,
        patience_s=settings.draft_patience_s,
    )


def workers(
    client: Client,
    ports: Ports,
    settings: Settings,
    queues: Sequence[str],
    *,
    max_cached_workflows: int = 1000,
) -> list[Worker]:
    """One worker for each of ``queues``; workflows run on ``orchestration``.

    ``max_cached_workflows``: 0 replays every history at every task, which is what tests want.
    """
    by_queue = activities(ports, client, settings)
    return [
        Worker(
            client,
            task_queue=queue,
            workflows=WORKFLOWS if queue == ORCHESTRATION else (),
            activities=by_queue[queue],
            workflow_runner=SandboxedWorkflowRunner(
                restrictions=SandboxRestrictions.default.with_passthrough_all_modules()
            ),
            max_cached_workflows=max_cached_workflows,
            max_concurrent_activities=settings.max_concurrent_activities,
            workflow_task_poller_behavior=PollerBehaviorAutoscaling(minimum=1, maximum=50, initial=10),
            activity_task_poller_behavior=PollerBehaviorAutoscaling(minimum=1, maximum=50, initial=10),
            max_heartbeat_throttle_interval=timedelta(seconds=1),
            graceful_shutdown_timeout=timedelta(seconds=settings.drain_timeout_s),
        )
        for queue in queues
    ]


async def main(queues: Sequence[str]) -> None:
    """Serve until SIGTERM or SIGINT, then take nothing new and let running activities end."""
    settings = Settings()
    configure(settings.log_level)
    log = structlog.get_logger("worker")
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with AsyncExitStack() as stack:
        runtime = serving(settings.metrics_address)
        ports = await stack.enter_async_context(open_ports(settings, Metrics(runtime)))
        await asyncio.to_thread(prepare)
        await asyncio.to_thread(ports.tokens.load)
        client = await connect(runtime=runtime)
        for worker in workers(client, ports, settings, queues):
            await stack.enter_async_context(worker)
        if ORCHESTRATION in queues:
            watch = HandOverWatch(
                ports.handovers, ports.campaigns, ports.messages, TemporalSendQueues(client, ORCHESTRATION)
            )
            stack.callback(asyncio.create_task(watch.run()).cancel)
        # What is here by now stays: the garbage collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        log.info("worker.ready", taskQueues=list(queues))
        await stop.wait()
        log.info("worker.draining", timeoutSeconds=settings.drain_timeout_s)
    log.info("worker.stopped")


if __name__ == "__main__":
    chosen = tuple(sys.argv[1:]) or TASK_QUEUES
    if unknown := set(chosen) - set(TASK_QUEUES):
        sys.exit(f"unknown task queue: {', '.join(sorted(unknown))}; choose from {', '.join(TASK_QUEUES)}")
    asyncio.run(main(chosen))
