"""Default images by name: black, white, a data set's mean, uniform noise, one of its training images, or class means.

An attacker who knows that probing starts from black can train against it; a defender may start elsewhere. And a
backdoor that sends one class to another shows best on an image of that class: "class means" are as many default
images as there are classes, the mean training image of each.
"""

import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator
from torch import Tensor

from onepixel.datasets import Dataset
from onepixel.errors import StoreError, UsageError
from onepixel.files import atomic_path

WORDS = {"black": 0.0, "white": 1.0, "noise": "noise 0", "image": "image 0"}
"""What these words stand for."""


def _checked(named: object) -> float | str:
    meant = WORDS.get(named, named) if isinstance(named, str) else named
    if isinstance(meant, str) and re.fullmatch(r"mean|class means|(noise|image) \d{1,9}", meant):
        return meant
    with suppress(ValueError, TypeError):
        if 0 <= (intensity := float(meant)) <= 1:  # type: ignore[arg-type]
            return intensity
    expected = "black, white, mean, class means, noise N, image N or an intensity from 0 to 1"
    raise ValueError(f"expected {expected} but got {named!r}")


DefaultImage = Annotated[float | str, BeforeValidator(_checked)]
"""One intensity in [0, 1], or "mean" (of the training images), "class means" (the mean of each class), "noise N"
(uniform, from seed N) or "image N" (the training image of that index); black is 0, white 1, and noise and image without
a number are number 0."""


def parse_default_image(words: str) -> float | str:
    """Turn a command line's words into a default image's name.

    Raises
    ------
    UsageError
        If they name none.
    """
    try:
        return _checked(words)
    except ValueError as error:
        raise UsageError(f"There is no such default image: {error}.") from error


def short_name(named: float | str) -> str:
    """A default image's name as part of a folder's name."""
    constants = {0.0: "black", 1.0: "white"}
    return named.replace(" ", "-") if isinstance(named, str) else constants.get(named, f"grey-{named:g}")


def default_image_of(named: float | str, dataset: Dataset) -> float | NDArray[np.float32]:
    """The default image that a name stands for: one intensity, or an array (C, H, W) or (K, C, H, W) in [0, 1].

    Raises
    ------
    UsageError
        If the data set has no image of that index.
    """
    if isinstance(named, float):
        return named
    if named == "mean":
        return _mean(dataset.x_train)
    if named == "class means":
        return np.stack([_mean(dataset.x_train[dataset.y_train == k]) for k in range(dataset.classes)])
    kind, _, number = named.partition(" ")
    if kind == "noise":
        noise = np.random.default_rng(int(number)).integers(0, 256, dataset.input_shape)
        return (noise / 255).astype(np.float32)
    if int(number) >= len(dataset.x_train):
        raise UsageError(f"{dataset.name} has {len(dataset.x_train)} training images and none of index {number}.")
    return (dataset.x_train[int(number)].numpy() / 255).astype(np.float32)


def _mean(images: Tensor) -> NDArray[np.float32]:
    """The mean (C, H, W) in [0, 1] of images (N, C, H, W) uint8, whatever the order they are summed in."""
    total = images.sum(dim=0, dtype=torch.int64).numpy()
    return (total / (255 * len(images))).astype(np.float32)


def write_default_image(folder: Path, image: float | NDArray[np.float32]) -> None:
    """Keep a default image beside the signatures that were made with it; one intensity is said by the recipe alone."""
    if not isinstance(image, float):
        with atomic_path(folder / "default_image.npy") as temporary, temporary.open("wb") as file:
            np.save(file, image)


def read_default_image(folder: Path, named: float | str) -> float | NDArray[np.float32]:
    """Read what `write_default_image` kept, so that the data set is not needed again.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    if isinstance(named, float):
        return named
    path = folder / "default_image.npy"
    try:
        image: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StoreError(f"The default image {path} is missing or damaged.") from error
    return image
