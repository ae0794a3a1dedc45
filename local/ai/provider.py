"""The providers' state: what was asked, what was billed, what is to go wrong."""

import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from local.ai.model import Dialect, ModelCall, ProviderFault, Usage, UsageDetails
from local.ai.stored import StoredAnswers
from local.faults import FaultBook

# What the rate-limit headers promise for each model, per minute. Nothing is enforced: that is what faults are for.
REQUESTS_PER_MINUTE = 10_000
TOKENS_PER_MINUTE = 2_000_000
_COUNTED = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")


@dataclass(frozen=True)
class Billed:
    """One billed request; `at` is ISO 8601 in UTC."""

    request_id: str
    dialect: Dialect
    endpoint: str
    model: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    at: str


@dataclass(frozen=True)
class Arrival:
    """When a call came in: `at_ms` is milliseconds since 1970."""

    at_ms: float
    dialect: Dialect
    endpoint: str
    model: str


@dataclass
class CallCount:
    """How often an endpoint was called, and how the calls ended: by HTTP status, or `hang` or `reset`."""

    attempts: int = 0
    ended: Counter[str] = field(default_factory=Counter)


@dataclass
class _Minute:
    number: int = -1
    requests: int = 0
    tokens: int = 0


@dataclass
class Provider:
    """Everything that the simulated providers remember."""

    faults: FaultBook[ProviderFault] = field(default_factory=FaultBook[ProviderFault])
    base_latency_s: float = 0.0
    usage_details: UsageDetails = field(default_factory=UsageDetails)
    stored: StoredAnswers = field(default_factory=StoredAnswers)
    arrivals: list[Arrival] = field(default_factory=list)
    billed: list[Billed] = field(default_factory=list)
    calls: defaultdict[tuple[str, str], CallCount] = field(default_factory=lambda: defaultdict(CallCount))
    _minutes: defaultdict[tuple[str, str], _Minute] = field(default_factory=lambda: defaultdict(_Minute))
    _requests: int = 0

    def next_request_id(self) -> str:
        self._requests += 1
        return f"req_{self._requests:08d}"

    def bill(self, request_id: str, call: ModelCall, usage: Usage) -> None:
        """Writes a billed request down."""
        at = datetime.now(UTC).isoformat()
        self.billed.append(Billed(request_id, call.dialect, call.endpoint, call.model, **asdict(usage), at=at))
        self._minute(call).tokens += usage.input_tokens + usage.output_tokens

    def usage(self) -> dict[str, Any]:
        """Every billed request, and the totals by dialect and model."""
        totals: dict[tuple[str, str], dict[str, Any]] = {}
        for entry in self.billed:
            total = totals.setdefault(
                (entry.dialect, entry.model),
                {"dialect": entry.dialect, "model": entry.model, "requests": 0, **dict.fromkeys(_COUNTED, 0)},
            )
            total["requests"] += 1
            for name in _COUNTED:
                total[name] += getattr(entry, name)
        return {"requests": [asdict(entry) for entry in self.billed], "totals": list(totals.values())}

    def call_counts(self) -> dict[str, Any]:
        """Attempts by dialect and endpoint, failed ones included."""
        counts = [
            {"dialect": dialect, "endpoint": endpoint, "attempts": count.attempts, "ended": dict(count.ended)}
            for (dialect, endpoint), count in self.calls.items()
        ]
        return {"calls": counts, "total": sum(count.attempts for count in self.calls.values())}

    def count_request(self, call: ModelCall) -> None:
        """Counts an attempt, notes when it came and takes it off the minute's allowance."""
        self.arrivals.append(Arrival(time.time_ns() / 1_000_000, call.dialect, call.endpoint, call.model))
        self.calls[call.dialect, call.endpoint].attempts += 1
        self._minute(call).requests += 1

    def rate_headers(self, call: ModelCall, *, exhausted: bool = False) -> dict[str, str]:
        """The `x-ratelimit-*` headers of a response."""
        minute = self._minute(call)
        left_s = 60 - datetime.now(UTC).second
        requests_left = 0 if exhausted else max(REQUESTS_PER_MINUTE - minute.requests, 0)
        return {
            "x-ratelimit-limit-requests": str(REQUESTS_PER_MINUTE),
            "x-ratelimit-remaining-requests": str(requests_left),
            "x-ratelimit-reset-requests": f"{left_s}s",
            "x-ratelimit-limit-tokens": str(TOKENS_PER_MINUTE),
            "x-ratelimit-remaining-tokens": str(max(TOKENS_PER_MINUTE - minute.tokens, 0)),
            "x-ratelimit-reset-tokens": f"{left_s}s",
        }

    def _minute(self, call: ModelCall) -> _Minute:
        number = int(datetime.now(UTC).timestamp()) // 60
        minute = self._minutes[call.dialect, call.model]
        if minute.number != number:
            minute = self._minutes[call.dialect, call.model] = _Minute(number)
        return minute
