"""Hints: what each pixel and value is worth to each source and target, from single pixels (queries) or gradients."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onepixel.reaches.candidates import Candidates, join
from onepixel.reaches.task import Task
from onepixel.reaches.value import EVERY_SOURCE


@dataclass(frozen=True)
class Hint:
    """The worth of the best value of every pixel, and that value.

    Attributes
    ----------
    worth : Tensor of shape (1 + S, T, H, W)
        Mean change of the target's log-odds over the seen images of each source; the first row is the mean over all
        sources but the target.
    value : Tensor of shape (1 + S, T, C, H, W)
        In [0, 1].
    """

    worth: Tensor
    value: Tensor


def grouped(task: Task, by_image: Tensor) -> Tensor:
    """Means (1 + S, T, ...) by source of numbers (M, T, ...) of the seen images; row 0 is over all but the target."""
    labels = torch.as_tensor(task.labels[task.seen])
    rows = [by_image[labels == int(source)].mean(0) for source in task.sources]
    table = torch.stack(rows).nan_to_num()
    there = torch.tensor(
        [[bool((labels == int(s)).any()) and int(s) != int(t) for t in task.targets] for s in task.sources]
    )
    weight = there.float().view(*there.shape, *[1] * (table.ndim - 2))
    over_all = (table * weight).sum(0) / weight.sum(0).clamp(min=1)
    return torch.cat([over_all[None], table])


def windows(task: Task, hint: Hint, height: int, width: int, most: int) -> Candidates:
    """The windows of every pair that are worth most, at most half overlapping, filled with their best values."""
    kernel = torch.ones(1, 1, height, width)
    rows, columns = hint.worth.shape[2] - height + 1, hint.worth.shape[3] - width + 1
    sums = torch.nn.functional.conv2d(hint.worth.clamp(min=0).flatten(0, 1)[:, None], kernel)[:, 0]
    sums = sums.view(*hint.worth.shape[:2], rows, columns).clone()
    columns_of = {int(target): column for column, target in enumerate(task.targets)}
    row_of = {EVERY_SOURCE: 0, **{int(source): 1 + row for row, source in enumerate(task.sources)}}
    pairs = task.pairs()
    tables = torch.stack([sums[row_of[source], columns_of[target]] for source, target in pairs])
    numbers = torch.arange(len(pairs))
    source, target = (np.array(part, dtype=np.int64) for part in zip(*pairs, strict=True))
    group = torch.tensor([row_of[int(s)] for s in source])
    column = torch.tensor([columns_of[int(t)] for t in target])
    found: list[Candidates] = []
    above = torch.arange(rows)[None, :, None]
    beside = torch.arange(columns)[None, None, :]
    for _ in range(min(most, rows * columns)):
        best = tables.flatten(1).argmax(1)
        top, left = best // columns, best % columns
        worth = tables[numbers, top, left]
        place = torch.stack([top, left, torch.full_like(top, height), torch.full_like(top, width)], dim=1)
        filling = torch.stack(
            [
                hint.value[g, c, :, t : t + height, w : w + width]
                for g, c, t, w in zip(group, column, top, left, strict=True)
            ]
        )
        alive = np.flatnonzero(torch.isfinite(worth).numpy())
        found.append(Candidates(source, target, place.numpy(), filling, worth.float().numpy()).pick(alive))
        near = ((above - top[:, None, None]).abs() * 2 < height) & ((beside - left[:, None, None]).abs() * 2 < width)
        tables = tables.masked_fill(near, float("-inf"))
    return join(found)
