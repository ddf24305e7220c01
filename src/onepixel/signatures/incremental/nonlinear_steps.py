"""Nonlinear steps of the incremental engine: base windows are added, the operator applied, and its base taken off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onepixel.signatures.incremental.spots import Axes, Span, Spots, same_layout, served, split_columns
from onepixel.signatures.incremental.steps import (
    Shape,
    Step,
    broadcast_window,
    elements,
    inner,
    is_broadcast,
    offsets,
    place,
)
from onepixel.signatures.incremental.windows import Positions, Window, inside, reached, whole


@dataclass(frozen=True)
class Nonlinear(Step):
    """Pointwise functions, one max pooling, more pointwise functions; all parts are optional.

    Attributes
    ----------
    before, after : tuple of callables
        Pointwise, before and after the pooling, on tensors of any shape; each may work in place.
    pool : Pool or None
    base_in, base_middle, base_out : Tensor of shape (M, H, C, W)
        The default images' maps before everything, before the pooling, and after everything.
    """

    before: "tuple[Callable[[Tensor], Tensor], ...]"
    pool: "Pool | None"
    after: "tuple[Callable[[Tensor], Tensor], ...]"
    base_in: Tensor
    base_middle: Tensor
    base_out: Tensor
    owns_input: bool = False
    """Whether nothing else reads the input, so that it may be overwritten."""

    def window(self, axis: int, windows: Sequence[Window]) -> Window:
        """What the pooling reaches."""
        if self.pool is None:
            return windows[0]
        return self.pool.reached(axis, windows[0], self.length(axis))

    def layout(self, axis: int, windows: Sequence[Window], out: Window) -> Positions:
        """Sizes, and the place of the window among the cells of the pooling, borders included."""
        if self.pool is None:
            return same_layout(out.size)
        patch = self.pool.patch(axis, out)
        length = self.shapes[0][axis + 1]
        outside = np.maximum(-patch.low, 0), np.maximum(patch.high - length, 0)
        return same_layout(out.size, windows[0].size, patch.low - windows[0].low, *outside)

    def reads(self, axis: int, windows: Sequence[Window], out: Window) -> list[tuple[Tensor, Window]]:
        """The base under the window, under the cells that the pooling touches, and of the output."""
        found = [(self.base_in, windows[0]), (self.base_out, out)]
        if self.pool is not None:
            patch = self.pool.patch(axis, out)
            found.append((self.base_middle, inside(patch.low, patch.high, self.shapes[0][axis + 1])))
        return found

    def run(self, maps: list[Tensor], spots: Spots) -> Tensor:
        """Base plus difference, the functions, minus the base."""
        base = spots.base(self.base_in, spots.windows[self.inputs[0]])
        changed = split_columns(maps[0], len(spots))
        full = changed.add_(base) if self.owns_input else changed + base
        for function in self.before:
            full = function(full)
        if self.pool is None:
            for function in self.after:
                full = function(full)
        else:
            full = self.pooled(full, spots)
        return full.sub_(spots.base(self.base_out, spots.windows[self.output])).flatten(-2)

    def pooled(self, window: Tensor, spots: Spots) -> Tensor:
        """The largest of every cell, of a window (h, C, w, U, V) and of the base around it, and the functions after."""
        assert self.pool is not None
        source, out = spots.span(self.inputs[0]), spots.span(self.output)
        found = self.pool.run(window, source, out)
        around = self.around(source, out, spots)
        if around is None:
            rest = self.after
        elif self.after[:1] == (torch.relu_,):
            torch.maximum(found, torch.relu_(around), out=found)
            rest = self.after[1:]
        else:
            torch.maximum(found, around, out=found)
            rest = self.after
        for function in rest:
            found = function(found)
        return found

    def around(self, source: Span, out: Span, spots: Spots) -> Tensor | None:
        """The largest of what the cells hold beside the window (h, C, w, U, 1), -inf for nothing; None if that is all.

        It is the same for all values, so that this costs little.
        """
        assert self.pool is not None
        patch = self.pool.patch_span(out)
        _, height, width = self.shapes[0]
        on_map = Span(max(patch.top, 0), min(patch.bottom, height), max(patch.left, 0), min(patch.right, width))
        common = Span(
            max(source.top, on_map.top),
            min(source.bottom, on_map.bottom),
            max(source.left, on_map.left),
            min(source.right, on_map.right),
        )
        if common == on_map:
            return None
        rows, columns = (
            inside(cells.low, cells.high, length)
            for cells, length in zip(
                (self.pool.patch(axis, spots.windows[self.output][axis]) for axis in (0, 1)),
                (height, width),
                strict=True,
            )
        )
        base = spots.base(self.base_middle, (rows, columns)).clone()
        if common.height > 0 and common.width > 0:
            inner(base, common, on_map).fill_(float("-inf"))
        return self.pool.run(base, on_map, out)

    def multiply_adds(self, ins: list[tuple[Positions, Positions]], out: tuple[Positions, Positions]) -> Positions:
        """None, but passes over the memory, counted as four multiply-adds for each number."""
        return 4 * elements(ins[0], self.shapes[0][0])


@dataclass(frozen=True)
class Pool:
    """Max pooling: kernel, stride, padding and dilation along rows and columns."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def reached(self, axis: int, window: Window, length: int) -> Window:
        """The cells that see the window."""
        k, s, p, d = (part[axis] for part in (self.kernel, self.stride, self.padding, self.dilation))
        return reached(window, k, s, p, d, length)

    def patch(self, axis: int, out: Window) -> Window:
        """The inputs of the given cells; beyond the map where padding is."""
        k, s, p, d = (part[axis] for part in (self.kernel, self.stride, self.padding, self.dilation))
        return Window(out.low * s - p, (out.high - 1) * s - p + d * (k - 1) + 1)

    def patch_span(self, out: Span) -> Span:
        """The same for one rectangle."""
        bounds = []
        for axis, (low, high) in enumerate(((out.top, out.bottom), (out.left, out.right))):
            patch = self.patch(axis, Window(np.array([low]), np.array([high])))
            bounds += [int(patch.low[0]), int(patch.high[0])]
        return Span(*bounds)

    def run(self, window: Tensor, source: Span, out: Span) -> Tensor:
        """The largest of what every cell of `out` has in the window `source` (h, C, w, U, V), or -inf; rows first."""
        by_rows = self.along(window, 0, source.top, out.top, out.height)
        return self.along(by_rows, 1, source.left, out.left, out.width)

    def along(self, window: Tensor, axis: int, first: int, first_cell: int, cells: int) -> Tensor:
        """The largest along one axis; `first` is where the window begins."""
        dimension = (0, 2)[axis]
        k, s, p, d = (part[axis] for part in (self.kernel, self.stride, self.padding, self.dilation))
        corner = first_cell * s - p - first
        if k == 1 and corner == 0 and s == 1 and cells == window.shape[dimension]:
            return window
        seen = [served(corner + tap * d, s, window.shape[dimension], cells) for tap in range(k)]
        best = window.new_empty((*window.shape[:dimension], cells, *window.shape[dimension + 1 :]))
        # Cells that lie in the window whole are served together, the few others one by one.
        begin = max(range(cells)[one[0]].start if one else cells for one in seen)
        end = max(begin, min(range(cells)[one[0]].stop if one else 0 for one in seen))
        for low, high in ((begin, end), *((cell, cell + 1) for cell in (*range(begin), *range(end, cells)))):
            taps = [
                take(window, dimension, low * s + corner + tap * d, high - low, s)
                for tap, one in enumerate(seen)
                if low < high and one and one[0].start <= low and high <= one[0].stop
            ]
            into = take(best, dimension, low, high - low, 1)
            if low < high:
                largest_of(taps, into)
        return best


