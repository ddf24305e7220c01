"""Run the steps for all classes of some pixels, depth first, in batches of bounded size.

A batch is a set of classes of one layout with the maps that later steps still need. Where layouts part, or where it
would outgrow its memory, it is cut: full parts wait on a stack (last in, first out, so that few are ever alive), small
parts wait until others of their layout make them full. The order depends on nothing but the plan, so that the same
signature is computed to the last bit every time.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onepixel.signatures.incremental.classes import Level, Numbers
from onepixel.signatures.incremental.program import IMAGE, Program
from onepixel.signatures.incremental.spots import Axes, Spots, split_columns

BATCH_BYTES = 6 * 2**20
"""What one batch may take at one step (inputs and output): somewhat more than a core's own cache, because with smaller
batches the steps between the products take longer than the products."""

GPU_BATCH_BYTES = 512 * 2**20
"""The same on a GPU, where large batches matter more than caches."""

POOLED_BATCHES = 20
"""How many batches' worth of small parts may wait for others of their layout."""

SMALL_PART = 4
"""A part that fills less than one in so many of the pixels it could have waits for others."""

Maps = dict[int, Tensor]

Finish = Callable[[Numbers, Tensor], None]
"""Takes final classes (U,) and answers' differences (K, U, V)."""


@dataclass(frozen=True)
class Batch:
    """Classes after the refinement of step `place`, and the maps alive before it.

    `pick` says which of the pixels in the maps the classes are; None says that they are all of them, in order.
    """

    place: int
    classes: Numbers
    maps: Maps
    pick: Numbers | None


