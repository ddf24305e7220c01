"""Data sets as arrays: digits (embedded), MNIST, Fashion-MNIST, CIFAR-10, GTSRB, Imagenette, folders of images, .npz.

One file for each; its last line puts it into `DATASETS`.
"""

from functools import cache
from pathlib import Path

from onepixel.datasets.dataset import Dataset
from onepixel.datasets.paths import image_folder, npz
from onepixel.datasets.table import DATASETS, Source

__all__ = ["DATASETS", "Dataset", "Source", "is_local", "load_dataset"]


@cache
def load_dataset(name: str) -> Dataset:
    """Load a data set by its name in `DATASETS`, or from a path to an .npz file or a folder.

    Local copies are looked for in $ONEPIXEL_DATA, in ./data and in the user's cache; else torchvision downloads.

    Raises
    ------
    UsageError
        If there is no such data set, or it is damaged or cannot be downloaded.
    """
    path = Path(name)
    if name not in DATASETS and path.exists():
        return image_folder(path) if path.is_dir() else npz(path)
    return DATASETS[name].load()


def is_local(name: str) -> bool:
    """Whether a data set can be loaded without a download."""
    return name in DATASETS and DATASETS[name].is_local()
