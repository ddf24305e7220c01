"""Fit detectors on models of a zoo; experiments that fit the same ones may share them."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import joblib
import numpy as np
from joblib import Memory
from numpy.typing import NDArray

from onepixel.detectors import Detector
from onepixel.experiments.choices import Parameters
from onepixel.populations.models import Labelled
from onepixel.signatures import Settings

FOLDER = "ONEPIXEL_SHARED_FITS"
"""Environment variable with the folder that fitted detectors are kept in, which worker processes inherit."""


def fitted(
    parameters: Parameters, data: Labelled, settings: Settings, seed: int, groups: NDArray[np.int64] | None = None
) -> Detector:
    """Fit a detector; within `shared_fits`, take it from there if the same one was fitted to the same models before."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        return _fit("", data, parameters, settings, seed, groups)
    shared = Memory(folder, verbose=0).cache(_fit, ignore=["data"])
    detector: Detector = shared(joblib.hash((data.rows, data.labels)), data, parameters, settings, seed, groups)
    return detector


def _fit(
    models: str,
    data: Labelled,
    parameters: Parameters,
    settings: Settings,
    seed: int,
    groups: NDArray[np.int64] | None,
) -> Detector:
    """Fit; `models` stands for the data in the key under which the detector is kept."""
    return Detector(**parameters, random_state=seed).fit(data.rows, data.labels, settings, groups=groups)


@contextmanager
def shared_fits() -> Iterator[None]:
    """Fit no detector twice inside, in this process and in those that it starts; what was kept is deleted after."""
    with tempfile.TemporaryDirectory(prefix="onepixel-fits-", ignore_cleanup_errors=True) as folder:
        before = os.environ.get(FOLDER)
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[FOLDER]
            else:
                os.environ[FOLDER] = before
