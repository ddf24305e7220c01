"""What somebody asks for when a model file is opened: the file, its format, and what they know about the network."""

import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO, Literal

from onepixel.errors import UsageError
from onepixel.opening.recognise import Format
from onepixel.printable import escaped

Numbers = tuple[float, ...]
Normalization = tuple[Numbers, Numbers] | Literal["none"]
"""Mean and standard deviation per channel, or "none": the network sees images in [0, 1] as they are."""


class SaidBy(Enum):
    """Who told what a file does not say, in the words that end a sentence."""

    USER = "as you said"
    FOLDER = "as the folder says"


@dataclass(frozen=True)
class Request:
    """One model file to open, and everything the user said about it; JSON types only, so that it fits through a pipe.

    Attributes
    ----------
    path : str
        Absolute.
    format : Format
        What the file's content is.
    name : str
        The file's name, for people.
    architecture : str or None
        A name of the zoo, or "module:function".
    input_shape : tuple of int or None
        (C, H, W).
    outputs : {"logits", "probabilities"} or None
    normalize : (mean, std), "none" or None
        None where the user said nothing.
    key : str or None
        Which weights of a file that holds several.
    pixel_range : (lowest, highest) or None
        What black and white are to the network.
    output : str or None
        Which answer of a network that gives several: its name or its number.
    architecture_by : SaidBy
        Who told `architecture`.
    range_by : SaidBy
        Who told `normalize` and `pixel_range`.
    contents : bytes or None
        What stands for the file where it was unpacked from another one; it does not go through the pipe.
    """

    path: str
    format: Format
    name: str
    architecture: str | None = None
    input_shape: tuple[int, int, int] | None = None
    outputs: Literal["logits", "probabilities"] | None = None
    normalize: Normalization | None = None
    key: str | None = None
    pixel_range: tuple[float, float] | None = None
    output: str | None = None
    architecture_by: SaidBy = SaidBy.USER
    range_by: SaidBy = SaidBy.USER
    contents: bytes | None = field(default=None, repr=False)

    def open(self) -> BinaryIO:
        """The file, for reading."""
        return Path(self.path).open("rb") if self.contents is None else io.BytesIO(self.contents)

    def read(self) -> bytes:
        """Everything in the file."""
        return Path(self.path).read_bytes() if self.contents is None else self.contents

    @classmethod
    def make(
        cls,
        path: Path,
        form: Format,
        *,
        architecture: str | None = None,
        input_shape: Sequence[int] | None = None,
        outputs: str | None = None,
        normalize: Any = None,
        key: str | None = None,
        pixel_range: Sequence[float] | None = None,
        output: str | None = None,
        architecture_by: SaidBy = SaidBy.USER,
        range_by: SaidBy = SaidBy.USER,
    ) -> "Request":
        """Check what the user said, before the file is opened.

        Raises
        ------
        UsageError
            If one of the answers makes no sense.
        """
        return cls(
            path=str(path.absolute()),
            format=form,
            name=escaped(path.name),
            architecture=architecture,
            input_shape=checked_shape(input_shape),
            outputs=checked_outputs(outputs),
            normalize=checked_normalization(normalize),
            key=key,
            pixel_range=checked_range(pixel_range),
            output=output,
            architecture_by=architecture_by,
            range_by=range_by,
        )

    def to_json(self) -> dict[str, Any]:
        """Everything, in JSON types."""
        said_by = {"architecture_by": self.architecture_by.value, "range_by": self.range_by.value}
        return {**asdict(replace(self, contents=None)), "format": self.format.value, **said_by}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Request":
        """Undo `to_json`."""
        said = {each.name: found[each.name] for each in fields(cls)}
        return cls(
            **{
                **said,
                "format": Format(said["format"]),
                "input_shape": checked_shape(said["input_shape"]),
                "normalize": checked_normalization(said["normalize"]),
                "pixel_range": checked_range(said["pixel_range"]),
                "architecture_by": SaidBy(said["architecture_by"]),
                "range_by": SaidBy(said["range_by"]),
            }
        )


def checked_shape(shape: Sequence[int] | None) -> tuple[int, int, int] | None:
    """Return (C, H, W) of at most 2^24 numbers, or None.

    Raises
    ------
    UsageError
        If it is anything else.
    """
    if shape is None:
        return None
    sizes = tuple(shape)
    if len(sizes) != 3 or not all(isinstance(size, int) and 1 <= size <= 16384 for size in sizes):
        raise UsageError(f"Expected an input shape (C, H, W) of positive sizes but got {sizes}.")
    channels, height, width = sizes
    if channels * height * width > 2**24:
        raise UsageError(f"An image of shape {sizes} is larger than onepixel takes (2^24 numbers).")
    return channels, height, width


def checked_outputs(outputs: str | None) -> Literal["logits", "probabilities"] | None:
    """One of "logits", "probabilities" and None.

    Raises
    ------
    UsageError
        If it is anything else.
    """
    match outputs:
        case None | "logits" | "probabilities":
            return outputs
    raise UsageError(f'Expected outputs "logits" or "probabilities" but got {outputs!r}.')


def checked_range(pixel_range: Sequence[float] | None) -> tuple[float, float] | None:
    """(lowest, highest), or None.

    Raises
    ------
    UsageError
        If it is anything else.
    """
    if pixel_range is None:
        return None
    try:
        lowest, highest = (float(number) for number in pixel_range)
    except (TypeError, ValueError) as error:
        raise UsageError(f"Expected a range LOWEST,HIGHEST such as 0,255 but got {pixel_range!r}.") from error
    if not (math.isfinite(lowest) and math.isfinite(highest) and lowest < highest):
        raise UsageError(f"Expected a range LOWEST,HIGHEST such as 0,255 but got {lowest:g},{highest:g}.")
    return lowest, highest


def checked_normalization(normalize: Any) -> Normalization | None:
    """(mean, std) with standard deviations above 0, "none", or None.

    Raises
    ------
    UsageError
        If it is anything else.
    """
    if normalize is None:
        return None
    if isinstance(normalize, str) and normalize == "none":
        return "none"
    try:
        mean, std = (tuple(float(number) for number in numbers) for numbers in normalize)
    except (TypeError, ValueError) as error:
        raise UsageError(f'Expected normalize=(means, standard deviations) or "none" but got {normalize!r}.') from error
    if not mean or not std or not all(0 < number < float("inf") for number in std):
        raise UsageError("normalize needs at least one mean, and standard deviations above 0.")
    return mean, std
