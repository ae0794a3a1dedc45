"""The limiter and its log."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from domain.rate_limit import AccountUsage, Caps, FanGrants, Lease, Reservation, Slot, Window


class SlotLog(Protocol):
    """The message store's memory of grants: what the limiter starts from when it has lost its own."""

    async def slots(self, account_id: str | None, since_us: int) -> Sequence[Slot]:
        """Slots that count, and holds that end, at or after a moment on Redis's clock, of one account or of all.

        Read consistently.
        """
        ...

    async def keep(self, slots: Sequence[Slot]) -> None:
        """Remember slots that no message is stored with, and holds."""
        ...

    async def forget(self, slots: Sequence[Slot]) -> None:
        """Forget slots that were kept and have admitted nothing; only their names count. Idempotent."""
        ...


class Limiter(Protocol):
    """Decides whether a message may be sent now. Raises ``DependencyUnavailable`` when it can't know.

    ``windows`` come from ``domain.rate_limit.windows``. An account (or the system layer) whose memory was lost is
    rebuilt from the message store before anything is granted.
    """

    async def check(self, account_id: str, windows: Sequence[Window]) -> Reservation:
        """What ``reserve`` would answer, without taking anything."""
        ...

    async def reserve(self, account_id: str, windows: Sequence[Window], *, lease_ms: int) -> Reservation:
        """A lease over all windows at once, or a denial that charges nothing."""
        ...

    async def reserve_fans(
        self, account_id: str, fans: Sequence[str], caps: Caps, *, call: UUID, lease_ms: int
    ) -> FanGrants:
        """A slot for each fan by itself, in the windows of ``caps``; the message store keeps those that are granted.

        ``call``: the idempotency key of what reaches them. It arrives once, so what it took before, in an attempt that
        was interrupted or whose outcome is open, does not count against it. It needs a slot of the account beside,
        from ``reserve``.
        """
        ...

    async def release_fans(self, leases: Sequence[Lease]) -> None:
        """Nothing was sent: the slots of ``reserve_fans`` are free again, and the message store forgets them."""
        ...

    async def intact(self, leases: Sequence[Lease]) -> frozenset[str]:
        """The ids of leases that still count. To be asked after their slots were stored and before anything is
        sent: a lease that got lost with Redis's memory before it was stored admits nothing."""
        ...

    async def confirm(self, lease: Lease, *, arrives_within_ms: int = 0) -> None:
        """The call completed: the slot counts from now, or from when its message has arrived at the latest."""
        ...

    async def release(self, lease: Lease) -> None:
        """Nothing was sent: the slot is free again."""
        ...

    async def hold(self, account_id: str, duration_ms: int, reason: str) -> None:
        """Grant nothing to the account for that long: the platform itself asked for it. Never shortens a hold.

        The message store keeps it, so that it outlives the limiter's memory.
        """
        ...

    async def usage(self, account_id: str, windows: Sequence[Window]) -> AccountUsage:
        """How full the windows are, and every grant that counts in them."""
        ...
