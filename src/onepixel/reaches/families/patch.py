"""Patches: s x s pixels replaced, at places a few rows and columns apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UsageError
from onepixel.reaches.families.table import FAMILIES, FamilyKind

SMALLEST = 2
"""Pixels a side of an audit's patch, at least."""

SMALLEST_SPECK, MOST_FOR_SIZES = 3, 31
"""Pixels a side of an audit's second, smaller patch, at least, and of images that have several sizes, at most."""


@dataclass(frozen=True)
class Patch:
    """A rectangle of pixels, replaced.

    Attributes
    ----------
    size : int or (height, width)
        Pixels a side; 1 is the papers' pixel.
    stride : int or None
        Every so many rows and columns is a place; None is 3, or more where an image is so large that there would be
        more than 1,024 places.
    """

    size: int | tuple[int, int] = 5
    stride: int | None = None

    alpha = 1.0

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 or (self.stride is not None and self.stride < 1):
            raise UsageError(f"A patch has at least 1 pixel and a stride of at least 1 but got {self}.")

    @property
    def height(self) -> int:
        """Rows."""
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.size if isinstance(self.size, int) else self.size[1]

    @property
    def name(self) -> str:
        """For people."""
        return f"patch of {self.height} x {self.width} pixels"

    def places(self, height: int, width: int) -> NDArray[np.int64]:
        """Top, left, height and width of every place in an image of that size, (P, 4), in row-major order.

        The last row and column of places touch the border, whatever the stride.

        Raises
        ------
        UsageError
            If the patch is larger than the image.
        """
        if self.height > height or self.width > width:
            raise UsageError(f"A {self.name} does not fit into an image of {height} x {width}.")
        stride = self.stride or max(3, -(-max(height, width) // 32))
        tops, lefts = (_starts(length - own, stride) for length, own in ((height, self.height), (width, self.width)))
        rows, columns = np.meshgrid(tops, lefts, indexing="ij")
        size = np.broadcast_to([self.height, self.width], (rows.size, 2))
        return np.column_stack([rows.ravel(), columns.ravel(), size]).astype(np.int64)


def _starts(last: int, stride: int) -> NDArray[np.int64]:
    starts = np.arange(0, last + 1, stride)
    return starts if starts[-1] == last else np.append(starts, last)


def suited_side(height: int, width: int) -> int:
    """Pixels a side of the patch that an audit looks for in images of that size.

    A sixth of the shorter side, at most 5 pixels; of more than 65 pixels a thirteenth: 2 of 8, 5 of 28 to 64, 17 of
    224. The smaller a patch that suffices, the more it says: what is natural to a class sooner fails to fit into it
    than what an attacker stamps. See docs/decisions/size-of-the-patch.md.
    """
    side = min(height, width)
    return max(SMALLEST, round(min(side / 6, max(5, side / 13))))


def suited_speck(height: int, width: int) -> Patch | None:
    """The second, smaller patch that an audit looks for in images of that size; None where the first one is all.

    Three fifths of the first: 3 of 5 pixels. Not for images so small that it would have fewer than 3 pixels a side, nor
    for those of more than `MOST_FOR_SIZES`, on which it was not measured. See docs/decisions/sizes-of-patches.md.
    """
    side = round(0.6 * suited_side(height, width))
    return Patch(side) if side >= SMALLEST_SPECK and max(height, width) <= MOST_FOR_SIZES else None


def suited_broad(height: int, width: int) -> Patch | None:
    """The third, larger patch, of a third of the shorter side: 9 of 28 pixels. None where there is no second one."""
    return None if suited_speck(height, width) is None else Patch(round(min(height, width) / 3))


FAMILIES.add(FamilyKind("patch", lambda height, width: Patch(suited_side(height, width))))
FAMILIES.add(FamilyKind("speck", suited_speck))
FAMILIES.add(FamilyKind("broad", suited_broad))
