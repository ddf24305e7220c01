"""Models of a zoo: signatures and records of one kind, and what to do where they are missing."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UsageError
from onepixel.populations.names import PopulationName
from onepixel.populations.store import Record
from onepixel.populations.zoo import open_population, passed
from onepixel.signatures import Settings

Name = str | PopulationName


@dataclass(frozen=True)
class Models:
    """Signatures and records of one kind of models, in slot order."""

    rows: NDArray[np.void]
    records: list[Record]

    def __len__(self) -> int:
        return len(self.records)

    def part(self, start: int, stop: int | None = None) -> "Models":
        """Some of them."""
        return Models(self.rows[start:stop], self.records[start:stop])

    def chosen(self, numbers: NDArray[np.integer]) -> "Models":
        """Those with these numbers."""
        return Models(self.rows[numbers], [self.records[number] for number in numbers])

    @classmethod
    def joined(cls, *parts: "Models") -> "Models":
        """Several kinds together."""
        return cls(np.concatenate([part.rows for part in parts]), [r for part in parts for r in part.records])


@dataclass(frozen=True)
class Labelled:
    """Models to train or to test on, 0 without and 1 with a backdoor."""

    models: Models
    labels: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.void]:
        """Their signatures."""
        return self.models.rows

    @classmethod
    def of(cls, *parts: tuple[Models, int]) -> "Labelled":
        """Join models that share a label each."""
        labels = np.repeat([label for _, label in parts], [len(models) for models, _ in parts])
        return cls(Models.joined(*(models for models, _ in parts)), labels.astype(np.int64))


def has(zoo: Path, *names: Name) -> bool:
    """Whether a zoo has all of these populations."""
    return all((zoo / str(name) / "recipe.toml").is_file() for name in names)


def missing(zoo: Path, names: Iterable[Name]) -> str:
    """One sentence that says what is missing and which commands make it; empty if nothing is."""
    absent = [str(name) for name in names if not has(zoo, name)]
    commands = " && ".join(command for name in absent for command in commands_for(zoo, name))
    return f"{zoo} has no {', '.join(absent)}; make it with: {commands}" if absent else ""


def commands_for(zoo: Path, name: Name) -> tuple[str, ...]:
    """What makes a population: signing networks again under another default image, or else training them."""
    return PopulationName.parse(str(name)).commands(zoo)


def require(zoo: Path, names: Sequence[Name]) -> None:
    """Make sure that a zoo has these populations.

    Raises
    ------
    UsageError
        If one is missing; it says which, and how to make it.
    """
    sentence = missing(zoo, names)
    if sentence:
        raise UsageError(sentence)


def load_models(zoo: Path, name: Name, settings: Settings | None = None) -> tuple[Models, Settings]:
    """Read a population's models that passed, and what their signatures were made with.

    Raises
    ------
    UsageError
        If there is no such population, none of its models passed, or they were made with other settings than these.
    """
    require(zoo, [name])
    models, found = _read(zoo / str(name))
    if settings is not None and found != settings:
        raise UsageError(f"{name} was signed with {found}, and the models beside it with {settings}.")
    if not len(models):
        raise UsageError(f"No model of {zoo / str(name)} reached its thresholds.")
    return models, found


def _read(folder: Path) -> tuple[Models, Settings]:
    """The models of a folder that passed, from memory where they were read before within `each_read_once`."""
    kept = _Kept() if _kept is None else _kept[folder]
    with kept.reading:
        if kept.found is None:
            population = open_population(folder)
            kept.found = Models(*passed(population)), population.settings
        return kept.found


@dataclass
class _Kept:
    """A population in memory, and who may read it."""

    reading: Lock = field(default_factory=Lock)
    found: tuple[Models, Settings] | None = None


_kept: defaultdict[Path, _Kept] | None = None
"""What there is within `each_read_once`."""


@contextmanager
def each_read_once() -> Iterator[None]:
    """Keep every population that is read inside in memory, 60 KB a network of MNIST; none is to change meanwhile."""
    global _kept
    before, _kept = _kept, defaultdict(_Kept)
    try:
        yield
    finally:
        _kept = before


def load_if_there(zoo: Path, name: Name, settings: Settings) -> Models | None:
    """Read a population's models that passed, or None if the zoo has no such population; see `load_models`."""
    return load_models(zoo, name, settings)[0] if has(zoo, name) else None
