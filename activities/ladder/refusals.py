"""What was refused on policy: nobody else is asked about it, by this attempt or any other."""

from collections.abc import Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from temporalio import activity

from activities.ladder.ports import Question
from domain.cost import operation_id
from domain.ports import Refusals
from domain.prompt import Refusal

R = TypeVar("R")


class KnownRefusals:
    """Those of one request: what this attempt has heard, what it was told by the one before, and what is stored.

    ``run`` tells one execution of the activity from every other.
    """

    def __init__(self, campaign_id: str, store: Refusals, run: str, told: Mapping[UUID, Refusal]) -> None:
        self._campaign_id = campaign_id
        self._store = store
        self._run = run
        self._known = dict(told)

    @property
    def all(self) -> Mapping[UUID, Refusal]:
        """For the next attempt."""
        return self._known

    def heard(self, question: Question[R], target: str, *, reworded: bool) -> None:
        """``target`` has refused just now; ``reworded``: the safe wording."""
        for name in self._names(question):
            self._known[name] = Refusal(target=target, reworded=reworded, run=self._run)

    def listed(self, question: Question[R], target: str, *, reworded: bool, ours: bool) -> None:
        """The list of ``target`` has a refusal, of this execution (``ours``) or of one before it."""
        run = self._run if ours else ""
        for name in self._names(question):
            found = Refusal(target=target, reworded=reworded, run=run)
            before = self._known.get(name, found)
            self._known[name] = _later(before, found, self._run)

    async def keep(self, question: Question[R]) -> None:
        """Store what was heard. Whoever comes after this process must not ask another one.

        Heartbeats tell the next attempt as well. Raises where there may be none: where another activity may ask.
        """
        heard = {name: self._known[name] for name in self._names(question)}
        try:
            await self._store.keep(self._campaign_id, heard)
        except Exception as error:
            activity.logger.warning("a refusal could not be kept", extra={"error": type(error).__name__})
            if question.looks:
                raise

    async def of(self, question: Question[R], *, looks: bool) -> Refusal | None:
        """The strictest of those that the question is about; ``looks``: also into the store.

        Who asks anew what an execution before this one was refused asks whoever refused, once more, and nobody else.
        """
        found = [each for each in await self.each(question, looks=looks) if each is not None]
        return max(found, key=lambda each: each.reworded, default=None)

    async def each(self, question: Question[R], *, looks: bool) -> Sequence[Refusal | None]:
        """As ``of``, for each that the question is about."""
        names = self._names(question) if looks or self._known else []
        if looks:
            stored = await self._store.of_steps(self._campaign_id, names)
            if unkept := {name: self._known[name] for name in names if name in self._known and name not in stored}:
                await self._store.keep(self._campaign_id, unkept)
            for name, kept in stored.items():
                self._known[name] = _later(self._known.get(name, kept), kept, self._run)
        found = [self._known.get(name) for name in names]
        return [None if each is None else self._as_asked(question, each) for each in found]

    def _as_asked(self, question: Question[R], refusal: Refusal) -> Refusal:
        if question.asked_anew and refusal.run != self._run:
            return refusal.model_copy(update={"reworded": False})
        return refusal

    def _names(self, question: Question[R]) -> list[UUID]:
        about = question.about or (question.key,)
        return [operation_id(self._campaign_id, question.purpose, name) for name in about]


def _later(known: Refusal, found: Refusal, run: str) -> Refusal:
    """Of two words about the same: that of this ``run``, if only one is, else the stricter one."""
    if (known.run == run) != (found.run == run):
        return known if known.run == run else found
    return max(known, found, key=lambda each: each.reworded)
