"""Which of our requests a legacy request is.

Total: whatever object a client sends is a request of ours, a reason why it is none, or a bad request by the legacy
API's own contract.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from re import fullmatch
from typing import Any, Final

from pydantic import ConfigDict, Field, ValidationError, model_validator

from domain.campaign import MAX_AUDIENCE, AudienceMember, OnlyFansContext, WorkflowIntent
from domain.delivery import Priority
from domain.legacy import NEUTRAL_ACCOUNT, LegacyReason, usable_user
from domain.model import Model
from domain.provider import IntentType

NEUTRAL_RECIPIENT: Final = "unnamed"
"""The recipient of a message that is only written, for nobody in particular."""

NEUTRAL_NAME: Final = "there"
"""How a fan is addressed whose name nobody gave: «Hi there»."""

MAX_BRIEF: Final = 2_000
MAX_PLATFORMS_NAMED: Final = 300
"""Characters of a brief that foreign platforms may take."""

ACTION_TYPES: Final[Mapping[str, IntentType]] = {
    "content_planning": IntentType.CONTENT_PLANNING,
    "generate_content": IntentType.CONTENT_PLANNING,
    "create_post": IntentType.CONTENT_PLANNING,
    "plan_campaign": IntentType.CAMPAIGN_EXECUTION,
    "send_message": IntentType.MESSAGE_GENERATION,
    "validate_content": IntentType.CONTENT_VALIDATION,
}
"""The contract's table; any other action is ``content_planning``."""

_BRIEF_KEYS: Final = ("brief", "prompt", "description", "topic", "text", "content", "message", "caption", "title")
_TEXT_KEYS: Final = ("text", "content", "message", "caption", "body")
_PRIORITIES: Final = {
    "low": Priority.LOW,
    "high": Priority.HIGH,
    "urgent": Priority.CRITICAL,
    "critical": Priority.CRITICAL,
}


class LegacyCampaign(Model):
    """A request to ``POST /api/campaigns``, in either spelling."""

    # Errors speak of fields as the legacy system does.
    model_config = ConfigDict(alias_generator=None)

    user_id: str = Field(min_length=1)
    action: str = Field(min_length=1)
    payload: dict[str, Any]
    platform: str | None = None
    platforms: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _both_spellings(cls, given: Any) -> Any:
        if isinstance(given, dict) and "user_id" not in given and "userId" in given:
            return {**given, "user_id": given["userId"]}
        return given

    @property
    def all_platforms(self) -> tuple[str, ...]:
        """``platform: "x"`` is ``platforms: ["x"]``."""
        return self.platforms or ((self.platform,) if self.platform else ())

    @property
    def type(self) -> IntentType:
        """What the answer calls it, whatever runs in the end."""
        return ACTION_TYPES.get(self.action, IntentType.CONTENT_PLANNING)


class Translation(Model):
    """A legacy request as one of ours. ``answered_as``: its type in the legacy answer; ``platforms`` go back as they
    came."""

    intent: WorkflowIntent
    answered_as: IntentType
    platforms: tuple[str, ...]

    @property
    def may_send(self) -> bool:
        """Whether running it can lead to messages."""
        return self.intent.type is IntentType.CAMPAIGN_EXECUTION


