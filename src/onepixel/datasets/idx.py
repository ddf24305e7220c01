"""Data sets in MNIST's own format (idx), as torchvision reads and downloads them."""

import gzip
import shutil
from functools import partial
from pathlib import Path

from onepixel.datasets.dataset import Dataset
from onepixel.datasets.local import DATA_VARIABLE, cache_folder, data_folders
from onepixel.datasets.table import Source
from onepixel.errors import UsageError
from onepixel.files import atomic_path


def idx_source(name: str, folder_name: str) -> Source:
    """The row of a data set that torchvision keeps as idx files in a folder of that name."""
    return Source(name, partial(load, name, folder_name), lambda: local_root(folder_name) is not None)


def load(name: str, folder_name: str) -> Dataset:
    """Read a local copy, or have torchvision download one.

    Raises
    ------
    UsageError
        If there is none and it cannot be downloaded.
    """
    import torchvision

    kind = getattr(torchvision.datasets, folder_name)
    root = local_root(folder_name)
    try:
        parts = [kind(root or cache_folder(), train=train, download=root is None) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{folder_name} is neither in {DATA_VARIABLE} nor can it be downloaded: {reason}") from error
    (x_train, y_train), (x_test, y_test) = [(part.data[:, None].contiguous(), part.targets.long()) for part in parts]
    return Dataset(name, x_train, y_train, x_test, y_test)


def local_root(folder_name: str) -> Path | None:
    """The first folder that holds the data set, unpacked (into the cache) where it is only there compressed."""
    for root in data_folders():
        if (root / folder_name / "raw" / "train-images-idx3-ubyte").is_file():
            return root
        packed = sorted((root / folder_name / "raw").glob("*-ubyte.gz"))
        if len(packed) == 4:
            return _unpack(packed, folder_name)
    return None


def _unpack(packed: list[Path], folder_name: str) -> Path:
    target = cache_folder() / folder_name / "raw"
    target.mkdir(parents=True, exist_ok=True)
    for archive in packed:
        with gzip.open(archive) as source, atomic_path(target / archive.stem) as temporary, temporary.open("wb") as out:
            shutil.copyfileobj(source, out)
    return cache_folder()
