"""Choose a detector for architectures that it will not see: cross-validation whose folds are architectures.

Each candidate is fitted to the vaccine side of all architectures but one and scores the vaccine side of that one; no
virus, and nothing of the architecture that is to be tested, has a say.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors import Detector
from onepixel.detectors.metrics import fast_auroc
from onepixel.experiments.candidates import ALL_LOG_ODDS, EVERYTHING, LITERAL, OURS, Choice, Parameters
from onepixel.experiments.models import Labelled
from onepixel.parallel import in_processes

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
class Job:
    """One candidate, and models with the architecture of each."""

    parameters: Parameters
    data: Labelled
    groups: NDArray[np.int64]
    seed: int


def area(job: Job) -> float:
    """Mean area under the curve within each architecture, scored by what was fitted to the others."""
    detector = Detector(**job.parameters, random_state=job.seed)
    scores = detector.cross_validated_scores(job.data.rows, job.data.labels, job.groups)
    of_groups = [(scores[job.groups == group], job.data.labels[job.groups == group]) for group in np.unique(job.groups)]
    return float(np.mean([fast_auroc(found[labels == 0], found[labels == 1]) for found, labels in of_groups]))


@dataclass(frozen=True)
class Line:
    """What one candidate reached."""

    choice: Choice
    area: float


def compare_across(
    data: Labelled,
    groups: NDArray[np.int64],
    candidates: Mapping[str, Parameters],
    seed: int,
    workers: int | None = None,
) -> list[Line]:
    """Compare candidates on models of two architectures or more, the best first."""
    jobs = [Job(parameters, data, groups, seed) for parameters in candidates.values()]
    areas = in_processes(area, jobs, workers)
    lines = [Line(Choice(*named), found) for named, found in zip(candidates.items(), areas, strict=True)]
    return sorted(lines, key=lambda line: -line.area)
