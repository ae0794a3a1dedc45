"""The system that is replaced, and the comparison with it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from domain.legacy import LegacyAnswer, LegacyCall
from domain.shadow import Comparison


class LegacySystem(Protocol):
    """The system that was there before."""

    def exchange(self, call: LegacyCall) -> AbstractAsyncContextManager[LegacyAnswer]:
        """Pass a request on as it is; the answer's body is read inside of the context. Raises ``LegacyUnavailable``.

        Leaving the context ends the call, whether or not the body was read.
        """
        ...


class ShadowStore(Protocol):
    """Parity of shadow runs."""

    async def add(self, comparison: Comparison) -> None:
        """Count a comparison, once."""
        ...

    async def comparisons(self, since: datetime, *, limit: int) -> Sequence[Comparison]:
        """Newest first, at most ``limit`` of them."""
        ...
