"""Which pixels share which computations.

Two pixels of one default image belong to one class of a step if every step so far did the same work on the same
numbers for both: the same slices, and base maps that are equal bit for bit wherever a nonlinear step looked. A constant
default image makes most inner pixels of the first layers one class. Classes only ever split from one step to the next.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.signatures.incremental.program import IMAGE, Program
from onepixel.signatures.incremental.spots import Axes
from onepixel.signatures.incremental.steps import Step
from onepixel.signatures.incremental.windows import Window

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Level:
    """The classes after one step.

    Attributes
    ----------
    members : array of shape (P,)
        The class of every visited pixel.
    parent : array of shape (classes,)
        The class of the step before that each class is a part of; in ascending order.
    first_child : array of shape (classes of the step before + 1,)
        Where each parent's children begin.
    layout : array of shape (classes,)
        Classes of equal layout can be computed together.
    pixel : array of shape (classes,)
        One pixel of each class.
    future : array of shape (classes,)
        A number that orders classes by layout, and those of one layout by the layouts of the steps that follow: what
        stands together in a batch parts late.
    crowd : array of shape (classes,), bool
        Whether other classes have the same layout.
    refines, mixes : bool
        Whether a class splits here at all; whether there is more than one layout.
    """

    members: Numbers
    parent: Numbers
    first_child: Numbers
    layout: Numbers
    future: Numbers
    pixel: Numbers
    crowd: NDArray[np.bool_]
    refines: bool
    mixes: bool


def windows_of(program: Program, height: int, width: int, start: Axes | None = None) -> dict[int, Axes]:
    """The windows of every map, for every row and column of the image.

    `start` says what is changed in the image there, where it is more than the pixel itself.
    """
    found: dict[int, Axes] = {IMAGE: start or (single(height), single(width))}
    for step in program.steps:
        rows, columns = (step.window(axis, [found[number][axis] for number in step.inputs]) for axis in (0, 1))
        found[step.output] = (rows, columns)
    return found


def single(length: int) -> Window:
    """The changed pixel itself."""
    places = np.arange(length)
    return Window(places, places + 1)


def classify(program: Program, windows: dict[int, Axes], pixels: Numbers) -> list[Level]:
    """The classes before the first step and after each one, for pixels (P, 3): image, row and column."""
    images, rows, columns = pixels.T
    start = patch_numbers(map_numbers(program.image.permute(0, 2, 1, 3)), windows[IMAGE], pixels)
    start = start * len(program.image) + images
    levels = [level(np.zeros(len(pixels), dtype=np.int64), np.zeros(len(pixels), dtype=np.int64), start)]
    last_use = {number: place for place, step in enumerate(program.steps) for number in step.inputs}
    alive = {IMAGE}
    for place, step in enumerate(program.steps):
        ins = [windows[number] for number in step.inputs]
        out = windows[step.output]
        # Maps that only later steps use travel in the same batch, so their sizes have to agree too.
        travelling = sorted(alive - set(step.inputs))
        by_row, by_column = (
            number_rows(
                np.column_stack(
                    [
                        step.layout(axis, [window[axis] for window in ins], out[axis]),
                        *(windows[number][axis].size for number in travelling),
                    ]
                )
            )
            for axis in (0, 1)
        )
        alive = {number for number in alive | {step.output} if last_use.get(number, len(program.steps)) > place}
        layout = by_row[rows] * (by_column.max() + 1) + by_column[columns]
        members = levels[-1].members
        content = None
        if len(levels[-1].pixel) < len(pixels):
            content = contents(step, ins, out, pixels)
        levels.append(level(members, layout, content))
    return with_futures(levels)


def with_futures(levels: list[Level]) -> list[Level]:
    """Number what lies before every class, from the last step to the first."""
    later = np.zeros(len(levels[-1].members), dtype=np.int64)
    numbered = []
    for one in reversed(levels):
        _, later = np.unique(one.layout[one.members] * (later.max() + 1) + later, return_inverse=True)
        later = later.reshape(-1)
        numbered.append(replace(one, future=later[one.pixel]))
    return numbered[::-1]


def contents(step: Step, ins: list[Axes], out: Axes, pixels: Numbers) -> Numbers | None:
    """Numbers (P,): equal where the step reads equal base maps; None if it reads none."""
    reads = zip(*(step.reads(axis, [window[axis] for window in ins], out[axis]) for axis in (0, 1)), strict=True)
    found: Numbers | None = None
    for (base, by_row), (_, by_column) in reads:
        numbers = patch_numbers(map_numbers(base), (by_row, by_column), pixels)
        found = numbers if found is None else number_rows(np.stack([found, numbers], axis=1))
    return found


def level(members: Numbers, layout: Numbers, content: Numbers | None) -> Level:
    """Split classes by layout and content."""
    key = members * (layout.max() + 1) + layout
    if content is not None:
        key = number_rows(key[:, None]) * (content.max() + 1) + content
    _, pixel, split = np.unique(key, return_index=True, return_inverse=True)
    parent = members[pixel]
    first_child = np.searchsorted(parent, np.arange(members.max() + 2))
    layouts = layout[pixel]
    crowd = np.bincount(layouts)[layouts] > 1
    refines = len(pixel) > members.max() + 1
    mixes = bool((layouts != layouts[0]).any())
    return Level(split.reshape(-1), parent, first_child, layouts, layouts, pixel, crowd, refines, mixes)


def number_rows(table: Numbers) -> Numbers:
    """Number the distinct rows of a table, in ascending order, and say which each one is."""
    numbers = np.zeros(len(table), dtype=np.int64)
    for column in table.T:
        _, dense = np.unique(column, return_inverse=True)
        _, numbers = np.unique(numbers * (dense.max() + 1) + dense.reshape(-1), return_inverse=True)
        numbers = numbers.reshape(-1)
    return numbers


def map_numbers(base: Tensor) -> Numbers:
    """Number the distinct channel vectors of maps (M, H, C, W), bit for bit: (M, H, W)."""
    images, height, channels, width = base.shape
    places = base.permute(0, 1, 3, 2).reshape(-1, channels).contiguous().cpu()
    whole = torch.int32 if places.element_size() == 4 else torch.int64
    rows = places.view(whole).numpy() if places.element_size() in (4, 8) else places.double().view(whole).numpy()
    _, numbers = np.unique(rows.view(f"V{rows.shape[1] * rows.itemsize}"), return_inverse=True)
    return numbers.reshape(images, height, width).astype(np.int64)


def patch_numbers(numbers: Numbers, axes: Axes, pixels: Numbers) -> Numbers:
    """Number the distinct patches that windows cut out of numbered maps (M, H, W): one number per pixel (P, 3)."""
    by_row, by_column = axes
    images, rows, columns = pixels.T
    along = segment_numbers(numbers.reshape(-1, numbers.shape[2]), by_column)
    across = along.reshape(*numbers.shape[:2], -1).transpose(0, 2, 1)
    found = segment_numbers(across.reshape(-1, across.shape[2]), by_row)
    return found.reshape(*across.shape[:2], -1)[images, columns, rows]


def segment_numbers(lines: Numbers, window: Window) -> Numbers:
    """For lines (n, length) and windows (positions,): number the segments, (n, positions)."""
    longest = int(window.size.max())
    places = window.low[:, None] + np.arange(longest)
    beyond = places >= window.high[:, None]
    segments = lines[:, np.minimum(places, lines.shape[1] - 1)]
    segments = np.where(beyond, -1, segments)
    return number_rows(segments.reshape(-1, longest)).reshape(len(lines), len(window.low))
