"""The auditor's own images: class subfolders, a flat folder, or an .npz, grey or colour as the network wants them.

Nothing here trusts a file: only pixel formats are read, sizes are checked before anything is unpacked, and no more
images are read than an audit uses.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from onepixel.errors import UndecidedError, UsageError
from onepixel.printable import one_line

Shape = tuple[int, int, int]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
"""What is decoded, by Pillow's names: formats of pixels, none that holds a program."""
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pnm", ".tif", ".tiff")

MOST_IMAGES = 400
"""So many images are read at most, evenly from all folders; an audit keeps a few of each class."""
MOST_BYTES = 2**28
"""Bytes that all read images may take, as float32."""
MOST_PIXELS = 2**26
"""Pixels of a single image; a file that says more is a decompression bomb or of no use here."""
MOST_FILES = 200_000
"""Files that are listed; a folder with more is refused."""
LARGEST_ARRAY = 2**31
"""Bytes of an array in an .npz, unpacked."""

IMAGE_NAMES = ("images", "x", "x_test", "x_train", "data")
LABEL_NAMES = ("labels", "y", "y_test", "y_train", "targets")


@dataclass(frozen=True)
class AuditorImages:
    """Images that an auditor has of the network's domain.

    Attributes
    ----------
    images : array of shape (N, C, H, W), float32
        In [0, 1].
    labels : array of shape (N,), int64, or None
        Numbers into `folders`; None where the images came without labels.
    names : tuple of str
        What each image is called, for people.
    folders : tuple of str
        The class folders' names, or the labels of an .npz as text.
    offered : int
        How many images there were; N of them were read.
    notes : tuple of str
        What was left out or changed, as sentences.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    offered: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)


def read_images(
    source: str | Path, input_shape: Shape, *, resize: bool = False, most: int | None = None
) -> AuditorImages:
    """Read an auditor's images as a network wants them.

    Parameters
    ----------
    source : path
        A folder with one subfolder per class, a folder of images, or an .npz with images (N, H, W), (N, H, W, C) or
        (N, C, H, W) and perhaps labels (N,).
    input_shape : (C, H, W)
        What the network takes; colour becomes grey, and grey becomes colour, where that is needed.
    resize : bool
        Make images of another size fit; otherwise they are refused.
    most : int, optional
        Images that are read at most; `MOST_IMAGES` unless said, and fewer where they are large.

    Raises
    ------
    UsageError
        If there is no such folder or file.
    UndecidedError
        If there are no images, none can be read, or they are of another size and `resize` was not asked for.
    """
    path = Path(source)
    if input_shape[0] not in (1, 3):
        raise UndecidedError(f"Images have 1 or 3 channels, but this network takes {input_shape[0]}.")
    bound = max(1, min(most or MOST_IMAGES, MOST_BYTES // (4 * int(np.prod(input_shape)))))
    if path.is_dir():
        return _from_folder(path, input_shape, resize, bound)
    if path.is_file() and path.suffix.lower() == ".npz":
        return _from_npz(path, input_shape, resize, bound)
    if path.is_file():
        raise UsageError(f"Expected a folder of images or an .npz for images but got the file {one_line(path.name)}.")
    raise UsageError(f"There is no folder or file {one_line(str(path))}.")


def shape_of_first(folder: str | Path) -> Shape:
    """(C, H, W) of the first image in a folder: one channel for grey, else three.

    Raises
    ------
    UsageError
        If there is no such folder, or no image in it.
    """
    path = Path(folder)
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS) if path.is_dir() else []
    for file in files[:MOST_IMAGES]:
        try:
            with Image.open(file, formats=FORMATS) as picture:
                grey = picture.mode in ("1", "L", "LA", "F") or picture.mode.startswith("I")
                return (1 if grey else 3, picture.height, picture.width)
        except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
    raise UsageError(f"There is no image in {one_line(str(path))}.")


def evenly(groups: Sequence[Sequence[Path]], most: int) -> list[tuple[int, Path]]:
    """At most so many files, as evenly from all groups as they allow, with the number of their group."""
    spread = [[(number, file) for file in _spread(group, most)] for number, group in enumerate(groups)]
    in_turns = [item for row in zip_longest(*spread) for item in row if item is not None]
    return in_turns[:most]


def _spread(files: Sequence[Path], most: int) -> list[Path]:
    """At most so many files, evenly from the first to the last."""
    if len(files) <= most:
        return list(files)
    return [files[number] for number in np.linspace(0, len(files) - 1, most).astype(int)]


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """A sorting key under which 2 comes before 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _image_files(folder: Path) -> list[Path]:
    """The image files right inside a folder, in natural order."""
    found = []
    for number, file in enumerate(folder.iterdir()):
        if number >= MOST_FILES:
            raise UndecidedError(f"{one_line(folder.name)} holds more than {MOST_FILES:,} files; name a smaller one.")
        if file.suffix.lower() in ENDINGS and not file.name.startswith(".") and file.is_file():
            found.append(file)
    return sorted(found, key=_natural)


