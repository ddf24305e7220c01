"""The table of default images: what a row says, and the table itself."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onepixel.datasets import Dataset
from onepixel.registry import Table

Image = float | NDArray[np.float32]
"""One intensity, or an array (C, H, W), or several images (M, C, H, W), in [0, 1]."""


@dataclass(frozen=True)
class DefaultImageKind:
    """A default image by name.

    Attributes
    ----------
    name : str
    make : callable
        From a data set and a number to the image; it must need nothing but these, so that it can be made again.
    numbered : bool
        Whether there is one for each number ("noise 7"); without a number, it is number 0.
    intensity : float or None
        For a constant image: what it is written down as.
    """

    name: str
    make: Callable[[Dataset, int], Image]
    numbered: bool = False
    intensity: float | None = None


DEFAULT_IMAGES = Table[DefaultImageKind](
    "default image", "onepixel.populations.default_images", besides="an intensity from 0 to 1"
)
"""Every default image that has a name."""
