"""A plan that a person writes, on its way to the campaign: looked at, stored if there is none, then told of."""

from datetime import UTC, datetime

from adapters.bootstrap import Ports
from api.background import Background
from api.direct import require_moderated, require_unblocked
from api.engine import Engine, EngineUnavailable, NotRunning
from api.steering import require_steerable
from domain.campaign import CampaignRecord
from domain.compliance import check
from domain.errors import Conflict
from domain.plan import PlanRequest
from domain.provider import ContentPlan
from workflows.campaign import CampaignWorkflow


async def write_plan(
    record: CampaignRecord, body: PlanRequest, user_id: str, ports: Ports, engine: Engine, background: Background
) -> ContentPlan:
    """Give a campaign its plan; repeating it is harmless.

    What is stored holds even if the campaign can't be told now: it looks there before it asks a model. Raises
    ``Conflict`` for a campaign that has ended or has another plan, and a refusal for a general text that breaks a rule.
    """
    require_steerable(record)
    for number, each in enumerate(body.general_texts):
        field = f"generalTexts[{number}].text"
        report = check(each.text)
        require_unblocked(report, field=field)
        await require_moderated(each.text, report, ports, field=field)
    wanted = body.plan(user_id, datetime.now(UTC))
    stored = await ports.campaigns.save_plan(record.campaign_id, wanted)
    if stored.model_copy(update={"written_at": wanted.written_at}) != wanted:
        author = stored.written_by or "a model"
        raise Conflict(
            f"The campaign has a plan by {author}, and its messages follow that one. Edit the drafts, or cancel the "
            "campaign and start another one."
        )
    await _tell(record, user_id, engine, background)
    return stored


async def _tell(record: CampaignRecord, user_id: str, engine: Engine, background: Background) -> None:
    async def tell() -> None:
        try:
            await engine.signal(record, CampaignWorkflow.plan_changed, user_id)
        except NotRunning:
            # It has ended just now, or was not started yet; then it finds the plan.
            return

    try:
        await tell()
    except EngineUnavailable:
        background.repeat(f"plan_changed/{record.campaign_id}", tell)