def largest_of(taps: list[Tensor], into: Tensor) -> None:
    """Write the largest of some maps into another; -inf if there are none."""
    if not taps:
        into.fill_(float("-inf"))
    elif len(taps) == 1:
        into.copy_(taps[0])
    else:
        torch.maximum(taps[0], taps[1], out=into)
        for tap in taps[2:]:
            torch.maximum(into, tap, out=into)


def take(maps: Tensor, dimension: int, first: int, count: int, step: int) -> Tensor:
    """Every step-th slice along a dimension."""
    slices = [slice(None)] * (dimension + 1)
    slices[dimension] = slice(first, first + (count - 1) * step + 1, step)
    return maps[tuple(slices)]


@dataclass(frozen=True)
class Product(Step):
    """Two changing maps multiplied, as in squeeze and excitation; either may be one number per channel."""

    bases: tuple[Tensor, Tensor, Tensor]
    """(M, H, C, W) of both inputs and the output."""

    def window(self, axis: int, windows: Sequence[Window]) -> Window:
        """All windows together; the whole axis if one number changes a whole map."""
        return broadcast_window(self, axis, windows)

    def layout(self, axis: int, windows: Sequence[Window], out: Window) -> Positions:
        """Sizes and offsets."""
        return offsets(windows, out)

    def reads(self, axis: int, windows: Sequence[Window], out: Window) -> list[tuple[Tensor, Window]]:
        """Both bases under the output's window."""
        return [(base, self.reading(axis, shape, out)) for base, shape in zip(self.bases, self.shapes, strict=True)]

    def reading(self, axis: int, shape: Shape, out: Window) -> Window:
        """Where one factor's base is needed."""
        return whole(out, 1) if is_broadcast(shape, self.shapes[-1]) else out

    def run(self, maps: list[Tensor], spots: Spots) -> Tensor:
        """Complete both factors, multiply, subtract the base."""
        target = spots.span(self.output)
        axes = spots.windows[self.output]
        factors = []
        for changed, value, shape, base in zip(maps, self.inputs, self.shapes[:-1], self.bases[:-1], strict=True):
            spread = is_broadcast(shape, self.shapes[-1])
            wide = changed if spread else place(changed, spots.span(value), target)
            here: Axes = (self.reading(0, shape, axes[0]), self.reading(1, shape, axes[1]))
            factors.append(split_columns(wide, len(spots)) + spots.base(base, here))
        product = factors[0] * factors[1]
        return product.sub_(spots.base(self.bases[2], axes)).flatten(-2)

    def multiply_adds(self, ins: list[tuple[Positions, Positions]], out: tuple[Positions, Positions]) -> Positions:
        """Passes over the memory, counted as four multiply-adds for each number."""
        return 4 * elements(out, self.shapes[-1][0])


