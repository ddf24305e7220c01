"""Windows: which rows and columns of a map one pixel can reach. All rules act on each axis alone.

A window is kept for every position of the changed pixel along the axis, as two arrays `low` and `high` (the end is not
inside). Windows lie inside their map and are never empty; one that is larger than need be only costs time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """Half-open intervals [low, high) on one axis of a map, one for every position of the changed pixel."""

    low: Positions
    high: Positions

    @property
    def size(self) -> Positions:
        """How many positions of the map each window holds."""
        return self.high - self.low


def inside(low: Positions, high: Positions, length: int) -> Window:
    """Clip to [0, length); what would be empty becomes the nearest single position."""
    low = np.clip(low, 0, length - 1)
    return Window(low, np.clip(high, low + 1, length))


def whole(like: Window, length: int) -> Window:
    """The whole axis for every pixel."""
    return Window(np.zeros_like(like.low), np.full_like(like.low, length))


def union(windows: list[Window]) -> Window:
    """The smallest windows that hold all the given ones."""
    return Window(np.min([w.low for w in windows], axis=0), np.max([w.high for w in windows], axis=0))


def reached(window: Window, kernel: int, stride: int, padding: int, dilation: int, length: int) -> Window:
    """The outputs of a sliding kernel that see the window; `length` is the size of the output axis."""
    reach = dilation * (kernel - 1)
    low = -((-(window.low + padding - reach)) // stride)
    high = (window.high - 1 + padding) // stride + 1
    return inside(low, high, length)
