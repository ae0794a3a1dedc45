"""What a person decides about drafts, on its way to the workflow: checked against what waits, then signalled."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog

from adapters.bootstrap import Ports
from api.background import Background
from api.direct import require_moderated, require_unblocked
from api.engine import Engine, EngineUnavailable, NotRunning
from api.fields import FieldError
from api.refusals import Refusal
from api.steering import require_steerable
from domain.campaign import CampaignRecord
from domain.compliance import MAX_TEXT_CHARACTERS, ComplianceReport, check
from domain.compliance_disclosure import demands_disclosure, disclosed, discloses
from domain.delivery import Message, MessageReview, MessageStatus
from domain.errors import Conflict, InvalidRequest, NotFound
from domain.progress import CampaignProgress
from domain.provider import RecipientProfile
from domain.quality import quality_score
from domain.review import (
    MAX_EDITS,
    EditRequest,
    PageKey,
    ReviewDecision,
    ReviewRequest,
    Verdict,
    WaitingPage,
    edited,
    is_approvable,
)
from domain.similarity import fingerprint
from workflows.campaign import CampaignWorkflow

_SIGNALS = {Verdict.APPROVE: CampaignWorkflow.approve, Verdict.REJECT: CampaignWorkflow.reject}
_log = structlog.get_logger()


async def decide(
    record: CampaignRecord, verdict: Verdict, body: ReviewRequest, user_id: str, ports: Ports, engine: Engine
) -> None:
    """Hand a decision to the campaign; raises ``Conflict`` with the fields that are about nothing that waits.

    It is about the texts that are stored now: what somebody edits until it is carried out goes on waiting.
    """
    decided_at = datetime.now(UTC)
    require_steerable(record)
    named: Sequence[Message] = ()
    if body.messages:
        named = await _named(record, verdict, body, ports)
    else:
        _require_waiting(verdict, body, await engine.progress(record))
    decision = ReviewDecision(
        pages=body.pages or tuple(dict.fromkeys(_page_of(message) for message in named)),
        messages=body.messages,
        revisions={message.message_id: message.revision for message in named},
        scope=body.scope,
        decided_by=user_id,
        decided_at=decided_at,
        comment=body.comment,
    )
    await engine.signal(record, _SIGNALS[verdict], decision)


async def edit(record: CampaignRecord, message_id: UUID, body: EditRequest, user_id: str, ports: Ports) -> Message:
    """Give a draft a new text, if it still is one and nobody else was faster; repeating a successful edit is harmless.

    Where the recipient's region demands it, the text gets the sentence that says that AI helped, as every draft does.
    Raises ``NotFound``, ``Conflict`` with what the message is now, and a refusal that names the rules that the new text
    breaks, or says that it has no room for that sentence.
    """
    require_steerable(record)
    message = await _message(record, message_id, ports)
    audience = await ports.campaigns.audience_page(record.campaign_id, message.account_id, message.page)
    recipient = next(each for each in audience.recipients if each.recipient_id == message.recipient_id)
    text = disclosed(body.text, region=recipient.region, language=recipient.language)
    body = body.model_copy(update={"text": text})
    if _is_done(message, body, user_id):
        return message
    _require_editable(message, body)
    require_unblocked(check(text))
    _require_disclosed(text, recipient.region)
    report = await require_moderated(text, await _reported(message, text, recipient, ports), ports)
    # The moment right before it is stored: a decision that was made before it is about the text before it.
    review = MessageReview(decided_by=user_id, decided_at=datetime.now(UTC), comment=body.comment)
    changed = edited(message, body, report, quality_score(text, recipient.name), review)
    if not await ports.messages.edit(changed):
        now = await _message(record, message_id, ports)
        if _is_done(now, body, user_id):
            return now
        _require_editable(now, body.model_copy(update={"revision": message.revision}))
        raise Conflict("The draft was changed at this moment; read it again.")
    return changed


async def tell_changed(record: CampaignRecord, message: Message, engine: Engine, background: Background) -> None:
    """Let the campaign read the page of a changed message again. What is stored holds whether it hears of it or not."""
    page = _page_of(message)

    async def tell() -> None:
        try:
            await engine.signal(record, CampaignWorkflow.page_changed, page)
        except NotRunning:
            _log.warning("review.nobody_to_tell", campaign_id=record.campaign_id)

    try:
        await tell()
    except EngineUnavailable:
        background.repeat(f"page_changed/{record.campaign_id}/{page.account_id}/{page.page}", tell)


async def _named(record: CampaignRecord, verdict: Verdict, body: ReviewRequest, ports: Ports) -> tuple[Message, ...]:
    """The messages of a decision; raises ``Conflict`` for those that the verdict can't be about."""
    stored = await ports.messages.get_many(record.campaign_id, body.messages)
    wrong = [
        FieldError(field=f"messages[{index}]", message=problem)
        for index, message_id in enumerate(body.messages)
        if (problem := _undecidable(stored.get(message_id), verdict, body.revisions.get(message_id)))
    ]
    if wrong:
        raise Refusal(
            Conflict(f"{len(wrong)} of the messages can't be decided that way now; nothing was decided."), tuple(wrong)
        )
    return tuple(stored.values())


