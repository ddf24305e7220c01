"""Simple statistics of a signature and a support vector machine on them: what few training models suffice for.

A backdoor pulls towards one class in few places; stamping with true labels and chance move everything. So the
statistics are of what is left of a channel without the other channels' mean, and without its own surroundings; each is
compared with the same class's in models without a backdoor; and they do not say in which class something is unusual,
or where.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from onepixel.detectors.readings.table import READINGS, Reader, Reading

SURROUNDINGS = 2.0
"""Standard deviation, in pixels, of the Gaussian that a pixel's surroundings are averaged with."""

RANKS = (0, 0.01, 0.05, 0.25)
"""Which of a channel's values are taken, counted from its highest and from its lowest, as a share of its pixels."""


def channel_statistics(maps: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Describe each class channel of maps (N, D, K, H, W) by numbers, (N, F, K).

    For each definition, once without the mean over classes and once without each pixel's surroundings: the values at
    `RANKS` from either end, mean and standard deviation.
    """
    # One after the other, each in the processor's cache: all at once they take twice as long.
    return np.stack([_statistics_of(np.asarray(one, dtype=np.float64)) for one in maps])


def _statistics_of(whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """`channel_statistics` of one model's maps (D, K, H, W), (F, K)."""
    blurred = gaussian_filter(whole, (0, 0, SURROUNDINGS, SURROUNDINGS), mode="nearest")
    parts = np.concatenate([whole - whole.mean(axis=1, keepdims=True), whole - blurred])
    ordered = np.sort(parts.reshape(*parts.shape[:2], -1), axis=-1)
    ranks = np.array([int(share * ordered.shape[-1]) for share in RANKS])
    moments = np.stack([ordered.mean(axis=-1), ordered.std(axis=-1)], axis=-1)
    numbers = np.concatenate([ordered[..., ranks], ordered[..., -1 - ranks], moments], axis=-1)
    return np.moveaxis(numbers, -1, 1).reshape(-1, whole.shape[1])


def over_classes(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum up (N, F, K) over classes: the two highest and two lowest, mean and standard deviation, (N, 6 F)."""
    ordered = np.sort(numbers, axis=-1)
    ends = ordered[..., [-1, -2, 0, 1]]
    moments = np.stack([ordered.mean(axis=-1), ordered.std(axis=-1)], axis=-1)
    return np.concatenate([ends, moments], axis=-1).reshape(len(numbers), -1)


def unusual(
    numbers: NDArray[np.float64], usual: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far (N, F, K) lie from what is usual (F, K), in deviations; large ones count logarithmically."""
    return np.arcsinh((numbers - usual) / deviation)


def what_is_usual(numbers: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation (F, K) of models without a backdoor; a deviation is never below a twentieth of the mean."""
    usual = numbers.mean(axis=0)
    return usual, numbers.std(axis=0) + 0.05 * np.abs(usual) + 1e-6


class StatisticsMachine(Reader):
    """A support vector machine with a Gaussian kernel on standardised statistics of signatures (N, D, K, H, W).

    Fitted by scikit-learn and kept as plain arrays, so that a detector's file needs no pickle.
    """

    usual: Tensor
    deviation: Tensor
    center: Tensor
    scale: Tensor
    support: Tensor
    weights: Tensor
    intercept: Tensor
    gamma: Tensor

    NAMES = ("usual", "deviation", "center", "scale", "support", "weights", "intercept", "gamma")

    def __init__(self, arrays: dict[str, Tensor]) -> None:
        super().__init__()
        for name in self.NAMES:
            self.register_buffer(name, arrays[name])

    @classmethod
    def fit(cls, signatures: NDArray[np.float32], labels: NDArray[Any]) -> "StatisticsMachine":
        """Fit to signatures (N, D, K, H, W) with labels (N,); both labels weigh the same."""
        from sklearn.svm import SVC

        by_channel = channel_statistics(signatures)
        usual, deviation = what_is_usual(by_channel[labels == 0])
        numbers = over_classes(unusual(by_channel, usual, deviation))
        center, scale = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 1e-9)
        gamma = 1 / numbers.shape[1]
        machine = SVC(C=1.0, class_weight="balanced", gamma=gamma).fit((numbers - center) / scale, labels)
        found = {
            "usual": usual,
            "deviation": deviation,
            "center": center,
            "scale": scale,
            "support": machine.support_vectors_,
            "weights": machine.dual_coef_[0],
            "intercept": machine.intercept_[0],
            "gamma": gamma,
        }
        return cls({name: torch.as_tensor(np.asarray(value, dtype=np.float64)) for name, value in found.items()})

    def forward(self, signatures: Tensor) -> Tensor:
        """Scores (N,)."""
        by_channel = channel_statistics(signatures.numpy())
        numbers = torch.as_tensor(over_classes(unusual(by_channel, self.usual.numpy(), self.deviation.numpy())))
        standardised = (numbers - self.center) / self.scale
        # Matrix products would make a score depend, in its last digits, on what else is scored with it.
        distances = torch.cdist(standardised, self.support, compute_mode="donot_use_mm_for_euclid_dist").square()
        scores: Tensor = torch.exp(-self.gamma * distances) @ self.weights + self.intercept
        return scores


READINGS.add(
    Reading(
        "statistics",
        "statistics",
        fit=lambda signatures, labels, schedule, seed: StatisticsMachine.fit(signatures, labels),
        restore=lambda state, definitions, shape: StatisticsMachine(state),
        seeded=False,
        scores_channels=False,
    )
)
