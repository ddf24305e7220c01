"""Simple statistics of a signature and a support vector machine on them: what few training models suffice for.

A backdoor pulls towards one class in few places; stamping with true labels and chance move everything. So the
statistics are of what is left of a channel without the other channels' mean, and without its own surroundings, and
they do not say in which class or where.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn.svm import SVC
from torch import Tensor, nn

SURROUNDINGS = 2.0
"""Standard deviation, in pixels, of the Gaussian that a pixel's surroundings are averaged with."""

RANKS = (0, 0.01, 0.05, 0.25)
"""Which of a channel's values are taken, counted from its highest and from its lowest, as a share of its pixels."""


def statistics(maps: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Describe maps (N, D, K, H, W) by numbers (N, F) that do not depend on the order of classes.

    For each definition, once without the mean over classes and once without each pixel's surroundings: ten
    statistics of every channel (the values at `RANKS` from either end, mean, standard deviation), each summed up over
    the classes by its two highest and two lowest values, mean and standard deviation.
    """
    whole = np.asarray(maps, dtype=np.float64)
    blurred = gaussian_filter(whole, (0, 0, 0, SURROUNDINGS, SURROUNDINGS), mode="nearest")
    parts = [whole - whole.mean(axis=2, keepdims=True), whole - blurred]
    return np.concatenate([_over_classes(_of_channels(part)).reshape(len(whole), -1) for part in parts], axis=1)


def _of_channels(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Statistics (N, D, K, 10) of each channel."""
    ordered = np.sort(maps.reshape(*maps.shape[:3], -1), axis=-1)
    ranks = np.array([int(share * ordered.shape[-1]) for share in RANKS])
    moments = np.stack([ordered.mean(axis=-1), ordered.std(axis=-1)], axis=-1)
    return np.concatenate([ordered[..., ranks], ordered[..., -1 - ranks], moments], axis=-1)


def _over_classes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum up (N, D, K, S) over classes: (N, D, S, 6)."""
    ordered = np.sort(values, axis=2)
    ends = [ordered[:, :, place] for place in (-1, -2, 0, 1)]
    return np.stack([*ends, ordered.mean(axis=2), ordered.std(axis=2)], axis=-1)


class StatisticsMachine(nn.Module):
    """A support vector machine with a Gaussian kernel on standardised statistics of signatures (N, D, K, H, W).

    Fitted by scikit-learn and kept as plain arrays, so that a detector's file needs no pickle.
    """

    NAMES = ("center", "scale", "support", "weights", "intercept", "gamma")

    def __init__(self, arrays: dict[str, Tensor]) -> None:
        super().__init__()
        for name in self.NAMES:
            self.register_buffer(name, arrays[name])

    @classmethod
    def fit(cls, signatures: NDArray[np.float32], labels: NDArray[Any]) -> "StatisticsMachine":
        """Fit to signatures (N, D, K, H, W) with labels (N,); both classes weigh the same."""
        numbers = statistics(signatures)
        center, scale = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 1e-9)
        machine = SVC(C=1.0, class_weight="balanced", gamma=1 / numbers.shape[1])
        machine.fit((numbers - center) / scale, labels)
        found = {
            "center": center,
            "scale": scale,
            "support": machine.support_vectors_,
            "weights": machine.dual_coef_[0],
            "intercept": machine.intercept_[0],
            "gamma": 1 / numbers.shape[1],
        }
        return cls({name: torch.as_tensor(np.asarray(value, dtype=np.float64)) for name, value in found.items()})

    def forward(self, signatures: Tensor) -> Tensor:
        """Scores (N,)."""
        numbers = torch.as_tensor(statistics(signatures.numpy()))
        standardised = (numbers - self.center) / self.scale
        # Matrix products would make a score depend, in its last digits, on what else is scored with it.
        distances = torch.cdist(standardised, self.support, compute_mode="donot_use_mm_for_euclid_dist").square()
        scores: Tensor = torch.exp(-self.gamma * distances) @ self.weights + self.intercept
        return scores
