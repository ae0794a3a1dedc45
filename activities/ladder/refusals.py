"""What was refused on policy: nobody else is asked about it, by this attempt or any other."""

from collections.abc import Mapping
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

    def listed(self, question: Question[R], target: str, *, reworded: bool) -> None:
        """The list of ``target`` has a refusal, of this execution or of one before it."""
        for name in self._names(question):
            before = self._known.get(name, Refusal(target=target, run=self._run))
            self._known[name] = before.model_copy(update={"reworded": before.reworded or reworded})

    async def keep(self, question: Question[R]) -> None:
        """Store what was heard. Whoever comes after this process must not ask another one."""
        heard = {name: self._known[name] for name in self._names(question)}
        try:
            await self._store.keep(self._campaign_id, heard)
        except Exception as error:  # noqa: BLE001 - whatever it is: heartbeats tell the next attempt as well
            activity.logger.warning("a refusal could not be kept", extra={"error": type(error).__name__})

    async def of(self, question: Question[R], *, looks: bool) -> Refusal | None:
        """The strictest of those that the question is about; ``looks``: also into the store.

        Who asks anew what an execution before this one was refused asks whoever refused, once more, and nobody else.
        """
        if not (looks or self._known):
            return None
        names = self._names(question)
        if looks:
            for name, stored in (await self._store.of_steps(self._campaign_id, names)).items():
                self._known[name] = _later(self._known.get(name, stored), stored, self._run)
        found = [self._known[name] for name in names if name in self._known]
        if question.asked_anew:
            found = [each if each.run == self._run else each.model_copy(update={"reworded": False}) for each in found]
        return max(found, key=lambda each: each.reworded, default=None)

    def _names(self, question: Question[R]) -> list[UUID]:
        about = question.about or (question.key,)
        return [operation_id(self._campaign_id, question.purpose, name) for name in about]


def _later(told: Refusal, stored: Refusal, run: str) -> Refusal:
    """What is told may be older than what is stored, or could not be stored."""
    if told.run != stored.run:
        return told if told.run == run else stored
    return told.model_copy(update={"reworded": told.reworded or stored.reworded})
