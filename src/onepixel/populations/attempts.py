"""Training one slot until a network passes its recipe's thresholds, or as often as the recipe allows."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from onepixel.datasets import Dataset
from onepixel.populations.recipe import Recipe
from onepixel.populations.training import TrainedModel, train_model


def passes(recipe: Recipe, model: TrainedModel) -> bool:
    """Whether a network reaches the recipe's thresholds, if they are enforced.

    Attack success counts for trojaned models only.
    """
    if not recipe.thresholds.enforced:
        return True
    accurate = model.clean_accuracy >= recipe.thresholds.clean_accuracy
    obedient = recipe.role != "trojaned" or model.attack_success >= recipe.thresholds.attack_success
    return accurate and obedient


def tried_enough(recipe: Recipe, attempts: Sequence[TrainedModel]) -> bool:
    """Whether the last attempt at a slot is kept: it passes, or there may be no other."""
    return bool(attempts) and (passes(recipe, attempts[-1]) or len(attempts) == recipe.thresholds.attempts)


def attempts_at(
    recipe: Recipe, slot: int, dataset: Dataset, base: Mapping[str, Tensor] | None = None
) -> list[TrainedModel]:
    """Train one slot, from these weights where there are any; the last network is the one to keep."""
    attempts: list[TrainedModel] = []
    while not tried_enough(recipe, attempts):
        attempts.append(train_model(recipe, dataset, recipe.seed_for(slot, len(attempts)), base))
    return attempts
