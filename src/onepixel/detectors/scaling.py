"""What a detector's networks see of a signature: standardised in one of three ways."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]
Scaling = Literal["global", "clean", "own"]
SCALINGS = ("global", "clean", "own")
"""By all models together; by what is usual in models without a backdoor; every model by itself."""


def found_scaling(scaling: str, features: Maps, clean: NDArray[np.bool_]) -> tuple[Maps, Maps]:
    """What is taken off features (N, D, K, H, W) and what divides them; `clean` says which models are."""
    return usual_values(features[clean]) if scaling == "clean" else overall_values(features)


def scaled(scaling: str, features: Maps, center: Maps, scale: Maps) -> Maps:
    """Features (N, D, K, H, W) as networks see them; under "clean", large deviations count logarithmically."""
    if scaling == "own":
        return standardised_alone(features)
    standardised = (features - center) / scale
    return np.arcsinh(standardised) if scaling == "clean" else standardised


def standardised_alone(features: Maps) -> Maps:
    """Each definition of each model (N, D, K, H, W) in its own standard deviations from its own mean."""
    center, scale = mean_and_deviation(features, (2, 3, 4))
    standardised: Maps = ((features - center) / scale).astype(np.float32)
    return standardised


def usual_values(clean: Maps) -> tuple[Maps, Maps]:
    """Mean and deviation (D, K, H, W) of clean models; a fifth of a channel's mean deviation is added to each pixel's.

    Pixels that hardly ever vary would otherwise shout over the others.
    """
    deviation = clean.std(axis=0)
    return clean.mean(axis=0), deviation + 0.2 * deviation.mean(axis=(-2, -1), keepdims=True) + 1e-6


def overall_values(features: Maps) -> tuple[Maps, Maps]:
    """Mean and standard deviation of each definition over all models, channels and pixels, (D, 1, 1, 1)."""
    center, scale = mean_and_deviation(features, (0, 2, 3, 4))
    return center[0].astype(np.float32), scale[0].astype(np.float32)


def mean_and_deviation(features: Maps, over: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both over these axes of features (N, D, K, H, W), which stay with length 1; no deviation is 0."""
    center = features.mean(axis=over, keepdims=True, dtype=np.float64)
    deviation = features.std(axis=over, keepdims=True, dtype=np.float64)
    return center, np.maximum(deviation, 1e-12)
