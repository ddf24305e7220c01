"""Nonlinear steps of the incremental engine: base windows are added, the operator applied, and its base taken off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onepixel.signatures.incremental.spots import Axes, Span, Spots, same_layout, split_columns
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
        source, target = self.inputs[0], self.output
        pixels = len(spots)
        full = split_columns(maps[0], pixels) + spots.base(self.base_in, spots.windows[source])
        for function in self.before:
            full = function(full)
        if self.pool is not None:
            full = self.pool.run(full, self.surround(full, spots))
        for function in self.after:
            full = function(full)
        return full.sub_(spots.base(self.base_out, spots.windows[target])).flatten(-2)

    def surround(self, full: Tensor, spots: Spots) -> Tensor:
        """Set a window (h, C, w, U, V) into the cells of the pooling, among base values; outside the map is -inf."""
        assert self.pool is not None
        source, out = spots.span(self.inputs[0]), spots.span(self.output)
        patch = self.pool.patch_span(out)
        if patch == source:
            return full
        _, height, width = self.shapes[0]
        top, bottom = max(patch.top, 0), min(patch.bottom, height)
        left, right = max(patch.left, 0), min(patch.right, width)
        shape = (patch.height, full.shape[1], patch.width, *full.shape[3:])
        wide = (
            full.new_full(shape, float("-inf"))
            if (top, bottom, left, right) != (patch.top, patch.bottom, patch.left, patch.right)
            else full.new_empty(shape)
        )
        axes = tuple(
            inside(p.low, p.high, length)
            for p, length in zip(
                (self.pool.patch(axis, spots.windows[self.output][axis]) for axis in (0, 1)),
                (height, width),
                strict=True,
            )
        )
        context = spots.base(self.base_middle, (axes[0], axes[1]))
        on_map = Span(top, bottom, left, right)
        inner(wide, on_map, patch).copy_(context.expand(*context.shape[:-1], full.shape[-1]))
        # The window may stick out of the cells (floor mode drops a last row); only what is in them counts.
        common = Span(
            max(source.top, top), min(source.bottom, bottom), max(source.left, left), min(source.right, right)
        )
        inner(wide, common, patch).copy_(inner(full, common, source))
        return wide

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

    def run(self, full: Tensor, patch: Tensor) -> Tensor:
        """The largest of every cell, rows first."""
        for axis, dimension in ((0, 0), (1, 2)):
            k, s, d = self.kernel[axis], self.stride[axis], self.dilation[axis]
            cells = (patch.shape[dimension] - d * (k - 1) - 1) // s + 1
            taps = [take(patch, dimension, tap * d, cells, s) for tap in range(k)]
            best = torch.maximum(taps[0], taps[1]) if k > 1 else taps[0].clone()
            for tap in taps[2:]:
                torch.maximum(best, tap, out=best)
            patch = best
        return patch


def take(maps: Tensor, dimension: int, first: int, count: int, step: int) -> Tensor:
    """Every step-th slice along a dimension."""
    slices = [slice(None)] * maps.ndim
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
