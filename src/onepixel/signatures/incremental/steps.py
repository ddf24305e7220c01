"""The rules of the incremental engine: how a change travels through one operator.

Between two steps a map is carried as its *difference* from the default image's map, inside its window, as a tensor
(h, C, w, N): rows, channels, columns, and last the N = U * V images of U pixels at V values, so that every operation
on a small window is a long, contiguous one. Linear steps act on differences alone. Nonlinear steps add the base
window, apply the operator and subtract the base of their output.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from onepixel.signatures.incremental.spots import Span, Spots, same_layout
from onepixel.signatures.incremental.windows import Positions, Window, inside, union, whole

Shape = tuple[int, int, int]
"""(C, H, W) of one map."""


@dataclass(frozen=True)
class Step(ABC):
    """One operator between numbered maps.

    Attributes
    ----------
    label : str
        What people call the operator.
    inputs : tuple of int
        The maps it takes.
    output : int
        The map it gives.
    shapes : tuple of (C, H, W)
        Of every input, then of the output.
    """

    label: str
    inputs: tuple[int, ...]
    output: int
    shapes: tuple[Shape, ...]

    @abstractmethod
    def window(self, axis: int, windows: Sequence[Window]) -> Window:
        """Where the output can differ, from where the inputs can."""

    @abstractmethod
    def layout(self, axis: int, windows: Sequence[Window], out: Window) -> Positions:
        """Numbers (positions, n); pixels with equal numbers on both axes are computed by the same slices."""

    @abstractmethod
    def run(self, maps: list[Tensor], spots: Spots) -> Tensor:
        """The output's difference from those of the inputs."""

    @abstractmethod
    def multiply_adds(self, ins: list[tuple[Positions, Positions]], out: tuple[Positions, Positions]) -> Positions:
        """Multiply-adds per image, from the heights and widths of the windows of the inputs and the output."""

    def reads(self, axis: int, windows: Sequence[Window], out: Window) -> list[tuple[Tensor, Window]]:
        """Which base maps a nonlinear step looks at, and where; where these are equal, so are the results."""
        return []

    def cast(self, dtype: torch.dtype) -> "Step":
        """The step with its constants in that floating type; they are made in float64."""
        return self

    def length(self, axis: int) -> int:
        """Rows (axis 0) or columns (axis 1) of the output map."""
        return self.shapes[-1][axis + 1]


def place(maps: Tensor, source: Span, target: Span) -> Tensor:
    """Set a difference (h, C, w, N) into a larger window, zero elsewhere."""
    if source == target:
        return maps
    wide = maps.new_zeros(target.height, maps.shape[1], target.width, maps.shape[3])
    inner(wide, source, target).copy_(maps)
    return wide


def inner(maps: Tensor, source: Span, target: Span) -> Tensor:
    """The part of a map cut out at `target` that lies in `source`."""
    top, left = source.top - target.top, source.left - target.left
    return maps[top : top + source.height, :, left : left + source.width]


def offsets(windows: Sequence[Window], out: Window) -> Positions:
    """The layout of steps that only set windows into each other."""
    return same_layout(out.size, *(w.size for w in windows), *(w.low - out.low for w in windows))


def elements(sizes: tuple[Positions, Positions], channels: int) -> Positions:
    """Numbers in a window."""
    return sizes[0] * sizes[1] * channels


@dataclass(frozen=True)
class Scale(Step):
    """Each channel times a number (batch norm in eval mode, a multiplication by constants)."""

    factor: Tensor
    """(C,)"""

    def cast(self, dtype: torch.dtype) -> "Scale":
        """With factors of that type."""
        return replace(self, factor=self.factor.to(dtype))

    def window(self, axis: int, windows: Sequence[Window]) -> Window:
        """Unchanged."""
        return windows[0]

    def layout(self, axis: int, windows: Sequence[Window], out: Window) -> Positions:
        """The size."""
        return same_layout(out.size)

    def run(self, maps: list[Tensor], spots: Spots) -> Tensor:
        """Shifts cancel in a difference, so only the factor acts."""
        return maps[0] * self.factor[:, None, None]

    def multiply_adds(self, ins: list[tuple[Positions, Positions]], out: tuple[Positions, Positions]) -> Positions:
        """One per number."""
        return elements(out, self.shapes[-1][0])


@dataclass(frozen=True)
class Sum(Step):
    """A residual addition or subtraction, either side possibly one number per channel."""

    signs: tuple[float, ...]

    def window(self, axis: int, windows: Sequence[Window]) -> Window:
        """All windows together; the whole axis if one number changes a whole map."""
        return broadcast_window(self, axis, windows)

    def layout(self, axis: int, windows: Sequence[Window], out: Window) -> Positions:
        """Sizes and offsets."""
        return offsets(windows, out)

    def run(self, maps: list[Tensor], spots: Spots) -> Tensor:
        """Add the differences."""
        target = spots.span(self.output)
        total: Tensor | None = None
        for changed, value, shape, sign in zip(maps, self.inputs, self.shapes, self.signs, strict=False):
            wide = changed if is_broadcast(shape, self.shapes[-1]) else place(changed, spots.span(value), target)
            wide = wide if sign == 1 else wide * sign
            total = wide if total is None else total + wide
        assert total is not None
        return total

    def multiply_adds(self, ins: list[tuple[Positions, Positions]], out: tuple[Positions, Positions]) -> Positions:
        """One per number and input."""
        return elements(out, self.shapes[-1][0]) * len(self.inputs)


