"""The search for warps: grids of points that Adam moves, one for every target, from all other classes at once."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onepixel.classifiers.gradients import GradientMode
from onepixel.reaches.candidates import Candidates, join
from onepixel.reaches.climbing import halved
from onepixel.reaches.families import Warp
from onepixel.reaches.gradient import PASSES, climb
from onepixel.reaches.looking import Look
from onepixel.reaches.task import Numbers, Task
from onepixel.reaches.value import EVERY_SOURCE
from onepixel.warping import warped

FIRST_STEPS, LATER_STEPS = 15, 25
"""Steps of Adam for every target, and then for the leaders."""

LEADERS = 4
"""Targets that later steps go on with: how far the first leads the second is what counts."""

ASIDE = 0.05
"""Points begin up to so far from where they would move nothing, where bilinear interpolation has a kink."""


@dataclass(frozen=True)
class Warps(Candidates):
    """Candidates whose fillings (F, 2, k, k) are points of a grid in [0, 1], see `warped`.

    Attributes
    ----------
    displacement : float
        The largest displacement of a point, pixels.
    """

    displacement: float

    def images(self, task: Task, owner: Numbers, image: Numbers, filling: Tensor, alpha: float) -> Tensor:
        """The warped images of one batch; nothing is mixed."""
        return warped(task.images[torch.as_tensor(image)], filling[torch.as_tensor(owner)], self.displacement)


def by_warping(look: Look, family: Warp) -> Candidates:
    """The gradient search for warps: some steps to every target, and more to those that are reached most easily.

    Raises
    ------
    BudgetError
        If the budget does not suffice for the first steps.
    """
    task = look.task
    with GradientMode(task.classifier):
        found = climb(task, unmoved(task, family), FIRST_STEPS, look.alpha)
        order = np.argsort(-found.worth, kind="stable")
        leading, others = found.pick(order[:LEADERS]), found.pick(order[LEADERS:])
        return join([halved(look, leading, [(1, LATER_STEPS)]), others])


def unmoved(task: Task, family: Warp) -> Warps:
    """A grid for every target, moved next to nothing."""
    number, (_, height, width) = len(task.targets), task.size
    chance = torch.rand(number, 2, family.points, family.points, generator=torch.Generator().manual_seed(0))
    return Warps(
        np.full(number, EVERY_SOURCE),
        task.targets,
        np.repeat(family.places(height, width), number, axis=0),
        0.5 + ASIDE * (2 * chance - 1),
        np.zeros(number, dtype=np.float32),
        family.displacement,
    )


def estimate_warps(targets: int, every: int) -> int:
    """About how many queries the search asks before it measures, for its progress bar.

    Parameters
    ----------
    targets : int
    every : int
        Images of the changes from all classes of all targets.
    """
    return every * (1 + PASSES * FIRST_STEPS) + every // targets * LEADERS * (1 + PASSES * LATER_STEPS)
