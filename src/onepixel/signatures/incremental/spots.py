"""Where the pixels of one batch stand: their windows, and the base maps cut out there."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.signatures.incremental.windows import Positions, Window

Axes = tuple[Window, Window]
"""The windows of one map along rows and columns."""


@dataclass(frozen=True)
class Span:
    """One rectangle of a map: rows [top, bottom) and columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left


@dataclass(frozen=True)
class Spots:
    """The pixels of one batch, U of them at V values each; all have the same layout in the step at hand.

    Attributes
    ----------
    images, rows, columns : array of shape (U,)
        The default image that each starts from, and the position of the changed pixel.
    windows : mapping from a map's number to its windows
    """

    images: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    windows: Mapping[int, Axes]

    def __len__(self) -> int:
        return len(self.rows)

    def span(self, value: int) -> Span:
        """The first pixel's window of a map; the others' differ by a shift."""
        rows, columns = self.windows[value]
        row, column = self.rows[0], self.columns[0]
        return Span(int(rows.low[row]), int(rows.high[row]), int(columns.low[column]), int(columns.high[column]))

    def base(self, base: Tensor, axes: Axes) -> Tensor:
        """Cut the windows out of base maps (M, H, C, W): (h, C, w, U, 1), ready to meet (h, C, w, U, V)."""
        rows, columns = axes
        if len(self) == 1:
            row, column = self.rows[0], self.columns[0]
            cut = base[self.images[0], rows.low[row] : rows.high[row], :, columns.low[column] : columns.high[column]]
            return cut[..., None, None]
        _, map_height, channels, map_width = base.shape
        height, width = int(rows.size[self.rows[0]]), int(columns.size[self.columns[0]])
        corners = (self.images * map_height + rows.low[self.rows]) * (channels * map_width)
        corners += columns.low[self.columns]
        places = window_places(height, channels, width, map_width).to(base.device)
        numbers = places[:, None] + torch.from_numpy(corners).to(base.device)
        return base.reshape(-1).index_select(0, numbers.view(-1)).view(height, channels, width, len(self), 1)


@lru_cache(maxsize=256)
def window_places(height: int, channels: int, width: int, map_width: int) -> Tensor:
    """Where the numbers of a window (h, C, w) lie in memory after its first one, in a map (H, C, W): (h * C * w,)."""
    rows, own = torch.arange(height * channels), torch.arange(width)
    return (rows[:, None] * map_width + own).view(-1)


def split_columns(maps: Tensor, pixels: int) -> Tensor:
    """(h, C, w, U * V) seen as (h, C, w, U, V)."""
    return maps.unflatten(-1, (pixels, -1))


def same_layout(*parts: Positions) -> Positions:
    """Stack what a step's slices depend on; positions with equal rows are computed alike."""
    return np.stack(parts, axis=1)


def served(shift: int, stride: int, length: int, outputs: int) -> tuple[slice, slice] | None:
    """Outputs that one tap serves, and their inputs; None if there are none."""
    start, stop = max(0, -(shift // stride)), min(outputs, (length - 1 - shift) // stride + 1)
    if start >= stop:
        return None
    first = start * stride + shift
    return slice(start, stop), slice(first, first + (stop - start - 1) * stride + 1, stride)
