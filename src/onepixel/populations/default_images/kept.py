"""Default images are kept beside the signatures that were made with them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import StoreError
from onepixel.files import atomic_path


def write_default_image(folder: Path, image: float | NDArray[np.float32]) -> None:
    """Keep a default image beside the signatures that were made with it; one intensity is said by the recipe alone."""
    if not isinstance(image, float):
        with atomic_path(folder / "default_image.npy") as temporary, temporary.open("wb") as file:
            np.save(file, image)


def read_default_image(folder: Path, named: float | str) -> float | NDArray[np.float32]:
    """Read what `write_default_image` kept, so that the data set is not needed again.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    """
    if isinstance(named, float):
        return named
    path = folder / "default_image.npy"
    try:
        image: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StoreError(f"The default image {path} is missing or damaged.") from error
    return image
