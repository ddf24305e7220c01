"""The table of families: kinds of change that an attacker could use as a trigger."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onepixel.registry import Table


class Family(Protocol):
    """A kind of change, such as patches of one size."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def alpha(self) -> float:
        """How much of an image is replaced inside a place, in (0, 1]."""

    def places(self, height: int, width: int) -> NDArray[np.int64]:
        """Top, left, height and width of every place in an image of that size, (P, 4); all of one size."""


class WholeImage:
    """What families share that change all of an image."""

    def places(self, height: int, width: int) -> NDArray[np.int64]:
        """The one place there is, (1, 4)."""
        return np.array([[0, 0, height, width]], dtype=np.int64)


@dataclass(frozen=True)
class FamilyKind:
    """A row.

    Attributes
    ----------
    name : str
        In a word: "patch".
    suited : callable
        From an image's height and width to the family that an audit looks for in images of that size, or None where it
        looks for none of this kind there.
    """

    name: str
    suited: Callable[[int, int], Family | None]


FAMILIES = Table[FamilyKind]("family of changes", "onepixel.reaches.families")
