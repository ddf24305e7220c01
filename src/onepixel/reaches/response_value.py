"""The `Response` value: what a probe with generic fillings does, by source class, target class and place."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UsageError
from onepixel.pictures import PICTURES
from onepixel.reaches.file import KeptInFile


@dataclass(frozen=True)
class Response(KeptInFile):
    """R[a, t, place]: the mean probability of class t over the sample images of class a and the fillings.

    Attributes
    ----------
    sources : array of shape (S,), int64
        The classes that there are sample images of.
    places : array of shape (P, 4), int64
        Top, left, height, width.
    mean : array of shape (S, K, P), float32
        R itself; NaN at places that a budget left out.
    spread : array of shape (S, K, P), float32
        Standard deviation of the probability over images and fillings.
    base : array of shape (S, K), float32
        Mean probability over the unchanged images.
    fillings : array of shape (V, C, h, w), float32
    probe : str
        What was changed, for people.
    queries : int
        How many images the classifier answered.
    classifier : str
    """

    FORMAT = "onepixel-response-1"
    WHAT = "response"

    sources: NDArray[np.int64]
    places: NDArray[np.int64]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    base: NDArray[np.float32]
    fillings: NDArray[np.float32]
    probe: str = ""
    queries: int = 0
    classifier: str = ""

    def __post_init__(self) -> None:
        sources, places = len(self.sources), len(self.places)
        self.expect("sources", None)
        self.expect("places", places, 4)
        self.expect("base", sources, None)
        for name in ("mean", "spread"):
            self.expect(name, sources, self.base.shape[1], places)
        self.expect("fillings", None, None, None, None)
        if not np.isin(self.sources, np.arange(self.base.shape[1])).all():
            raise UsageError("Expected sources among the classes in a response but got others.")

    def largest(self) -> tuple[int, int, int, float]:
        """Source class, target class, place number and size of the largest R of a class other than the source."""
        table = np.where(np.isnan(self.mean), -np.inf, self.mean)
        table[np.arange(len(self.sources)), self.sources] = -np.inf
        row, target, place = np.unravel_index(int(table.argmax()), table.shape)
        return int(self.sources[row]), int(target), int(place), float(table[row, target, place])

    def plot(self, path: str | Path) -> None:
        """Draw the largest response over sources for every target, by place (PNG, SVG, PDF by the path's ending)."""
        PICTURES["response"].draw(self, path)
