"""Feature flags, and what rollouts go by."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from domain.audit import AuditEntry
from domain.flag import Flag, FlagDecision, FlagSnapshotStanding, FlagSubject
from domain.observation import Observation, Observed


class FlagStore(Protocol):
    """The truth about flags."""

    async def get(self, name: str) -> Flag | None:
        """As it is now, read consistently."""
        ...

    async def all(self) -> Sequence[Flag]: ...

    async def put(self, flag: Flag, entry: AuditEntry) -> bool:
        """Store revision ``n`` over revision ``n - 1`` together with its audit entry, then push it to every process.

        False when somebody else was faster.
        """
        ...

    async def history(self, name: str, *, limit: int) -> Sequence[Flag]:
        """Every revision, newest first, the present one included."""
        ...


class Flags(Protocol):
    """This process's snapshot of all flags: evaluated without I/O."""

    def evaluate(self, name: str, subject: FlagSubject) -> FlagDecision:
        """A flag that is not known, or no snapshot at all, is off."""
        ...

    def all(self) -> Sequence[Flag]:
        """The flags of the snapshot, by name."""
        ...

    def standing(self) -> FlagSnapshotStanding: ...

    def on_change(self, listener: Callable[[Sequence[str]], None]) -> Callable[[], None]:
        """Tell ``listener``, which must not raise, the names of the flags whose new revision decides from now on, and
        of those that are gone; what is answered ends that."""
        ...

    async def refresh(self) -> None:
        """Read the store now; raises ``DependencyUnavailable``."""
        ...


class Observations(Protocol):
    """Routed requests, counted by arm and minute."""

    def record(self, observation: Observation) -> None:
        """Count a request, within a moment; nobody waits for it. Kept for a while when the memory is away."""
        ...

    async def observed(self, flag: str, since: datetime) -> Observed:
        """Both arms from a moment on, to the minute; raises ``DependencyUnavailable``."""
        ...
