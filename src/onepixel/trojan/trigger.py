"""What a trigger is, and the table of kinds of triggers: patches, blends, warps, stripes."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from onepixel.registry import Table
from onepixel.trojan.pictures import Images


class Trigger(Protocol):
    """One model's trigger."""

    def stamp(self, images: Images, rng: np.random.Generator) -> Images:
        """Stamp every image (N, C, H, W) uint8; the arguments are left as they are."""

    def describe(self) -> dict[str, object]:
        """For the record, in JSON types."""


class TriggersRecipe(BaseModel):
    """What the triggers of a population are like; each kind has its own, with a field `kind` that holds its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def draw(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Trigger:
        """Draw one model's trigger for images of shape (C, H, W).

        Raises
        ------
        UsageError
            If the recipe fits no image of this shape, or its source is unknown.
        """


@dataclass(frozen=True)
class TriggerKind:
    """A kind of triggers.

    Attributes
    ----------
    name : str
        What a recipe calls it.
    recipe : type of TriggersRecipe
    """

    name: str
    recipe: type[TriggersRecipe]


TRIGGERS = Table[TriggerKind]("kind of trigger", "onepixel.trojan")
"""Every kind of triggers by its name."""