def _from_folder(folder: Path, shape: Shape, resize: bool, most: int) -> AuditorImages:
    subfolders = sorted((entry for entry in folder.iterdir() if entry.is_dir()), key=_natural)
    subfolders = [entry for entry in subfolders if not entry.name.startswith(".")]
    listed = [(entry, _image_files(entry)) for entry in subfolders]
    groups = [(entry, files) for entry, files in listed if files]
    grouped = bool(groups)
    if not grouped:
        groups = [(folder, _image_files(folder))]
    offered = sum(len(files) for _, files in groups)
    if not offered:
        raise UndecidedError(
            f"{one_line(folder.name)} holds no images: expected PNG, JPEG or the like in it or in its subfolders."
        )
    images, labels, names, unreadable = [], [], [], []
    for number, file in evenly([files for _, files in groups], most):
        shown = one_line(str(file.relative_to(folder)))
        try:
            images.append(_read_file(file, shape, resize, shown))
        except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
            unreadable.append(shown)
            continue
        labels.append(number)
        names.append(shown)
    if not images:
        raise UndecidedError(f"None of the {offered} image files in {one_line(folder.name)} can be read as an image.")
    notes = []
    if unreadable:
        notes.append(f"{len(unreadable)} files could not be read as images and were left out, {unreadable[0]} first.")
    return AuditorImages(
        np.stack(images),
        np.array(labels, dtype=np.int64) if grouped else None,
        tuple(names),
        tuple(one_line(entry.name) for entry, _ in groups) if grouped else (),
        offered,
        (*notes, *_read_note(len(images), offered), *_resize_note(resize)),
    )


def _read_file(file: Path, shape: Shape, resize: bool, shown: str) -> NDArray[np.float32]:
    """One image (C, H, W) in [0, 1]."""
    channels, height, width = shape
    with Image.open(file, formats=FORMATS) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError("more pixels than are read")
        if picture.size != (width, height) and not resize:
            raise _other_size(shown, picture.size, (width, height))
        seen = eight_bits(picture).convert("L" if channels == 1 else "RGB")
        if seen.size != (width, height):
            seen = seen.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(seen, dtype=np.float32) / np.float32(255)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def eight_bits(picture: Image.Image) -> Image.Image:
    """A picture of 16 bits and more with 8 bits, which `convert` would cut off; any other as it is."""
    if not picture.mode.startswith("I") and picture.mode != "F":
        return picture
    deep = np.asarray(picture, dtype=np.float32)
    return Image.fromarray(np.uint8(np.clip(deep / (257 if deep.max() > 255 else 1), 0, 255)))


def _other_size(shown: str, found: tuple[int, int], wanted: tuple[int, int]) -> UndecidedError:
    return UndecidedError(
        f"{shown} has {found[0]} x {found[1]} pixels (width x height) and the network takes {wanted[0]} x {wanted[1]}; "
        "say --resize (resize=True) to have images resized."
    )


