"""The ledger against the providers' own memory: what was charged and nobody saw is booked, what is held is settled."""

from contextlib import suppress
from datetime import UTC, datetime

from activities.ladder.booking import Booking
from activities.ladder.ports import LadderPorts
from domain.breaker import BreakerStatus
from domain.campaign import CampaignRecord
from domain.errors import ProviderError
from domain.model import Model


class Findings(Model):
    """How many calls the ledger lacked; ``held``: calls whose provider may still come to list an answer."""

    found: int = 0
    held: int = 0


async def reconcile_in_passing(record: CampaignRecord, ports: LadderPorts, *, lost_just_now: bool) -> None:
    """As ``reconcile``, for a page that others wait for: only models that hold money and answer at all are asked.

    ``lost_just_now``: one of the page's own calls had no outcome; else only what may be settled by now is looked for.
    Whatever can't be found out is left to the end of the campaign.
    """
    holds, now = await ports.costs.holds(record.campaign_id), datetime.now(UTC)
    holding = {hold.target for hold in holds if lost_just_now or hold.settles_at <= now}
    models = ports.models
    asked = [each for each in ports.routing.targets if each.key in holding and models[each.key].keeps_answers]
    views = await ports.breaker.views([name for each in asked for name in (each.key, each.kept_key)])
    troubled = {view.target for view in views if view.status is not BreakerStatus.CLOSED}
    if answering := frozenset(each.key for each in asked if troubled.isdisjoint((each.key, each.kept_key))):
        with suppress(ProviderError):
            await reconcile(record, ports, only=answering)


async def reconcile(record: CampaignRecord, ports: LadderPorts, *, only: frozenset[str] | None = None) -> Findings:
    """Book every answer of a request that a provider has kept and the ledger does not have; settle what is held.

    ``only``: the models to ask, by key; ``None``: all of the routing policy. A provider that keeps nothing can't tell,
    so what is held for its calls stays so. Raises the last ``ProviderError`` after everything that could be found is
    booked.
    """
    booking, found, failure = Booking(record, ports), 0, None
    holds = {hold.operation_id: hold for hold in await ports.costs.holds(record.campaign_id)}
    known = set(await ports.costs.operations(record.campaign_id))
    asked_at, telling = datetime.now(UTC), set()
    for target in ports.routing.targets:
        if only is not None and target.key not in only:
            continue
        model = ports.models[target.key]
        try:
            kept = await model.kept_of_campaign(record.campaign_id)
        except ProviderError as error:
            failure = error
            continue
        if model.keeps_answers:
            telling.add(target.key)
        for each in kept:
            if each.operation_id not in known:
                hold = holds.get(each.operation_id)
                at = None if hold is None else hold.at
                await booking.book("lost", target, each.operation_id, each.usage, usable=False, at=at)
                known.add(each.operation_id)
                found += 1
    waiting = 0
    for operation, hold in holds.items():
        if operation in known or (hold.target in telling and hold.settles_at <= asked_at):
            await booking.release(hold)
        elif hold.target in telling:
            waiting += 1
    if failure is not None:
        raise failure
    return Findings(found=found, held=waiting)
