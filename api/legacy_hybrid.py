"""A legacy request in the new system: taken in, run, and answered in the legacy shape, or handed back.

Handing back means that the legacy system does it instead. So it happens only when the new system certainly will not:
a request that may send is first made unable to.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, NamedTuple

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.background import Background
from api.engine import CALL_TIMEOUT, Engine, EngineUnavailable, NotRunning
from api.intake import accept
from api.refusals import Refusal
from domain.access import Principal, Role
from domain.campaign import CampaignRecord, CampaignStatus, ControlRequest, campaign_id, generation_workflow_id
from domain.delivery import MessageStatus
from domain.errors import Conflict, DependencyUnavailable, HuntazeError
from domain.legacy_answer import ANSWERED_BY_LEGACY, data_of, failure, message_of, success
from domain.legacy_translation import Translation
from domain.progress import WorkflowResult
from workflows.campaign import CampaignWorkflow

STORE_PATIENCE_S: Final = 10.0
"""How long taking a request in, or ending it, may take."""

TIMEOUT: Final = "timeout"
STORE_UNAVAILABLE: Final = "store_unavailable"
ENGINE_UNAVAILABLE: Final = "engine_unavailable"
UNEXPECTED: Final = "unexpected"
FAILED: Final = "failed"


@dataclass(frozen=True)
class HybridRequest:
    """What is to be run. ``keyed``: the client can repeat the request under the same key. ``arm``: which side of the
    flag's rollout it is evidence for; empty: of neither."""

    translation: Translation
    user: str
    owner: str
    key: str
    keyed: bool
    flag: str
    trace_id: str
    arm: str = ""


class Answered(NamedTuple):
    """The new system's answer. ``error``: class of what went wrong in spite of it. ``repeats``: of a request that had
    ended before, so that it is evidence of nothing new."""

    status: int
    body: Mapping[str, Any]
    error: str = ""
    cost_micros: int | None = None
    compliance: float | None = None
    repeats: bool = False


class HandedBack(NamedTuple):
    """Nothing has happened and nothing will: the legacy system may answer. ``error``: class of what went wrong.
    ``repeats``: it went wrong before, and was evidence then."""

    error: str
    repeats: bool = False


