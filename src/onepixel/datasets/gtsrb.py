"""GTSRB, German traffic signs (Stallkamp et al. 2012): whole images of 43 classes squeezed to 32 x 32.

`gtsrb32.npz` where it is found, else torchvision's download, whose images are read once and kept as that file.
"""

from typing import Any

from torch import Tensor

from onepixel.datasets.dataset import Dataset
from onepixel.datasets.kept import cannot_be_had, keep, read_kept
from onepixel.datasets.local import cache_folder, found
from onepixel.datasets.table import DATASETS, Source
from onepixel.datasets.whole_images import read_images

ARRAYS = "gtsrb32.npz"
IMAGES = ("gtsrb/GTSRB/Training", "gtsrb/GTSRB/Final_Test/Images")
SIDE = 32


def squeezed(image: Any) -> Any:
    """The whole image resized to 32 x 32, bilinearly, whatever its shape was."""
    from PIL.Image import Resampling

    return image.resize((SIDE, SIDE), Resampling.BILINEAR)


def gtsrb() -> Dataset:
    """12,630 test images; 26,640 training images as torchvision downloads them, 39,209 in the whole benchmark."""
    if (root := found(ARRAYS)) is not None:
        return read_kept(root / ARRAYS, "gtsrb")
    import torchvision

    root = found(*IMAGES)

    def read(split: str) -> tuple[Tensor, Tensor]:
        part = torchvision.datasets.GTSRB(root or cache_folder(), split=split, download=root is None)
        return read_images(part, squeezed)

    try:
        dataset = Dataset("gtsrb", *read("train"), *read("test"))
    except (RuntimeError, OSError) as error:
        raise cannot_be_had("GTSRB", error) from error
    keep(cache_folder() / ARRAYS, dataset)
    return dataset


DATASETS.add(Source("gtsrb", gtsrb, is_local=lambda: found(ARRAYS) is not None or found(*IMAGES) is not None))