def _from_npz(path: Path, shape: Shape, resize: bool, most: int) -> AuditorImages:
    name = one_line(path.name)
    try:
        with ZipFile(path) as archive:
            if any(entry.file_size > LARGEST_ARRAY for entry in archive.infolist()):
                raise UndecidedError(
                    f"{name} holds an array of more than {LARGEST_ARRAY // 2**30} GB; name fewer images."
                )
        with np.load(path, allow_pickle=False) as file:
            key = next((key for key in (*IMAGE_NAMES, *file.files) if key in file.files), None)
            if key is None:
                raise UndecidedError(f"{name} holds no array.")
            array = np.asarray(file[key])
            label_key = next((key for key in LABEL_NAMES if key in file.files), None)
            labels = None if label_key is None else np.asarray(file[label_key])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise UndecidedError(f"{name} is damaged, or holds something else than plain arrays.") from error
    if array.ndim not in (3, 4) or not len(array) or array.dtype.kind not in "uif":
        raise UndecidedError(f"{name}: {key} is no array of images (N, H, W), (N, H, W, C) or (N, C, H, W).")
    numbers = np.linspace(0, len(array) - 1, min(most, len(array))).astype(int)
    images = _fitted(_in_unit_range(_channel_first(array[numbers], shape), name), shape, resize, name)
    folders: tuple[str, ...] = ()
    if labels is not None:
        if labels.shape != (len(array),):
            raise UndecidedError(f"{name}: {label_key} does not hold one label for each of the {len(array)} images.")
        values, of_each = np.unique(labels, return_inverse=True)
        folders, labels = tuple(one_line(str(value)) for value in values), of_each[numbers].astype(np.int64)
    return AuditorImages(
        images,
        labels,
        tuple(f"{name}[{number}]" for number in numbers),
        folders,
        len(array),
        (*_read_note(len(images), len(array)), *_resize_note(resize)),
    )


def _channel_first(array: NDArray[np.generic], shape: Shape) -> NDArray[np.generic]:
    """Images (N, C, H, W) from (N, H, W) and (N, H, W, C)."""
    if array.ndim == 3:
        return array[:, None]
    last, first = array.shape[3] in (1, 3), array.shape[1] in (1, 3)
    return np.moveaxis(array, 3, 1) if last and (not first or array.shape[1:] != shape) else array


def _in_unit_range(array: NDArray[np.generic], name: str) -> NDArray[np.float32]:
    """Intensities in [0, 1], from whole numbers up to 255 or from floats."""
    found = array.astype(np.float32)
    if array.dtype.kind in "ui":
        found /= np.float32(255)
    if not np.isfinite(found).all() or found.min() < 0 or found.max() > 1:
        raise UndecidedError(f"{name}: intensities must be whole numbers from 0 to 255, or from 0 to 1.")
    return found


def _fitted(images: NDArray[np.float32], shape: Shape, resize: bool, name: str) -> NDArray[np.float32]:
    """Images with the channels and the size that the network takes."""
    channels, height, width = shape
    if images.shape[1] not in (1, 3):
        raise UndecidedError(f"{name}: images have {images.shape[1]} channels; expected 1 or 3.")
    if images.shape[2:] != (height, width):
        if not resize:
            raise _other_size(name, (images.shape[3], images.shape[2]), (width, height))
        tensor = torch.nn.functional.interpolate(
            torch.as_tensor(images), (height, width), mode="bilinear", antialias=True
        )
        images = tensor.clamp(0, 1).numpy()
    if images.shape[1] > channels:
        weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # of ITU-R BT.601, as Pillow's "L"
        images = np.einsum("nchw,c->nhw", images, weights)[:, None]
    elif images.shape[1] < channels:
        images = np.repeat(images, channels, axis=1)
    return np.ascontiguousarray(images, dtype=np.float32)


def _read_note(read: int, offered: int) -> tuple[str, ...]:
    return (f"Of {offered:,} images {read:,} were read, evenly from all.",) if read < offered else ()


def _resize_note(resize: bool) -> tuple[str, ...]:
    return ("Images of another size were resized, as you said.",) if resize else ()
