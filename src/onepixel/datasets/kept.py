"""Data sets that are slow to read, kept as one .npz file in the cache once they were read."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from onepixel.datasets.dataset import Dataset
from onepixel.datasets.paths import npz
from onepixel.errors import UsageError
from onepixel.files import atomic_path


def read_kept(path: Path, name: str) -> Dataset:
    """Read an .npz file that holds the data set of this name.

    Raises
    ------
    UsageError
        If the file is damaged, holds pickles or lacks one of the arrays.
    """
    return replace(npz(path), name=name)


def keep(path: Path, dataset: Dataset) -> None:
    """Write a data set as `read_kept` reads it, uncompressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = {part: np.moveaxis(getattr(dataset, part).numpy(), 1, -1) for part in ("x_train", "x_test")}
    labels = {part: getattr(dataset, part).numpy() for part in ("y_train", "y_test")}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **images, **labels)


def cannot_be_had(name: str, error: Exception) -> UsageError:
    """The error of a data set that is nowhere and cannot be downloaded either."""
    reason = " ".join(str(error).split())[:200]
    return UsageError(f"{name} is not on this machine, and downloading it failed: {reason}")
