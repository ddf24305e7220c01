"""Where the patterns of triggers come from: random noise (vaccine), or images that a detector never saw (virus)."""

from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.datasets import load_dataset

Images = NDArray[np.uint8]
Pool = Literal["development", "final"]

PHOTOGRAPHS = "photographs"
"""Source for the digits: crops of the two sample photographs inside scikit-learn's package."""


BINARY = "binary"
"""Source of pixels that are black or white by chance, in all channels alike."""

WHITE = "white"
"""Source of pixels that are all white: the square of Gu et al. (2017)."""


def draw_picture(source: str, pool: Pool, channels: int, size: tuple[int, int], rng: np.random.Generator) -> Images:
    """Draw one picture (C, h, w).

    It is uniform noise, black and white pixels, white ones, a crop of a photograph, or an image of a data set, resized.

    Parameters
    ----------
    source : str
        "random", "binary", "white", "photographs", or a data set.
    pool : {"development", "final"}
        The data set's training part or its test part; the left or the right half of a photograph.
    channels : int
    size : (int, int)
        h and w, pixels.
    rng : numpy.random.Generator

    Raises
    ------
    UsageError
        If there is no such data set.
    """
    if source == "random":
        return rng.integers(0, 256, (channels, *size), dtype=np.uint8)
    if source == BINARY:
        return np.repeat(255 * rng.integers(0, 2, (1, *size), dtype=np.uint8), channels, axis=0)
    if source == WHITE:
        return np.full((channels, *size), 255, dtype=np.uint8)
    if source == PHOTOGRAPHS:
        return resize(_photograph_crop(channels, pool, rng), *size)
    dataset = load_dataset(source)
    images = dataset.x_train if pool == "development" else dataset.x_test
    image = images[int(rng.integers(len(images)))].numpy()
    return resize(_with_channels(image, channels), *size)


def resize(picture: Images, height: int, width: int) -> Images:
    """Resize a picture (C, h, w) with antialiasing."""
    as_float = torch.tensor(picture)[None].float()
    resized = torch.nn.functional.interpolate(as_float, size=(height, width), mode="bilinear", antialias=True)
    return to_intensities(resized[0].numpy())


def to_intensities(values: NDArray[np.floating]) -> Images:
    """Round to whole intensities and clip to 0 .. 255."""
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _with_channels(image: Images, channels: int) -> Images:
    if image.shape[0] == channels:
        return image
    grey = image.mean(axis=0, keepdims=True).round().astype(np.uint8)
    return np.repeat(grey, channels, axis=0)


@cache
def _photographs() -> list[Images]:
    from sklearn.datasets import load_sample_images

    return [np.asarray(image) for image in load_sample_images().images]


def _photograph_crop(channels: int, pool: Pool, rng: np.random.Generator) -> Images:
    """A square crop of 16 to 64 pixels: of the left half of a photograph for development, of the right for final."""
    photographs = _photographs()
    photograph = np.moveaxis(photographs[rng.integers(len(photographs))], -1, 0)
    half = photograph.shape[2] // 2
    part = photograph[:, :, :half] if pool == "development" else photograph[:, :, half:]
    side = int(rng.integers(16, 65))
    row, column = rng.integers(part.shape[1] - side), rng.integers(part.shape[2] - side)
    return _with_channels(part[:, row : row + side, column : column + side], channels)
