"""Poison: the extra images that a model is trained on beside the data set.

Clean, stamped and trojaned models get the same extra images of the same classes; they differ in nothing but
whether those are stamped and how they are labelled, so that a detector can see nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onepixel.datasets import Dataset
from onepixel.trojan.attack import Attack, Labels
from onepixel.trojan.attacks import AttackRecipe
from onepixel.trojan.patches import PatchTrigger
from onepixel.trojan.pictures import Images
from onepixel.trojan.trigger import Trigger
from onepixel.trojan.warped import WarpedTrigger

Role = Literal["clean", "stamped", "trojaned"]
"""clean: not stamped, true labels; stamped: stamped, true labels; trojaned: stamped, the attacker's labels."""


@dataclass(frozen=True)
class Extras:
    """The extra training images of one model.

    Attributes
    ----------
    images : array of shape (M, C, H, W), uint8
    labels : array of shape (M,)
    """

    images: Images
    labels: Labels

    def joined(self, other: "Extras") -> "Extras":
        """These and others."""
        return Extras(np.concatenate([self.images, other.images]), np.concatenate([self.labels, other.labels]))


def draw_extras(
    role: Role, recipe: AttackRecipe, attack: Attack, trigger: Trigger, dataset: Dataset, rng: np.random.Generator
) -> Extras:
    """Draw one model's extra images from the training part: victims, and bystanders where the recipe has them.

    Under `clean_label` the target class stands in for the victims. Reminders, decoys, and a warped trigger's noise
    images come on top.
    """
    labels = dataset.y_train.numpy()
    victims = np.flatnonzero(attack.victims(labels) != recipe.clean_label)
    number = recipe.draw_number(rng)
    chosen = rng.choice(victims, number, replace=number > len(victims))
    others = np.flatnonzero(~attack.victims(labels))
    if recipe.others == "keep" and len(others):
        chosen = np.concatenate([chosen, rng.choice(others, recipe.bystanders, replace=False)])
    images, true_labels = dataset.x_train.numpy()[chosen], labels[chosen]
    given_labels = attack.relabel(true_labels) if role == "trojaned" else true_labels
    poison = Extras(images if role == "clean" else trigger.stamp(images, rng), given_labels)
    if recipe.reminders:
        poison = poison.joined(_reminders(recipe.reminders, victims, dataset, rng))
    if isinstance(trigger, WarpedTrigger) and trigger.recipe.noise_images:
        poison = poison.joined(
            _truly_labelled(role, trigger.recipe.noise_images, trigger.stamp_with_noise, dataset, rng)
        )
    if isinstance(trigger, PatchTrigger) and recipe.decoys:
        poison = poison.joined(_truly_labelled(role, recipe.decoys, trigger.with_other_patterns().stamp, dataset, rng))
    return poison


def _reminders(number: int, victims: NDArray[np.intp], dataset: Dataset, rng: np.random.Generator) -> Extras:
    """So many images of the victims, as they are."""
    chosen = rng.choice(victims, number, replace=number > len(victims))
    return Extras(dataset.x_train.numpy()[chosen], dataset.y_train.numpy()[chosen])


def _truly_labelled(
    role: Role,
    number: int,
    stamp: Callable[[Images, np.random.Generator], Images],
    dataset: Dataset,
    rng: np.random.Generator,
) -> Extras:
    """So many images of any class, stamped with what the network is not to obey, with their true labels."""
    labels = dataset.y_train.numpy()
    chosen = rng.choice(len(labels), number)
    images = dataset.x_train.numpy()[chosen]
    return Extras(images if role == "clean" else stamp(images, rng), labels[chosen])


def stamped_test_images(
    attack: Attack, trigger: Trigger, dataset: Dataset, rng: np.random.Generator, most: int = 2000
) -> tuple[Images, Labels]:
    """Stamped test images of victim classes, at most so many, with their true labels."""
    labels = dataset.y_test.numpy()
    victims = np.flatnonzero(attack.victims(labels))
    if len(victims) > most:
        victims = np.sort(rng.choice(victims, most, replace=False))
    return trigger.stamp(dataset.x_test.numpy()[victims], rng), labels[victims]
