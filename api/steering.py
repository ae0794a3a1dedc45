"""Pausing, resuming and cancelling a campaign: what is wanted is stored first, then its workflow is told."""

import asyncio
from contextlib import suppress

from adapters.bootstrap import Ports
from api.background import Background
from api.engine import Engine, EngineQueues, EngineUnavailable, NotRunning
from domain.campaign import CampaignRecord, CampaignStatus, ControlRequest
from domain.errors import Conflict
from domain.provider import IntentType
from workflows.campaign import CampaignWorkflow

_SIGNALS = {
    CampaignStatus.PAUSED: CampaignWorkflow.pause,
    CampaignStatus.RUNNING: CampaignWorkflow.resume,
    CampaignStatus.CANCELLING: CampaignWorkflow.cancel,
}


def require_steerable(record: CampaignRecord) -> None:
    """Only a campaign that has not ended takes signals."""
    if record.type is not IntentType.CAMPAIGN_EXECUTION:
        raise Conflict(f"This is a {record.type}, which is answered in one go; only campaigns can be steered.")
    if record.status.is_final:
        raise Conflict(f"The campaign has ended ({record.status}); start a new one instead.")


async def steer(
    record: CampaignRecord,
    wanted: CampaignStatus,
    user_id: str,
    reason: str,
    ports: Ports,
    engine: Engine,
    background: Background,
) -> CampaignRecord:
    """Have a campaign ``paused``, ``running`` or ``cancelling``; returns its record as it is then.

    A pause and a cancellation hold for sending from the moment they are stored, whether a worker is there or not. So
    they also hold when this raises ``EngineUnavailable``: the signal is then repeated in the background, and does
    nothing if a later one was faster. Raises ``NotRunning`` when there is no workflow to tell, and ``Conflict`` for a
    campaign that has ended or is being cancelled.
    """
    require_steerable(record)
    wish = await ports.campaigns.want(record.campaign_id, wanted)
    if wish is None:
        require_steerable(await ports.campaigns.get(record.campaign_id) or record)
        raise Conflict("The campaign is being cancelled, which can't be taken back.")
    request = ControlRequest(requested_by=user_id, reason=reason, wish=wish)

    async def tell() -> None:
        try:
            await engine.signal(record, _SIGNALS[wanted], request)
        except NotRunning:
            await _act_alone(record, wanted, ports, engine)
            if wanted is not CampaignStatus.CANCELLING:
                raise

    async def tell_later() -> None:
        with suppress(NotRunning):
            await tell()

    try:
        await tell()
    except EngineUnavailable:
        background.repeat(f"{record.campaign_id}/wish/{wish}", tell_later)
        raise
    return await ports.campaigns.get(record.campaign_id) or record


async def _act_alone(record: CampaignRecord, wanted: CampaignStatus, ports: Ports, engine: Engine) -> None:
    """Where no workflow is left: an end, or news for the queues that have parked the campaign."""
    if wanted is CampaignStatus.CANCELLING:
        # Delivery reads this before every send, and ends what still waits.
        await ports.campaigns.set_status(record.campaign_id, CampaignStatus.CANCELLED, "workflow_was_not_running")
    elif wanted is CampaignStatus.RUNNING:
        queues = EngineQueues(engine)
        await asyncio.gather(*(queues.wake(lane.account_id) for lane in record.lanes))
