"""A change: what a search found and an exhibit shows: one filling at one place, laid over or blended in, or a warp."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.errors import UsageError
from onepixel.warping import warped

Place = tuple[int, int, int, int]
"""Top, left, height, width of a rectangle of pixels."""


@dataclass(frozen=True)
class Change:
    """One filling at one place.

    Attributes
    ----------
    place : tuple of int
        Top, left, height, width.
    filling : array of shape (C, height, width), float32
        In [0, 1].
    family : str
        The family that it belongs to, for people.
    alpha : float
        How much of the filling is mixed in: 1 replaces what is there.
    displacement : float
        0, unless the change is a warp: then its filling is a grid of points (2, k, k), which are moved by so many
        pixels at most; see `onepixel.warping.warped`.
    """

    place: Place
    filling: NDArray[np.float32]
    family: str
    alpha: float = 1.0
    displacement: float = 0.0

    def __post_init__(self) -> None:
        if self.displacement:
            return
        if self.filling.ndim != 3 or self.filling.shape[1:] != tuple(self.place[2:]):
            raise UsageError(f"A filling of shape {self.filling.shape} does not go with the place {self.place}.")

    def apply(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images (N, C, H, W) with the change: x + alpha (filling - x) at the place, or all of each warped.

        Raises
        ------
        UsageError
            If the place does not lie inside the images.
        """
        top, left, height, width = self.place
        if top < 0 or left < 0 or top + height > images.shape[2] or left + width > images.shape[3]:
            raise UsageError(f"The place {self.place} does not lie inside images of shape {images.shape[1:]}.")
        if self.displacement:
            points = torch.as_tensor(self.filling).expand(len(images), -1, -1, -1)
            moved: NDArray[np.float32] = warped(torch.as_tensor(images), points, self.displacement).numpy()
            return moved
        changed = images.copy()
        window = changed[:, :, top : top + height, left : left + width]
        window += np.float32(self.alpha) * (self.filling - window)
        return changed
