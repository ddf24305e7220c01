"""Rivals: how far the same place lets the same images be driven to other targets.

In the middle of a sign a patch turns any sign into many others, and that is no backdoor. A trigger's place, which may
lie where natural images tell little, serves one target alone.
"""

from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.classifiers.gradients import GradientMode
from onepixel.errors import BudgetError
from onepixel.reaches.candidates import Candidates, apart, join, measure
from onepixel.reaches.gradient import climb, softened
from onepixel.reaches.pasting import cut
from onepixel.reaches.task import Task
from onepixel.reaches.value import EVERY_SOURCE

OF_PAIRS, OF_ALL = 14, 7
"""Findings whose rivals are looked for: those of pairs that reach farthest, and of changes from all classes."""

NEAR = 3
"""Findings of one target whose places lie within so many rows and columns count as one; the farthest stands for all."""

MOST_ASKED = 50
"""Targets that may be rivals: those that anything was driven to farthest."""

RIVALS, STEPS = 10, 10
"""Of them, those that are tried at a finding's place, which gradients speak for most, and how many steps of Adam."""


def rival_reach(task: Task, candidates: Candidates, log_odds: NDArray[np.float32]) -> NDArray[np.float32]:
    """The highest mean log-odds of another target at each candidate's place, over the same fresh images, (F,).

    NaN where no rival was looked for, and where the budget ended.

    Parameters
    ----------
    task : Task
    candidates : Candidates
        Patches that a search found.
    log_odds : array of shape (F,)
        How far each of them reaches.
    """
    found = np.full(len(candidates), np.nan, dtype=np.float32)
    targets = list(dict.fromkeys(candidates.target[np.argsort(-log_odds, kind="stable")].tolist()))[:MOST_ASKED]
    with GradientMode(task.classifier):
        for number in looked_at(candidates, log_odds):
            try:
                rivals = climb(task, softened(rivals_of(task, candidates, number, targets)), STEPS, 1.0)
                found[number] = measure(task, rivals, fresh=True)[0].max()
            except BudgetError:
                break
    return found


def looked_at(candidates: Candidates, log_odds: NDArray[np.float32]) -> list[int]:
    """Numbers of the candidates whose rivals are looked for: of one target at one place, the one that reaches farthest.

    Those of pairs and of changes from all classes in turns, so that a short budget has some of both.
    """
    every = candidates.source == EVERY_SOURCE
    ranked = []
    for mine, most in ((np.flatnonzero(~every), OF_PAIRS), (np.flatnonzero(every), OF_ALL)):
        farthest = islice(apart(candidates.pick(mine), log_odds[mine], NEAR + 1), most)
        ranked += [(rank / most, int(mine[number])) for rank, number in enumerate(farthest)]
    return [number for _, number in sorted(ranked)]


def rivals_of(task: Task, candidates: Candidates, number: int, targets: list[int]) -> Candidates:
    """Other targets at a candidate's place, filled as the gradient of its images says, not measured.

    Raises
    ------
    BudgetError
        If the gradients do not fit into what is left of the budget.
    """
    source, target = int(candidates.source[number]), int(candidates.target[number])
    others = sorted(one for one in targets if one not in (source, target))
    images = task.images[torch.as_tensor(task.members(source, target, fresh=False))].requires_grad_(True)
    task.questions.spend(len(images) * (1 + 2 * len(others)))
    odds = task.questions.differentiable_log_odds(images)
    place = tuple(int(part) for part in candidates.place[number])
    window = cut(images.detach(), place)  # type: ignore[arg-type]
    tried = []
    for other in others:
        (gradient,) = torch.autograd.grad(odds[:, other].sum(), images, retain_graph=True)
        slope = cut(gradient, place)  # type: ignore[arg-type]
        up, down = (slope * (1 - window)).mean(0), (-slope * window).mean(0)
        worth = np.array([torch.maximum(up, down).clamp(min=0).sum().item()], dtype=np.float32)
        filling = (up >= down).float()[None]
        tried.append(Candidates(np.array([source]), np.array([other]), candidates.place[[number]], filling, worth))
    rivals = join(tried)
    return rivals.pick(np.argsort(-rivals.worth, kind="stable")[:RIVALS])


def estimate_rivals(targets: int, singles: int, every: int) -> int:
    """About how many queries rivals ask, for a progress bar.

    Parameters
    ----------
    targets : int
    singles, every : int
        Images of a source, and images of a change from all classes.
    """
    images = OF_PAIRS * singles + OF_ALL * every
    targets = min(targets, MOST_ASKED)
    return images * (1 + 2 * targets + min(RIVALS, targets - 1) * (3 * STEPS + 3))
