"""What is replaced as a whole, revision by revision: ``If-Match`` on the way in, ``ETag`` on the way out."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Protocol, TypeVar

from fastapi import Header

from api.refusals import MalformedRequest, PreconditionFailed
from domain.errors import Conflict

ATTEMPTS = 5
"""How often a change is tried again when somebody else was faster."""

IfMatch = Annotated[str | None, Header(description="the revision that the change is based on")]

_REVISION = re.compile(r'^(?:W/)?"?(\d{1,9})"?$')


class Revised(Protocol):
    """Something whose changes are counted; 0: it was never changed."""

    @property
    def revision(self) -> int: ...


Present = TypeVar("Present", bound=Revised)
Changed = TypeVar("Changed")


async def replace(
    what: str,
    if_match: str | None,
    read: Callable[[], Awaitable[Present]],
    write: Callable[[Present], Awaitable[Changed | None]],
) -> Changed:
    """Read what is there, and let ``write`` store what follows it; ``None`` from it: somebody else was faster.

    ``what``: how messages call it, in the plural. Raises ``MalformedRequest`` for an ``If-Match`` that is no revision,
    ``PreconditionFailed`` when it is not the present one, ``Conflict`` when others were faster each time.
    """
    expected = _expected(if_match)
    for _ in range(ATTEMPTS):
        present = await read()
        if expected is not None and present.revision != expected:
            raise PreconditionFailed(
                f"The {what} are at revision {present.revision} by now; read them, and send that as If-Match.",
                field="If-Match",
            )
        changed = await write(present)
        if changed is not None:
            return changed
    raise Conflict(f"Others change these {what} at this moment; read them and try again.")


def etag(revised: Revised) -> str:
    """The header that names a revision."""
    return f'"{revised.revision}"'


def _expected(if_match: str | None) -> int | None:
    """``None``: any revision will do."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _REVISION.match(if_match.strip())
    if found is None:
        raise MalformedRequest('If-Match must be a revision such as "3".', field="If-Match")
    return int(found[1])
