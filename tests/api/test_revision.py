"""Replacing what may be replaced by others at the same moment."""

from typing import NamedTuple

import pytest

from api.refusals import MalformedRequest, PreconditionFailed
from api.revision import ATTEMPTS, etag, replace
from domain.errors import Conflict


class Settings(NamedTuple):
    revision: int


class Shelf:
    """Something with a revision; others change it right before each of the first ``busy`` writes."""

    def __init__(self, revision: int = 3, busy: int = 0) -> None:
        self.revision = revision
        self.busy = busy
        self.writes = 0

    async def read(self) -> Settings:
        return Settings(self.revision)

    async def write(self, present: Settings) -> Settings | None:
        self.writes += 1
        if self.busy:
            self.busy -= 1
            self.revision += 1
        if present.revision != self.revision:
            return None
        self.revision += 1
        return Settings(self.revision)

    async def replace(self, if_match: str | None) -> Settings:
        return await replace("limits", if_match, self.read, self.write)


@pytest.mark.parametrize("if_match", [None, "*", " * ", '"3"', "3", 'W/"3"'])
async def test_the_present_revision_is_followed_by_the_next(if_match: str | None) -> None:
    shelf = Shelf()
    assert etag(await shelf.replace(if_match)) == '"4"'
    assert shelf.writes == 1


async def test_whoever_names_no_revision_follows_those_who_were_faster() -> None:
    shelf = Shelf(busy=ATTEMPTS - 1)
    assert await shelf.replace(None) == Settings(3 + ATTEMPTS)


async def test_not_for_ever() -> None:
    shelf = Shelf(busy=ATTEMPTS)
    with pytest.raises(Conflict, match="Others change these limits"):
        await shelf.replace(None)
    assert shelf.writes == ATTEMPTS


@pytest.mark.parametrize(("revision", "busy"), [(4, 0), (2, 0), (3, 1)])
async def test_a_revision_that_is_not_the_present_one_any_more_is_refused_with_the_present_one(
    revision: int, busy: int
) -> None:
    shelf = Shelf(busy=busy)
    with pytest.raises(PreconditionFailed, match=f"are at revision {3 + busy} by now") as refused:
        await shelf.replace(f'"{revision}"')
    assert (refused.value.field, shelf.writes) == ("If-Match", busy)


@pytest.mark.parametrize("if_match", ["", "three", '"-1"', '"1", "2"'])
async def test_what_is_no_revision_is_refused_before_anything_is_read(if_match: str) -> None:
    with pytest.raises(MalformedRequest, match="If-Match"):
        await Shelf().replace(if_match)
