"""How far a signature lies from what is usual in clean models, pixel by pixel: where an audit points to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors.scaling import Maps

PEAK_PIXELS = 8
"""How many pixels of a channel are looked at where a reading does not score channels."""


def deviations(features: Maps, clean_mean: Maps, clean_deviation: Maps) -> Maps:
    """Features (..., D, K, H, W) in standard deviations of clean models (D, K, H, W) from their mean.

    A tenth of the channel's mean deviation is added, so that pixels which never vary do not win by nothing.
    """
    usual = clean_deviation + 0.1 * clean_deviation.mean(axis=(-2, -1), keepdims=True) + 1e-9
    found: Maps = (features - clean_mean) / usual
    return found


def rises(found: Maps, definitions: Sequence[str]) -> NDArray[np.float64]:
    """How far each channel of deviations (N, D, K, H, W) rises: (N, K), the mean over its `PEAK_PIXELS` highest pixels.

    Of several definitions the rise of the log-odds counts, else the first.
    """
    above = found[:, definitions.index("log_odds") if "log_odds" in definitions else 0]
    return np.sort(above.reshape(*above.shape[:2], -1))[..., -PEAK_PIXELS:].mean(axis=-1, dtype=np.float64)
