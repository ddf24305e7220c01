"""Choose a detector for architectures that it will not see: cross-validation whose folds are architectures.

Each candidate is fitted to the vaccine side of all architectures but one and scores the vaccine side of that one; no
virus, and nothing of the architecture that is to be tested, has a say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors.metrics import fast_auroc
from onepixel.experiments.candidates import (
    ALL_LOG_ODDS,
    EVERYTHING,
    LITERAL,
    OURS,
    Choice,
    Job,
    Parameters,
    cross_validate,
)
from onepixel.experiments.models import Labelled
from onepixel.parallel import in_processes
from onepixel.progress import counted

WHOLE, *_, CHANNELS = LITERAL

ACROSS: dict[str, Parameters] = {
    WHOLE: LITERAL[WHOLE],
    CHANNELS: LITERAL[CHANNELS],
    "statistics, log-odds": {"reading": "statistics", "definition": ALL_LOG_ODDS},
    "statistics, all": {"reading": "statistics", "definition": EVERYTHING},
    "statistics, own scale, log-odds": {"reading": "statistics", "definition": ALL_LOG_ODDS, "scaling": "own"},
    "statistics, own scale, all": {"reading": "statistics", "definition": EVERYTHING, "scaling": "own"},
    "context, own scale": OURS | {"reading": "context", "scaling": "own"},
}
"""What is tried: the papers' CNN and ours, on values as they are and on those that each model is standardised by."""


@dataclass(frozen=True)
class Grouped:
    """What a detector is to be trained on: labelled models, and the number of each one's architecture."""

    data: Labelled
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class Reached:
    """A candidate, and its mean area under the curve over the architectures that were left out."""

    choice: Choice
    area: float


def compare_across(
    several: Sequence[Grouped],
    candidates: Mapping[str, Parameters],
    seed: int,
    *,
    workers: int | None = None,
    progress: bool = False,
) -> list[list[Reached]]:
    """Compare candidates on each of several sets of models, the best first."""
    choices = [Choice(name, parameters) for name, parameters in candidates.items()]
    jobs = [
        Job(choice.name, choice.parameters, models.data, seed, models.groups)
        for models in several
        for choice in choices
    ]
    outcomes = in_processes(cross_validate, jobs, workers)
    done = iter(counted(outcomes, "choice across architectures", len(jobs), "candidates", enabled=progress))
    found = [[Reached(choice, mean_area(models, next(done).scores)) for choice in choices] for models in several]
    return [sorted(reached, key=lambda one: -one.area) for reached in found]


def mean_area(models: Grouped, scores: NDArray[np.float64]) -> float:
    """Mean over architectures of the area under the curve within each."""
    groups, labels = models.groups, models.data.labels
    areas = [
        fast_auroc(scores[(groups == group) & (labels == 0)], scores[(groups == group) & (labels == 1)])
        for group in np.unique(groups)
    ]
    return float(np.mean(areas))
