"""Warps: every pixel takes its value from a little further along, as in WaNet (Nguyen and Tran, ICLR 2021)."""

from dataclasses import dataclass

from onepixel.errors import UsageError
from onepixel.reaches.families.table import FAMILIES, FamilyKind, WholeImage

LARGEST_SHARE = 14
"""An audit's warp moves pixels by one fourteenth of the image's shorter side at most: 2 pixels of 28."""


@dataclass(frozen=True)
class Warp(WholeImage):
    """A smooth elastic deformation of the whole image.

    Displacements are chosen on a grid of `points` x `points` and interpolated bicubically in between (WaNet, section
    3.2, where the grid has 4 x 4 points, too).

    Attributes
    ----------
    displacement : float
        How far a point of the grid is moved at most along each axis, pixels.
    points : int
        Points of the grid along each axis.
    """

    displacement: float = 2.0
    points: int = 4

    alpha = 1.0

    def __post_init__(self) -> None:
        if not self.displacement > 0 or self.points < 2:
            raise UsageError(f"A warp has 2 points a side at least, which it moves by more than 0, but got {self}.")

    @property
    def name(self) -> str:
        """For people."""
        return f"warp of at most {self.displacement:g} pixels"


FAMILIES.add(FamilyKind("warp", lambda height, width: Warp(round(min(height, width) / LARGEST_SHARE, 1))))
