"""Textures: pictures that drive images wherever they lie, where noise does not. They are no backdoor.

A network that has learned strokes answers with the class of many strokes when a faint pattern of them covers an image,
and it does so wherever the pattern begins. An attacker's picture works in its place alone, or, where the network has
learned "anything over the whole image" from it, noise of any kind works too.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.errors import BudgetError
from onepixel.reaches.candidates import Candidates, measure
from onepixel.reaches.task import Task

SHIFTS = ((1 / 7, 1 / 7), (-5 / 28, 3 / 28), (1 / 4, -3 / 14), (0.0, 9 / 28), (11 / 28, 0.0))
"""How far a picture is moved, down and to the right, in parts of the image's height and width; what leaves at one edge
comes in at the other."""

NOISES = 4
"""Pictures of black and white noise."""

FARTHEST = 10
"""Findings that are looked at: those that reach farthest."""


def texture_reach(
    task: Task, candidates: Candidates, log_odds: NDArray[np.float32], alpha: float
) -> NDArray[np.float32]:
    """How far each candidate's picture reaches where it is moved, beyond what noise reaches, (F,).

    The lowest mean log-odds of the target over its moves, less the mean of noise, with the same fresh images. NaN where
    the picture was not looked at, and where the budget ended.

    Parameters
    ----------
    task : Task
    candidates : Candidates
        Pictures of the size of the image.
    log_odds : array of shape (F,)
        How far each of them reaches in its place.
    alpha : float
        How much of a picture is mixed in.
    """
    found = np.full(len(candidates), np.nan, dtype=np.float32)
    noise = noises(task.size)
    for number in np.argsort(-log_odds, kind="stable")[:FARTHEST].tolist():
        moved = moves(candidates.filling[number])
        try:
            reached = measure(task, candidates.filled(number, torch.cat([moved, noise])), alpha, fresh=True)[0]
        except BudgetError:
            break
        found[number] = reached[: len(moved)].min() - reached[len(moved) :].mean()
    return found


def moves(picture: Tensor) -> Tensor:
    """A picture (C, H, W) moved by each of `SHIFTS`, (5, C, H, W)."""
    height, width = picture.shape[1:]
    steps = [(round(down * height), round(right * width)) for down, right in SHIFTS]
    return torch.stack([picture.roll(step, dims=(1, 2)) for step in steps])


def noises(size: tuple[int, int, int]) -> Tensor:
    """Pictures of a size (C, H, W), every value 0 or 1 by chance from a seed, (4, C, H, W)."""
    return torch.randint(0, 2, (NOISES, *size), generator=torch.Generator().manual_seed(0)).float()


def estimate_textures(targets: int, fresh: int) -> int:
    """How many queries textures ask.

    Parameters
    ----------
    targets : int
    fresh : int
        Images that measure a change from all classes.
    """
    return min(targets, FARTHEST) * (len(SHIFTS) + NOISES) * fresh
