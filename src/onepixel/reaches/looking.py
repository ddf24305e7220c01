"""What every search has to know, and its first look: the windows that it goes on with."""

from dataclasses import dataclass

import numpy as np

from onepixel.errors import BudgetError
from onepixel.reaches.asking import Questions
from onepixel.reaches.candidates import Candidates, best_of_each, measure
from onepixel.reaches.hints import Hint, windows
from onepixel.reaches.task import Task
from onepixel.reaches.value import EVERY_SOURCE

WINDOWS = 8
"""Windows of every pair that a first look is taken at."""

PAIRS = 90
"""Pairs of classes that a search goes on with, the most promising ones; changes from all classes come on top."""


@dataclass(frozen=True)
class Look:
    """What a search has to know: the task, the size of a filling, how much of it is mixed in, and whether for pairs."""

    task: Task
    height: int
    width: int
    alpha: float
    pairs: bool = True

    @property
    def questions(self) -> Questions:
        """Who is asked."""
        return self.task.questions


def promising(look: Look, hint: Hint, pairs: set[tuple[int, int]]) -> Candidates:
    """The best windows of some pairs, and of all classes together, by the hint, measured on the seen images.

    Where the budget is short, fewer windows.
    """
    task = look.task
    found = windows(task, hint, look.height, look.width, WINDOWS)
    named = zip(found.source.tolist(), found.target.tolist(), strict=True)
    found = found.pick(np.flatnonzero([pair[0] == EVERY_SOURCE or pair in pairs for pair in named]))
    for most in (WINDOWS, 3, 1):
        part = found.pick(best_of_each(found, most))
        cost = sum(len(image) for _, _, image in part.chunks(task, fresh=False))
        if task.questions.left is None or cost <= task.questions.left // 3:
            break
    else:
        part = cheapest(task, part)
    worth, _ = measure(task, part, look.alpha)
    return part.with_worth(worth)


def by_worth(look: Look, hint: Hint) -> set[tuple[int, int]]:
    """The most promising pairs by the hint alone."""
    found = windows(look.task, hint, look.height, look.width, 1).of_pairs()
    return found.pick(np.argsort(-found.worth, kind="stable")[:PAIRS]).named()


def cheapest(task: Task, candidates: Candidates) -> Candidates:
    """As many of the worthiest candidates as a third of the budget holds, changes from all classes first.

    Raises
    ------
    BudgetError
        If it holds none.
    """
    order = np.lexsort((-candidates.worth, candidates.source != EVERY_SOURCE))
    cost = np.array(
        [
            len(task.members(int(s), int(t), fresh=False))
            for s, t in zip(candidates.source[order], candidates.target[order], strict=True)
        ]
    )
    left = task.questions.left or 0
    held = int((np.cumsum(cost) <= left // 3).sum())
    if not held:
        raise BudgetError(f"A budget of {task.questions.budget:,} queries is too small to look for anything.")
    return candidates.pick(np.sort(order[:held]))
