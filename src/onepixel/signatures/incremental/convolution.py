"""Convolutions (and dense layers, which are convolutions as large as their map) of a small window's difference.

Maps are (h, C, w, N), so k rows of all channels are one matrix (k * C, w * N) as they lie in memory: an output row is
k products of such matrices, one for each column of the kernel, and only taps that meet the window are multiplied.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from onepixel.signatures.incremental.spots import Spots, same_layout, served
from onepixel.signatures.incremental.steps import Step
from onepixel.signatures.incremental.windows import Positions, Window, reached

Pair = tuple[int, int]
"""Along rows and along columns."""

PACKED_BYTES = 4 * 2**20
"""Weights of a single output position are repacked, once for each place of the window, if they are no larger."""

MOST_WASTE = 1.5
"""Products with zeros that are worth it, so that an output row is one product, against those with the kernel alone."""


@dataclass(frozen=True)
class Convolution(Step):
    """A convolution with zero padding; batch norm that follows it is part of its weights.

    Attributes
    ----------
    weight : Tensor of shape (O, C / groups, kh, kw)
    """

    weight: Tensor
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    packed: dict[tuple[int, ...], Tensor] = field(init=False, repr=False, default_factory=dict)

    @cached_property
    def taps(self) -> Tensor:
        """(kw, O, kh, C / groups): for each column of the kernel, one matrix over rows and channels."""
        return self.weight.permute(3, 0, 2, 1).contiguous()

    def cast(self, dtype: torch.dtype) -> "Convolution":
        """With weights of that type."""
        return replace(self, weight=self.weight.to(dtype))

    @property
    def kernel(self) -> Pair:
        """(kh, kw)."""
        return self.weight.shape[2], self.weight.shape[3]

    def window(self, axis: int, windows: Sequence[Window]) -> Window:
        """The outputs whose kernel sees the window."""
        k, s, p, d = (part[axis] for part in (self.kernel, self.stride, self.padding, self.dilation))
        return reached(windows[0], k, s, p, d, self.length(axis))

    def layout(self, axis: int, windows: Sequence[Window], out: Window) -> Positions:
        """Sizes, and the first output's first tap against the window."""
        offset = out.low * self.stride[axis] - self.padding[axis] - windows[0].low
        return same_layout(out.size, windows[0].size, offset)

    def run(self, maps: list[Tensor], spots: Spots) -> Tensor:
        """Choose the products that suit the window."""
        source, target = spots.span(self.inputs[0]), spots.span(self.output)
        offset = (
            target.top * self.stride[0] - self.padding[0] - source.top,
            target.left * self.stride[1] - self.padding[1] - source.left,
        )
        size = (target.height, target.width)
        x = maps[0]
        if self.groups > 1:
            if self.weight.shape[:2] == (x.shape[1], 1):
                return self.depthwise(x, offset, size)
            return self.grouped(x, offset, size)
        if size == (1, 1) and self.dilation == (1, 1):
            return self.single_output(x, offset)
        if x.shape[0] == 1 and x.shape[2] == 1 and self.dilation == (1, 1):
            return self.single_input(x, offset, size)
        if self.dilation == (1, 1) and self.mostly_met(x, offset[1], size[1]):
            return self.whole_rows(x, offset, size)
        return self.row_by_row(x, offset, size)

    def mostly_met(self, x: Tensor, left: int, width: int) -> bool:
        """Whether nearly every column of the window meets nearly every column of the output, in a small matrix."""
        pairs = x.shape[2] * width
        met = sum(stop - start for _, start, stop, *_ in self.columns_served(left, width, x.shape[2]))
        largest = min(self.kernel[0], x.shape[0]) * x.shape[1] * self.weight.shape[0] * pairs
        return 0 < pairs <= MOST_WASTE * met and largest * x.element_size() <= PACKED_BYTES

    def whole_rows(self, x: Tensor, offset: Pair, size: Pair) -> Tensor:
        """A small window: each output row in one product, with a matrix that spreads the kernel over the columns."""
        height, _, width, images = x.shape
        outputs = self.weight.shape[0]
        out = x.new_empty(size[0], outputs, size[1], images)
        for y in range(size[0]):
            top = offset[0] + y * self.stride[0]
            rows = meeting(top, height, self.kernel[0])
            if not rows:
                out[y].zero_()
                continue
            matrix = self.spread((rows.start, rows.stop), offset[1], width, size[1])
            block = x[top + rows.start : top + rows.stop].view(-1, images)
            torch.mm(matrix, block, out=out[y].view(-1, images))
        return out

    def spread(self, rows: Pair, left: int, width: int, columns: int) -> Tensor:
        """(O * columns, rows * C * width): kernel rows [first, last), laid at every column of the output."""
        key = (*rows, left, width, columns)
        if key not in self.packed:
            kernel = self.weight[:, :, rows[0] : rows[1]].permute(3, 0, 2, 1)
            matrix = kernel.new_zeros(kernel.shape[1], columns, *kernel.shape[2:], width)
            for tap, start, stop, first in self.columns_served(left, columns, width):
                for number in range(stop - start):
                    matrix[:, start + number, :, :, first + number * self.stride[1]] = kernel[tap]
            self.packed[key] = matrix.view(kernel.shape[1] * columns, -1)
        return self.packed[key]

    def single_output(self, x: Tensor, offset: Pair) -> Tensor:
        """One position of the output: a product with the weights that meet the window."""
        height, channels, width, images = x.shape
        rows, columns = meeting(offset[0], height, self.kernel[0]), meeting(offset[1], width, self.kernel[1])
        outputs = self.weight.shape[0]
        if not rows or not columns:
            return x.new_zeros(1, outputs, 1, images)
        inside = x[
            offset[0] + rows.start : offset[0] + rows.stop, :, offset[1] + columns.start : offset[1] + columns.stop
        ]
        count = len(rows) * len(columns) * channels
        key = (rows.start, rows.stop, columns.start, columns.stop)
        if key not in self.packed and outputs * count * x.element_size() <= PACKED_BYTES:
            weight = self.weight[:, :, rows.start : rows.stop, columns.start : columns.stop]
            self.packed[key] = weight.permute(0, 2, 1, 3).reshape(outputs, count)
        if key in self.packed:
            return torch.mm(self.packed[key], inside.reshape(count, images)).view(1, outputs, 1, images)
        total = x.new_zeros(outputs, images)
        for column, tap in enumerate(columns):
            matrix = self.taps[tap, :, rows.start : rows.stop].flatten(1)
            total.addmm_(matrix, inside[:, :, column].reshape(-1, images))
        return total.view(1, outputs, 1, images)

    def single_input(self, x: Tensor, offset: Pair, size: Pair) -> Tensor:
        """One changed position: every output is one tap, so all of them are one product."""
        rows = [-(offset[0] + y * self.stride[0]) for y in range(size[0])]
        columns = [-(offset[1] + y * self.stride[1]) for y in range(size[1])]
        if not all(0 <= tap < self.kernel[0] for tap in rows) or not all(0 <= tap < self.kernel[1] for tap in columns):
            return self.row_by_row(x, offset, size)
        weight = self.weight[:, :, rows][:, :, :, columns].permute(2, 0, 3, 1)
        product = torch.mm(weight.reshape(-1, x.shape[1]), x.view(x.shape[1], -1))
        return product.view(size[0], -1, size[1], x.shape[3])

    def row_by_row(self, x: Tensor, offset: Pair, size: Pair) -> Tensor:
        """Any window: for each output row and kernel column, all rows and channels of the kernel at once."""
        height, channels, _, images = x.shape
        outputs = self.weight.shape[0]
        out = x.new_zeros(size[0], outputs, size[1], images)
        bands = self.bands(x, offset[1], size[1])
        for y in range(size[0]):
            into = out[y].view(outputs, -1)
            for first, last, row in self.row_blocks(offset[0] + y * self.stride[0], height):
                for tap, start, stop, band, position in bands:
                    count = (stop - start) * images
                    matrix = self.taps[tap, :, first:last].reshape(outputs, -1)
                    block = band[row : row + last - first].view((last - first) * channels, -1)
                    columns = block[:, position * images : position * images + count]
                    target = into[:, start * images : start * images + count]
                    torch.addmm(target, matrix, columns, out=target)
        return out

    def row_blocks(self, top: int, height: int) -> list[tuple[int, int, int]]:
        """Kernel rows [first, last) that meet the window, and the window's row under the first of them."""
        if self.dilation[0] == 1:
            taps = meeting(top, height, self.kernel[0])
            return [(taps.start, taps.stop, top + taps.start)] if taps else []
        found = ((tap, top + tap * self.dilation[0]) for tap in range(self.kernel[0]))
        return [(tap, tap + 1, row) for tap, row in found if 0 <= row < height]

    def bands(self, x: Tensor, left: int, width: int) -> list[tuple[int, int, int, Tensor, int]]:
        """For each kernel column: outputs [start, stop) that it serves, and where their inputs lie side by side."""
        stride = self.stride[1]
        phases: dict[int, Tensor] = {0: x} if stride == 1 else {}
        found = []
        for tap, start, stop, first in self.columns_served(left, width, x.shape[2]):
            phase = first % stride
            if phase not in phases:
                phases[phase] = x[:, :, phase::stride].contiguous()
            found.append((tap, start, stop, phases[phase], first // stride))
        return found

    def columns_served(self, left: int, outputs: int, width: int) -> list[tuple[int, int, int, int]]:
        """For each kernel column that meets the window: outputs [start, stop) and the first one's place in it."""
        found = []
        for tap in range(self.kernel[1]):
            met = served(left + tap * self.dilation[1], self.stride[1], width, outputs)
            if met is not None:
                found.append((tap, met[0].start, met[0].stop, met[1].start))
        return found

    def grouped(self, x: Tensor, offset: Pair, size: Pair) -> Tensor:
        """Groups of channels: batched products, one for each tap and output row."""
        height, channels, _, images = x.shape
        outputs, groups = self.weight.shape[0], self.groups
        out = x.new_zeros(size[0], outputs, size[1], images)
        weight = self.taps.view(self.kernel[1], groups, outputs // groups, self.kernel[0], channels // groups)
        bands = self.bands(x, offset[1], size[1])
        for y in range(size[0]):
            into = out[y].view(groups, outputs // groups, -1)
            for tap_row in range(self.kernel[0]):
                row = offset[0] + y * self.stride[0] + tap_row * self.dilation[0]
                if not 0 <= row < height:
                    continue
                for tap, start, stop, band, position in bands:
                    count = (stop - start) * images
                    block = band[row].view(groups, channels // groups, -1)
                    into[:, :, start * images : start * images + count].baddbmm_(
                        weight[tap, :, :, tap_row], block[:, :, position * images : position * images + count]
                    )
        return out

    def depthwise(self, x: Tensor, offset: Pair, size: Pair) -> Tensor:
        """One channel each: every tap is a multiplication and an addition of shifted windows."""
        out = x.new_zeros(size[0], x.shape[1], size[1], x.shape[3])
        for tap_row in range(self.kernel[0]):
            rows = served(offset[0] + tap_row * self.dilation[0], self.stride[0], x.shape[0], size[0])
            for tap_column in range(self.kernel[1]):
                columns = served(offset[1] + tap_column * self.dilation[1], self.stride[1], x.shape[2], size[1])
                if rows is None or columns is None:
                    continue
                factor = self.weight[:, 0, tap_row, tap_column][:, None, None]
                out[rows[0], :, columns[0]].addcmul_(x[rows[1], :, columns[1]], factor)
        return out

    def multiply_adds(self, ins: list[tuple[Positions, Positions]], out: tuple[Positions, Positions]) -> Positions:
        """Every pair of a changed input and an output that sees it."""
        outputs, channels, *_ = self.weight.shape
        seen = [
            (ins[0][axis] * -(-self.kernel[axis] // self.stride[axis])).clip(max=out[axis] * self.kernel[axis])
            for axis in (0, 1)
        ]
        return seen[0] * seen[1] * (outputs * channels)


def meeting(first: int, length: int, kernel: int) -> range:
    """The taps of a kernel laid at `first` that fall on [0, length)."""
    return range(max(0, -first), min(kernel, length - first))
