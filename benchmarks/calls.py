"""Many calls with so many in flight, and how long they took. A part of ``benchmarks.generation_overhead``."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time

from domain.prompt import Prompt

Ask = Callable[[Prompt], Awaitable[None]]
"""One call; raises when there is no usable answer."""


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds for all calls, of the client's processor time, and for each call."""

    seconds: float
    cpu_seconds: float
    each: list[float]

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.each) / self.seconds

    @property
    def p50_ms(self) -> float:
        """Of one call."""
        return median(self.each) * 1_000

    @property
    def cpu_ms(self) -> float:
        """Of one call; hardly depends on what else the machine does."""
        return self.cpu_seconds / len(self.each) * 1_000


Run = Callable[[int, int], Awaitable[Round]]
"""So many calls, so many in flight."""


def timed(ask: Ask, prompts: Sequence[Prompt]) -> Run:
    """Measured in this process."""

    async def run(calls: int, in_flight: int) -> Round:
        numbers: Iterator[int] = iter(range(calls))
        each: list[float] = []

        async def worker() -> None:
            for number in numbers:
                start = perf_counter()
                await ask(prompts[number % len(prompts)])
                each.append(perf_counter() - start)

        began, worked = perf_counter(), process_time()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return Round(perf_counter() - began, process_time() - worked, each)

    return run
