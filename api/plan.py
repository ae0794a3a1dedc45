"""A plan that a person writes, on its way to the campaign: looked at, stored if there is none, then told of."""

from contextlib import suppress
from datetime import UTC, datetime

from adapters.bootstrap import Ports
from api.background import Background
from api.direct import require_moderated, require_unblocked
from api.engine import Engine, EngineUnavailable, NotRunning
from api.steering import require_steerable
from domain.campaign import CampaignRecord, CampaignStatus
from domain.compliance import MAX_TEXT_CHARACTERS, check
from domain.compliance_disclosure import disclosed, discloses
from domain.errors import Conflict, InvalidRequest
from domain.general_text import is_personal
from domain.plan import GeneralTextRequest, PlanRequest
from domain.provider import ContentPlan
from workflows.campaign import CampaignWorkflow

_DISCLOSING = "EU"
"""A region that demands the sentence."""


async def write_plan(
    record: CampaignRecord, body: PlanRequest, user_id: str, ports: Ports, engine: Engine, background: Background
) -> ContentPlan:
    """Give a campaign its plan; repeating it is harmless.

    What is stored holds even if the campaign can't be told now: it looks there before it asks a model. Raises
    ``Conflict`` for a campaign that has ended or has another plan, and a refusal for a general text that breaks a rule.
    """
    now = datetime.now(UTC)
    _require_of_use(record, now)
    for number, each in enumerate(body.general_texts):
        await _require_usable(each, f"generalTexts[{number}].text", record, ports)
    wanted = body.plan(user_id, now)
    stored = await ports.campaigns.save_plan(record.campaign_id, wanted)
    if stored.model_copy(update={"written_at": wanted.written_at}) != wanted:
        author = stored.written_by or "a model"
        raise Conflict(
            f"The campaign has a plan by {author}, and its messages follow that one. Edit the drafts, or cancel the "
            "campaign and start another one."
        )
    await _tell(record, user_id, ports, engine, background)
    return stored


def _require_of_use(record: CampaignRecord, now: datetime) -> None:
    """Raises ``Conflict`` for a campaign that writes nothing any more."""
    require_steerable(record)
    if record.in_force is CampaignStatus.CANCELLING:
        raise Conflict("The campaign is being cancelled, which can't be taken back.")
    times = record.delivery.times
    for name, moment in (("deadline", times.deadline), ("expiresAt", times.expires_at)):
        if moment is not None and moment <= now:
            raise Conflict(f"It is too late for a plan: the campaign's {name} was {moment.isoformat()}.")


async def _require_usable(given: GeneralTextRequest, field: str, record: CampaignRecord, ports: Ports) -> None:
    """A refusal for a text that breaks a rule, and ``InvalidRequest`` for one that could not go to everybody."""
    report = check(given.text)
    require_unblocked(report, field=field)
    await require_moderated(given.text, report, ports, field=field)
    if is_personal(given.text, (), record.named):
        raise InvalidRequest("it names or greets somebody, or has room for a name; it is for any fan", field=field)
    if not discloses(disclosed(given.text, region=_DISCLOSING, language=given.language)):
        raise InvalidRequest(
            f"with the sentence that says that AI helped, which some regions demand, it is longer than "
            f"{MAX_TEXT_CHARACTERS} characters; shorten it",
            field=field,
        )


async def _tell(record: CampaignRecord, user_id: str, ports: Ports, engine: Engine, background: Background) -> None:
    async def tell() -> None:
        try:
            await engine.signal(record, CampaignWorkflow.plan_changed, user_id)
        except NotRunning:
            # It has ended just now, or was not started yet; then it finds the plan.
            require_steerable(await ports.campaigns.get(record.campaign_id) or record)

    async def tell_later() -> None:
        with suppress(Conflict):
            await tell()

    try:
        await tell()
    except EngineUnavailable:
        background.repeat(f"plan_changed/{record.campaign_id}", tell_later)
