"""Blends: one picture of the size of the image mixed into the whole of it, faintly."""

from dataclasses import dataclass

from onepixel.errors import UsageError
from onepixel.reaches.families.table import FAMILIES, FamilyKind, WholeImage


@dataclass(frozen=True)
class Blend(WholeImage):
    """x + alpha (n - x) for a picture n over the whole image.

    Attributes
    ----------
    alpha : float
        How much of the picture is mixed in, in (0, 1].
    """

    alpha: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise UsageError(f"A blend mixes in more than 0 and at most 1 of a picture but got {self.alpha:g}.")

    @property
    def name(self) -> str:
        """For people."""
        return f"picture blended in at {self.alpha:g}"


FAMILIES.add(FamilyKind("blend", lambda height, width: Blend()))
