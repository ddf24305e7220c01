"""Data sets of one's own: an .npz file, or a folder of images."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.datasets.dataset import Dataset
from onepixel.errors import UsageError


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
