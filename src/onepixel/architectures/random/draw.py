"""Drawing a network from the space, as plain JSON that a record keeps and a network is built from again."""

from typing import Any

import numpy as np

from onepixel.architectures.random import space
from onepixel.architectures.random.cost import operations
from onepixel.architectures.random.space import NetworkRecipe, choose, log_uniform
from onepixel.errors import UsageError

Shape = tuple[int, int, int]
Statistics = tuple[list[float], list[float]]
"""Mean and standard deviation of each channel of a data set's training images, in [0, 1]."""


def draw_network(
    recipe: NetworkRecipe, shape: Shape, classes: int, statistics: Statistics, rng: np.random.Generator
) -> dict[str, Any]:
    """Draw one network, and how it is trained.

    Parameters
    ----------
    recipe : NetworkRecipe
        What it may cost.
    shape : (int, int, int)
        (C, H, W) of its images.
    classes : int
        K.
    statistics : (list of float, list of float)
        Mean and standard deviation of each channel, for networks that normalise by their data set's.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        Plain JSON: `RandomNetwork` builds the network from it; its table `training` says how it is trained.

    Raises
    ------
    UsageError
        If a thousand draws find nothing that costs so little, or so much.
    """
    # The family is drawn once: else those that are cheap would be drawn more often than the space says.
    family = choose(space.FAMILIES, rng)
    for _ in range(space.MOST_DRAWS):
        drawn = _draw(family, recipe, shape, statistics, rng)
        cost = operations(drawn, shape, classes)
        if recipe.fewest_operations <= cost <= recipe.most_operations:
            return {**drawn, "operations": cost}
    raise UsageError(
        f"No random network for images of {shape} was found that costs between {recipe.fewest_operations:g} and "
        f"{recipe.most_operations:g} operations."
    )


def _draw(
    family: space.Family, recipe: NetworkRecipe, shape: Shape, statistics: Statistics, rng: np.random.Generator
) -> dict[str, Any]:
    activation = choose(space.ACTIVATIONS, rng)
    parts = {"convolutional": _convolutional, "perceptron": _perceptron, "transformer": _transformer}
    return {
        "family": family,
        "input": _input(choose(space.INPUTS, rng), statistics),
        "activation": activation,
        **parts[family](shape, rng),
        "dropout": choose(space.DROPOUTS, rng),
        "training": _training(family, recipe.mirror, rng),
    }


def _input(kind: str, statistics: Statistics) -> dict[str, Any]:
    channels = len(statistics[0])
    mean, deviation = {
        "as_is": ([0.0] * channels, [1.0] * channels),
        "half": ([0.5] * channels, [0.5] * channels),
        "data_set": tuple([round(value, 4) for value in part] for part in statistics),
    }[kind]
    return {"mean": mean, "deviation": deviation}


def _convolutional(shape: Shape, rng: np.random.Generator) -> dict[str, Any]:
    side = min(shape[1:])
    width = log_uniform(*space.FIRST_WIDTH, rng)
    growth = float(rng.choice(space.GROWTH))
    block = choose(space.BLOCKS, rng)
    downsampling = choose(space.DOWNSAMPLINGS, rng)
    normalisation = choose(space.NORMALISATIONS, rng)
    head = choose(space.HEADS, rng)
    stages = []
    # Images of 64 x 64 begin with a stride, so that as much of the budget goes into the later stages.
    stem_stride = 2 if side >= 48 else 1
    side //= stem_stride
    for _ in range(int(rng.choice(space.STAGES))):
        halves = side >= 6
        kernel = choose(space.KERNELS, rng)
        stages.append(
            {
                "width": 4 * max(1, round(width / 4)),
                "kernel": kernel if kernel <= side else 3,
                "repeats": choose(space.REPEATS, rng),
                "downsampling": downsampling if halves else "none",
            }
        )
        side = side // 2 if halves else side
        width *= growth
    return {
        "block": block,
        "normalisation": normalisation,
        "stem_stride": stem_stride,
        "stages": stages,
        "head": "flatten" if normalisation == "none" else head,
        "hidden": choose(space.HIDDEN, rng),
    }


def _perceptron(shape: Shape, rng: np.random.Generator) -> dict[str, Any]:
    layers = int(rng.choice(space.PERCEPTRON_LAYERS))
    return {
        "normalisation": str(rng.choice(["batch", "layer", "none"])),
        "widths": [int(rng.choice(space.PERCEPTRON_WIDTHS)) for _ in range(layers)],
    }


def _transformer(shape: Shape, rng: np.random.Generator) -> dict[str, Any]:
    fewest, most = space.TOKENS
    patches = [
        side
        for side in range(1, min(shape[1:]) + 1)
        if shape[1] % side == shape[2] % side == 0 and fewest <= (shape[1] // side) * (shape[2] // side) <= most
    ]
    if not patches:
        raise UsageError(f"Images of {shape[1]} x {shape[2]} cannot be cut into {fewest} to {most} square patches.")
    return {
        "patch": int(rng.choice(patches)),
        "width": int(rng.choice(space.TRANSFORMER_WIDTHS)),
        "layers": int(rng.choice(space.TRANSFORMER_LAYERS)),
        "heads": int(rng.choice(space.TRANSFORMER_HEADS)),
    }


def _training(family: str, mirror: bool, rng: np.random.Generator) -> dict[str, Any]:
    # A transformer learns by Adam; plain gradient descent leaves it at chance in so few steps.
    optimizer = choose(space.OPTIMIZERS, rng) if family != "transformer" else "adam"
    low, high = space.LEARNING_RATES[optimizer]
    rate = log_uniform(low, high, rng) / (2 if family == "transformer" else 1)
    augmentations = [name for name, share in space.AUGMENTATIONS.items() if rng.uniform() < share]
    return {
        "optimizer": optimizer,
        "learning_rate": float(f"{rate:.3g}"),
        "weight_decay": float(rng.choice(space.WEIGHT_DECAYS[optimizer])),
        "batch_size": int(rng.choice(space.BATCH_SIZES)),
        "label_smoothing": choose(space.LABEL_SMOOTHINGS, rng),
        "augmentations": [name for name in augmentations if mirror or name != "mirror"],
    }