async def _reported(message: Message, text: str, recipient: RecipientProfile, ports: Ports) -> ComplianceReport:
    """What our rules say about a new text; like a draft it is compared with the other texts of its campaign."""
    mine = str(message.message_id)
    alike = await ports.similarity.compare(message.campaign_id, {mine: fingerprint(text, recipient.name)})
    return check(text, region=recipient.region, alike=alike.get(mine, 0))


def _require_disclosed(text: str, region: str) -> None:
    """Raises ``InvalidRequest`` for a text that has no room left for the sentence that ``region`` demands."""
    if demands_disclosure(region) and not discloses(text):
        raise InvalidRequest(
            f"a message to {region} must say that AI helped to write it, and with the sentence that says so it is "
            f"longer than {MAX_TEXT_CHARACTERS} characters; shorten it",
            field="text",
        )


def _page_of(message: Message) -> PageKey:
    return PageKey(account_id=message.account_id, page=message.page)


def _undecidable(message: Message | None, verdict: Verdict, revision: int | None) -> str:
    if message is None:
        return "the campaign has no such message; see its messages"
    if message.status is not MessageStatus.DRAFTED:
        return f"it is no draft that waits: {_told(message)}"
    if verdict is Verdict.APPROVE and not is_approvable(message):
        return "it has no text that may be sent; give it one with PUT …/text, or reject it"
    if revision is not None and revision != message.revision:
        return f"{_edited_since(message, revision)} Read it again, then decide about that revision."
    return ""


def _require_waiting(verdict: Verdict, body: ReviewRequest, progress: CampaignProgress | None) -> None:
    """Raises ``Conflict`` where nothing waits for such a decision; nobody to ask means that anything may wait."""
    if progress is None or body.scope == "campaign":
        return
    waiting = {(page.account_id, page.page): page for page in progress.pending_reviews}
    if not body.pages and not waiting:
        raise Conflict(
            'Nothing waits for a decision now. Decide when progress.pendingReviews names pages, or send "scope": '
            '"campaign" to decide about all pages to come as well.'
        )
    if not body.pages and not any(_undecided(page, verdict) == "" for page in waiting.values()):
        raise Conflict("All drafts that wait lack a text that may be sent: edit them, or reject them.")
    wrong = [
        FieldError(field=f"pages[{index}]", message=f"page {key.page} of {key.account_id} {problem}")
        for index, key in enumerate(body.pages)
        if (problem := _undecided(waiting.get((key.account_id, key.page)), verdict))
    ]
    if wrong:
        raise Refusal(
            Conflict(f"{len(wrong)} of the pages do not wait for a decision; see progress.pendingReviews."),
            tuple(wrong),
        )


def _undecided(page: WaitingPage | None, verdict: Verdict) -> str:
    if page is None:
        return "does not wait"
    if verdict is Verdict.APPROVE and not page.awaiting:
        return "has only drafts without a text that may be sent; edit them, or reject them"
    return ""


async def _message(record: CampaignRecord, message_id: UUID, ports: Ports) -> Message:
    found: Mapping[UUID, Message] = await ports.messages.get_many(record.campaign_id, [message_id])
    if message_id not in found:
        raise NotFound("The campaign has no such message; see its messages.")
    return found[message_id]


def _is_done(message: Message, body: EditRequest, user_id: str) -> bool:
    """Whether the same caller has made this very edit already: the answer to it got lost."""
    if message.text != body.text or message.origin is None or message.origin.edited_by != user_id:
        return False
    waits = message.status is MessageStatus.DRAFTED and not body.approve
    return waits or (body.approve and message.origin.approved_by == user_id)


def _require_editable(message: Message, body: EditRequest) -> None:
    if message.status is not MessageStatus.DRAFTED:
        raise Conflict(f"Only a draft that waits for review can be edited; this one is {_told(message)}.")
    if body.revision is not None and body.revision != message.revision:
        raise Conflict(
            f"{_edited_since(message, body.revision)} Read it again before you replace it.",
            field="revision",
        )
    if message.revision >= MAX_EDITS:
        raise Conflict(f"It was edited {MAX_EDITS} times already; approve it as it is, or reject it.")


def _edited_since(message: Message, revision: int) -> str:
    by = message.origin.edited_by if message.origin else ""
    return f"It was edited meanwhile{f' by {by}' if by else ''}: it is at revision {message.revision}, not {revision}."


def _told(message: Message) -> str:
    return f"{message.status} ({message.reason})" if message.reason else str(message.status)
