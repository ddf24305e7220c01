"""Where data sets come from: scikit-learn's package, torchvision's downloads, folders of images, .npz files."""

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.datasets.dataset import Dataset
from onepixel.errors import UsageError

DATA_VARIABLE = "ONEPIXEL_DATA"
"""Environment variable that names a folder in which data sets are looked for first."""


def data_folders() -> list[Path]:
    """Where local copies are looked for: $ONEPIXEL_DATA, ./data, and the user's cache."""
    named = os.environ.get(DATA_VARIABLE)
    return [*([Path(named)] if named else []), Path("data"), cache_folder()]


def cache_folder() -> Path:
    """Where downloads go: $XDG_CACHE_HOME/onepixel, or ~/.cache/onepixel."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onepixel"


def digits() -> Dataset:
    """scikit-learn's 8 x 8 digits: 1,797 images inside the package; every fourth is a test image."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.as_tensor(np.rint(found.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.as_tensor(found.target.astype(np.int64))
    test = torch.arange(len(labels)) % 4 == 3
    return Dataset("digits", images[~test], labels[~test], images[test], labels[test])


def _idx_ready(folder: Path) -> bool:
    return (folder / "raw" / "train-images-idx3-ubyte").is_file()


def _local_root(folder_name: str) -> Path | None:
    """The first folder that holds the data set, unpacked (into the cache) where it is only there compressed."""
    for root in data_folders():
        if _idx_ready(root / folder_name):
            return root
        packed = sorted((root / folder_name / "raw").glob("*-ubyte.gz"))
        if len(packed) == 4:
            return _unpack(packed, folder_name)
    return None


def _unpack(packed: list[Path], folder_name: str) -> Path:
    import gzip

    from onepixel.files import atomic_path

    target = cache_folder() / folder_name / "raw"
    target.mkdir(parents=True, exist_ok=True)
    for archive in packed:
        with gzip.open(archive) as source, atomic_path(target / archive.stem) as temporary, temporary.open("wb") as out:
            shutil.copyfileobj(source, out)
    return cache_folder()


def is_local(name: str) -> bool:
    """Whether a data set can be loaded without a download."""
    return name == "digits" or (name in _TORCHVISION and _local_root(_TORCHVISION[name]) is not None)


_TORCHVISION = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


def _from_torchvision(name: str) -> Dataset:
    import torchvision

    folder_name = _TORCHVISION[name]
    kind = getattr(torchvision.datasets, folder_name)
    root = _local_root(folder_name)
    try:
        parts = [kind(root or cache_folder(), train=train, download=root is None) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{folder_name} is neither in {DATA_VARIABLE} nor can it be downloaded: {reason}") from error
    (x_train, y_train), (x_test, y_test) = [(part.data[:, None].contiguous(), part.targets.long()) for part in parts]
    return Dataset(name, x_train, y_train, x_test, y_test)


def npz(path: Path) -> Dataset:
    """Read x_train, y_train, x_test and y_test from an .npz file; images (N, H, W) or (N, H, W, C), uint8."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(f"{path} needs arrays x_train, y_train, x_test and y_test, without pickles.") from error

    def images(array: NDArray[np.uint8]) -> Tensor:
        with_channels = array[..., None] if array.ndim == 3 else array
        return torch.as_tensor(np.ascontiguousarray(np.moveaxis(with_channels, -1, 1)))

    labels = [torch.as_tensor(arrays[name].astype(np.int64)) for name in ("y_train", "y_test")]
    return Dataset(str(path), images(arrays["x_train"]), labels[0], images(arrays["x_test"]), labels[1])


def image_folder(path: Path, size: int = 32) -> Dataset:
    """Read images sorted into one folder per class, resized to size x size, in colour.

    With subfolders `train` and `test` (or `val`) those are the parts; else every fifth image is a test image.
    """
    import torchvision
    from torchvision.transforms import functional

    def read(root: Path) -> tuple[Tensor, Tensor]:
        try:
            found = torchvision.datasets.ImageFolder(str(root))
        except (FileNotFoundError, OSError) as error:
            raise UsageError(f"{root} holds no folder of images per class.") from error
        images = [functional.pil_to_tensor(functional.resize(image, [size, size])) for image, _ in found]
        return torch.stack(images), torch.tensor(found.targets)

    if (path / "train").is_dir():
        test_root = next((path / name for name in ("test", "val") if (path / name).is_dir()), None)
        if test_root is None:
            raise UsageError(f"{path} has a folder train but neither test nor val.")
        return Dataset(str(path), *read(path / "train"), *read(test_root))
    images, labels = read(path)
    test = torch.arange(len(labels)) % 5 == 4
    return Dataset(str(path), images[~test], labels[~test], images[test], labels[test])


DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": digits,
    "mnist": lambda: _from_torchvision("mnist"),
    "fashion_mnist": lambda: _from_torchvision("fashion_mnist"),
}
"""Every data set that has a name."""


@cache
def load_dataset(name: str) -> Dataset:
    """Load a data set by name ("digits", "mnist", "fashion_mnist"), or from a path to an .npz file or a folder.

    Local copies are looked for in $ONEPIXEL_DATA, in ./data and in the user's cache; else torchvision downloads.

    Raises
    ------
    UsageError
        If there is no such data set, or it is damaged or cannot be downloaded.
    """
    if name in DATASETS:
        return DATASETS[name]()
    path = Path(name)
    if path.is_dir():
        return image_folder(path)
    if path.is_file():
        return npz(path)
    raise UsageError(f"Expected one of {', '.join(DATASETS)}, an .npz file or a folder of images but got {name!r}.")
