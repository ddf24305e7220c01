"""Candidates: fillings at places that a search takes further, each for one source (or all) and one target."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.reaches.pasting import paste
from onepixel.reaches.task import Numbers, Task, capped
from onepixel.reaches.value import EVERY_SOURCE

AT_ONCE = 2048
"""Changed images that are made at once."""


@dataclass(frozen=True)
class Candidates:
    """F candidates, all of one height and width.

    Attributes
    ----------
    source, target : array of shape (F,)
        -1 as a source stands for all classes but the target.
    place : array of shape (F, 4)
    filling : Tensor of shape (F, C, h, w)
    worth : array of shape (F,)
        Mean log-odds over the seen images, NaN where not measured.
    """

    source: Numbers
    target: Numbers
    place: Numbers
    filling: Tensor
    worth: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.source)

    def pick(self, numbers: Numbers) -> "Candidates":
        """Some of them, in that order."""
        return replace(
            self,
            source=self.source[numbers],
            target=self.target[numbers],
            place=self.place[numbers],
            filling=self.filling[torch.as_tensor(numbers)],
            worth=self.worth[numbers],
        )

    def filled(self, number: int, fillings: Tensor) -> "Candidates":
        """One of them with each of some fillings (N, C, h, w) instead of its own, not measured."""
        return replace(self.pick(np.full(len(fillings), number)), filling=fillings)

    def with_worth(self, worth: NDArray[np.float32]) -> "Candidates":
        """The same, measured."""
        return replace(self, worth=worth)

    def of_pairs(self) -> "Candidates":
        """Those with a source of their own."""
        return self.pick(np.flatnonzero(self.source != EVERY_SOURCE))

    def of_all(self) -> "Candidates":
        """Those for all classes but the target."""
        return self.pick(np.flatnonzero(self.source == EVERY_SOURCE))

    def named(self) -> set[tuple[int, int]]:
        """Their sources and targets."""
        return set(zip(self.source.tolist(), self.target.tolist(), strict=True))

    def chunks(self, task: Task, *, fresh: bool, at_once: int = AT_ONCE) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
        """Divide (candidate, image) into batches: candidates of the batch, owner in it, and image of each row."""
        members = task.members_of(self.source, self.target, fresh=fresh)
        sizes = np.array([len(own) for own in members])
        start = 0
        while start < len(members):
            stop = start + 1
            while stop < len(members) and sizes[start : stop + 1].sum() <= at_once:
                stop += 1
            owner = np.repeat(np.arange(stop - start), sizes[start:stop])
            yield np.arange(start, stop), owner, np.concatenate(members[start:stop])
            start = stop

    def images(self, task: Task, owner: Numbers, image: Numbers, filling: Tensor, alpha: float) -> Tensor:
        """The changed images of one batch; `owner` numbers the candidates, `filling` has theirs."""
        rows = torch.as_tensor(owner)
        return paste(task.images[torch.as_tensor(image)], torch.as_tensor(self.place[owner]), filling[rows], alpha)


def join(parts: Sequence[Candidates]) -> Candidates:
    """Put candidates of one sort and size together."""
    return replace(
        parts[0],
        source=np.concatenate([part.source for part in parts]),
        target=np.concatenate([part.target for part in parts]),
        place=np.concatenate([part.place for part in parts]),
        filling=torch.cat([part.filling for part in parts]),
        worth=np.concatenate([part.worth for part in parts]),
    )


def measure(
    task: Task, candidates: Candidates, alpha: float = 1.0, *, fresh: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean log-odds (F,) of each candidate's target over its images, and the share that is answered with it.

    Raises
    ------
    BudgetError
        If a batch does not fit into what is left of the budget.
    """
    means, shares = [], []
    for batch, owner, image in candidates.chunks(task, fresh=fresh, at_once=min(AT_ONCE, task.questions.at_once)):
        part = candidates.pick(batch)
        odds = task.questions.log_odds(part.images(task, owner, image, part.filling, alpha))
        rows, targets = torch.as_tensor(owner), torch.as_tensor(part.target)
        own = capped(odds.gather(1, targets[rows, None])[:, 0])
        hit = (odds.argmax(1) == targets[rows]).float()
        means.append(mean_by(own, rows, len(batch)))
        shares.append(mean_by(hit, rows, len(batch)))
    if not means:
        return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.float32)
    return torch.cat(means).numpy(), torch.cat(shares).numpy()


def mean_by(values: Tensor, owner: Tensor, owners: int) -> Tensor:
    """Means (owners,) of the values (N,) of each owner; gradients flow."""
    total = torch.zeros(owners).index_add(0, owner, values)
    return total / torch.bincount(owner, minlength=owners).clamp(min=1)


def adopted_by_all(candidates: Candidates, most: int) -> Candidates:
    """The `most` worthiest of every target as changes from all classes to it, not measured."""
    every = np.full(len(candidates), EVERY_SOURCE)
    one = Candidates(every, candidates.target, candidates.place, candidates.filling, candidates.worth)
    return one.pick(best_of_each(one, most))


def adopted_by_pairs(candidates: Candidates, pairs: Sequence[tuple[int, int]]) -> Candidates:
    """Changes from all classes as changes of each source by itself, not measured."""
    rows = {int(target): row for row, target in enumerate(candidates.target)}
    own = [(source, rows[target]) for source, target in pairs if source != EVERY_SOURCE and target in rows]
    numbers = np.array([row for _, row in own], dtype=np.int64)
    return replace(candidates.pick(numbers), source=np.array([source for source, _ in own], dtype=np.int64))


def best_of_each(candidates: Candidates, most: int) -> Numbers:
    """Numbers of the `most` worthiest candidates of every source and target, in their order."""
    order = np.lexsort((-candidates.worth, candidates.target, candidates.source))
    key = candidates.source[order] * (candidates.target.max(initial=0) + 1) + candidates.target[order]
    first = np.searchsorted(key, key, side="left")
    rank = np.arange(len(order)) - first
    return np.sort(order[rank < most])


def apart(candidates: Candidates, worth: NDArray[np.float32], distance: float) -> Iterator[int]:
    """Numbers of candidates, the worthiest first, none too near to a better one of its target.

    Parameters
    ----------
    candidates : Candidates
    worth : array of shape (F,)
        What they are ordered by.
    distance : float
        How far places of one target lie apart at least, in rows or in columns, pixels.
    """
    kept: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for number in np.argsort(-worth, kind="stable").tolist():
        top, left = (int(part) for part in candidates.place[number, :2])
        better = kept[int(candidates.target[number])]
        if all(max(abs(top - row), abs(left - column)) >= distance for row, column in better):
            better.append((top, left))
            yield number
