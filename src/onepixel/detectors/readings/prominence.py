"""Prominence: by how much a signature drives one class further than the others, in one place. Nothing is trained.

Architectures and data sets differ in how far a pixel drives every class, and a detector that learned how far is usual
mistakes another architecture for a backdoor. A backdoor pulls towards one class; what all classes share, wherever it
comes from, is taken off.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from onepixel.detectors.readings.table import READINGS, Reader, Reading

BLUR = 1.0
"""Standard deviation, in pixels, of the Gaussian that maps are blurred with: a trigger is larger than a pixel."""


def prominence(maps: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Prominence (N, K) of every class in maps (N, D, K, H, W), in their unit: nats for log-odds.

    The highest value on the image of the blurred map without the mean over classes; the mean over definitions.
    """
    whole = np.asarray(maps, dtype=np.float64)
    blurred = gaussian_filter(whole - whole.mean(axis=2, keepdims=True), (0, 0, 0, BLUR, BLUR), mode="nearest")
    highest: NDArray[np.float64] = blurred.max(axis=(-2, -1)).mean(axis=1)
    return highest


class Prominence(Reader):
    """The most prominent class of signatures (N, D, K, H, W) is their score; it has no parameters."""

    def channel_scores(self, signatures: Tensor) -> Tensor:
        """Scores (N, K)."""
        return torch.as_tensor(prominence(signatures.numpy()))

    def forward(self, signatures: Tensor) -> Tensor:
        """Scores (N,)."""
        return self.channel_scores(signatures).amax(dim=1)


READINGS.add(
    Reading(
        "prominence",
        "prominence",
        fit=lambda signatures, labels, schedule, seed: Prominence(),
        restore=lambda state, definitions, shape: Prominence(),
        seeded=False,
    )
)
