"""How an image in [0, 1] becomes what a network wants to see: layout, value range, normalisation, batch size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import InputShapeError, UsageError
from onepixel.opening.request import Normalization, Request, SaidBy

Dimension = int | None
"""One axis of a tensor as a file declares it; None where the file leaves it open."""

IMAGE_CHANNELS = (1, 3)
LARGEST_FIXED_BATCH = 4096


@dataclass(frozen=True)
class Layout:
    """The tensor that a network takes.

    Attributes
    ----------
    input_shape : tuple of int
        (C, H, W) of one image.
    channels_last : bool
        Whether the network wants (N, H, W, C).
    batch : int or None
        The only batch size it takes, if it takes only one.
    taken : tuple of int or None
        How the network takes the numbers of one image, if not as channels, rows and columns: (H, W), or all in a row.
    """

    input_shape: tuple[int, int, int]
    channels_last: bool = False
    batch: Dimension = None
    taken: tuple[int, ...] | None = None

    @property
    def sentence(self) -> str:
        """The assumption, for the verdict."""
        axes = "(N, H, W, C)" if self.channels_last else "(N, C, H, W)"
        if self.taken is not None:
            axes = f"(N, {', '.join(map(str, self.taken))})"
        return f"Images are {self.input_shape} (channels, height, width), given to the network as {axes}."


def image_layout(declared: Sequence[Dimension], asked: tuple[int, int, int] | None, name: str) -> Layout:
    """Settle the layout from what the file declares and, where that leaves something open, what the user said.

    Raises
    ------
    UsageError
        If shape or layout is left open and the user did not say it.
    InputShapeError
        If the file takes no images, or other images than the user said.
    """
    if len(declared) not in (2, 3, 4) or (len(declared) < 4 and declared[0] not in (None, 1)):
        raise InputShapeError(
            f"{name} takes tensors of {len(declared)} dimensions {shown(declared)}; onepixel needs batches of images."
        )
    if len(declared) < 4:
        return unusual_layout(declared, asked, name)
    batch, sizes = declared[0], tuple(declared[1:])
    if batch is not None and not 1 <= batch <= LARGEST_FIXED_BATCH:
        raise InputShapeError(f"{name} takes batches of {batch} images only; onepixel goes to {LARGEST_FIXED_BATCH}.")
    if asked is not None:
        channels, height, width = asked
        for order, channels_last in ((asked, False), ((height, width, channels), True)):
            if all(size in (None, wanted) for size, wanted in zip(sizes, order, strict=True)):
                return Layout(asked, channels_last, batch)
        raise InputShapeError(f"{name} takes tensors of shape {shown(declared)}, which are no images of shape {asked}.")
    first, height_or_width, last = sizes
    if first is None or height_or_width is None or last is None:
        raise UsageError(
            f"{name} leaves the size of its images open {shown(declared)}; say --input-shape (input_shape=(C, H, W))."
        )
    if first in IMAGE_CHANNELS and last not in IMAGE_CHANNELS:
        return Layout((first, height_or_width, last), False, batch)
    if last in IMAGE_CHANNELS and first not in IMAGE_CHANNELS:
        return Layout((last, first, height_or_width), True, batch)
    raise UsageError(
        f"{name} takes tensors of shape {shown(declared)}, which does not tell where the channels are; "
        "say --input-shape (input_shape=(C, H, W))."
    )


def unusual_layout(declared: Sequence[Dimension], asked: tuple[int, int, int] | None, name: str) -> Layout:
    """The layout of a network that takes grey images without an axis for channels, or all numbers in one row.

    Raises
    ------
    UsageError, InputShapeError
        As `image_layout`.
    """
    batch, sizes = declared[0], tuple(declared[1:])
    if asked is None and len(sizes) == 2 and sizes[0] is not None and sizes[1] is not None:
        asked = (1, sizes[0], sizes[1])
    if asked is None:
        raise UsageError(
            f"{name} takes tensors of shape {shown(declared)}, which does not tell the size of its images; say "
            "--input-shape (input_shape=(C, H, W))."
        )
    channels, height, width = asked
    taken = (height, width) if len(sizes) == 2 else (channels * height * width,)
    fits = channels == 1 or len(sizes) == 1
    if not fits or not all(size in (None, wanted) for size, wanted in zip(sizes, taken, strict=True)):
        raise InputShapeError(f"{name} takes tensors of shape {shown(declared)}, which are no images of shape {asked}.")
    return Layout(asked, False, batch, taken)


def shown(declared: Sequence[Dimension]) -> str:
    """A declared shape for people: open axes are "?"."""
    return "(" + ", ".join("?" if size is None else str(size) for size in declared) + ")"


@dataclass(frozen=True)
class ValueRange:
    """From [0, 1] to what the network sees: (image - mean) / std, rounded for a network that takes whole numbers.

    Attributes
    ----------
    mean, std : tuple of float
        One number per channel, or one for all.
    whole : bool
        Whether the result is rounded to a whole number.
    sentence : str
        The assumption, for the verdict.
    unsure : bool
        Whether a user said that images stay as they are, and nothing else says so: it may be a mistake.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    whole: bool = False
    sentence: str = "The network sees intensities from 0 to 1 as they are."
    unsure: bool = False

    @property
    def identity(self) -> bool:
        """Whether images stay as they are."""
        return not self.whole and set(self.mean) == {0.0} and set(self.std) == {1.0}


