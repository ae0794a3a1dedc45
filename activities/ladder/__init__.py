"""The degradation ladder: one way for every model call, from the routing decision to the booked cost."""

from activities.ladder.ladder import Ladder
from activities.ladder.ports import Answered, LadderPorts, Question

__all__ = ["Answered", "Ladder", "LadderPorts", "Question"]
