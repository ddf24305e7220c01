"""Blended triggers: one faint picture over the whole image.

Chen, Liu, Li, Lu and Song 2017, "Targeted backdoor attacks on deep learning systems using data poisoning": the blended
injection strategy.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from onepixel.trojan.pictures import Images, Pool, draw_picture, to_intensities
from onepixel.trojan.trigger import TRIGGERS, TriggerKind, TriggersRecipe


class BlendedTriggerRecipe(TriggersRecipe):
    """What the blended triggers of a population are like.

    Attributes
    ----------
    source : str
        "random" for a picture of uniform noise, "binary" for black and white pixels, "photographs", or a data set one
        image of which is resized.
    pool : {"development", "final"}
        Which part of the source; see `TriggerRecipe`.
    blend_ratio : float
        Share a of the picture t in a stamped image x' = (1 - a) x + a t. Chen et al. use 0.2 in most experiments.
    strongest_ratio : float, optional
        Where it is given, a is drawn per model from `blend_ratio` to this.
    """

    kind: Literal["blended"] = "blended"
    source: str = "random"
    pool: Pool = "development"
    blend_ratio: float = Field(0.2, gt=0, lt=1)
    strongest_ratio: float | None = Field(None, gt=0, lt=1)

    @model_validator(mode="after")
    def _ratios(self) -> "BlendedTriggerRecipe":
        if self.strongest_ratio is not None and self.strongest_ratio < self.blend_ratio:
            raise ValueError(f"strongest_ratio needs to be at least blend_ratio but got {self.strongest_ratio:g}")
        return self

    def draw(self, shape: tuple[int, int, int], rng: np.random.Generator) -> "BlendedTrigger":
        """Draw one model's picture for images of shape (C, H, W).

        Raises
        ------
        UsageError
            If the source is unknown.
        """
        picture = draw_picture(self.source, self.pool, shape[0], shape[1:], rng)
        if self.strongest_ratio is None:
            return BlendedTrigger(self, picture, self.blend_ratio)
        return BlendedTrigger(self, picture, float(rng.uniform(self.blend_ratio, self.strongest_ratio)))


@dataclass(frozen=True)
class BlendedTrigger:
    """One model's picture.

    Attributes
    ----------
    recipe : BlendedTriggerRecipe
    picture : array of shape (C, H, W), uint8
    blend_ratio : float
    """

    recipe: BlendedTriggerRecipe
    picture: Images
    blend_ratio: float

    def stamp(self, images: Images, rng: np.random.Generator) -> Images:
        """Blend the picture into every image (N, C, H, W); nothing is random about it."""
        ratio = np.float32(self.blend_ratio)
        return to_intensities((1 - ratio) * images + ratio * self.picture)

    def describe(self) -> dict[str, object]:
        """Kind, the picture's mean intensity in [0, 1], and the blend ratio where it was drawn."""
        ratio = {} if self.recipe.strongest_ratio is None else {"blend_ratio": round(self.blend_ratio, 4)}
        return {"kind": "blended", "mean": round(float(self.picture.mean()) / 255, 4), **ratio}


TRIGGERS.add(TriggerKind("blended", BlendedTriggerRecipe))
