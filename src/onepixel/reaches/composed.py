"""The composed search: a trigger put together from the one-pixel signature on real images, by queries alone.

Every pixel (or, on large images and small budgets, every small block) of the seen images is set to every value, or of
one image of each class to the darkest and the lightest. What each is worth to each source and target says which windows
to fill with what, and coordinate ascent goes on from there.
"""

import hashlib
import itertools
from dataclasses import dataclass, replace

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
    for part in (~already(base, places, values)).nonzero().split(task.questions.at_once):
        changed = base[part[:, 0]]
        for row, (_, block, value) in enumerate(part.tolist()):
            top, left, tall, wide = places[block]
            window = changed[row, :, top : top + tall, left : left + wide]
            window += alpha * (values[value][:, None, None] - window)
        found[part.unbind(1)] = capped(task.questions.log_odds(changed)) - before[part[:, 0]]
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


class Tried:
    """Fillings that were measured before: none of them is worth more than what became of its candidate since."""

    def __init__(self) -> None:
        self.known: set[bytes] = set()

    def new(self, candidates: Candidates) -> Numbers:
        """Numbers of the candidates whose fillings were not measured before; from now on they count as measured."""
        fresh = []
        heads = np.column_stack([candidates.source, candidates.target, candidates.place])
        for number, (head, filling) in enumerate(zip(heads, candidates.filling.numpy(), strict=True)):
            key = hashlib.blake2b(head.tobytes() + filling.tobytes(), digest_size=16).digest()
            if key not in self.known:
                fresh.append(number)
                self.known.add(key)
        return np.array(fresh, dtype=np.int64)


def ascend(
    task: Task, candidates: Candidates, side: int = 1, alpha: float = 1.0, tried: Tried | None = None
) -> Candidates:
    """One round of coordinate ascent over the blocks of all windows, row by row; what helps is kept.

    It ends early, keeping what it has, where the next block does not fit into what is left of the budget.

    Parameters
    ----------
    task : Task
    candidates : Candidates
        Measured.
    side : int
        Pixels of a block in a row and in a column.
    alpha : float
        How much of a filling is mixed in.
    tried : Tried, optional
        What earlier rounds measured, which is not asked again, and what this one does.
    """
    values = pixel_values(task.size[0])
    if not len(candidates):
        return candidates
    height, width = candidates.filling.shape[2:]
    filling, worth = candidates.filling.clone(), candidates.worth.copy()
    every = np.arange(len(candidates))
    tried = Tried() if tried is None else tried
    tried.new(candidates)
    for top, left, tall, wide in blocks(height, width, side).tolist():
        window = (..., slice(top, top + tall), slice(left, left + wide))
        turned = replace(candidates.pick(np.tile(every, len(values))), filling=filling.repeat(len(values), 1, 1, 1))
        colours = values.repeat_interleave(len(candidates), 0)
        turned.filling[window] = colours[:, :, None, None]
        fresh = tried.new(turned)
        part, owner = turned.pick(fresh), fresh % len(candidates)
        if not task.questions.affords(sum(map(len, task.members_of(part.source, part.target, fresh=False)))):
            break
        reached, _ = measure(task, part, alpha)
        for number, one in enumerate(owner):
            if reached[number] > worth[one]:
                worth[one], filling[one] = reached[number], part.filling[number]
    return replace(candidates, filling=filling, worth=worth)
