"""The `Reach` value: how far each target's log-odds can be driven, where, and with which filling."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UsageError
from onepixel.pictures import PICTURES
from onepixel.reaches.change import Change, Place
from onepixel.reaches.file import KeptInFile

EVERY_SOURCE = -1
"""Stands for "all classes but the target" where a source class is asked for."""

CAP = 15.0
"""Log-odds are kept inside this before a mean is taken, so that no single image decides."""


@dataclass(frozen=True)
class Reach(KeptInFile):
    """What a search found, as F findings: one source (or all), one target, one place, one filling each.

    Attributes
    ----------
    sources : array of shape (S,), int64
        The classes that there are sample images of.
    targets : array of shape (T,), int64
        The classes that images were driven to.
    source : array of shape (F,), int64
        Source class of each finding; -1 where one filling serves all classes but the target.
    target : array of shape (F,), int64
    place : array of shape (F, 4), int64
        Top, left, height, width.
    log_odds : array of shape (F,), float32
        Mean log-odds of the target over fresh images of the source (kept inside 15 for each image, then the mean over
        the images of a class, then over classes).
    flipped : array of shape (F,), float32
        Share of those images that are answered with the target.
    natural : array of shape (F,), float32
        The highest mean log-odds that a window cut from an image of the target reaches at the same place with the same
        images; NaN where it was not measured.
    base : array of shape (S, T), float32
        Mean log-odds of each target over each source's unchanged fresh images.
    fillings : array of shape (F, C, h, w), float32
    rival : array of shape (F,), float32
        The highest mean log-odds that a patch at the same place reaches of another target with the same images; NaN
        where no rival was looked for.
    texture : array of shape (F,), float32
        Of pictures blended in: the lowest mean log-odds that the picture reaches where it is moved, less what noise
        reaches, with the same images; NaN where it was not measured.
    family, search : str
        What was looked for, and how.
    alpha : float
        How much of a filling is mixed in; 1 for patches.
    displacement : float
        Of warps the largest displacement of a point, pixels, and `fillings` are the grids of points (F, 2, k, k), see
        `Change`; 0 for others.
    queries : int
        How many images the classifier answered, or forward passes' worth for what looks inside.
    classifier : str
        Its name.
    details : dict
        What else the search has to say; JSON types only.
    """

    FORMAT = "onepixel-reach-1"
    WHAT = "reach"

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    place: NDArray[np.int64]
    log_odds: NDArray[np.float32]
    flipped: NDArray[np.float32]
    natural: NDArray[np.float32]
    base: NDArray[np.float32]
    fillings: NDArray[np.float32] = field(repr=False)
    family: str = ""
    search: str = ""
    alpha: float = 1.0
    displacement: float = 0.0
    queries: int = 0
    classifier: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    rival: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    texture: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    def __post_init__(self) -> None:
        findings = len(self.source)
        for name in ("rival", "texture"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.full(findings, np.nan, dtype=np.float32))
        self.expect("sources", None)
        self.expect("targets", None)
        self.expect("source", findings)
        self.expect("target", findings)
        self.expect("place", findings, 4)
        for name in ("log_odds", "flipped", "natural", "rival", "texture"):
            self.expect(name, findings)
        self.expect("fillings", findings, None, None, None)
        self.expect("base", len(self.sources), len(self.targets))
        if not np.isin(self.target, self.targets).all():
            raise UsageError("Expected findings of the targets in a reach but got others.")

    def __len__(self) -> int:
        return len(self.source)

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes that there are sample images of."""
        return tuple(int(label) for label in self.sources)

    @property
    def places(self) -> NDArray[np.int64]:
        """The distinct places of the findings, (P, 4)."""
        return np.unique(self.place, axis=0) if len(self) else np.empty((0, 4), dtype=np.int64)

    @property
    def pairs(self) -> NDArray[np.float32]:
        """Highest mean log-odds by source, target and place, (S, T, P); NaN where nothing was measured."""
        return self._table(self.sources)

    @property
    def over_all(self) -> NDArray[np.float32]:
        """The same of fillings that serve all sources at once, by target and place, (T, P)."""
        table: NDArray[np.float32] = self._table(np.array([EVERY_SOURCE]))[0]
        return table

    def best(self, source: int | None, target: int) -> Change:
        """The change that drives a source (None: all classes but the target) farthest to a target.

        Raises
        ------
        UsageError
            If no such change was looked for.
        """
        numbers = self.findings(source, target)
        if not len(numbers):
            raise UsageError(f"No change from {'all classes' if source is None else source} to {target} was found.")
        return self.change(int(numbers[self.log_odds[numbers].argmax()]))

    def findings(self, source: int | None, target: int) -> NDArray[np.int64]:
        """Numbers of the findings of a source (None: all classes but the target) and a target."""
        wanted = EVERY_SOURCE if source is None else source
        return np.flatnonzero((self.source == wanted) & (self.target == target))

    def change(self, number: int) -> Change:
        """The change of one finding."""
        place: Place = tuple(int(part) for part in self.place[number])  # type: ignore[assignment]
        return Change(place, self.fillings[number], self.family, self.alpha, self.displacement)

    def plot(self, path: str | Path) -> None:
        """Draw the highest reach of every source and target into an image file (PNG, SVG, PDF by its ending)."""
        PICTURES["reach"].draw(self, path)

    def _table(self, sources: NDArray[np.int64]) -> NDArray[np.float32]:
        places = self.places
        table = np.full((len(sources), len(self.targets), len(places)), np.nan, dtype=np.float32)
        if not len(self):
            return table
        _, where = np.unique(self.place, axis=0, return_inverse=True)
        rows = {int(label): row for row, label in enumerate(sources)}
        columns = {int(label): column for column, label in enumerate(self.targets)}
        for number, spot in enumerate(where.reshape(-1)):
            row = rows.get(int(self.source[number]))
            if row is not None:
                cell = row, columns[int(self.target[number])], int(spot)
                table[cell] = np.fmax(table[cell], self.log_odds[number])
        return table
