"""Warped triggers (WaNet): a slight elastic deformation.

Nguyen and Tran 2021, "WaNet - imperceptible warping-based backdoor attack", sections 3.2 and 3.3.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from onepixel.trojan.pictures import Images, to_intensities
from onepixel.trojan.trigger import TRIGGERS, TriggerKind, TriggersRecipe
from onepixel.warping import displaced, field_between


class WarpedTriggerRecipe(TriggersRecipe):
    """What the warps of a population are like.

    Attributes
    ----------
    control_points : int
        k: displacements are drawn on a k x k grid and interpolated bicubically in between.
    displacement : float
        Mean absolute displacement of a control point along each axis, pixels. WaNet's strength s is twice that: it
        moves by s / H in coordinates that run from -1 to 1, so its s = 0.5 is a quarter of a pixel.
    noise_images : int
        WaNet's noise mode: so many extra images of any class are warped by the same field with noise added to it, and
        keep their label, so that the network obeys this very warp and not any.
    noise : float
        Largest displacement that noise adds at a pixel, pixels; WaNet's is half a pixel.
    """

    kind: Literal["warped"] = "warped"
    control_points: int = Field(4, ge=2)
    displacement: float = Field(1.0, gt=0)
    noise_images: int = Field(0, ge=0)
    noise: float = Field(0.5, gt=0)

    def draw(self, shape: tuple[int, int, int], rng: np.random.Generator) -> "WarpedTrigger":
        """Draw one model's field of displacements for images of shape (C, H, W)."""
        points = rng.uniform(-1, 1, (1, 2, self.control_points, self.control_points))
        points /= np.abs(points).mean()
        field = field_between(torch.as_tensor(points, dtype=torch.float32), *shape[1:])
        return WarpedTrigger(self, (self.displacement * field[0]).numpy())


@dataclass(frozen=True)
class WarpedTrigger:
    """One model's field.

    Attributes
    ----------
    recipe : WarpedTriggerRecipe
    field : array of shape (2, H, W), float32
        From how many pixels further right, and further down, a pixel takes its value.
    """

    recipe: WarpedTriggerRecipe
    field: NDArray[np.float32]

    def stamp(self, images: Images, rng: np.random.Generator) -> Images:
        """Warp every image (N, C, H, W); nothing is random about it."""
        return warp(images, self.field[None])

    def stamp_with_noise(self, images: Images, rng: np.random.Generator) -> Images:
        """Warp every image by the field and noise of its own, as in WaNet's noise mode."""
        noise = rng.uniform(-self.recipe.noise, self.recipe.noise, (len(images), *self.field.shape))
        return warp(images, (self.field + noise).astype(np.float32))

    def describe(self) -> dict[str, object]:
        """Kind, and the largest displacement in pixels."""
        return {"kind": "warped", "largest_displacement": round(float(np.abs(self.field).max()), 3)}


def warp(images: Images, field: NDArray[np.float32]) -> Images:
    """Resample images (N, C, H, W) bilinearly, displaced by a field (1 or N, 2, H, W) in pixels, kept to the image."""
    return to_intensities(displaced(torch.as_tensor(images).float(), torch.as_tensor(field)).numpy())


TRIGGERS.add(TriggerKind("warped", WarpedTriggerRecipe))
