"""The rule of each class of error: whether, how and when a model is asked again, and whether another one may be."""

from collections.abc import Mapping
from random import random

from domain.breaker import Admission
from domain.errors import ProviderError, ProviderFault
from domain.prompt import Refusal, Variant

RETRIES = 1
"""Repetitions of one model after a throttled or transient failure, before the next one is asked."""
BACKOFF_S = 0.5
"""The longest wait before the first repetition; full jitter."""
LONGEST_WAIT_S = 2.0
"""A provider that asks for a longer wait than this is left for the next one."""

PROBE_TIMEOUT_S = 8.0
"""A probe is the call of somebody who waits for it, and most often in vain. A healthy provider writes the texts of one
call, a few hundred tokens at 50 or more a second, in less."""
PATIENT_PROBE = 4
"""Every so many probes one has the time of any other call, so that slow answers close the breaker in the end."""

OUTAGES = frozenset({ProviderFault.THROTTLED, ProviderFault.TRANSIENT, ProviderFault.TIMEOUT, ProviderFault.AUTH})
"""What passes by itself, sooner or later. A refusal on policy or a bad request says nothing of its health."""

_REWORDED: Mapping[ProviderFault, tuple[Variant, str]] = {
    ProviderFault.CONTENT_POLICY: (Variant.SAFE, "rewrite"),
    ProviderFault.MALFORMED_OUTPUT: (Variant.REPAIR, "repair"),
    ProviderFault.CONTEXT_LENGTH: (Variant.SHORT, "shorten"),
}
SHOPPED = OUTAGES | {ProviderFault.MALFORMED_OUTPUT}
"""After these another provider may be asked, unless one has refused before: a refusal is never shopped around."""


def refusal_error(refused: Refusal) -> ProviderError:
    """What a question ends with that was refused before."""
    return ProviderError(f"{refused.target} has refused before", fault=ProviderFault.CONTENT_POLICY)


def other_wording(fault: ProviderFault, variant: Variant) -> tuple[Variant, str] | None:
    """What to try in place of ``variant``, and its name as a step: one other wording for each target.

    A refusal has its safe rewrite, once, after another one as well.
    """
    if fault is ProviderFault.CONTENT_POLICY:
        return None if variant is Variant.SAFE else _REWORDED[fault]
    return _REWORDED.get(fault) if variant is Variant.USUAL else None


def patience_s(call_timeout_s: float, admission: Admission) -> float:
    """How long a call may take; a probe less than others, but for every ``PATIENT_PROBE``-th one of all workers."""
    if admission.probe and admission.ticket % PATIENT_PROBE:
        return min(call_timeout_s, PROBE_TIMEOUT_S)
    return call_timeout_s


def wait_before_repeating(error: ProviderError, repeated: int, left_s: float) -> float | None:
    """Seconds with full jitter, after what the provider asks for; ``None``: this model is not asked again."""
    if repeated >= RETRIES or error.fault not in {ProviderFault.THROTTLED, ProviderFault.TRANSIENT}:
        return None
    asked_s = error.retry_after_s or 0.0
    # Those who were throttled together do not come back together.
    wait_s = asked_s + BACKOFF_S * 2**repeated * random()
    return wait_s if asked_s <= LONGEST_WAIT_S and wait_s <= left_s else None
