"""Every way in which the product can refuse or fail.

HuntazeError
├── InvalidRequest          invalid_request          the caller can mend it; names the field
│   ├── Conflict                                     the state does not allow it now
│   ├── NotFound                                     not there, or not the caller's to see
│   └── TooLarge                                     more than the product accepts
├── Forbidden               invalid_request          authenticated, but not allowed
├── ProviderError           provider_unavailable     an AI provider failed; carries a ``ProviderFault``
├── GatewayError            onlyfans_api_error       the OnlyFans gateway failed; carries a ``GatewayFault``
├── RateLimitExceeded       rate_limit_exceeded      a limit binds; carries when to come back
├── DependencyUnavailable   provider_unavailable     one of our own stores can't be reached
├── CostLimitExceeded       cost_limit_exceeded      a budget binds
└── ComplianceViolation     compliance_violation     a rule forbids the text; names the rules
"""

from enum import StrEnum


class ErrorType(StrEnum):
    """The classes that callers and workflows branch on; never on a message text."""

    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    INVALID_REQUEST = "invalid_request"
    ONLYFANS_API_ERROR = "onlyfans_api_error"
    COST_LIMIT_EXCEEDED = "cost_limit_exceeded"
    COMPLIANCE_VIOLATION = "compliance_violation"


class ProviderFault(StrEnum):
    """What went wrong with an AI provider, by what helps against it."""

    THROTTLED = "throttled"
    TRANSIENT = "transient"
    TIMEOUT = "timeout"
    AUTH = "auth"
    INVALID_REQUEST = "invalid_request"
    CONTENT_POLICY = "content_policy"
    MALFORMED_OUTPUT = "malformed_output"
    CONTEXT_LENGTH = "context_length"


class GatewayFault(StrEnum):
    """What went wrong at the OnlyFans gateway, by what helps against it.

    ``transient``: no connection, so nothing was sent. ``unknown_outcome``: no answer; the gateway remembers the
    idempotency key. ``server_error``: an answer (5xx, 408) that the gateway does not keep under the key, so that
    repeating the key proves nothing and the chat has to be read first.
    """

    THROTTLED = "throttled"
    TRANSIENT = "transient"
    SERVER_ERROR = "server_error"
    UNKNOWN_OUTCOME = "unknown_outcome"
    SESSION_EXPIRED = "session_expired"
    AUTH = "auth"
    BANNED_WORDS = "banned_words"
    RECIPIENT_NOT_FOUND = "recipient_not_found"
    INVALID_REQUEST = "invalid_request"


class HuntazeError(Exception):
    """The root. ``retryable``: the same call may succeed later; ``retry_after_s``: not before then (seconds)."""

    error_type: ErrorType = ErrorType.INVALID_REQUEST
    retryable: bool = False

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class InvalidRequest(HuntazeError):
    """The caller sent something that can't be accepted; ``field`` is its JSON path, the message the remedy."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Conflict(InvalidRequest):
    """The request is well formed, but the present state does not allow it."""


class NotFound(InvalidRequest):
    """There is no such thing, or it is not the caller's to see (the two are not told apart)."""


class TooLarge(InvalidRequest):
    """The request is larger than the product accepts."""


class Forbidden(HuntazeError):
    """The caller is known, but not allowed to do this."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ProviderError(HuntazeError):
    """An AI provider did not give a usable answer.

    ``billed_tokens``: (input, output, of the input cached, of the output reasoning) tokens of an answer that was
    charged all the same. ``billing_unknown``: the answer may have been made, and charged, after nobody waited for it.
    """

    error_type = ErrorType.PROVIDER_UNAVAILABLE

    def __init__(
        self,
        message: str,
        *,
        fault: ProviderFault,
        retry_after_s: float | None = None,
        billed_tokens: tuple[int, int, int, int] | None = None,
        billing_unknown: bool = False,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.fault = fault
        self.billed_tokens = billed_tokens
        self.billing_unknown = billing_unknown
        self.retryable = fault not in {
            ProviderFault.INVALID_REQUEST,
            ProviderFault.CONTENT_POLICY,
            ProviderFault.CONTEXT_LENGTH,
            # Four answers of two providers could not be read by then, and every further one would be paid for.
            ProviderFault.MALFORMED_OUTPUT,
        }


class GatewayError(HuntazeError):
    """The OnlyFans gateway refused a call, or its outcome is not known."""

    error_type = ErrorType.ONLYFANS_API_ERROR

    def __init__(self, message: str, *, fault: GatewayFault, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.fault = fault
        self.retryable = fault in {
            GatewayFault.THROTTLED,
            GatewayFault.TRANSIENT,
            GatewayFault.SERVER_ERROR,
            GatewayFault.UNKNOWN_OUTCOME,
            GatewayFault.SESSION_EXPIRED,
        }


class RateLimitExceeded(HuntazeError):
    """A limit of ours binds; ``retry_after_s`` is the first moment at which the call can succeed."""

    error_type = ErrorType.RATE_LIMIT_EXCEEDED
    retryable = True


class DependencyUnavailable(HuntazeError):
    """Redis, DynamoDB or Temporal can't be reached; nothing was decided, so nothing may be done."""

    error_type = ErrorType.PROVIDER_UNAVAILABLE
    retryable = True


class CostLimitExceeded(HuntazeError):
    """A budget has not enough left; ``scope`` names it (``request``, ``user_day``, …), ``remaining_micros`` in µ$."""

    error_type = ErrorType.COST_LIMIT_EXCEEDED

    def __init__(self, message: str, *, scope: str, remaining_micros: int = 0) -> None:
        super().__init__(message)
        self.scope = scope
        self.remaining_micros = remaining_micros


class ComplianceViolation(HuntazeError):
    """A rule forbids this text; ``rules`` are the ids of the rules that it breaks."""

    error_type = ErrorType.COMPLIANCE_VIOLATION

    def __init__(self, message: str, *, rules: tuple[str, ...]) -> None:
        super().__init__(message)
        self.rules = rules
