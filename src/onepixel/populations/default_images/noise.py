"""Uniform noise, from a seed: an attacker who trains against black does not know it."""

import numpy as np

from onepixel.datasets import Dataset
from onepixel.populations.default_images.table import DEFAULT_IMAGES, DefaultImageKind, Image


def noise(dataset: Dataset, seed: int) -> Image:
    """Each pixel by itself, in steps of 1 / 255."""
    drawn = np.random.default_rng(seed).integers(0, 256, dataset.input_shape)
    return (drawn / 255).astype(np.float32)


DEFAULT_IMAGES.add(DefaultImageKind("noise", noise, numbered=True))
