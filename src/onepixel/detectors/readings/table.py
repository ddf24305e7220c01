"""The table of readings: ways to make a score of a signature, or scores of its channels."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from onepixel.detectors.readings.descent import Descent
from onepixel.registry import Table


class Reader(nn.Module, ABC):
    """What reads signatures (N, D, K, H, W) of D definitions, fitted or not.

    Whatever was fitted is a parameter or a buffer, so that a detector's file can hold it.
    """

    @abstractmethod
    def forward(self, signatures: Tensor) -> Tensor:
        """Scores (N,); higher is more suspicious."""

    def channel_scores(self, signatures: Tensor) -> Tensor:
        """Scores (N, K) of the single channels; only for readings whose row says `scores_channels`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Schedule:
    """How a network is trained: Adam, decaying to 0 along a cosine.

    Attributes
    ----------
    epochs, batch_size, learning_rate, weight_decay
        As `Detector` has them.
    shuffle_classes : bool
        Shuffle the class channels of every signature in every batch, for readings to which the order says something.
    mirror : bool
        Flip and transpose the images of every batch at random.
    """

    epochs: int = 40
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    shuffle_classes: bool = True
    mirror: bool = False

    @property
    def descent(self) -> Descent:
        """The part of it that any network is trained by."""
        return Descent(self.epochs, self.batch_size, self.learning_rate, self.weight_decay)


Fit = Callable[[NDArray[np.float32], NDArray[Any], Schedule, int], Reader]
"""From signatures (N, D, K, H, W), labels (N,), a schedule and a seed to a reader."""

Restore = Callable[[dict[str, Tensor], int, tuple[int, ...]], Reader]
"""From what a reader's `state_dict` held, the number of definitions and the shape (K, H, W) to the reader."""


@dataclass(frozen=True)
class Reading:
    """A way to read signatures.

    Attributes
    ----------
    name : str
    title : str
        For people: what a verdict calls it.
    fit : Fit
    restore : Restore
    seeded : bool
        Whether readers from several seeds differ, so that a detector has as many as `members` says.
    scores_channels : bool
        Whether its readers score single class channels too, by themselves.
    """

    name: str
    title: str
    fit: Fit
    restore: Restore
    seeded: bool = True
    scores_channels: bool = True


READINGS = Table[Reading]("reading", "onepixel.detectors.readings")
"""Every reading by its name."""
