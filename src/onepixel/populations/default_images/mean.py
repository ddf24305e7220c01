"""Means: of all training images, or of those of each class.

A backdoor that sends one class to another shows best on an image of that class: "class means" are as many default
images as there are classes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.datasets import Dataset
from onepixel.populations.default_images.table import DEFAULT_IMAGES, DefaultImageKind, Image


def mean_image(images: Tensor) -> NDArray[np.float32]:
    """The mean (C, H, W) in [0, 1] of images (N, C, H, W) uint8, whatever the order they are summed in."""
    total = images.sum(dim=0, dtype=torch.int64).numpy()
    return (total / (255 * len(images))).astype(np.float32)


def mean(dataset: Dataset, number: int) -> Image:
    """The mean training image (C, H, W)."""
    return mean_image(dataset.x_train)


def class_means(dataset: Dataset, number: int) -> Image:
    """The mean training image of each class, (K, C, H, W)."""
    return np.stack([mean_image(dataset.x_train[dataset.y_train == k]) for k in range(dataset.classes)])


DEFAULT_IMAGES.add(DefaultImageKind("mean", mean))
DEFAULT_IMAGES.add(DefaultImageKind("class means", class_means))
