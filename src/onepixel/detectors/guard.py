"""The guard: is a signature like those of the networks that a detector was trained on? Anything else is not judged.

A detector fitted on networks of one kind gives every network a score, also one of another architecture or data set,
and there the score means nothing. The guard describes each class's channel by what an architecture and its training
leave in it and a backdoor does not: how far pixels move the class usually, how that falls off towards the borders, and
how alike neighbouring pixels are. A backdoor changes few channels much; a foreign network changes all of them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors.features import Signatures, extremes
from onepixel.errors import UndecidedError

Array = NDArray[np.float64]

LEAST_MODELS = 40
"""With fewer training networks than this, what is usual among them is not known well enough for a guard."""
SHARE = 0.2
"""Of the channels' distances this quantile counts: it stays small as long as a fifth of the channels look familiar."""
LIMIT = 0.99
"""Quantile of the training networks' own cross-validated distances up to which a signature is familiar."""
FOLDS = 5
FINEST = 0.01
"""Added before logarithms, in nats: about what a zoo's rounding leaves uncertain."""
LAGS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (0, 4))
"""Rows and columns between the pixels that are compared with each other."""
CONSTANT = 0.05
"""A signature that moves less than this share of the least lively training network's is nearly constant."""

NOT_LIKE = "could not decide: not like the networks this detector knows; give --images"
NEARLY_CONSTANT = (
    "could not decide: its answers hardly change with the image. Perhaps it expects intensities of another range than "
    "0 to 1, or was never trained; see --normalize, and give --images"
)


@dataclass(frozen=True)
class Guard:
    """What is usual among the signatures that a detector was trained on, clean and trojaned alike.

    Attributes
    ----------
    center : array of shape (K, F)
        Mean features of every channel.
    precision : array of shape (K, F, F)
        Inverse covariances (Ledoit and Wolf, 2004).
    limit : float
        Distances above it are foreign.
    liveliness : float
        The smallest mean rise and fall of any training network, in nats.
    """

    center: Array
    precision: Array
    limit: float
    liveliness: float

    @classmethod
    def fit(cls, signatures: Signatures) -> "Guard | None":
        """Learn what is usual; None where there are fewer than `LEAST_MODELS` signatures.

        Raises
        ------
        DetectorError
            If the signatures cannot be compared with each other.
        """
        from sklearn.model_selection import KFold  # an audit needs no scikit-learn

        if len(signatures) < LEAST_MODELS:
            return None
        described = features(signatures)
        distances = np.empty(len(described))
        for seen, unseen in KFold(FOLDS, shuffle=True, random_state=0).split(described):
            distances[unseen] = _distances(described[unseen], *_usual(described[seen]))
        limit = float(np.quantile(distances, LIMIT))
        return cls(*_usual(described), limit, float(liveliness(signatures).min()))

    def distances(self, signatures: Signatures) -> Array:
        """How foreign signatures are, (N,)."""
        return _distances(features(signatures), self.center, self.precision)

    def familiar(self, signatures: Signatures) -> NDArray[np.bool_]:
        """Which signatures are like the training ones, (N,)."""
        lively = liveliness(signatures) >= CONSTANT * self.liveliness
        return lively & (self.distances(signatures) <= self.limit)

    def check(self, signatures: Signatures, name: str = "") -> None:
        """Let familiar signatures pass.

        Raises
        ------
        UndecidedError
            If one is not like those of the training networks.
        """
        whose = f"{name}: " if name else ""
        if (liveliness(signatures) < CONSTANT * self.liveliness).any():
            raise UndecidedError(f"{whose}{NEARLY_CONSTANT}.")
        if not self.familiar(signatures).all():
            raise UndecidedError(f"{whose}{NOT_LIKE}.")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, as a detector's file keeps it."""
        return {
            "guard.center": self.center.astype(np.float32),
            "guard.precision": self.precision.astype(np.float32),
            "guard.limits": np.array([self.limit, self.liveliness]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "Guard | None":
        """Undo `arrays`; None for a file without a guard."""
        if "guard.limits" not in arrays:
            return None
        limit, least = (float(number) for number in arrays["guard.limits"])
        center, precision = (np.asarray(arrays[f"guard.{name}"], dtype=np.float64) for name in ("center", "precision"))
        return cls(center, precision, limit, least)


def liveliness(signatures: Signatures) -> Array:
    """How far a pixel moves a class up and down on average, in nats, (N,)."""
    low, high, _ = extremes(signatures)
    moves: Array = (high - low).mean(axis=(1, 2, 3), dtype=np.float64)
    return moves


def features(signatures: Signatures) -> Array:
    """Features (N, K, F) of every channel.

    Of its rises above and its falls below the base, as logarithms of nats: the lower tenth and the median over pixels,
    the median on each ring of pixels from the border inwards, and the median difference of pixels some rows and
    columns apart. And its base without the mean over classes, in nats.
    """
    low, high, base = (part.astype(np.float64) for part in extremes(signatures))
    centre = base[:, :, None, None]
    parts = np.concatenate([high - centre, centre - low], axis=1)
    logs = np.log(np.maximum(parts, 0) + FINEST)
    models, channels, height, width = logs.shape
    flat = logs.reshape(models, channels, -1)
    rows = np.minimum(np.arange(height), height - 1 - np.arange(height))
    columns = np.minimum(np.arange(width), width - 1 - np.arange(width))
    ring = np.minimum.outer(rows, columns).ravel()
    described = [*np.quantile(flat, (0.1, 0.5), axis=2)]
    described += [np.median(flat[:, :, ring == number], axis=2) for number in range(ring.max() + 1)]
    for down, right in LAGS:
        if down < height and right < width:
            apart = np.abs(logs[:, :, down:, right:] - logs[:, :, : height - down, : width - right])
            described.append(np.log(np.median(apart, axis=(2, 3)) + FINEST / 10))
    of_parts = np.stack(described, axis=2)
    classes = channels // 2
    around_mean = base - base.mean(axis=1, keepdims=True)
    return np.concatenate([of_parts[:, :classes], of_parts[:, classes:], around_mean[:, :, None]], axis=2)


def _usual(described: Array) -> tuple[Array, Array]:
    """Centers (K, F) and precisions (K, F, F) of features (N, K, F)."""
    from sklearn.covariance import LedoitWolf

    fits = [LedoitWolf().fit(described[:, channel]) for channel in range(described.shape[1])]
    return np.stack([fit.location_ for fit in fits]), np.stack([fit.precision_ for fit in fits])


def _distances(described: Array, center: Array, precision: Array) -> Array:
    """The `SHARE` quantile of the channels' Mahalanobis distances, (N,)."""
    apart = described - center
    squared = np.einsum("nkf,kfg,nkg->nk", apart, precision, apart)
    distances: Array = np.quantile(np.sqrt(np.maximum(squared, 0)), SHARE, axis=1)
    return distances
