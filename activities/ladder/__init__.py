"""The degradation ladder: one way for every model call, from the routing decision to the booked cost."""

from activities.ladder.error_class import OUTAGES
from activities.ladder.ladder import Ladder
from activities.ladder.ports import Answered, LadderPorts, Question

__all__ = ["OUTAGES", "Answered", "Ladder", "LadderPorts", "Question"]
