"""Fitting a detector's readings: on all models, and by turns on some so that the others get scores unseen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onepixel.detectors.ensemble import scores_by_reading
from onepixel.detectors.readings import Reader, Reading, Schedule
from onepixel.detectors.scaling import Maps, found_scaling, scaled
from onepixel.detectors.splits import random_splits, splits_by_group


@dataclass(frozen=True)
class Fitting:
    """How a detector is fitted; the attributes are those of `Detector`.

    Attributes
    ----------
    rows : sequence of Reading
    scaling : str
    schedule : Schedule
    members, folds, random_state : int
    """

    rows: Sequence[Reading]
    scaling: str
    schedule: Schedule
    members: int
    folds: int
    random_state: int

    def train(self, features: Maps, targets: NDArray[Any], seed: int) -> list[list[Reader]]:
        """The members of each reading, fitted to features (N, D, K, H, W) with targets (N,)."""
        return self._readers(
            scaled(self.scaling, features, *found_scaling(self.scaling, features, targets == 0)), targets, seed
        )

    def _readers(self, inputs: Maps, targets: NDArray[Any], seed: int) -> list[list[Reader]]:
        """The same from what networks see."""
        return [
            [row.fit(inputs, targets, self.schedule, seed + 100 * member).eval() for member in range(count)]
            for row, count in zip(self.rows, map(self.members_of, self.rows), strict=True)
        ]

    def members_of(self, row: Reading) -> int:
        """How many readers a reading has: one where seeds make no difference."""
        return self.members if row.seeded else 1

    def held_out_scores(
        self, features: Maps, targets: NDArray[Any], groups: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Scores (R, N) by reading, each from networks that did not see the model."""
        scores = np.empty((len(self.rows), len(features)))
        if groups is None:
            splits = random_splits(targets, self.folds, self.random_state)
        else:
            splits = splits_by_group(targets, np.asarray(groups))
        for fold, (seen, unseen) in enumerate(splits):
            training = features[seen]
            found = found_scaling(self.scaling, training, targets[seen] == 0)
            networks = self._readers(
                scaled(self.scaling, training, *found), targets[seen], self.random_state + 1000 * (fold + 1)
            )
            scores[:, unseen] = scores_by_reading(networks, scaled(self.scaling, features[unseen], *found))
        return scores