BYTES = ValueRange(
    std=(1 / 255,), whole=True, sentence="The network sees whole numbers from 0 to 255, as its input type says."
)
FROM_0_TO_255 = ValueRange(std=(1 / 255,), sentence="The network sees intensities from 0 to 255, as the file says.")
FROM_MINUS_1_TO_1 = ValueRange(
    mean=(0.5,), std=(0.5,), sentence="The network sees intensities from -1 to 1, as the file says."
)
FROM_0_TO_1 = ValueRange(sentence="The network sees intensities from 0 to 1, as the file says.")


def range_for(request: Request, declared: ValueRange | None, channels: int) -> ValueRange:
    """The value range of a file that somebody asks for; see `value_range`."""
    return value_range(request.normalize, declared, channels, request.name, request.pixel_range, request.range_by)


def value_range(
    asked: Normalization | None,
    declared: ValueRange | None,
    channels: int,
    name: str,
    pixel_range: tuple[float, float] | None = None,
    range_by: SaidBy = SaidBy.USER,
) -> ValueRange:
    """Settle the value range: what the user or the folder said, else what the file says.

    Parameters
    ----------
    asked : (mean, std), "none" or None
        What is said of normalisation.
    declared : ValueRange or None
        What the file says.
    channels : int
    name : str
        For people.
    pixel_range : (lowest, highest), optional
        What is said that a black and a white pixel are, before any normalisation.
    range_by : SaidBy
        Who said these two.

    Raises
    ------
    UsageError
        If neither says it, they contradict each other, or the numbers do not fit the channels.
    """
    if declared is not None and declared.whole:
        if asked not in (None, "none") or pixel_range not in (None, (0.0, 255.0)):
            raise UsageError(
                f"{name} takes whole numbers from 0 to 255, so nothing else can be fed to it; leave out --normalize "
                "and --range (what it subtracts and divides is inside the network)."
            )
        return declared
    if pixel_range is not None:
        return ranged(pixel_range, asked, channels, range_by)
    if asked in (None, "none") and declared is not None:
        return declared
    if asked is None:
        raise UsageError(
            f"{name} does not say how its images are normalised; say --normalize MEAN STD, or --normalize none "
            '(normalize=((mean, ...), (std, ...)) or "none"), or --range LOWEST,HIGHEST such as 0,255.'
        )
    if asked == "none":
        return ValueRange(
            sentence=f"The network sees intensities from 0 to 1 as they are, {range_by.value}.",
            unsure=range_by is SaidBy.USER,
        )
    mean, std = asked
    words = in_words(mean, std, channels)
    return ValueRange(mean, std, sentence=f"Images are normalised with {words}, {range_by.value}.")


def ranged(
    pixel_range: tuple[float, float], asked: Normalization | None, channels: int, range_by: SaidBy = SaidBy.USER
) -> ValueRange:
    """Intensities from `lowest` to `highest`, and then normalised if that is said."""
    lowest, highest = pixel_range
    width = highest - lowest
    said = f"The network sees intensities from {lowest:g} to {highest:g}, {range_by.value}"
    if asked is None or asked == "none":
        return ValueRange((-lowest / width,), (1 / width,), sentence=f"{said}.")
    mean, std = asked
    words = in_words(mean, std, channels)
    return ValueRange(
        tuple((number - lowest) / width for number in mean),
        tuple(number / width for number in std),
        sentence=f"{said}, normalised with {words}.",
    )


def in_words(mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> str:
    """Mean and standard deviation for people.

    Raises
    ------
    UsageError
        If they do not fit the channels.
    """
    for numbers in (mean, std):
        if len(numbers) not in (1, channels):
            raise UsageError(f"normalize needs 1 or {channels} numbers for mean and std but got {len(numbers)}.")
    return f"mean {', '.join(f'{m:g}' for m in mean)} and standard deviation {', '.join(f'{s:g}' for s in std)}"


def preparation(layout: Layout, values: ValueRange) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The function from images (N, C, H, W) in [0, 1] to the tensor that the network takes, float32."""
    mean, std = (np.asarray(numbers, dtype=np.float32).reshape(-1, 1, 1) for numbers in (values.mean, values.std))

    def prepare(images: NDArray[np.float32]) -> NDArray[np.float32]:
        seen = images if values.identity else (images - mean) / std
        if values.whole:
            seen = np.rint(seen)
        if layout.taken is not None:
            return seen.reshape(len(seen), *layout.taken)
        return np.ascontiguousarray(seen.transpose(0, 2, 3, 1)) if layout.channels_last else seen

    return prepare


def in_batches(
    answer: Callable[[NDArray[np.float32]], NDArray[np.floating]], images: NDArray[np.float32], batch: Dimension
) -> NDArray[np.floating]:
    """Ask a network that takes one batch size only; the last batch is filled up with its own first image."""
    if batch is None or len(images) == batch:
        return answer(images)
    rows = []
    for start in range(0, len(images), batch):
        chunk = images[start : start + batch]
        missing = batch - len(chunk)
        full = np.concatenate([chunk, np.repeat(chunk[:1], missing, axis=0)]) if missing else chunk
        rows.append(answer(full)[: len(chunk)])
    return np.concatenate(rows)
