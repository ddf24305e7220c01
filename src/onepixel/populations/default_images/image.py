"""A training image."""

import numpy as np

from onepixel.datasets import Dataset
from onepixel.errors import UsageError
from onepixel.populations.default_images.table import DEFAULT_IMAGES, DefaultImageKind, Image


def image(dataset: Dataset, index: int) -> Image:
    """The training image of that index.

    Raises
    ------
    UsageError
        If there is none.
    """
    if index >= len(dataset.x_train):
        raise UsageError(f"{dataset.name} has {len(dataset.x_train)} training images and none of index {index}.")
    return (dataset.x_train[index].numpy() / 255).astype(np.float32)


DEFAULT_IMAGES.add(DefaultImageKind("image", image, numbered=True))