class HybridSystem:
    """The new system, as the legacy API's clients use it."""

    def __init__(self, ports: Ports, settings: Settings, engine: Engine, background: Background) -> None:
        self._ports = ports
        self._settings = settings
        self._engine = engine
        self._background = background

    async def run(self, request: HybridRequest) -> Answered | HandedBack:
        """Answer within the time that a legacy client waits; never raises but for its own cancellation."""
        give_up_at = monotonic() + self._settings.legacy_answer_within_s
        try:
            async with asyncio.timeout(min(STORE_PATIENCE_S, self._settings.legacy_answer_within_s)):
                record, _ = await self._accept(request)
        except Conflict as error:
            if (given_away := await self._is_given_away(campaign_of(request))) is not False:
                return HandedBack(ANSWERED_BY_LEGACY, repeats=True) if given_away else _nothing_to_say(error)
            errors = ({"field": "Idempotency-Key", "message": error.message},)
            return Answered(400, failure("Invalid request format", errors))
        except Exception as error:  # noqa: BLE001 - whatever failed, nothing was started yet
            return await self._not_accepted(request, error)
        if record.status.is_final:
            return await self._ended(request, record)
        try:
            await self._engine.start(record, request.trace_id)
        except Exception as error:  # noqa: BLE001 - it may have been started all the same
            return await self._perhaps_started(request, record, error)
        if request.translation.may_send:
            # It waits for a person: the client does not.
            return await self._answer(request, record, None)
        with suppress(EngineUnavailable):
            await self._engine.wait_for_end(record, max(0.0, give_up_at - monotonic()))
        return await self._after_waiting(request, record)

    async def _accept(self, request: HybridRequest) -> tuple[CampaignRecord, bool]:
        intent = request.translation.intent
        caller = Principal(user_id=request.owner, role=Role.CREATOR, accounts=frozenset(intent.accounts()))
        return await accept(
            intent,
            request.key,
            caller,
            self._ports,
            self._settings,
            datetime.now(UTC),
            routed_by=request.flag,
            # What sends is answered long before its end, which is then evidence too.
            arm=request.arm if request.translation.may_send else "",
            routed_as=request.translation.answered_as,
        )

    async def _not_accepted(self, request: HybridRequest, error: Exception) -> Answered | HandedBack:
        """Refused: nothing is stored. Else something may be, and a repetition under its key would start it."""
        refused = isinstance(error, Refusal) or (isinstance(error, HuntazeError) and not error.retryable)
        if refused or not request.translation.may_send or not request.keyed:
            return HandedBack(error_class(error))
        campaign = campaign_of(request)
        return HandedBack(error_class(error)) if await self._disarmed(campaign) else _nothing_to_say(error)

    async def _perhaps_started(
        self, request: HybridRequest, record: CampaignRecord, error: Exception
    ) -> Answered | HandedBack:
        if not request.translation.may_send:
            return HandedBack(error_class(error))
        if await self._disarmed(record.campaign_id):
            self._background.repeat(f"legacy/{record.campaign_id}", lambda: self._cancel(record))
            return HandedBack(error_class(error))
        with suppress(Exception):
            async with asyncio.timeout(STORE_PATIENCE_S):
                if present := await self._ports.campaigns.get(record.campaign_id):
                    answer = await self._answer(request, present, None)
                    return answer._replace(error=error_class(error))
        return _nothing_to_say(error)

    async def abandon(self, request: HybridRequest, patience_s: float) -> None:
        """End the run of a request that sends nothing and whose answer nobody wants any more.

        A worker gets ``patience_s`` to stop it and to book what it cost; then, with no worker there, it is over
        without one.
        """
        with suppress(Exception):
            client = await self._engine.client()
            run = client.get_workflow_handle(generation_workflow_id(campaign_of(request)))
            await run.cancel(rpc_timeout=CALL_TIMEOUT)
            try:
                async with asyncio.timeout(patience_s):
                    await run.result()
            except TimeoutError:
                await run.terminate(reason=TIMEOUT, rpc_timeout=CALL_TIMEOUT)
                await self._ports.campaigns.set_status(campaign_of(request), CampaignStatus.CANCELLED, TIMEOUT)

    async def _is_given_away(self, campaign: str) -> bool | None:
        """Whether the legacy system has a request; ``None``: nobody can tell."""
        with suppress(Exception):
            async with asyncio.timeout(STORE_PATIENCE_S):
                record = await self._ports.campaigns.get(campaign)
                return record is not None and _given_away(record)
        return None

    async def _disarmed(self, campaign_id: str) -> bool:
        """End a request that no workflow has taken up; False: one has, or nobody can tell."""
        try:
            async with asyncio.timeout(STORE_PATIENCE_S):
                # The first revision: every workflow's own change is newer, so this counts only before any of them. And
                # being an end, it stays when a workflow comes up later: delivery looks at it before each send.
                await self._ports.campaigns.set_status(
                    campaign_id, CampaignStatus.CANCELLED, ANSWERED_BY_LEGACY, revision=1
                )
                record = await self._ports.campaigns.get(campaign_id)
        except Exception:  # noqa: BLE001 - whatever failed, it is not known to be ended
            return False
        return record is not None and _given_away(record)

    async def _cancel(self, record: CampaignRecord) -> None:
        """A workflow that started all the same would write drafts that nobody can send."""
        request = ControlRequest(requested_by="legacy-api", reason=ANSWERED_BY_LEGACY)
        with suppress(NotRunning):
            await self._engine.signal(record, CampaignWorkflow.cancel, request)

    async def _ended(self, request: HybridRequest, record: CampaignRecord) -> Answered | HandedBack:
        """A repetition of what has ended."""
        if _given_away(record):
            return HandedBack(ANSWERED_BY_LEGACY, repeats=True)
        return (await self._after_waiting(request, record))._replace(repeats=True)

    async def _after_waiting(self, request: HybridRequest, record: CampaignRecord) -> Answered | HandedBack:
        try:
            async with asyncio.timeout(STORE_PATIENCE_S):
                result = await self._ports.campaigns.result(record.campaign_id)
                present = await self._ports.campaigns.get(record.campaign_id) or record
        except Exception as error:  # noqa: BLE001 - whatever failed, there is no answer
            return _nothing_to_say(error) if request.translation.may_send else HandedBack(error_class(error))
        if request.translation.may_send or (result is not None and result.status is CampaignStatus.COMPLETED):
            return await self._answer(request, present, result)
        if present.status is CampaignStatus.FAILED:
            return HandedBack(present.status_reason or FAILED)
        return HandedBack(TIMEOUT)

    async def _answer(self, request: HybridRequest, record: CampaignRecord, result: WorkflowResult | None) -> Answered:
        data = data_of(
            record,
            result,
            user_id=request.user,
            platforms=request.translation.platforms,
            waiting=request.translation.may_send and await awaits_review(record, self._ports),
        )
        return Answered(
            200,
            success(data, message_of(result)),
            cost_micros=result.detailed_costs.total_cost_micros if result else None,
            compliance=result.compliance_score if result else None,
        )


async def awaits_review(record: CampaignRecord, ports: Ports) -> bool:
    """Whether drafts wait for a person; False when nobody can tell now."""
    if record.status.is_final:
        return False
    with suppress(Exception):
        async with asyncio.timeout(STORE_PATIENCE_S):
            drafts = await ports.messages.list(
                record.campaign_id, status=MessageStatus.DRAFTED, account_id=None, limit=1, cursor=None
            )
            return bool(drafts.messages)
    return False


def campaign_of(request: HybridRequest) -> str:
    """The id under which the request is stored, if it is."""
    return campaign_id(request.owner, request.key)


def error_class(error: Exception) -> str:
    """What a log, a metric and a rollout call an error."""
    match error:
        case TimeoutError():
            return TIMEOUT
        case DependencyUnavailable():
            return STORE_UNAVAILABLE
        case EngineUnavailable():
            return ENGINE_UNAVAILABLE
        case Refusal():
            return str(error.cause.error_type)
        case HuntazeError():
            return str(error.error_type)
    return UNEXPECTED


def _given_away(record: CampaignRecord) -> bool:
    return record.status is CampaignStatus.CANCELLED and record.status_reason == ANSWERED_BY_LEGACY


def _nothing_to_say(error: Exception) -> Answered:
    """It may have been taken on, so nobody else may do it."""
    message = (
        "The request may have been taken on, and whether it was can't be found out at the moment. Repeat it with the "
        "same Idempotency-Key if it has one; without one, look at the list of campaigns first."
    )
    return Answered(500, failure(message), error=error_class(error))
