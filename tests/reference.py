"""The one-pixel signature as the papers define it, one image at a time: the yardstick for every engine.

Slow and literal on purpose; depends on NumPy alone. `answer` maps images (N, C, H, W) to class probabilities
(N, K); `pixels` lists the (row, column) pairs to visit; signatures come back as (K, P) in that order.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Answer = Callable[[Array], Array]
Pixels = Sequence[tuple[int, int]]


def ask(answer: Answer, default_image: Array, pixel: tuple[int, int], value: float) -> Array:
    """The probabilities (K,) of the default image with all channels of one pixel set to a value."""
    image = default_image.copy()
    image[:, pixel[0], pixel[1]] = value
    return answer(image[None])[0]


def max_signature(answer: Answer, default_image: Array, values: Array, pixels: Pixels) -> Array:
    """ECCV 2020, Eq. 1: S_k(i, j) is the largest p(y = k | I_ijv) over the values v."""
    columns = []
    for pixel in pixels:
        columns.append(np.max([ask(answer, default_image, pixel, value) for value in values], axis=0))
    return np.stack(columns, axis=1)


def largest_change_signature(answer: Answer, default_image: Array, values: Array, pixels: Pixels) -> Array:
    """ICLR 2020, Eq. 1: S_k(i, j) is the p(y = k | I_ijv) that lies farthest from p(y = k | I_o)."""
    base = answer(default_image[None])[0]
    columns = []
    for pixel in pixels:
        farthest = base.copy()
        for value in values:
            p = ask(answer, default_image, pixel, value)
            farther = np.abs(p - base) > np.abs(farthest - base)
            farthest[farther] = p[farther]
        columns.append(farthest)
    return np.stack(columns, axis=1)


def algorithm1_signature(answer: Answer, default_image: Array, values: Array, pixels: Pixels) -> Array:
    """ICLR 2020, Algorithm 1 as printed: the search for the farthest p starts from 0 instead of p(y = k | I_o)."""
    base = answer(default_image[None])[0]
    columns = []
    for pixel in pixels:
        temp = np.zeros_like(base)
        for value in values:
            p = ask(answer, default_image, pixel, value)
            farther = np.abs(temp - base) < np.abs(p - base)
            temp[farther] = p[farther]
        columns.append(temp)
    return np.stack(columns, axis=1)


def change_signature(answer: Answer, default_image: Array, values: Array, pixels: Pixels) -> Array:
    """The largest change minus p(y = k | I_o)."""
    base = answer(default_image[None])[0]
    return largest_change_signature(answer, default_image, values, pixels) - base[:, None]


def log_odds_signature(answer: Answer, default_image: Array, values: Array, pixels: Pixels) -> Array:
    """The largest log-odds over the values minus the default image's; `answer` returns log-odds here."""
    return max_signature(answer, default_image, values, pixels) - answer(default_image[None])[0][:, None]


def log_odds_fall_signature(answer: Answer, default_image: Array, values: Array, pixels: Pixels) -> Array:
    """The default image's log-odds minus the lowest over the values; `answer` returns log-odds here."""

    def negated(images: Array) -> Array:
        return -answer(images)

    return log_odds_signature(negated, default_image, values, pixels)


REFERENCES = {
    "max": max_signature,
    "largest_change": largest_change_signature,
    "algorithm1": algorithm1_signature,
    "change": change_signature,
    "log_odds": log_odds_signature,
    "log_odds_fall": log_odds_fall_signature,
}
"""Every definition by its name."""
