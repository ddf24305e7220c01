"""The network of one slot: of a named architecture, or drawn at random and described by the slot's record."""

from typing import Any

import numpy as np
from torch import nn

from onepixel.architectures import architecture
from onepixel.architectures.random import NetworkRecipe, RandomNetwork, draw_network
from onepixel.datasets import Dataset
from onepixel.errors import UsageError
from onepixel.populations.recipe import RANDOM, Recipe, TrainingRecipe

STATISTICS_IMAGES = 2000
"""Training images that a data set's mean and deviation are taken from; more change them in the third place."""


def draw_for(recipe: Recipe, dataset: Dataset, rng: np.random.Generator) -> dict[str, Any]:
    """What is drawn about one slot's network, as its record keeps it; nothing for named architectures."""
    if recipe.architecture != RANDOM:
        return {}
    sample = dataset.x_train[:STATISTICS_IMAGES].double() / 255
    statistics = (sample.mean(dim=(0, 2, 3)).tolist(), sample.std(dim=(0, 2, 3)).clamp(min=0.01).tolist())
    space = recipe.network or NetworkRecipe()
    return draw_network(space, dataset.input_shape, dataset.classes, statistics, rng)


def network_of(recipe: Recipe, drawn: dict[str, Any], shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A freshly initialised network: of the recipe's architecture, or as drawn.

    Raises
    ------
    UsageError
        If the recipe draws networks and this record describes none.
    """
    if recipe.architecture != RANDOM:
        return architecture(recipe.architecture).build(classes)
    if not drawn:
        raise UsageError(f"{recipe.name} has networks of random architecture, and this record does not say which.")
    return RandomNetwork(drawn, shape, classes)


def initial_network(recipe: Recipe, drawn: dict[str, Any], shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The network that a training begins with: freshly initialised, or with published weights but for its last layer.

    Raises
    ------
    UsageError
        If the architecture has no published weights, or they are not installed.
    """
    if not recipe.training.pretrained:
        return network_of(recipe, drawn, shape, classes)
    pretrained = architecture(recipe.architecture).pretrained
    if pretrained is None:
        raise UsageError(
            f"{recipe.name} starts from published weights, and no package has any of {recipe.architecture}."
        )
    return pretrained(classes)


def training_of(recipe: Recipe, drawn: dict[str, Any]) -> TrainingRecipe:
    """How one slot's network is trained: as the recipe says, but for what was drawn."""
    if not drawn:
        return recipe.training
    return TrainingRecipe.model_validate({**recipe.training.model_dump(), **drawn["training"]})
