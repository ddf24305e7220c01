"""The composed search: a trigger put together from the one-pixel signature on real images, by queries alone.

Every pixel (or, on large images and small budgets, every small block) of the seen images is set to every value, or of
one image of each class to the darkest and the lightest. What each is worth to each source and target says which windows
to fill with what, and coordinate ascent goes on from there.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onepixel.classifiers import ModuleClassifier
from onepixel.errors import ExactnessError
from onepixel.reaches.candidates import Candidates, measure
from onepixel.reaches.hints import Hint, grouped
from onepixel.reaches.task import Numbers, Task, capped
from onepixel.signatures.incremental import NotIncrementalError, block_log_odds, whole_passes

GREY_VALUES = (0.0, 0.5, 1.0)
"""What a pixel of one channel is set to; of three channels it is set to the eight corners of the colour cube."""

MOST_CORNERS = 3
"""Up to so many channels a pixel takes every corner; with more, black and white."""


def pixel_values(channels: int) -> Tensor:
    """The values (V, C) that a pixel is set to."""
    if channels == 1:
        return torch.tensor(GREY_VALUES)[:, None]
    if channels <= MOST_CORNERS:
        return torch.tensor(list(itertools.product((0.0, 1.0), repeat=channels)))
    return torch.tensor([[0.0] * channels, [1.0] * channels])


def blocks(height: int, width: int, side: int) -> Numbers:
    """Blocks of side x side pixels that tile an image, (B, 4), the last ones cut off at the border."""
    rows = [(top, min(side, height - top)) for top in range(0, height, side)]
    columns = [(left, min(side, width - left)) for left in range(0, width, side)]
    return np.array([(top, left, tall, wide) for top, tall in rows for left, wide in columns], dtype=np.int64)


def extremes(channels: int) -> Tensor:
    """Those of the values (V, C) that are nothing between two others."""
    values = pixel_values(channels)
    return values[((values == 0) | (values == 1)).all(dim=1)]


@dataclass(frozen=True)
class Survey:
    """What a hint asks: a task with the images to look at, the side of blocks, and the values (V, C) they take."""

    task: Task
    side: int
    values: Tensor

    @property
    def places(self) -> Numbers:
        """The blocks, (B, 4)."""
        return blocks(*self.task.size[1:], self.side)

    @property
    def cost(self) -> int:
        """Queries, at most."""
        return len(self.task.seen) * (1 + len(self.places) * len(self.values))


def survey_within(task: Task, most: int) -> Survey:
    """The survey with the smallest blocks that a number of queries holds; the largest blocks where it holds none.

    Where several images of each class do not fit, one of each goes before larger blocks: a trigger of black and white
    pixels side by side shows in no block of them, and all classes together say where it is.
    """
    channels, height, width = task.size
    ways = ((task.skimmed(), pixel_values(channels)), (task.skimmed(1), extremes(channels)))
    for side in range(1, max(height, width) + 1):
        for part, values in ways:
            survey = Survey(part, side, values)
            if survey.cost <= most:
                return survey
    return survey


def composed_hint(survey: Survey, alpha: float = 1.0) -> Hint:
    """The worth of every block of a survey, shared by its pixels: exhaustive, one block at a time.

    Raises
    ------
    BudgetError
        If it does not fit into what is left of the budget.
    """
    task, values, places = survey.task, survey.values, survey.places
    channels, height, width = task.size
    table = block_changes(task, values, places, alpha)
    by_group = grouped(task, table.permute(0, 3, 1, 2).flatten(2))
    by_group = by_group.view(*by_group.shape[:2], len(places), len(values))
    worth, best = by_group.max(dim=3)
    shape = (*worth.shape[:2], height, width)
    full_worth, full_value = torch.zeros(shape), torch.zeros(*worth.shape[:2], channels, height, width)
    for number, (top, left, tall, wide) in enumerate(places.tolist()):
        window = (..., slice(top, top + tall), slice(left, left + wide))
        full_worth[window] = worth[:, :, number, None, None] / (tall * wide)
        full_value[window] = values[best[:, :, number]][..., None, None]
    return Hint(full_worth, full_value)


def block_changes(task: Task, values: Tensor, places: Numbers, alpha: float = 1.0) -> Tensor:
    """What setting a block to a value changes in the capped log-odds of every seen image.

    A block that already has the value is not asked about: its change is 0.

    Returns
    -------
    Tensor of shape (M, B, V, T)
    """
    base = task.images[torch.as_tensor(task.seen)]
    before = capped(task.questions.log_odds(base))
    found = incremental_changes(task, values, places, before) if alpha == 1 else None
    if found is not None:
        return found[..., torch.as_tensor(task.targets)]
    found = torch.zeros(len(base), len(places), len(values), before.shape[1])
    for number, image in enumerate(base):
        cells = [
            (block, value)
            for block, (top, left, tall, wide) in enumerate(places.tolist())
            for value, colour in enumerate(values)
            if not bool((image[:, top : top + tall, left : left + wide] == colour[:, None, None]).all())
        ]
        for start in range(0, len(cells), task.questions.batch):
            part = torch.tensor(cells[start : start + task.questions.batch])
            changed = image.expand(len(part), -1, -1, -1).clone()
            for row, (block, value) in enumerate(part.tolist()):
                top, left, tall, wide = places[block]
                window = changed[row, :, top : top + tall, left : left + wide]
                window += alpha * (values[value][:, None, None] - window)
            found[number, part[:, 0], part[:, 1]] = capped(task.questions.log_odds(changed)) - before[number]
    return found[..., torch.as_tensor(task.targets)]


def incremental_changes(task: Task, values: Tensor, places: Numbers, before: Tensor) -> Tensor | None:
    """The same table for all classes (M, B, V, K) by the incremental engine; None where that would gain nothing.

    Every cell counts as a query, as if it had been asked, so that a budget buys the same by either way. Where the
    engine gives up, what it has sent through the network counts too.
    """
    classifier = task.classifier
    base = task.images[torch.as_tensor(task.seen)]
    if not isinstance(classifier, ModuleClassifier):
        return None
    same = already(base, places, values)
    cells, overhead = int((~same).sum()), whole_passes(len(base))
    if cells < overhead or not task.questions.affords(cells + overhead):
        return None
    try:
        with torch.inference_mode():
            odds = block_log_odds(classifier, base, places, values, task.questions.advance)
    except (NotIncrementalError, ExactnessError):
        task.questions.spend(overhead)
        return None
    task.questions.spend(cells)
    changes = capped(odds) - before[:, None, None]
    return changes.masked_fill(same[..., None], 0.0)


def already(images: Tensor, places: Numbers, values: Tensor) -> Tensor:
    """Whether a block of an image (M, C, H, W) has a value (V, C) already, (M, B, V)."""
    found = torch.zeros(len(images), len(places), len(values), dtype=torch.bool)
    for number, (top, left, tall, wide) in enumerate(places.tolist()):
        block = images[:, None, :, top : top + tall, left : left + wide]
        found[:, number] = (block == values[None, :, :, None, None]).flatten(2).all(2)
    return found


def ascend(task: Task, candidates: Candidates, side: int = 1, alpha: float = 1.0) -> Candidates:
    """One round of coordinate ascent over the blocks of all windows, row by row; what helps is kept.

    It ends early, keeping what it has, where the next block does not fit into what is left of the budget.
    """
    values = pixel_values(task.size[0])
    if not len(candidates):
        return candidates
    height, width = candidates.filling.shape[2:]
    filling, worth = candidates.filling.clone(), candidates.worth.copy()
    sizes = np.array([len(own) for own in task.members_of(candidates.source, candidates.target, fresh=False)])
    for top, left, tall, wide in blocks(height, width, side).tolist():
        window = (..., slice(top, top + tall), slice(left, left + wide))
        start = filling.clone()
        others = [
            np.flatnonzero((start[window] != colour[:, None, None]).flatten(1).any(1).numpy()) for colour in values
        ]
        if not task.questions.affords(sum(int(sizes[different].sum()) for different in others)):
            break
        for colour, different in zip(values, others, strict=True):
            if not len(different):
                continue
            tried = start.clone()
            tried[window] = colour[:, None, None]
            part = Candidates(
                candidates.source[different],
                candidates.target[different],
                candidates.place[different],
                tried[torch.as_tensor(different)],
                worth[different],
            )
            reached, _ = measure(task, part, alpha)
            better = reached > worth[different]
            worth[different[better]] = reached[better]
            filling[torch.as_tensor(different[better])] = part.filling[torch.as_tensor(np.flatnonzero(better))]
    return Candidates(candidates.source, candidates.target, candidates.place, filling, worth)
