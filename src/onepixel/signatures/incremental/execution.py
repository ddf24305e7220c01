"""Run the steps for all classes of pixels: depth first, in batches of bounded size, on all threads.

A batch is a set of classes of one layout with the maps that later steps still need. It is split where layouts part or
where it would outgrow its memory; parts wait on a stack, last in, first out, so that few are ever alive.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onepixel.signatures.incremental.classes import Level, Numbers
from onepixel.signatures.incremental.lowering import IMAGE, Program
from onepixel.signatures.incremental.spots import Axes, Spots, split_columns

BATCH_BYTES = 2 * 2**20
"""What one batch may take at one step (inputs and output): about a core's share of the cache."""

GPU_BATCH_BYTES = 512 * 2**20
"""The same on a GPU, where large batches matter more than caches."""


@dataclass(frozen=True)
class Batch:
    """Classes after step `position - 1`, with the maps alive; `pick` says which pixels of the maps they are."""

    position: int
    classes: Numbers
    maps: dict[int, Tensor]
    pick: Numbers | None


Finish = Callable[[Numbers, Tensor], None]
"""Takes final classes (U,) and answers' differences (K, U, V)."""


class Execution:
    """One pass over all pixels at one chunk of values."""

    def __init__(
        self,
        program: Program,
        windows: dict[int, Axes],
        levels: list[Level],
        pixels: Numbers,
        changes: Tensor,
        finish: Finish,
    ) -> None:
        self.program, self.windows, self.levels, self.pixels = program, windows, levels, pixels
        self.changes = changes
        self.finish = finish
        self.values = changes.shape[-1]
        self.last_use = {number: place for place, step in enumerate(program.steps) for number in step.inputs}
        self.last_use[program.answer] = len(program.steps)
        self.budget = BATCH_BYTES if changes.device.type == "cpu" else GPU_BATCH_BYTES
        self.waiting: list[Batch] = []
        self.busy = 0
        self.condition = threading.Condition()
        self.failure: BaseException | None = None

    def run(self, threads: int) -> None:
        """Start with all classes of changed pixels and work until nothing waits."""
        first = self.levels[0]
        self.push([Batch(0, np.arange(len(first.pixel)), {IMAGE: self.changes}, None)])
        if threads == 1:
            self.work()
        else:
            with ThreadPoolExecutor(threads) as pool:
                for _ in range(threads):
                    pool.submit(self.work)
        if self.failure is not None:
            raise self.failure

    def push(self, batches: list[Batch]) -> None:
        """Let batches wait."""
        with self.condition:
            self.waiting.extend(batches)
            self.condition.notify_all()

    def work(self) -> None:
        """Take batches until none waits and nobody can make more."""
        torch.set_num_threads(torch.get_num_threads() if self.changes.device.type != "cpu" else 1)
        with torch.inference_mode():
            while True:
                with self.condition:
                    while not self.waiting and self.busy and self.failure is None:
                        self.condition.wait()
                    if not self.waiting or self.failure is not None:
                        self.condition.notify_all()
                        return
                    batch = self.waiting.pop()
                    self.busy += 1
                try:
                    self.advance(batch)
                except BaseException as error:
                    self.failure = error
                finally:
                    with self.condition:
                        self.busy -= 1
                        self.condition.notify_all()

    def advance(self, batch: Batch) -> None:
        """Take a batch through the steps until it has to be split or is finished."""
        maps = self.picked(batch)
        classes = batch.classes
        for place in range(batch.position, len(self.program.steps)):
            level, step = self.levels[place + 1], self.program.steps[place]
            if not (place == batch.position and batch.pick is not None):
                parts = self.split(place, classes)
                if len(parts) > 1 or parts[0][1] is not None:
                    self.push([Batch(place, part, maps, pick) for part, pick in reversed(parts)])
                    return
                classes = parts[0][0]
            spots = Spots(*self.pixels[level.pixel[classes]].T, self.windows)
            maps[step.output] = step.run([maps[number] for number in step.inputs], spots)
            for number in set(step.inputs):
                if self.last_use[number] == place:
                    del maps[number]
        self.finish(classes, split_columns(maps[self.program.answer], len(classes))[0, :, 0])

    def picked(self, batch: Batch) -> dict[int, Tensor]:
        """The maps of the batch's own pixels."""
        if batch.pick is None:
            return dict(batch.maps)
        pick = batch.pick
        found = {}
        for number, maps in batch.maps.items():
            columns = split_columns(maps, maps.shape[-1] // self.values)
            if len(pick) == 1:
                chosen = columns[..., int(pick[0]), :]
                found[number] = chosen if chosen.is_contiguous() else chosen.contiguous()
            else:
                found[number] = columns.index_select(3, torch.from_numpy(pick).to(maps.device)).flatten(-2)
        return found

    def split(self, place: int, classes: Numbers) -> list[tuple[Numbers, Numbers | None]]:
        """The classes after a step's refinement, by layout and in chunks, and which of the old ones each came from."""
        level = self.levels[place + 1]
        if not level.refines and not level.mixes:
            children, parents = level.first_child[classes], np.arange(len(classes))
        else:
            starts, stops = level.first_child[classes], level.first_child[classes + 1]
            counts = stops - starts
            parents = np.repeat(np.arange(len(classes)), counts)
            children = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + starts[parents]
        order = np.argsort(level.layout[children], kind="stable")
        children, parents = children[order], parents[order]
        edges = np.flatnonzero(np.diff(level.layout[children])) + 1
        parts: list[tuple[Numbers, Numbers | None]] = []
        for first, last in zip([0, *edges], [*edges, len(children)], strict=True):
            most = self.most_pixels(place, children[first])
            for start in range(first, last, most):
                stop = min(start + most, last)
                parts.append((children[start:stop], parents[start:stop]))
        if len(parts) == 1 and len(parents) == len(classes) and (parents == np.arange(len(classes))).all():
            return [(children, None)]
        return parts

    def most_pixels(self, place: int, child: int) -> int:
        """How many pixels of this layout may be computed at once."""
        step = self.program.steps[place]
        row, column = self.pixels[self.levels[place + 1].pixel[child]]
        numbers = 0
        for number, (channels, _, _) in zip((*step.inputs, step.output), step.shapes, strict=True):
            rows, columns = self.windows[number]
            numbers += channels * int(rows.size[row]) * int(columns.size[column])
        return max(1, self.budget // (numbers * self.values * self.changes.element_size()))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Give the number of torch's threads back afterwards; the workers take one each."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
