"""The space that random networks are drawn from: what the choices are, and how likely each is."""

from typing import Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Choice = TypeVar("Choice")
Family = Literal["convolutional", "perceptron", "transformer"]

FAMILIES: dict[Family, float] = {"convolutional": 0.8, "perceptron": 0.1, "transformer": 0.1}
BLOCKS = {"plain": 0.5, "residual": 0.3, "depthwise": 0.2}
STAGES = (2, 3, 4)
REPEATS = {1: 0.7, 2: 0.3}
"""Blocks per stage."""
FIRST_WIDTH = (12, 48)
"""Channels of the first stage, log-uniform, to a multiple of 4."""
GROWTH = (1.0, 1.5, 2.0)
"""Factor from one stage's channels to the next."""
KERNELS = {3: 0.65, 5: 0.3, 7: 0.05}
ACTIVATIONS = {"relu": 0.4, "leaky_relu": 0.1, "elu": 0.1, "gelu": 0.15, "silu": 0.15, "tanh": 0.1}
NORMALISATIONS = {"batch": 0.6, "none": 0.25, "group": 0.15}
"""After each convolution; a perceptron has batch or layer normalisation or none, a transformer layer normalisation."""
DOWNSAMPLINGS = {"max": 0.5, "average": 0.2, "stride": 0.3}
"""How a stage halves its maps."""
HEADS = {"flatten": 0.45, "average": 0.35, "max": 0.2}
"""What turns the last maps into one vector: all values, or the mean or the maximum of each map; networks without
normalisation always have all values, since they learn too slowly otherwise."""
HIDDEN = {0: 0.45, 64: 0.2, 128: 0.2, 256: 0.15}
"""Units of a dense layer before the answers."""
DROPOUTS = {0.0: 0.6, 0.1: 0.2, 0.25: 0.2}
"""Before the answers."""
INPUTS = {"as_is": 0.35, "data_set": 0.4, "half": 0.25}
"""Images as they are, less the data set's mean and by its deviation per channel, or from -1 to 1."""

PERCEPTRON_LAYERS = (1, 2, 3)
PERCEPTRON_WIDTHS = (64, 128, 256, 512)

TRANSFORMER_LAYERS = (1, 2, 3, 4)
TRANSFORMER_WIDTHS = (32, 48, 64, 96)
TRANSFORMER_HEADS = (2, 4)
TOKENS = (16, 100)
"""Fewest and most patches that an image is cut into."""

OPTIMIZERS = {"adam": 0.6, "sgd": 0.4}
"""Adam with decoupled weight decay, or stochastic gradient descent with Nesterov's momentum."""
LEARNING_RATES = {"adam": (1e-3, 4e-3), "sgd": (0.02, 0.1)}
"""The schedule's peak, log-uniform; half of it for transformers."""
WEIGHT_DECAYS = {"adam": (0.0, 1e-4, 1e-2), "sgd": (0.0, 1e-4, 5e-4)}
BATCH_SIZES = (64, 128, 192)
LABEL_SMOOTHINGS = {0.0: 0.8, 0.1: 0.2}
AUGMENTATIONS = {"shift": 0.2, "mirror": 0.5, "brightness": 0.1, "noise": 0.1, "cutout": 0.05}
"""How likely each is; mirroring only where a mirrored image keeps its class."""

MOST_DRAWS = 1000
"""Draws that are tried before the space is said to hold nothing so cheap."""


class NetworkRecipe(BaseModel):
    """What the random networks of a population may cost, and what their data set allows.

    Attributes
    ----------
    most_operations : float
        Multiplications for one image, and `VALUE_COST` for every value that a layer puts out; draws above are drawn
        again, so that no network takes more than its share of the time.
    fewest_operations : float
        Draws below are drawn again too: they would learn nothing.
    mirror : bool
        Whether a mirrored image keeps its class, so that mirroring is among the augmentations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    most_operations: float = Field(4e6, gt=0)
    fewest_operations: float = Field(0.0, ge=0)
    mirror: bool = False


def choose(choices: dict[Choice, float], rng: np.random.Generator) -> Choice:
    """Draw one of the choices, each as likely as its weight says."""
    names = list(choices)
    return names[rng.choice(len(names), p=np.array(list(choices.values())) / sum(choices.values()))]


def log_uniform(low: float, high: float, rng: np.random.Generator) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
