"""What a run costs, counted before it: multiply-adds in the windows against those of full forward passes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onepixel.signatures.incremental.classes import Level, Numbers
from onepixel.signatures.incremental.program import Program
from onepixel.signatures.incremental.spots import Axes


@dataclass(frozen=True)
class Cost:
    """Multiply-adds per value of the grid.

    Attributes
    ----------
    windows : int
        Of all pixels' windows, shared work counted once.
    full : int
        Of one full forward pass per pixel.
    pixels : int
    """

    windows: int
    full: int
    pixels: int

    @property
    def share(self) -> float:
        """The part of a full forward pass that one pixel's windows cost on average."""
        return self.windows / max(1, self.full)

    def forward_passes(self, values: int) -> int:
        """The whole run in forward passes' worth of multiply-adds."""
        return -(-self.windows * self.pixels * values // max(1, self.full))


def count(program: Program, windows: dict[int, Axes], levels: list[Level], pixels: Numbers) -> list[Cost]:
    """Count for the pixels (P, 3) and their classes, each default image by itself."""
    images = len(program.image)
    total = np.zeros(images, dtype=np.int64)
    visited = np.bincount(pixels[:, 0], minlength=images)
    full = 0
    for step, level in zip(program.steps, levels[1:], strict=True):
        image, rows, columns = pixels[level.pixel].T
        sizes = [
            (by_row.size[rows], by_column.size[columns])
            for by_row, by_column in (windows[number] for number in (*step.inputs, step.output))
        ]
        np.add.at(total, image, step.multiply_adds(sizes[:-1], sizes[-1]))
        whole = [(np.array([height]), np.array([width])) for _, height, width in step.shapes]
        full += int(step.multiply_adds(whole[:-1], whole[-1])[0])
    return [Cost(int(own), full * int(count), int(count)) for own, count in zip(total, visited, strict=True)]


def total_cost(costs: Sequence[Cost]) -> Cost:
    """All of them together."""
    return Cost(*(sum(part) for part in zip(*((cost.windows, cost.full, cost.pixels) for cost in costs), strict=True)))
