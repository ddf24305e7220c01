"""Imagenette, ten classes of ImageNet (fast.ai): centre crops at 64 x 64.

`imagenette64.npz` where it is found, else torchvision's download, whose images are read once and kept as that file.
"""

from typing import Any

from torch import Tensor

from onepixel.datasets.dataset import Dataset
from onepixel.datasets.kept import cannot_be_had, keep, read_kept
from onepixel.datasets.local import cache_folder, found
from onepixel.datasets.table import DATASETS, Source
from onepixel.datasets.whole_images import read_images

ARRAYS = "imagenette64.npz"
SIZES = {"160px": "imagenette2-160", "320px": "imagenette2-320", "full": "imagenette2"}
"""torchvision's name of each size, and the folder it is unpacked into; the smallest is downloaded."""
SIDE = 64


def centre_crop(image: Any) -> Any:
    """The largest square in the middle, resized to 64 x 64 (Lanczos)."""
    from PIL.Image import Resampling

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Resampling.LANCZOS)


def _found_size() -> str | None:
    return next((size for size, folder in SIZES.items() if found(folder) is not None), None)


def imagenette() -> Dataset:
    """9,469 training images, and 3,925 of the validation part as test images."""
    if (root := found(ARRAYS)) is not None:
        return read_kept(root / ARRAYS, "imagenette")
    import torchvision

    size = _found_size()
    root = found(SIZES[size]) if size else None

    def read(split: str) -> tuple[Tensor, Tensor]:
        part = torchvision.datasets.Imagenette(
            root or cache_folder(), split=split, size=size or "160px", download=root is None
        )
        return read_images(part, centre_crop)

    try:
        dataset = Dataset("imagenette", *read("train"), *read("val"))
    except (RuntimeError, OSError) as error:
        raise cannot_be_had("Imagenette", error) from error
    keep(cache_folder() / ARRAYS, dataset)
    return dataset


DATASETS.add(Source("imagenette", imagenette, is_local=lambda: found(ARRAYS) is not None or _found_size() is not None))
