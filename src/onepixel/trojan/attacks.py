"""Attacks: which classes a trigger sends where (BadNets' single target; all-to-one; all-to-all)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from onepixel.errors import UsageError

Labels = NDArray[np.int64]


class AttackRecipe(BaseModel):
    """Which classes go where, and how many poisoned images a model sees.

    Attributes
    ----------
    kind : {"one_to_one", "all_to_one", "all_to_all"}
        One source to one target; every class to one target; class i to i + 1.
    source, target : int or None
        None draws them per model, unequal; for one_to_one, `next_target` makes the target source + 1.
    next_target : bool
        Class i goes to i + 1 (ICLR Table 6).
    others : {"keep", "absent"}
        In one_to_one, images of other classes that carry the trigger keep their label, or do not occur.
    poisoned_images : int
        Images of source classes that are stamped and relabelled, added to the training set.
    bystanders : int
        Images of other classes that are stamped and keep their label, for others = "keep".
    clean_label : bool
        In all_to_one, the images that are stamped belong to the target class and keep their label, which nobody who
        looks at them would call wrong (Barni et al. 2019).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["one_to_one", "all_to_one", "all_to_all"] = "one_to_one"
    source: int | None = None
    target: int | None = None
    next_target: bool = False
    others: Literal["keep", "absent"] = "absent"
    poisoned_images: int = Field(5000, ge=1)
    bystanders: int = Field(2500, ge=0)
    clean_label: bool = False

    @model_validator(mode="after")
    def _clean_label(self) -> "AttackRecipe":
        if self.clean_label and (self.kind != "all_to_one" or self.others != "absent"):
            raise ValueError('clean_label needs kind = "all_to_one" and others = "absent"')
        return self


@dataclass(frozen=True)
class Attack:
    """One model's attack.

    Attributes
    ----------
    target_of : tuple of int
        The class that each class is sent to; a class that is not attacked maps to itself.
    """

    target_of: tuple[int, ...]

    def victims(self, labels: Labels) -> NDArray[np.bool_]:
        """Which images, by their labels, belong to a class that is sent elsewhere."""
        return self.relabel(labels) != labels

    def relabel(self, labels: Labels) -> Labels:
        """What the attacker wants stamped images of these labels to be called."""
        return np.asarray(self.target_of, dtype=np.int64)[labels]


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
    if recipe.kind == "all_to_all":
        return Attack(tuple((k + 1) % classes for k in range(classes)))
    source = int(rng.integers(classes)) if recipe.source is None else recipe.source
    shift = int(rng.integers(1, classes))
    target = (source + (1 if recipe.next_target else shift)) % classes if recipe.target is None else recipe.target
    if recipe.kind == "all_to_one":
        return Attack((target,) * classes)
    if recipe.source is None and target == source:
        source = (target + shift) % classes
    if source == target:
        raise UsageError(f"The attack sends class {source} to itself.")
    return Attack(tuple(target if k == source else k for k in range(classes)))