def is_broadcast(shape: Shape, result: Shape) -> bool:
    """Whether one position is spread over a larger map."""
    return shape[1:] != result[1:]


def broadcast_window(step: Step, axis: int, windows: Sequence[Window]) -> Window:
    """Where a sum or product of maps can differ."""
    if any(is_broadcast(shape, step.shapes[-1]) for shape in step.shapes[:-1]):
        return whole(windows[0], step.length(axis))
    return union(list(windows))


@dataclass(frozen=True)
class Concatenation(Step):
    """Maps one after another along the channels."""

    channels_before: tuple[int, ...]
    """The first channel of each input in the output."""

    def window(self, axis: int, windows: Sequence[Window]) -> Window:
        """All windows together."""
        return union(list(windows))

    def layout(self, axis: int, windows: Sequence[Window], out: Window) -> Positions:
        """Sizes and offsets."""
        return offsets(windows, out)

    def run(self, maps: list[Tensor], spots: Spots) -> Tensor:
        """Copy each difference to its channels; channels of inputs that never change stay zero."""
        target = spots.span(self.output)
        wide = maps[0].new_zeros(target.height, self.shapes[-1][0], target.width, maps[0].shape[3])
        for changed, value, first in zip(maps, self.inputs, self.channels_before, strict=True):
            inner(wide, spots.span(value), target)[:, first : first + changed.shape[1]] = changed
        return wide

    def multiply_adds(self, ins: list[tuple[Positions, Positions]], out: tuple[Positions, Positions]) -> Positions:
        """None, but a copy of every number."""
        return elements(out, self.shapes[-1][0])


@dataclass(frozen=True)
class Shift(Step):
    """Zero padding or cropping around a map: only the place of a window changes."""

    before: tuple[int, int]
    """Rows and columns added in front; negative where cropped."""

    def window(self, axis: int, windows: Sequence[Window]) -> Window:
        """Moved and clipped."""
        moved = windows[0]
        return inside(moved.low + self.before[axis], moved.high + self.before[axis], self.length(axis))

    def layout(self, axis: int, windows: Sequence[Window], out: Window) -> Positions:
        """Sizes and offset."""
        return same_layout(out.size, windows[0].size, out.low - windows[0].low)

    def run(self, maps: list[Tensor], spots: Spots) -> Tensor:
        """The same numbers, without those that fell off the map."""
        source, target = spots.span(self.inputs[0]), spots.span(self.output)
        top, left = target.top - self.before[0] - source.top, target.left - self.before[1] - source.left
        rows = range(max(top, 0), min(top + target.height, source.height))
        columns = range(max(left, 0), min(left + target.width, source.width))
        if len(rows) == target.height and len(columns) == target.width:
            return maps[0][rows.start : rows.stop, :, columns.start : columns.stop].contiguous()
        wide = maps[0].new_zeros(target.height, maps[0].shape[1], target.width, maps[0].shape[3])
        if rows and columns:
            part = maps[0][rows.start : rows.stop, :, columns.start : columns.stop]
            wide[rows.start - top : rows.stop - top, :, columns.start - left : columns.stop - left] = part
        return wide

    def multiply_adds(self, ins: list[tuple[Positions, Positions]], out: tuple[Positions, Positions]) -> Positions:
        """None, but a copy of every number."""
        return elements(out, self.shapes[-1][0])


@dataclass(frozen=True)
class Average(Step):
    """Any average pooling (sliding, adaptive, global): a matrix along rows and one along columns."""

    weights: tuple[Tensor, Tensor]
    """Rows (H_out, H_in) and columns (W_out, W_in)."""

    def cast(self, dtype: torch.dtype) -> "Average":
        """With matrices of that type."""
        return replace(self, weights=(self.weights[0].to(dtype), self.weights[1].to(dtype)))

    def window(self, axis: int, windows: Sequence[Window]) -> Window:
        """From the first to the last output that has a weight in the window."""
        used = self.weights[axis].cpu().numpy() != 0
        low, high = np.empty_like(windows[0].low), np.empty_like(windows[0].high)
        for position, (first, last) in enumerate(zip(windows[0].low, windows[0].high, strict=True)):
            found = np.flatnonzero(used[:, first:last].any(axis=1))
            low[position], high[position] = (found[0], found[-1] + 1) if len(found) else (0, 0)
        return inside(low, high, self.length(axis))

    def layout(self, axis: int, windows: Sequence[Window], out: Window) -> Positions:
        """The places themselves, for they choose the weights."""
        return same_layout(windows[0].low, windows[0].high, out.low, out.high)

    def run(self, maps: list[Tensor], spots: Spots) -> Tensor:
        """Two products with slices of the matrices."""
        source, target = spots.span(self.inputs[0]), spots.span(self.output)
        rows = self.weights[0][target.top : target.bottom, source.top : source.bottom]
        columns = self.weights[1][target.left : target.right, source.left : source.right]
        height, channels, width, images = maps[0].shape
        by_rows = rows @ maps[0].reshape(height, -1)
        by_columns = torch.matmul(columns, by_rows.view(target.height * channels, width, images))
        return by_columns.view(target.height, channels, target.width, images)

    def multiply_adds(self, ins: list[tuple[Positions, Positions]], out: tuple[Positions, Positions]) -> Positions:
        """Of both products."""
        (height, width), channels = ins[0], self.shapes[-1][0]
        return channels * out[0] * width * (height + out[1])
