"""Several readings, and several members of each, as one score."""

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.classifiers.module import evaluating
from onepixel.detectors.readings.table import Reader


def scores_by_reading(networks: list[list[Reader]], inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores (R, N) by reading, each the mean over its members."""
    parts = torch.as_tensor(inputs).split(64)
    by_reading = []
    for members in networks:
        scores = []
        for network in members:
            with evaluating(network):
                scores.append(torch.cat([network(part) for part in parts]).double())
        by_reading.append(torch.stack(scores).mean(dim=0))
    return torch.stack(by_reading).numpy()


def ensemble_scores(by_reading: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (N,) of several readings together, from cross-validated ones of each (R, N), as `Detector` joins them."""
    return joined(by_reading, *standards(by_reading))


def standards(by_reading: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is taken off and divided out of each reading's scores before they are joined; nothing for a single one."""
    if len(by_reading) == 1:
        return np.zeros(1), np.ones(1)
    return by_reading.mean(axis=1), np.maximum(by_reading.std(axis=1), 1e-12)


def joined(
    by_reading: NDArray[np.float64], offsets: NDArray[np.float64], spreads: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scores (N,) from those of each reading (R, N), standardised."""
    mean: NDArray[np.float64] = ((by_reading - offsets[:, None]) / spreads[:, None]).mean(axis=0)
    return mean