class Execution:
    """One pass over some pixels at one chunk of values; `changes` (1, C, 1, U * V) are the image's differences."""

    def __init__(
        self,
        program: Program,
        windows: dict[int, Axes],
        levels: list[Level],
        pixels: Numbers,
        values: int,
        finish: Finish,
    ) -> None:
        self.program, self.windows, self.levels, self.pixels = program, windows, levels, pixels
        self.values, self.finish = values, finish
        self.device = program.image.device
        self.budget = BATCH_BYTES if self.device.type == "cpu" else GPU_BATCH_BYTES
        self.most = [self.most_pixels(place) for place in range(len(program.steps))]
        self.last_use = {number: place for place, step in enumerate(program.steps) for number in step.inputs}
        self.stack: list[Batch] = []
        self.pool: dict[tuple[int, int], list[Batch]] = {}
        self.pooled_bytes = 0
        self.waiting: dict[tuple[int, int], int] = {}

    def most_pixels(self, place: int) -> Numbers:
        """For every class after a step's refinement: how many pixels like it may be computed at once."""
        step = self.program.steps[place]
        _, rows, columns = self.pixels[self.levels[place + 1].pixel].T
        numbers = np.zeros(len(rows), dtype=np.int64)
        for number, (channels, _, _) in zip((*step.inputs, step.output), step.shapes, strict=True):
            by_row, by_column = self.windows[number]
            numbers += channels * by_row.size[rows] * by_column.size[columns]
        element = self.program.image.element_size()
        return np.maximum(1, self.budget // (numbers * self.values * element))

    def run(self, changes: Tensor) -> None:
        """Take all classes of changed pixels through all steps."""
        whole = self.enter(0, np.arange(len(self.levels[0].pixel)), {IMAGE: changes})
        if whole is not None:
            self.stack.append(whole)
        while self.stack or self.pool:
            if not self.stack:
                self.release(min(self.pool))
            self.advance(self.stack.pop())

    def enter(self, place: int, classes: Numbers, maps: Maps) -> Batch | None:
        """Refine classes for a step; give the batch back if it can go on as it is, else let its parts wait."""
        parts = self.split(place, classes)
        if len(parts) == 1 and parts[0].pick is None and not parts[0].small:
            return Batch(place, parts[0].classes, maps, None)
        for part in reversed(parts):
            batch = Batch(place, part.classes, maps, part.pick)
            if part.small:
                self.keep(batch)
            else:
                self.stack.append(batch)
        return None

    def keep(self, batch: Batch) -> None:
        """Let a small part wait; release all of its layout once they are enough."""
        own = Batch(batch.place, batch.classes, self.picked(batch), None)
        key = (batch.place, int(self.levels[batch.place + 1].layout[batch.classes[0]]))
        self.pool.setdefault(key, []).append(own)
        self.waiting[key] = self.waiting.get(key, 0) + len(own.classes)
        self.pooled_bytes += size_of(own)
        if self.waiting[key] >= self.most[batch.place][batch.classes[0]]:
            self.release(key)
        elif self.pooled_bytes > POOLED_BATCHES * self.budget:
            self.release(max(self.pool, key=lambda key: sum(map(size_of, self.pool[key]))))

    def release(self, key: tuple[int, int]) -> None:
        """Make one batch of the small parts of a layout."""
        parts = self.pool.pop(key)
        del self.waiting[key]
        self.pooled_bytes -= sum(map(size_of, parts))
        if len(parts) == 1:
            self.stack.append(parts[0])
            return
        together = {number: torch.cat([part.maps[number] for part in parts], dim=-1) for number in parts[0].maps}
        self.stack.append(Batch(key[0], np.concatenate([part.classes for part in parts]), together, None))

    def advance(self, waiting: Batch) -> None:
        """Take a batch through the steps until it is cut or finished."""
        batch: Batch | None = Batch(waiting.place, waiting.classes, self.picked(waiting), None)
        del waiting
        while batch is not None:
            place, classes, maps = batch.place, batch.classes, batch.maps
            step = self.program.steps[place]
            images, rows, columns = self.pixels[self.levels[place + 1].pixel[classes]].T
            spots = Spots(images, rows, columns, self.windows)
            maps[step.output] = step.run([maps[number] for number in step.inputs], spots)
            for number in set(step.inputs):
                if self.last_use[number] == place:
                    del maps[number]
            if place + 1 == len(self.program.steps):
                self.finish(classes, split_columns(maps[self.program.answer], len(classes))[0, :, 0])
                return
            batch = self.enter(place + 1, classes, maps)

    def picked(self, batch: Batch) -> Maps:
        """The maps of the batch's own pixels."""
        if batch.pick is None:
            return dict(batch.maps)
        pick = batch.pick
        found = {}
        for number, maps in batch.maps.items():
            columns = split_columns(maps, maps.shape[-1] // self.values)
            if len(pick) == 1:
                found[number] = columns[..., int(pick[0]), :].clone(memory_format=torch.contiguous_format)
            else:
                found[number] = columns.index_select(3, torch.from_numpy(pick).to(maps.device)).flatten(-2)
        return found

    def split(self, place: int, classes: Numbers) -> "list[Part]":
        """Refine classes, part them by layout, and cut what is too large."""
        level, most = self.levels[place + 1], self.most[place]
        children = level.first_child[classes]
        if not level.refines or (level.first_child[classes + 1] - children == 1).all():
            if len(classes) == 1 or not level.mixes:
                limit = int(most[children[0]])
                if len(classes) <= limit:
                    return [Part(children, None, len(classes) * SMALL_PART <= limit and level.crowd[children[0]])]
            parents = np.arange(len(classes))
        else:
            counts = level.first_child[classes + 1] - children
            parents = np.repeat(np.arange(len(classes)), counts)
            within = np.arange(len(parents)) - np.repeat(np.cumsum(counts) - counts, counts)
            children = children[parents] + within
        order = np.argsort(level.future[children], kind="stable")
        children, parents = children[order], parents[order]
        edges = np.flatnonzero(np.diff(level.layout[children])) + 1
        parts: list[Part] = []
        for first, last in zip([0, *edges], [*edges, len(children)], strict=True):
            limit = int(most[children[first]])
            for start in range(first, last, limit):
                stop = min(start + limit, last)
                small = (stop - start) * SMALL_PART <= limit and level.crowd[children[first]]
                parts.append(Part(children[start:stop], parents[start:stop], small))
        return parts


@dataclass(frozen=True)
class Part:
    """Some refined classes, which of the batch's pixels they come from, and whether they should wait for others."""

    classes: Numbers
    pick: Numbers | None
    small: bool


def size_of(batch: Batch) -> int:
    """Bytes of a batch's maps."""
    return sum(maps.numel() * maps.element_size() for maps in batch.maps.values())
