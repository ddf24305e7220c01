"""CIFAR-10 (Krizhevsky 2009), 32 x 32 in colour: `cifar10.npz` where it is found, else torchvision's download."""

from typing import Any

import torch
from torch import Tensor

from onepixel.datasets.dataset import Dataset
from onepixel.datasets.kept import cannot_be_had, read_kept
from onepixel.datasets.local import cache_folder, found
from onepixel.datasets.table import DATASETS, Source

ARRAYS = "cifar10.npz"
BATCHES = "cifar-10-batches-py"


def cifar10() -> Dataset:
    """50,000 training and 10,000 test images of 10 classes; `cifar10.npz` may hold fewer."""
    if (root := found(ARRAYS)) is not None:
        return read_kept(root / ARRAYS, "cifar10")
    import torchvision

    root = found(BATCHES)

    def read(train: bool) -> tuple[Tensor, Tensor]:
        # The batches are pickles; torchvision opens only those that have the checksums that it knows.
        part: Any = torchvision.datasets.CIFAR10(root or cache_folder(), train=train, download=root is None)
        return torch.as_tensor(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets)

    try:
        return Dataset("cifar10", *read(train=True), *read(train=False))
    except (RuntimeError, OSError) as error:
        raise cannot_be_had("CIFAR-10", error) from error


DATASETS.add(Source("cifar10", cifar10, is_local=lambda: found(ARRAYS) is not None or found(BATCHES) is not None))