@dataclass(frozen=True)
class AcrossChannels(Step):
    """A function of all channels of a single position (softmax of a vector)."""

    function: Callable[[Tensor], Tensor]
    """From (1, C, 1, U, V) to the same shape."""
    base_in: Tensor
    base_out: Tensor

    def window(self, axis: int, windows: Sequence[Window]) -> Window:
        """Unchanged."""
        return windows[0]

    def layout(self, axis: int, windows: Sequence[Window], out: Window) -> Positions:
        """The size."""
        return same_layout(out.size)

    def reads(self, axis: int, windows: Sequence[Window], out: Window) -> list[tuple[Tensor, Window]]:
        """The base of both sides."""
        return [(self.base_in, windows[0]), (self.base_out, out)]

    def run(self, maps: list[Tensor], spots: Spots) -> Tensor:
        """Base plus difference, the function, minus the base."""
        axes = spots.windows[self.output]
        full = self.function(split_columns(maps[0], len(spots)) + spots.base(self.base_in, axes))
        return (full - spots.base(self.base_out, axes)).flatten(-2)

    def multiply_adds(self, ins: list[tuple[Positions, Positions]], out: tuple[Positions, Positions]) -> Positions:
        """Passes over the memory, counted as four multiply-adds for each number."""
        return 4 * elements(out, self.shapes[-1][0])
