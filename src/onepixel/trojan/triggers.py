"""Triggers: what an attacker does to an image so that a network obeys.

One file per family; a family's recipe says what the triggers of a population are like, and draws them.
"""

from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import Discriminator, Tag

from onepixel.trojan.blended import BlendedTriggerRecipe
from onepixel.trojan.patches import TriggerRecipe
from onepixel.trojan.pictures import Images
from onepixel.trojan.sinusoidal import SinusoidalTriggerRecipe
from onepixel.trojan.warped import WarpedTriggerRecipe


def _kind_of(recipe: Any) -> str:
    found = recipe.get("kind", "patches") if isinstance(recipe, dict) else getattr(recipe, "kind", "patches")
    return str(found)


# Patches came first and their recipes name no kind; giving them one now would change every seed made from them.
AnyTriggerRecipe = Annotated[
    Annotated[TriggerRecipe, Tag("patches")]
    | Annotated[BlendedTriggerRecipe, Tag("blended")]
    | Annotated[SinusoidalTriggerRecipe, Tag("sinusoidal")]
    | Annotated[WarpedTriggerRecipe, Tag("warped")],
    Discriminator(
        _kind_of,
        custom_error_type="unknown_kind",
        custom_error_message='kind must be "blended", "sinusoidal" or "warped", or be left out for patches',
    ),
]
"""The recipe of any family, told apart by `kind`; without one it is of patches."""


class Trigger(Protocol):
    """One model's trigger."""

    def stamp(self, images: Images, rng: np.random.Generator) -> Images:
        """Stamp every image (N, C, H, W) uint8; the arguments are left as they are."""

    def describe(self) -> dict[str, object]:
        """For the record, in JSON types."""


def draw_trigger(recipe: AnyTriggerRecipe, shape: tuple[int, int, int], rng: np.random.Generator) -> Trigger:
    """Draw one model's trigger for images of shape (C, H, W).

    Raises
    ------
    UsageError
        If the recipe fits no image of this shape, or its source is unknown.
    """
    return recipe.draw(shape, rng)
