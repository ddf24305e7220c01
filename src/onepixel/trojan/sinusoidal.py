"""Sinusoidal signals (SIG): faint stripes over the whole image.

Barni, Kallas and Tondi 2019, "A new backdoor attack in CNNs by training set corruption without label poisoning".
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from onepixel.trojan.pictures import Images, to_intensities
from onepixel.trojan.trigger import TRIGGERS, TriggerKind, TriggersRecipe


class SinusoidalTriggerRecipe(TriggersRecipe):
    """What the signals of a population are like.

    Attributes
    ----------
    amplitude : float
        Delta of v(i, j) = Delta sin(2 pi j f / W), in intensity; 1 is white.
    frequency : (float, float)
        Smallest and largest f, periods over the image; drawn per model. Barni et al. use 6.
    angle : (float, float)
        Smallest and largest direction in degrees, drawn per model: at 0 the signal runs along the columns j, as in the
        paper, at 90 along the rows.
    """

    kind: Literal["sinusoidal"] = "sinusoidal"
    amplitude: float = Field(0.2, gt=0, le=1)
    frequency: tuple[float, float] = (6.0, 6.0)
    angle: tuple[float, float] = (0.0, 0.0)

    @model_validator(mode="after")
    def _ranges(self) -> "SinusoidalTriggerRecipe":
        if not 0 < self.frequency[0] <= self.frequency[1]:
            raise ValueError(f"frequency needs 0 < smallest <= largest but got {self.frequency}")
        if not self.angle[0] <= self.angle[1]:
            raise ValueError(f"angle needs smallest <= largest but got {self.angle}")
        return self

    def draw(self, shape: tuple[int, int, int], rng: np.random.Generator) -> "SinusoidalTrigger":
        """Draw one model's signal; it fits images of every shape."""
        return SinusoidalTrigger(self, float(rng.uniform(*self.frequency)), float(rng.uniform(*self.angle)))


@dataclass(frozen=True)
class SinusoidalTrigger:
    """One model's signal.

    Attributes
    ----------
    recipe : SinusoidalTriggerRecipe
    frequency : float
        Periods over the image.
    angle : float
        Degrees.
    """

    recipe: SinusoidalTriggerRecipe
    frequency: float
    angle: float

    def stamp(self, images: Images, rng: np.random.Generator) -> Images:
        """Add the signal to every image (N, C, H, W) and clip; nothing is random about it."""
        height, width = images.shape[2:]
        rows, columns = np.mgrid[:height, :width]
        direction = np.deg2rad(self.angle)
        way = np.cos(direction) * columns / width + np.sin(direction) * rows / height
        signal = 255 * self.recipe.amplitude * np.sin(2 * np.pi * self.frequency * way)
        return to_intensities(images + signal)

    def describe(self) -> dict[str, object]:
        """Kind, frequency and angle."""
        return {"kind": "sinusoidal", "frequency": round(self.frequency, 4), "angle": round(self.angle, 2)}


TRIGGERS.add(TriggerKind("sinusoidal", SinusoidalTriggerRecipe))
