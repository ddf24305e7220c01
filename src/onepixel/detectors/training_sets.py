"""Labelled signatures out of populations: what detectors are trained and measured on."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onepixel.errors import DetectorError
from onepixel.populations import Store, ZooPopulation, open_population, passed
from onepixel.signatures import Settings


@dataclass(frozen=True)
class LabelledSignatures:
    """Signatures of models with known labels.

    Attributes
    ----------
    rows : structured array of shape (N,)
        low, high and base; see `onepixel.populations.store.row_type`.
    labels : array of shape (N,)
        0 clean, 1 trojaned.
    settings : Settings
        What all of them were made with.
    populations : tuple of str
        Where they come from.
    default_image : float or array of shape (C, H, W)
        The default image itself.
    """

    rows: NDArray[np.void]
    labels: NDArray[np.int64]
    settings: Settings
    populations: tuple[str, ...]
    default_image: float | NDArray[np.float32] = 0.0

    def __str__(self) -> str:
        trojaned = int(self.labels.sum())
        return f"{len(self.labels) - trojaned} clean and {trojaned} trojaned models"

    def hold_back(self, numbers: slice) -> tuple["LabelledSignatures", NDArray[np.void]]:
        """The others, and the rows of some models that are to calibrate instead of to train."""
        kept = np.ones(len(self.rows), dtype=bool)
        kept[numbers] = False
        return replace(self, rows=self.rows[kept], labels=self.labels[kept]), self.rows[~kept]


Populations = Sequence[Store | ZooPopulation]


def rows_of(folders: Sequence[Path], settings: Settings | None = None) -> NDArray[np.void]:
    """Signatures of all models in these populations that reached their thresholds.

    Raises
    ------
    UsageError
        If a folder holds no population.
    DetectorError
        If populations differ in settings or shape, or none of their models is finished.
    """
    return _rows([open_population(folder) for folder in folders], settings)


def _rows(populations: Populations, settings: Settings | None) -> NDArray[np.void]:
    for population in populations:
        if population.settings != (settings or populations[0].settings):
            raise DetectorError(f"{population.folder} was made with other settings: {population.settings}.")
    parts = [passed(population)[0] for population in populations]
    if len({part.dtype for part in parts}) > 1:
        raise DetectorError("The populations have signatures of different shapes.")
    rows = np.concatenate(parts)
    if not len(rows):
        raise DetectorError(f"There is no finished model in {', '.join(str(p.folder) for p in populations)}.")
    return rows


def labelled(clean: Sequence[Path], trojaned: Sequence[Path], settings: Settings | None = None) -> LabelledSignatures:
    """Join clean and trojaned populations; see `rows_of` for what is raised."""
    without, with_backdoor = ([open_population(folder) for folder in folders] for folders in (clean, trojaned))
    settings = settings or without[0].settings
    negative, positive = _rows(without, settings), _rows(with_backdoor, settings)
    labels = np.r_[np.zeros(len(negative), np.int64), np.ones(len(positive), np.int64)]
    names = tuple(population.recipe.name for population in (*without, *with_backdoor))
    return LabelledSignatures(np.concatenate([negative, positive]), labels, settings, names, without[0].default_image)


def about(training: LabelledSignatures) -> dict[str, Any]:
    """What a detector file says about its making."""
    return {
        "populations": list(training.populations),
        "models": str(training),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }
