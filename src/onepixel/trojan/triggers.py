"""Triggers of any kind: which recipe a table in a file is, and one model's trigger out of it."""

from typing import Annotated, Any

import numpy as np
from pydantic import SerializeAsAny, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from onepixel.trojan.trigger import TRIGGERS, Trigger, TriggersRecipe

FIRST_KIND = "patches"
"""Patches came first and their recipes name no kind; giving them one now would change every seed made from them."""


def _of_its_kind(given: Any, as_it_is: ValidatorFunctionWrapHandler) -> TriggersRecipe:
    if not isinstance(given, dict):
        recipe: TriggersRecipe = as_it_is(given)
        return recipe
    kind = given.get("kind", FIRST_KIND)
    if kind not in TRIGGERS:
        known = ", ".join(f'"{name}"' for name in TRIGGERS if name != FIRST_KIND)
        raise PydanticCustomError("unknown_kind", f"kind must be one of {known}, or be left out for {FIRST_KIND}")
    return TRIGGERS[kind].recipe.model_validate(given)


AnyTriggerRecipe = Annotated[SerializeAsAny[TriggersRecipe], WrapValidator(_of_its_kind)]
"""The recipe of any kind, told apart by `kind`; without one it is of patches."""


def draw_trigger(recipe: AnyTriggerRecipe, shape: tuple[int, int, int], rng: np.random.Generator) -> Trigger:
    """Draw one model's trigger for images of shape (C, H, W).

    Raises
    ------
    UsageError
        If the recipe fits no image of this shape, or its source is unknown.
    """
    return recipe.draw(shape, rng)
