"""A detector that knows clean networks alone: which pair of classes is driven unusually far, for these classes.

With many classes some are near to each other by nature (two speed limits), and some are reached from everywhere. Both
are the same in every network of a data set; the attacker's pair is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import UsageError

Rises = NDArray[np.floating]
"""(N, K, K): of each network, how far each source class (rows) is driven to each target; see `pair_rises`."""

LEAST = 0.3
"""Added to every rise before its logarithm, in log-odds: below it, differences say nothing."""

SHARED = 0.5
"""How much of the mean variance of all pairs is added to a pair's own, which few networks tell badly."""

FEWEST = 3
"""Clean networks without which nothing is usual."""


def own_effects(rises: Rises) -> NDArray[np.float64]:
    """Logarithms of rises (N, K, K) without what each source and each target has in common; NaN from a class to itself.

    The median over targets is taken from each source, then the median over sources from each target.
    """
    logs = np.log(np.maximum(np.asarray(rises, dtype=np.float64), 0) + LEAST)
    classes = np.arange(logs.shape[1])
    logs[:, classes, classes] = np.nan
    logs -= np.nanmedian(logs, axis=2, keepdims=True)
    effects: NDArray[np.float64] = logs - np.nanmedian(logs, axis=1, keepdims=True)
    return effects


@dataclass(frozen=True)
class UnusualPairs:
    """What is usual for every pair of classes, from clean networks of one data set.

    Attributes
    ----------
    usual, spread : array of shape (K, K)
        Mean and standard deviation of `own_effects` over clean networks.
    """

    usual: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, clean: Rises) -> "UnusualPairs":
        """Learn from clean networks (N, K, K).

        Raises
        ------
        UsageError
            If there are fewer than three.
        """
        return cls.of_effects(own_effects(clean))

    @classmethod
    def of_effects(cls, effects: NDArray[np.float64]) -> "UnusualPairs":
        """The same from what `own_effects` gave."""
        if len(effects) < FEWEST:
            raise UsageError(f"What is usual takes {FEWEST} clean networks or more but there are {len(effects)}.")
        variance = effects.var(axis=0)
        return cls(effects.mean(axis=0), np.sqrt(variance + SHARED * np.nanmean(variance)))

    def deviations(self, rises: Rises) -> NDArray[np.float64]:
        """How many standard deviations each pair of networks (N, K, K) lies above the usual; -inf on the diagonal."""
        return self.above(own_effects(rises))

    def scores(self, rises: Rises) -> NDArray[np.float64]:
        """The score of each network (N,): its most unusual pair's deviation."""
        found: NDArray[np.float64] = self.deviations(rises).max(axis=(1, 2))
        return found

    def named(self, rises: Rises) -> list[tuple[int, int]]:
        """The most unusual pair of each network: source and target class."""
        return [
            (int(source), int(target))
            for above in self.deviations(rises)
            for source, target in [np.unravel_index(int(above.argmax()), above.shape)]
        ]

    def above(self, effects: NDArray[np.float64]) -> NDArray[np.float64]:
        """`deviations` from what `own_effects` gave."""
        return np.where(np.isnan(effects), -np.inf, (effects - self.usual) / self.spread)


def deviations_among(rises: Rises, clean: Rises, among: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`UnusualPairs.deviations` of networks (N, K, K), each by the clean ones (M, K, K) that its row of `among` marks.

    Which ones matters: pairs that are near to each other in networks that were fine-tuned from one base need not be so
    in those of another. A clean network is never among those that say what is usual for it.

    Parameters
    ----------
    rises, clean : array
    among : array of shape (N, M), bool

    Raises
    ------
    UsageError
        If fewer than three are marked for a network.
    """
    effects, own = own_effects(clean), own_effects(rises)
    rows, which = np.unique(among, axis=0, return_inverse=True)
    found = np.empty(rises.shape)
    for number, row in enumerate(rows):
        mine = which.reshape(-1) == number
        found[mine] = UnusualPairs.of_effects(effects[row]).above(own[mine])
    return found


def places_of(deviations: NDArray[np.float64], pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Which place the attacker's pair takes among all pairs of each network, 0 for the most unusual."""
    return [
        int((above > above[source, target]).sum()) for above, (source, target) in zip(deviations, pairs, strict=True)
    ]
