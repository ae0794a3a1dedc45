"""The legacy campaign API: its paths and users, its calls and answers, and who answered for which reason."""

from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import unquote

from domain.errors import ErrorType, HuntazeError

PATH: Final = "/api/campaigns"
"""Everything from here on belongs to the legacy API."""

SHADOW_USER: Final = "\x1fshadow"
"""Whose requests shadow runs are. The control character is in no token's subject and in no legacy user's id."""

LEGACY_USER: Final = "\x1flegacy"
"""Whose the records are of requests that the legacy system answers: nobody's lists show them."""

MAX_USER_ID: Final = 255
"""Characters: as many as a token's subject may have."""

NEUTRAL_ACCOUNT: Final = "acct_legacy"
"""The account of requests that send nothing and name none."""

VERSION = "v1-legacy-compatible"
FALLBACK_VERSION = "v1-fallback"


class AnsweredBy(StrEnum):
    """Which system answered a legacy request."""

    LEGACY = "legacy"
    HYBRID = "hybrid"


class LegacyReason(StrEnum):
    """Why a request that the flag may have led to us belongs to the legacy system all the same.

    Decided before anything is stored or started.
    """

    NO_USER = "no_user"
    TOO_LARGE = "too_large"
    UNAUTHENTICATED = "unauthenticated"
    TOKEN_OF_ANOTHER_USER = "token_of_another_user"  # noqa: S105 - no password
    TOKEN_NOT_CHECKED = "token_not_checked"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    UNUSABLE_USER_ID = "unusable_user_id"
    UNUSABLE_KEY = "unusable_idempotency_key"
    NO_ACCOUNT = "no_account"
    FOREIGN_ACCOUNT = "foreign_account"
    UNUSABLE_RECIPIENT = "unusable_recipient"
    TOO_MANY_RECIPIENTS = "too_many_recipients"
    SEVERAL_RECIPIENTS = "several_recipients"
    UNCLEAR_WHETHER_TO_SEND = "unclear_whether_to_send"
    NO_TEXT = "no_text"
    NOT_ACCEPTED = "not_accepted"


class LegacyFault(StrEnum):
    """What went wrong with the legacy system itself."""

    NOT_CONFIGURED = "not_configured"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    SILENT = "silent"
    BUSY = "busy"
    UNFORWARDABLE = "unforwardable"


class LegacyUnavailable(HuntazeError):
    """The legacy system gave no answer. ``unreachable``: it was not even asked; ``broken``: the connection ended
    before the answer did; ``silent``: no connection, or no answer, in time; ``busy``: too many requests to it
    are under way; ``unforwardable``: the request breaks the rules of HTTP."""

    error_type = ErrorType.PROVIDER_UNAVAILABLE
    retryable = True

    def __init__(self, message: str, fault: LegacyFault) -> None:
        super().__init__(message)
        self.fault = fault


Headers = tuple[tuple[bytes, bytes], ...]


class LegacyCall(NamedTuple):
    """A request to the legacy system as it goes onto the wire. ``target``: path and query, percent-encoded as they
    came. ``body``: ``None`` when there is none."""

    method: str
    target: bytes
    headers: Headers
    body: AsyncIterator[bytes] | None = None


class LegacyAnswer(NamedTuple):
    """What came back; ``chunks`` raises ``LegacyUnavailable`` when it ends too early or falls silent."""

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]


def is_legacy(path: str) -> bool:
    """Whether a path belongs to the legacy API: nothing of ours is added to its answers."""
    return path == PATH or path.startswith(f"{PATH}/")


def has_dot_segments(path: str) -> bool:
    """Whether a path climbs: a server that resolves it may end up outside of the legacy API.

    ``path`` was decoded once. Some servers decode it again, and some take off what follows a ``;`` in a segment.
    """
    segments = unquote(path).replace("\\", "/").split("/")
    return any(segment.split(";", 1)[0] in {".", ".."} for segment in segments)


def usable_user(user: str) -> bool:
    """Whether our stores and logs can take the id, and it is none of our own."""
    return 0 < len(user) <= MAX_USER_ID and user.isprintable() and user.strip() == user


def user_of(document: object, query: Mapping[str, str]) -> str | None:
    """Whose request it is: ``user_id`` or ``userId`` of the body, else of the query."""
    body = document if isinstance(document, dict) else {}
    named = (body.get("user_id", body.get("userId")), query.get("user_id"), query.get("userId"))
    return next((user for user in named if isinstance(user, str) and user), None)


def platforms_of(document: object) -> tuple[str, ...]:
    """The platforms that a body names, lower case, as far as they are readable."""
    body = document if isinstance(document, dict) else {}
    several, one = body.get("platforms"), body.get("platform")
    named = several if isinstance(several, list) and several else [one]
    return tuple(each.lower() for each in named if isinstance(each, str))
