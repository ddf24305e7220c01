"""Blended triggers: one faint picture over the whole image.

Chen, Liu, Li, Lu and Song 2017, "Targeted backdoor attacks on deep learning systems using data poisoning": the blended
injection strategy.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from onepixel.trojan.pictures import Images, Pool, draw_picture, to_intensities
from onepixel.trojan.trigger import TRIGGERS, TriggerKind, TriggersRecipe


class BlendedTriggerRecipe(TriggersRecipe):
    """What the blended triggers of a population are like.

    Attributes
    ----------
    source : str
        "random" for a picture of uniform noise, "photographs", or a data set one image of which is resized.
    pool : {"development", "final"}
        Which part of the source; see `TriggerRecipe`.
    blend_ratio : float
        Share a of the picture t in a stamped image x' = (1 - a) x + a t. Chen et al. use 0.2 in most experiments.
    """

    kind: Literal["blended"] = "blended"
    source: str = "random"
    pool: Pool = "development"
    blend_ratio: float = Field(0.2, gt=0, lt=1)

    def draw(self, shape: tuple[int, int, int], rng: np.random.Generator) -> "BlendedTrigger":
        """Draw one model's picture for images of shape (C, H, W).

        Raises
        ------
        UsageError
            If the source is unknown.
        """
        return BlendedTrigger(self, draw_picture(self.source, self.pool, shape[0], shape[1:], rng))


@dataclass(frozen=True)
class BlendedTrigger:
    """One model's picture.

    Attributes
    ----------
    recipe : BlendedTriggerRecipe
    picture : array of shape (C, H, W), uint8
    """

    recipe: BlendedTriggerRecipe
    picture: Images

    def stamp(self, images: Images, rng: np.random.Generator) -> Images:
        """Blend the picture into every image (N, C, H, W); nothing is random about it."""
        ratio = np.float32(self.recipe.blend_ratio)
        return to_intensities((1 - ratio) * images + ratio * self.picture)

    def describe(self) -> dict[str, object]:
        """Kind, and the picture's mean intensity in [0, 1]."""
        return {"kind": "blended", "mean": round(float(self.picture.mean()) / 255, 4)}


TRIGGERS.add(TriggerKind("blended", BlendedTriggerRecipe))
