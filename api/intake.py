"""From what a caller asks for to what is stored: every check before anything is started."""

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from adapters.bootstrap import Ports
from adapters.settings import Settings
from api.direct import require_moderated
from api.fields import FieldError
from api.refusals import MalformedRequest, Refusal
from domain.access import Principal
from domain.campaign import (
    AudiencePage,
    CampaignRecord,
    WorkflowIntent,
    campaign_id,
    duplicate_recipients,
    fingerprint,
    lanes_of,
    languages_of,
    paginate,
)
from domain.compliance import ComplianceLevel, check
from domain.errors import Conflict, Forbidden, InvalidRequest, TooLarge
from domain.general_text import names_in
from domain.provider import IntentType

FIELDS_NAMED = 10
"""Wrong recipients that one answer lists."""

_KEY = re.compile(r"^[\x20-\x7e]{1,255}$")


async def accept(
    intent: WorkflowIntent,
    key: str,
    caller: Principal,
    ports: Ports,
    settings: Settings,
    now: datetime,
    *,
    routed_by: str = "",
    arm: str = "",
    routed_as: IntentType | None = None,
) -> tuple[CampaignRecord, bool]:
    """Check and store a request; returns it and whether it was there before."""
    if intent.type is IntentType.DIRECT_MESSAGE:
        raise InvalidRequest("a single message that you wrote goes to POST /api/v2/onlyfans/messages", field="type")
    _check_audience(intent, settings.max_audience)
    _check_accounts(intent, caller)
    await _check_autonomy(intent, ports)
    if text := intent.delivery.alternative_text:
        await require_moderated(text, check(text), ports, field="delivery.alternativeText")
    await _check_times(intent, campaign_id(caller.user_id, key), ports, now)
    # A hundred thousand recipients take a second to sort into pages: not on the event loop.
    record, pages = await asyncio.to_thread(_prepare, intent, key, caller.user_id, settings.page_size, now)
    record = record.model_copy(update={"routed_by": routed_by, "arm": arm, "routed_as": routed_as})
    stored = await ports.campaigns.create(record, pages)
    if stored.fingerprint != record.fingerprint:
        raise Conflict(
            "This Idempotency-Key (or requestId) was used before with a different body; "
            "use a new one for a new request.",
            field="Idempotency-Key",
        )
    return stored, stored.created_at != record.created_at


def request_key(header: str | None, intent: WorkflowIntent) -> str:
    """What makes two requests the same: the header, else the body's ``requestId``, else nothing does."""
    return checked_key(header) if header is not None else intent.request_id or str(uuid4())


def checked_key(header: str) -> str:
    """An ``Idempotency-Key`` that can be used; raises ``MalformedRequest``."""
    if not _KEY.match(header):
        raise MalformedRequest(
            "The Idempotency-Key must have between 1 and 255 printable ASCII characters.", field="Idempotency-Key"
        )
    return header


def _prepare(
    intent: WorkflowIntent, key: str, owner: str, page_size: int, now: datetime
) -> tuple[CampaignRecord, Sequence[AudiencePage]]:
    pages = paginate(intent, page_size)
    context = intent.only_fans_context
    record = CampaignRecord(
        campaign_id=campaign_id(owner, key),
        request_id=intent.request_id or key,
        owner=owner,
        type=intent.type,
        message_type=context.message_type,
        compliance_level=context.compliance_level,
        priority=intent.priority,
        preferred_provider=intent.preferred_provider,
        max_cost_micros=intent.max_cost_micros,
        on_budget=intent.on_budget,
        languages=languages_of(intent),
        brief=intent.brief,
        named=names_in(intent.brief, (member.name for member in intent.audience)),
        text=intent.text,
        account_id=context.account_id,
        lanes=lanes_of(pages),
        audience_size=len(intent.audience),
        page_size=page_size,
        fingerprint=fingerprint(intent),
        created_at=now,
        client_version=intent.client_version,
        delivery=intent.delivery.terms,
        review_expires_after_hours=intent.review.expires_after_hours,
    )
    return record, pages


def _check_audience(intent: WorkflowIntent, most: int) -> None:
    if len(intent.audience) > most:
        raise TooLarge(
            f"The audience has {len(intent.audience)} recipients; at most {most} fit in one campaign. Split it.",
            field="audience",
        )
    if repeated := duplicate_recipients(intent):
        raise Refusal(
            InvalidRequest(f"{len(repeated)} recipients are named more than once on the same account; name each once."),
            tuple(
                FieldError(
                    field=f"audience[{again}].recipientId",
                    message=f"is the same recipient as audience[{first}] on the same account; remove one of them",
                )
                for again, first in repeated[:FIELDS_NAMED]
            ),
        )


def _check_accounts(intent: WorkflowIntent, caller: Principal) -> None:
    foreign = set(caller.foreign_accounts(intent.accounts()))
    if not foreign:
        return
    fields = [
        f"audience[{index}].accountId" for index, member in enumerate(intent.audience) if member.account_id in foreign
    ]
    if intent.only_fans_context.account_id in foreign:
        fields.insert(0, "onlyFansContext.accountId")
    raise Refusal(
        Forbidden(f"The token does not allow sending from {len(foreign)} of the accounts that the request names."),
        tuple(
            FieldError(field=field, message="use an account that the token's claim accounts lists")
            for field in fields[:FIELDS_NAMED]
        ),
    )


async def _check_times(intent: WorkflowIntent, campaign: str, ports: Ports, now: datetime) -> None:
    """What is over already is a mistake of the caller, unless the request is an old one that is repeated."""
    times = intent.delivery.terms.times
    over = [name for name, at in (("expiresAt", times.expires_at), ("deadline", times.deadline)) if at and at <= now]
    if over and await ports.campaigns.get(campaign) is None:
        raise InvalidRequest(f"delivery.{over[0]} has passed; name a later moment.", field=f"delivery.{over[0]}")


async def _check_autonomy(intent: WorkflowIntent, ports: Ports) -> None:
    level = intent.only_fans_context.compliance_level
    if level is ComplianceLevel.STRICT:
        return
    opt_ins = await asyncio.gather(*(ports.autonomy.get(account) for account in intent.accounts()))
    for opt_in in opt_ins:
        if not opt_in.allows(level):
            raise Forbidden(
                f"{opt_in.account_id} allows campaigns at most as relaxed as {opt_in.level}. Ask for complianceLevel "
                f"{opt_in.level}, or let the owner opt in: PUT /api/v2/accounts/{opt_in.account_id}/autonomy.",
                field="onlyFansContext.complianceLevel",
            )
