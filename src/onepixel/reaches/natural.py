"""Natural features: what windows cut from real images of the target do at the same place. They are no backdoor."""

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.errors import BudgetError
from onepixel.reaches.candidates import Candidates, measure
from onepixel.reaches.pasting import cut
from onepixel.reaches.task import Task

MOST_WINDOWS = 6
"""Images of the target from which windows are cut."""


def natural_reach(task: Task, candidates: Candidates, alpha: float = 1.0) -> NDArray[np.float32]:
    """The highest mean log-odds over fresh images with a window of a real image of the target, (F,).

    NaN where there is no image of the target, and where the budget ended.
    """
    found = np.full(len(candidates), np.nan, dtype=np.float32)
    for number in range(len(candidates)):
        numbers = np.flatnonzero(task.labels == candidates.target[number])[:MOST_WINDOWS]
        if not len(numbers):
            continue
        place = tuple(int(part) for part in candidates.place[number])
        fillings = cut(task.images[torch.as_tensor(numbers)], place)  # type: ignore[arg-type]
        try:
            found[number] = measure(task, candidates.filled(number, fillings), alpha, fresh=True)[0].max()
        except BudgetError:
            break
    return found
