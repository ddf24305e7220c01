"""The images of a folder in COCO format: finding the file that annotations name, and reading it as boxes mean it."""

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from onepixel.errors import UsageError
from onepixel.opening.image_folder import FORMATS, MOST_FILES, MOST_PIXELS, eight_bits
from onepixel.printable import escaped

IMAGES = "images"

SAME_SHAPE = 0.02
"""Height by width of a file and of what its annotations say may differ by this part, from rounding."""

UNREADABLE = (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclass
class ImageFiles:
    """The image files below a folder, which are listed once and only where an image lies in no usual place.

    Attributes
    ----------
    root : Path
    """

    root: Path
    _by_name: dict[str, list[Path]] = field(default_factory=dict)

    def find(self, name: str) -> Path | None:
        """The file that annotations mean by a name: there, in `images`, or the only one of that name below the folder.

        None if there is none, the name leads out of the folder, or several fit.
        """
        given = PurePosixPath(name.replace("\\", "/"))
        if given.is_absolute() or ".." in given.parts or not given.name:
            return None
        for place in (self.root / given, self.root / IMAGES / given):
            if place.is_file():
                return place
        fitting = self.called(given.name)
        closer = [path for path in fitting if path.parts[-len(given.parts) :] == given.parts]
        fitting = closer or fitting
        return fitting[0] if len(fitting) == 1 else None

    def called(self, name: str) -> list[Path]:
        """All files of a name below the folder.

        Raises
        ------
        UsageError
            If the folder has more files than are listed.
        """
        if not self._by_name:
            count = 0
            for folder, _, files in os.walk(self.root):
                count += len(files)
                if count > MOST_FILES:
                    raise UsageError(f"{escaped(self.root)} has more than {MOST_FILES:,} files.")
                for file in files:
                    self._by_name.setdefault(file, []).append(Path(folder) / file)
        return self._by_name.get(name, [])


def read_image(path: Path, said: tuple[int, int] | None) -> tuple[NDArray[np.uint8], float]:
    """An image (3, H, W), and by what its boxes are to be multiplied.

    Labelling tools show photographs upright, as their EXIF says, and some readers of COCO do not; the size that the
    annotations say tells which one was meant. Boxes of an image that was made smaller later are scaled.

    Parameters
    ----------
    path : Path
    said : (int, int), optional
        Width and height that the annotations say.

    Raises
    ------
    UsageError
        If it is no image that can be read, or has another shape than the annotations say.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise UsageError(f"{escaped(path)} has more pixels than onepixel reads ({MOST_PIXELS:,}).")
            upright = ImageOps.exif_transpose(picture)
            lying = said is not None and said == picture.size != upright.size
            seen = picture if lying else upright
            pixels = np.moveaxis(np.asarray(eight_bits(seen).convert("RGB")), -1, 0).copy()
    except UNREADABLE as error:
        raise UsageError(f"{escaped(path)} is no image that can be read.") from error
    if said is None:
        return pixels, 1.0
    ratios = seen.width / said[0], seen.height / said[1]
    # A pixel more or less is rounding too, where images are small.
    if abs(ratios[0] - ratios[1]) > SAME_SHAPE * max(ratios) + 1 / min(said):
        raise UsageError(
            f"{escaped(path)} has {seen.width} x {seen.height} pixels (width x height), and the annotations say "
            f"{said[0]} x {said[1]}."
        )
    return pixels, (ratios[0] + ratios[1]) / 2 if seen.size != said else 1.0
