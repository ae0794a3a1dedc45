"""Experiments between models: which there are, and what is known of their arms. Staff only."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import Field

from api.dependencies import PortsNow, allow
from api.openapi import problems
from domain.access import STAFF
from domain.errors import NotFound
from domain.experiment import CONFIDENCE, ENOUGH, ArmResult, results
from domain.model import Model
from domain.provider import IntentType, Provider
from domain.routing import Experiment

router = APIRouter(prefix="/api/v2/experiments", tags=["experiments"], dependencies=[Depends(allow(STAFF))])


class ArmView(Model):
    """One arm as the routing policy has it."""

    arm: str
    provider: Provider
    model: str
    share: float = Field(description="of the traffic, 0 to 1")


class ExperimentView(Model):
    """One experiment of the routing policy. ``baseline``: the arm that the others are compared with, its first."""

    name: str
    intent: IntentType
    baseline: str
    arms: tuple[ArmView, ...]

    @classmethod
    def of(cls, experiment: Experiment) -> "ExperimentView":
        """As it is in force."""
        weights = sum(target.weight for target in experiment.arms.values())
        return cls(
            name=experiment.name,
            intent=experiment.intent,
            baseline=next(iter(experiment.arms)),
            arms=tuple(
                ArmView(arm=arm, provider=target.provider, model=target.model, share=target.weight / weights)
                for arm, target in experiment.arms.items()
            ),
        )


class ExperimentList(Model):
    """In the policy's order."""

    experiments: tuple[ExperimentView, ...]


class ExperimentResults(Model):
    """``experiment`` and comparisons are missing when the policy no longer has it: what was observed stays."""

    name: str
    experiment: ExperimentView | None
    confidence: float = Field(description="of every interval")
    enough: int = Field(description="values that an arm needs for an interval")
    results: tuple[ArmResult, ...]


@router.get("", summary="The experiments of the routing policy", responses=problems(401, 403))
async def experiments(ports: PortsNow) -> ExperimentList:
    """Their arms and shares of the traffic."""
    return ExperimentList(experiments=tuple(ExperimentView.of(each) for each in ports.routing.experiments))


@router.get("/{name}", summary="Results of an experiment by arm", responses=problems(401, 403, 404, 422))
async def experiment_results(
    name: Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")], ports: PortsNow
) -> ExperimentResults:
    """Cost (µ$), latency (ms), quality, compliance and satisfaction (0 to 1) with 95 % confidence intervals, and each
    arm's difference to the baseline. Settle how many values to collect before looking: an experiment that is stopped
    at the first difference proves little."""
    planned = next((each for each in ports.routing.experiments if each.name == name), None)
    totals = await ports.experiments.results(name)
    if planned is None and not totals:
        raise NotFound("There is no such experiment; list those of the routing policy at /api/v2/experiments.")
    view = ExperimentView.of(planned) if planned is not None else None
    arms = tuple(each.arm for each in view.arms) if view is not None else ()
    return ExperimentResults(
        name=name,
        experiment=view,
        confidence=CONFIDENCE,
        enough=ENOUGH,
        results=results(view.baseline if view is not None else None, arms, totals),
    )
