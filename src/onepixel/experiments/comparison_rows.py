"""How one method did on one population: areas, rates at a threshold that other networks fix, and named targets.

A method's threshold is fixed on networks of development pools: all of them where final ones are tested, else those of
all other kinds. Ours is fixed on all networks of other kinds, as in `onepixel experiment any-classifier`.
"""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors.metrics import Estimate, balanced_rate, best_threshold, evaluate_scores, share_of
from onepixel.detectors.probability import logistic_curve
from onepixel.experiments.comparison_networks import (
    FEWEST,
    Key,
    Rows,
    in_common,
    populations,
    side_of,
    tested_pool,
)
from onepixel.experiments.method_records import OURS, Judgement
from onepixel.experiments.reach_records import kind_of
from onepixel.experiments.signature_records import BY_SIGNATURE


class Row(NamedTuple):
    """How one method did on one population.

    Attributes
    ----------
    method : str
    population : str
        Of the trojaned networks.
    clean, trojaned, stamped : tuple of Judgement
    threshold : float or None
        None where there are no other networks to fix it on.
    cross_entropy : float or None
        Of the probability by logistic regression on the same other networks, nats per network.
    """

    method: str
    population: str
    clean: tuple[Judgement, ...]
    trojaned: tuple[Judgement, ...]
    stamped: tuple[Judgement, ...]
    threshold: float | None
    cross_entropy: float | None

    @property
    def area(self) -> Estimate:
        """Area under the curve of trojaned against clean networks, by bootstrap over networks."""
        scores = scores_of((*self.clean, *self.trojaned))
        labels = np.repeat([0, 1], [len(self.clean), len(self.trojaned)])
        return evaluate_scores(scores, labels, np.inf).auroc

    @property
    def published(self) -> Estimate | None:
        """Balanced accuracy of the published rule, where there is one."""
        if any(one.flagged is None for one in (*self.clean, *self.trojaned)):
            return None
        return balanced_rate(*(share_of(one.flagged for one in group) for group in (self.clean, self.trojaned)))

    @property
    def rate(self) -> Estimate | None:
        """Balanced accuracy at the threshold; None without one."""
        clean, trojaned = self.alarms(self.clean), self.alarms(self.trojaned)
        return None if clean is None or trojaned is None else balanced_rate(clean, trojaned)

    @property
    def named(self) -> int | None:
        """Trojaned networks whose target is named.

        None where the method names none, and where an attacker has several targets, of which nearly any guess is one.
        """
        names = any(one.target is not None for one in self.trojaned)
        several = any(len(one.targets) > 1 for one in self.trojaned)
        return sum(one.named for one in self.trojaned) if names and not several else None

    def flagged(self, group: Sequence[Judgement]) -> int | None:
        """How many of these networks are at or above the threshold."""
        return None if self.threshold is None else sum(one.score >= self.threshold for one in group)

    def alarms(self, group: Sequence[Judgement]) -> Estimate | None:
        """Which share of these networks is at or above the threshold; None without one, and of no networks."""
        if self.threshold is None or not group:
            return None
        return share_of(one.score >= self.threshold for one in group)


def compared(table: Mapping[str, Rows]) -> list[Row]:
    """A row for each population and each method that judged all the networks that are compared."""
    rows: list[Row] = []
    for population in populations(table):
        common, methods = in_common(table, population)
        found = [row_of(method, table[method], population, common) for method in methods]
        rows += [row for row in found if row is not None]
    return rows


def row_of(method: str, said: Rows, population: str, common: Set[Key]) -> Row | None:
    """Judge one method on the common networks of a population."""
    groups = {
        role: tuple(said[key] for key in sorted(common & set(said)) if said[key].role == role)
        for role in ("clean", "trojaned", "stamped")
    }
    if min(len(groups["clean"]), len(groups["trojaned"])) < FEWEST:
        return None
    threshold, slope = fixed(method, said, population)
    entropy = None if slope is None else cross_entropy(groups["clean"], groups["trojaned"], *slope)
    return Row(method, population, **groups, threshold=threshold, cross_entropy=entropy)


def fixed(method: str, said: Rows, population: str) -> tuple[float | None, tuple[float, float] | None]:
    """The threshold and the logistic regression that networks of development pools fix for one population."""
    if method in BY_SIGNATURE:
        return 0.0, None
    final = tested_pool(said, population) == "final"
    known = [one for one in said.values() if side_of(one) == "development"]
    others = [one for one in known if kind_of(one.population) != kind_of(population)]
    side = known if final and method not in OURS else others
    clean, trojaned = (scores_of([one for one in side if one.role == role]) for role in ("clean", "trojaned"))
    if min(len(clean), len(trojaned)) < FEWEST:
        return (0.0 if method in OURS else None), None
    return (0.0 if method in OURS else best_threshold(clean, trojaned)), logistic_curve(clean, trojaned)


def cross_entropy(clean: Sequence[Judgement], trojaned: Sequence[Judgement], slope: float, offset: float) -> float:
    """Mean cross-entropy of clean and trojaned networks, each sort weighing alike, in nats; 0.693 is chance."""
    odds = [slope * scores_of(group) + offset for group in (clean, trojaned)]
    return float((np.logaddexp(0, odds[0]).mean() + np.logaddexp(0, -odds[1]).mean()) / 2)


def scores_of(judgements: Sequence[Judgement]) -> NDArray[np.float64]:
    """Scores (N,)."""
    return np.array([one.score for one in judgements], dtype=np.float64)
