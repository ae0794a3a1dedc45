"""What waits for a person, and which accounts do without one."""

from datetime import datetime
from typing import Protocol

from domain.delivery import Message
from domain.model import Model
from domain.review import AutonomyOptIn


class ReviewFilter(Model):
    """Whose drafts to list; ``owner`` ``None``: everybody's."""

    owner: str | None = None
    account_id: str | None = None
    campaign_id: str | None = None


class WaitingDraft(Model):
    """A draft that waits for a person, and since when."""

    message: Message
    since: datetime


class ReviewListing(Model):
    """Drafts that wait; ``cursor`` continues the list, ``None`` ends it."""

    drafts: tuple[WaitingDraft, ...]
    cursor: str | None = None


class AutonomyStore(Protocol):
    """The recorded opt-ins of accounts."""

    async def get(self, account_id: str) -> AutonomyOptIn: ...

    async def put(self, opt_in: AutonomyOptIn) -> None: ...