def bad_request(error: ValidationError) -> list[dict[str, str]]:
    """The contract's ``errors`` of a 400."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [{"field": ".".join(map(str, each["loc"])), "message": each["msg"]} for each in found]


def may_send(campaign: LegacyCampaign) -> bool:
    """Whether it can lead to messages, whoever asks for it and from whichever account."""
    return _kind(campaign, _names_recipients(campaign.payload)) is IntentType.CAMPAIGN_EXECUTION


def translate(
    campaign: LegacyCampaign, accounts: frozenset[str] | None, *, max_audience: int = MAX_AUDIENCE
) -> Translation | LegacyReason:
    """Ours for theirs. ``accounts``: those of the caller's token; ``None``: there is no token, and whoever named the
    user is trusted to have checked the account as well."""
    if not usable_user(campaign.user_id):
        return LegacyReason.UNUSABLE_USER_ID
    several = campaign.payload.get("recipientIds")
    if isinstance(several, list) and len(several) > max_audience:
        # Before anything is done for each of them.
        return LegacyReason.TOO_MANY_RECIPIENTS
    recipients = _recipients(campaign.payload)
    if recipients is None:
        return LegacyReason.UNUSABLE_RECIPIENT
    kind = _kind(campaign, bool(recipients))
    if isinstance(kind, LegacyReason):
        return kind
    account = _account(campaign.payload, accounts, sends=kind is IntentType.CAMPAIGN_EXECUTION)
    if isinstance(account, LegacyReason):
        return account
    if kind is IntentType.MESSAGE_GENERATION and len(recipients) > 1:
        return LegacyReason.SEVERAL_RECIPIENTS
    text = _first_text(campaign.payload, _TEXT_KEYS) if kind is IntentType.CONTENT_VALIDATION else ""
    if kind is IntentType.CONTENT_VALIDATION and not text:
        return LegacyReason.NO_TEXT
    try:
        intent = WorkflowIntent(
            type=kind,
            only_fans_context=OnlyFansContext(account_id=account),
            client_version="legacy-api",
            priority=_priority(campaign.payload.get("priority")),
            brief="" if text else _brief(campaign),
            text=text,
            audience=_audience(kind, recipients, campaign.payload.get("recipientName")),
        )
    except ValidationError:
        return LegacyReason.NOT_ACCEPTED
    return Translation(intent=intent, answered_as=campaign.type, platforms=campaign.all_platforms)


def without_effect(translation: Translation) -> Translation:
    """The same for a shadow run: what would send only plans, in nobody's name and on nobody's account."""
    intent = translation.intent
    sends = translation.may_send
    return translation.model_copy(
        update={
            "intent": intent.model_copy(
                update={
                    "type": IntentType.CONTENT_PLANNING if sends else intent.type,
                    "audience": () if sends else intent.audience,
                    "only_fans_context": OnlyFansContext(account_id=NEUTRAL_ACCOUNT),
                    "priority": Priority.LOW,
                }
            )
        }
    )


def _kind(campaign: LegacyCampaign, has_recipients: bool) -> IntentType | LegacyReason:
    """What runs: only what is to be sent, and has somebody to go to, is a campaign."""
    send = campaign.payload.get("sendToOnlyFans")
    if send is not None and not isinstance(send, bool):
        return LegacyReason.UNCLEAR_WHETHER_TO_SEND
    if campaign.type is IntentType.CONTENT_VALIDATION:
        return campaign.type
    if has_recipients and (send or (send is None and campaign.type is IntentType.CAMPAIGN_EXECUTION)):
        return IntentType.CAMPAIGN_EXECUTION
    return IntentType.CONTENT_PLANNING if campaign.type is IntentType.CAMPAIGN_EXECUTION else campaign.type


def _account(payload: Mapping[str, Any], accounts: frozenset[str] | None, *, sends: bool) -> str | LegacyReason:
    """The one that is named, else the token's only one; what sends nothing may do without."""
    named = payload.get("accountId")
    usable = isinstance(named, str) and fullmatch(r"acct_[A-Za-z0-9]{1,64}", named) is not None
    if usable and (accounts is None or named in accounts):
        return str(named)
    if not sends:
        return NEUTRAL_ACCOUNT
    if named is not None:
        return LegacyReason.FOREIGN_ACCOUNT
    if accounts is not None and len(accounts) == 1:
        return next(iter(accounts))
    return LegacyReason.NO_ACCOUNT


def _names_recipients(payload: Mapping[str, Any]) -> bool:
    several = payload.get("recipientIds")
    return payload.get("recipientId") is not None or bool(several)


def _recipients(payload: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Their ids without repetitions; ``None`` when one of them can't be a fan's."""
    one, several = payload.get("recipientId"), payload.get("recipientIds")
    if several is not None and not isinstance(several, list):
        return None
    named = [each for each in (one, *(several or ())) if each is not None]
    ids = [str(each) for each in named if isinstance(each, str | int) and not isinstance(each, bool)]
    if len(ids) != len(named) or not all(fullmatch(r"[A-Za-z0-9_-]{1,64}", each) for each in ids):
        return None
    return tuple(dict.fromkeys(ids))


def _audience(kind: IntentType, recipients: tuple[str, ...], name: object) -> tuple[AudienceMember, ...]:
    if kind is IntentType.MESSAGE_GENERATION:
        return (_member(recipients[0] if recipients else NEUTRAL_RECIPIENT, name),)
    if kind is IntentType.CAMPAIGN_EXECUTION:
        # A name is one fan's.
        return tuple(_member(each, name if len(recipients) == 1 else None) for each in recipients)
    return ()


def _member(recipient_id: str, name: object) -> AudienceMember:
    try:
        return AudienceMember.model_validate({"recipientId": recipient_id, "name": name})
    except ValidationError:
        return AudienceMember(recipient_id=recipient_id, name=NEUTRAL_NAME)


def _brief(campaign: LegacyCampaign) -> str:
    """What the client says it is about, else a sentence made of what it asks for; with the platforms beside ours."""
    foreign = ", ".join(each for each in campaign.all_platforms if each.lower() != "onlyfans")
    platforms = _readable(foreign)[:MAX_PLATFORMS_NAMED]
    wish = _first_text(campaign.payload, _BRIEF_KEYS) or _sentence(campaign)
    suffix = f" (platforms: {platforms})" if platforms else ""
    return wish[: MAX_BRIEF - len(suffix)] + suffix


def _sentence(campaign: LegacyCampaign) -> str:
    action = _readable(campaign.action).replace("_", " ").strip()[:100] or "content"
    content_type = campaign.payload.get("contentType")
    kind = _readable(content_type).strip()[:100] if isinstance(content_type, str) else ""
    return f"{action}: a warm and personal {kind or 'post'}"


def _first_text(payload: Mapping[str, Any], keys: Iterable[str]) -> str:
    texts = (_readable(payload[key]).strip() for key in keys if isinstance(payload.get(key), str))
    return next((text for text in texts if text), "")


def _readable(text: str) -> str:
    """Without control characters and halves of surrogate pairs, which no store takes."""
    return "".join(sign for sign in text if sign in "\n\t" or unicodedata.category(sign) not in {"Cc", "Cs"})


def _priority(given: object) -> Priority:
    return _PRIORITIES.get(given.lower(), Priority.MEDIUM) if isinstance(given, str) else Priority.MEDIUM
