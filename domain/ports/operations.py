"""What operators are told, and what they did."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from domain.alert import Alert
from domain.audit import AuditEntry, AuditListing


class Alerts(Protocol):
    """The alert store."""

    async def raise_alert(self, alert: Alert) -> bool:
        """Keep an alert; False when one with this id is there already."""
        ...

    async def since(self, moment: datetime, *, account_id: str | None = None) -> Sequence[Alert]:
        """Alerts from then on, newest first."""
        ...


class AuditLog(Protocol):
    """Changes and decisions, for as long as the installation keeps them."""

    async def record(self, entry: AuditEntry) -> bool:
        """Keep an entry; False when one with this id is there already."""
        ...

    async def entries(self, subject: str | None, *, limit: int, cursor: str | None) -> AuditListing:
        """Newest first; of one subject, or of everything."""
        ...


class Dependency(Protocol):
    """Something that must be reachable for the product to work."""

    name: str

    async def check(self) -> Mapping[str, str]:
        """Facts about it (version, address without secrets); raises when it can't be reached."""
        ...
