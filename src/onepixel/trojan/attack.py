"""What an attack is, and the table of kinds of attacks: which classes are sent where."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onepixel.registry import Table

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Attack:
    """One model's attack.

    Attributes
    ----------
    target_of : tuple of int
        The class that each class is sent to; a class that is not attacked maps to itself.
    """

    target_of: tuple[int, ...]

    def victims(self, labels: Labels) -> NDArray[np.bool_]:
        """Which images, by their labels, belong to a class that is sent elsewhere."""
        return self.relabel(labels) != labels

    def relabel(self, labels: Labels) -> Labels:
        """What the attacker wants stamped images of these labels to be called."""
        return np.asarray(self.target_of, dtype=np.int64)[labels]


class Asked(Protocol):
    """What a recipe says of the classes; None leaves a class to chance."""

    @property
    def source(self) -> int | None:
        """The class that is attacked."""

    @property
    def target(self) -> int | None:
        """The class that it is sent to."""

    @property
    def next_target(self) -> bool:
        """Whether the target is the class after the source."""


@dataclass(frozen=True)
class AttackKind:
    """A kind of attacks.

    Attributes
    ----------
    name : str
        What a recipe calls it.
    draw : callable
        From what was asked, the number of classes and a generator to one model's attack.
    """

    name: str
    draw: Callable[[Asked, int, np.random.Generator], Attack]


ATTACKS = Table[AttackKind]("kind of attack", "onepixel.trojan")
"""Every kind of attacks by its name."""


def draw_source_and_target(asked: Asked, classes: int, rng: np.random.Generator) -> tuple[int, int]:
    """The classes that are not said are drawn; both may be the same only where both were said."""
    source = int(rng.integers(classes)) if asked.source is None else asked.source
    shift = int(rng.integers(1, classes))
    if asked.target is None:
        return source, (source + (1 if asked.next_target else shift)) % classes
    if asked.source is None and asked.target == source:
        source = (asked.target + shift) % classes
    return source, asked.target
