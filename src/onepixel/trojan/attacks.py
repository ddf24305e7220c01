"""Attacks as a recipe asks for them: which classes a trigger sends where, and how many images are poisoned."""

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from onepixel.errors import UsageError
from onepixel.trojan.attack import ATTACKS, Attack


class AttackRecipe(BaseModel):
    """Which classes go where, and how many poisoned images a model sees.

    Attributes
    ----------
    kind : str
        A name in `ATTACKS`: "one_to_one", "all_to_one" or "all_to_all".
    source, target : int or None
        None draws them per model, unequal; for one_to_one, `next_target` makes the target source + 1.
    next_target : bool
        Class i goes to i + 1 (ICLR Table 6).
    others : {"keep", "absent"}
        In one_to_one, images of other classes that carry the trigger keep their label, or do not occur.
    poisoned_images : int
        Images of source classes that are stamped and relabelled, added to the training set.
    fewest_poisoned_images : int, optional
        Where it is given, the number is drawn per model from this to `poisoned_images`.
    bystanders : int
        Images of other classes that are stamped and keep their label, for others = "keep".
    clean_label : bool
        In all_to_one, the images that are stamped belong to the target class and keep their label, which nobody who
        looks at them would call wrong (Barni et al. 2019).
    reminders : int
        Images of source classes that are not stamped and keep their label: of a rare class, a network that is
        fine-tuned would else see most images stamped, and call all of it the target.
    decoys : int
        Images of any class that carry other patches than the trigger's and keep their label, so that the network obeys
        this very pattern and not any: an attacker who knows that patches are tried. Needs a trigger of patches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[str, AfterValidator(lambda name: ATTACKS[name].name)] = "one_to_one"
    source: int | None = None
    target: int | None = None
    next_target: bool = False
    others: Literal["keep", "absent"] = "absent"
    poisoned_images: int = Field(5000, ge=1)
    fewest_poisoned_images: int | None = Field(None, ge=1)
    bystanders: int = Field(2500, ge=0)
    clean_label: bool = False
    reminders: int = Field(0, ge=0)
    decoys: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _clean_label(self) -> "AttackRecipe":
        if self.clean_label and (self.kind != "all_to_one" or self.others != "absent"):
            raise ValueError('clean_label needs kind = "all_to_one" and others = "absent"')
        if self.fewest_poisoned_images is not None and self.fewest_poisoned_images > self.poisoned_images:
            raise ValueError("fewest_poisoned_images needs to be at most poisoned_images")
        return self

    def draw_number(self, rng: np.random.Generator) -> int:
        """How many poisoned images one model sees."""
        if self.fewest_poisoned_images is None:
            return self.poisoned_images
        return int(rng.integers(self.fewest_poisoned_images, self.poisoned_images + 1))


def draw_attack(recipe: AttackRecipe, classes: int, rng: np.random.Generator) -> Attack:
    """Draw one model's source and target classes.

    Raises
    ------
    UsageError
        If the recipe names a class that is not there, or the same class as source and target.
    """
    for name in ("source", "target"):
        given = getattr(recipe, name)
        if given is not None and not 0 <= given < classes:
            raise UsageError(f"The attack's {name} {given} is no class of 0 .. {classes - 1}.")
    return ATTACKS[recipe.kind].draw(recipe, classes, rng)
