"""How the lowest, highest and base log-odds become one (K, H, W) array: one function per definition.

Log-odds rise and fall with probability, so one pass over the value grid serves every definition.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from onepixel.errors import UsageError

Array = NDArray[np.floating[Any]]
Definition = Callable[[Array, Array, Array], Array]


def maximum(low: Array, high: Array, base: Array) -> Array:
    """ECCV 2020, Eq. 1: the highest probability over the grid."""
    return expit(high)


def largest_change(low: Array, high: Array, base: Array) -> Array:
    """ICLR 2020, Eq. 1: the probability that lies farthest from the default image's; the higher one wins a tie."""
    p_low, p_high, p_base = expit(low), expit(high), expit(base)
    return np.where(p_high - p_base >= p_base - p_low, p_high, p_low)


def algorithm1(low: Array, high: Array, base: Array) -> Array:
    """ICLR 2020, Algorithm 1 as printed: the highest probability where it exceeds twice the base, else 0."""
    p_high, p_base = expit(high), expit(base)
    return np.where(p_high > 2 * p_base, p_high, 0).astype(p_high.dtype)


def change(low: Array, high: Array, base: Array) -> Array:
    """Ours: `largest_change` minus the base probability, in [-1, 1]."""
    return largest_change(low, high, base) - expit(base)


def log_odds(low: Array, high: Array, base: Array) -> Array:
    """Ours: the highest log-odds minus the base; where probabilities saturate, log-odds do not."""
    return high - base


def log_odds_fall(low: Array, high: Array, base: Array) -> Array:
    """Ours: the base minus the lowest log-odds, how far a class can be driven away."""
    return base - low


DEFINITIONS: dict[str, Definition] = {
    "max": maximum,
    "largest_change": largest_change,
    "algorithm1": algorithm1,
    "change": change,
    "log_odds": log_odds,
    "log_odds_fall": log_odds_fall,
}
"""Every definition by its name."""


def define(definition: str, low: Array, high: Array, base: Array) -> Array:
    """Apply a definition by name.

    Parameters
    ----------
    definition : str
        A key of `DEFINITIONS`.
    low, high : array of shape (..., K, H, W)
        Lowest and highest log-odds over the grid.
    base : array of shape (..., K)
        Log-odds of the default image.

    Returns
    -------
    array of shape (..., K, H, W)

    Raises
    ------
    UsageError
        If there is no such definition.
    """
    if definition not in DEFINITIONS:
        raise UsageError(f"Expected one of {', '.join(DEFINITIONS)} for definition but got {definition!r}.")
    return DEFINITIONS[definition](low, high, base[..., None, None])
