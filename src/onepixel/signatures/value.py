"""The `Signature` value: what was found, and everything that says how."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.array_files import array_file, write_array_file
from onepixel.classifiers.base import floored
from onepixel.errors import UsageError
from onepixel.pictures import PICTURES
from onepixel.signatures.definitions import Array, define

FORMAT = "onepixel-signature-1"


@dataclass(frozen=True)
class Settings:
    """The settings under which two signatures can be compared.

    Attributes
    ----------
    values : int
        V, the size of the value grid.
    inclusive : bool
        Whether the grid ends at 1 (v / (V - 1)) or not (v / V).
    default_image : str
        "constant 0", say, or "array" or "10 images" with a digest.
    outputs : str
        "logits" or "probabilities": what the log-odds were made from.
    """

    values: int = 256
    inclusive: bool = False
    default_image: str = "constant 0"
    outputs: str = "logits"

    def __str__(self) -> str:
        """The settings in words."""
        end = "V - 1" if self.inclusive else "V"
        start = self.default_image.partition(" sha256:")[0]
        return f"{self.values} intensities v / {'(' + end + ')' if self.inclusive else end} per pixel, from {start}"

    def comparable(self, other: "Settings") -> bool:
        """Whether signatures of both can be compared: all but what the log-odds were made from has to agree."""
        return replace(self, outputs=other.outputs) == other


@dataclass(frozen=True)
class Signature:
    """The one-pixel signature of one classifier, in log-odds.

    Attributes
    ----------
    low, high : array of shape (K, H, W)
        Lowest and highest log-odds over the value grid; NaN at pixels that were not visited.
    base : array of shape (K,)
        Log-odds of the default image. From several default images: the mean of theirs; low and high then are as far
        from it as the log-odds fall and rise at most, starting from any of the images.
    settings : Settings
    engine : str
        The engine that ran.
    queries : int
        How many images it cost.
    classifier : str
        The classifier's name.
    note : str
        Why this engine ran, where that is not obvious.
    details : dict
        What else the engine said, such as an error estimate.
    """

    low: Array
    high: Array
    base: Array
    settings: Settings = field(default_factory=Settings)
    engine: str = ""
    queries: int = 0
    classifier: str = ""
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.low.ndim != 3 or self.low.shape != self.high.shape or self.base.shape != self.low.shape[:1]:
            shapes = f"{self.low.shape}, {self.high.shape} and {self.base.shape}"
            raise UsageError(f"Expected low and high (K, H, W) and base (K,) but got {shapes}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, H, W)."""
        classes, height, width = self.low.shape
        return classes, height, width

    @property
    def visited(self) -> NDArray[np.bool_]:
        """Which pixels were visited, (H, W)."""
        return ~np.isnan(self.high[0])

    def values(self, definition: str) -> Array:
        """The signature under a definition, a key of `DEFINITIONS`.

        Returns
        -------
        array of shape (K, H, W)
            NaN at pixels that were not visited.
        """
        return np.where(self.visited, define(definition, self.low, self.high, self.base), np.nan)

    @classmethod
    def joined(cls, parts: Sequence["Signature"], settings: Settings) -> "Signature":
        """Join the signatures of one classifier from several default images into one, as `base` above says.

        A backdoor that needs the context of its source class shows in the image that has it; the others add nothing.
        """
        base = np.stack([part.base for part in parts]).mean(axis=0)
        rise = np.max([part.high - part.base[:, None, None] for part in parts], axis=0)
        fall = np.max([part.base[:, None, None] - part.low for part in parts], axis=0)
        centre = base[:, None, None]
        return cls(
            low=centre - fall,
            high=centre + rise,
            base=base,
            settings=settings,
            engine=" and ".join(sorted({part.engine for part in parts})),
            queries=sum(part.queries for part in parts),
            classifier=parts[0].classifier,
            note=next((part.note for part in parts if part.note), ""),
            details={f"default image {n}": part.details for n, part in enumerate(parts) if part.details},
        )

    def thinned(self, stride: int) -> "Signature":
        """The same of every so many rows and columns alone: (K, ceil(H / stride), ceil(W / stride))."""
        return replace(self, low=self.low[:, ::stride, ::stride], high=self.high[:, ::stride, ::stride])

    def save(self, path: str | Path) -> None:
        """Write one safetensors file that holds the arrays and, in its header, everything else."""
        about = {key: getattr(self, key) for key in ("engine", "queries", "classifier", "note", "details")}
        arrays = {name: getattr(self, name) for name in ("low", "high", "base")}
        write_array_file(path, FORMAT, arrays, settings=asdict(self.settings), about=about)

    @classmethod
    def load(cls, path: str | Path) -> "Signature":
        """Read what `save` wrote.

        Raises
        ------
        UsageError
            If there is no such file.
        UndecidedError
            If the file is damaged or holds no signature.
        """
        with array_file(path, FORMAT, "one-pixel signature") as file:
            settings = Settings(**file.facts_of(Settings, "settings"))
            return cls(**file.arrays_of(cls), settings=settings, **file.facts_of(cls, "about"))

    def floored(self) -> "Signature":
        """The same with every log-odds kept where those of probabilities end (p inside [1e-7, 1 - 1e-7])."""
        return replace(self, low=floored(self.low), high=floored(self.high), base=floored(self.base))

    def plot(self, path: str | Path, definition: str = "change") -> None:
        """Draw all K channels side by side into an image file (PNG, SVG, PDF by its ending)."""
        PICTURES["signature"].draw(self, path, definition)
