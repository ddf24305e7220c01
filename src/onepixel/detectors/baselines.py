"""What a child could think of: numbers that tell clean from trojaned models without looking at a signature's shape.

They stand in every table beside the detectors, so that nobody takes a side effect for a backdoor.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from onepixel.detectors.features import Signatures, extremes, maps
from onepixel.populations import Record

Features = NDArray[np.float64]


def base_probability(signatures: Signatures) -> Features:
    """The probabilities of the default image, sorted, (N, K)."""
    return np.sort(expit(extremes(signatures)[2]), axis=1).astype(np.float64)


def mean_and_variance(signatures: Signatures, definition: str = "change") -> Features:
    """Mean and variance of a signature under a definition, (N, 2)."""
    values = maps(signatures, definition).reshape(len(signatures), -1)
    return np.stack([values.mean(axis=1), values.var(axis=1)], axis=1).astype(np.float64)


def test_accuracy(records: Sequence[Record]) -> Features:
    """Accuracy on the test part, (N, 1): does accuracy alone tell them apart?"""
    return np.array([[record.clean_accuracy] for record in records])


def logistic_regression(strength: float = 1.0) -> Pipeline:
    """The model that is fitted to such numbers; `strength` is scikit-learn's C. Both labels weigh the same."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000))
