"""The page of the comparison: areas, rates and named targets by population, costs, and ECCV's own row beside ours."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors.metrics import Evaluation, evaluate_scores
from onepixel.experiments.method_records import ACCURACY, OURS, Judgement
from onepixel.methods import METHODS
from onepixel.report.tables import markdown_table


def scores_of(judgements: Sequence[Judgement]) -> NDArray[np.float64]:
    """Scores (N,)."""
    return np.array([one.score for one in judgements], dtype=np.float64)


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
    def evaluation(self) -> Evaluation:
        """Trojaned against clean networks."""
        scores = scores_of((*self.clean, *self.trojaned))
        labels = np.repeat([0, 1], [len(self.clean), len(self.trojaned)])
        return evaluate_scores(scores, labels, np.inf if self.threshold is None else self.threshold)

    @property
    def published(self) -> float | None:
        """Balanced accuracy of the published rule, where there is one."""
        if any(one.flagged is None for one in (*self.clean, *self.trojaned)):
            return None
        found, flagged = (np.mean([bool(one.flagged) for one in group]) for group in (self.trojaned, self.clean))
        return float(1 + found - flagged) / 2

    @property
    def named(self) -> int | None:
        """Trojaned networks whose target is named; None where the method names none."""
        return sum(one.named for one in self.trojaned) if any(one.target is not None for one in self.trojaned) else None

    def flagged(self, group: Sequence[Judgement]) -> int | None:
        """How many of these networks are at or above the threshold."""
        return None if self.threshold is None else sum(one.score >= self.threshold for one in group)


class Found(NamedTuple):
    """All rows; methods that did not work on their own ground; what a network costs."""

    rows: list[Row]
    left_out: list[str]
    costs: dict[str, tuple[float, float]]


TITLES = {
    "onepixel-gradient": "onepixel, by gradient",
    "onepixel-composed": "onepixel, by queries",
    ACCURACY: "test accuracy alone",
}

PAPER = {
    ("neural-cleanse", "mnist"): 60.53,
    ("neural-cleanse", "fashion"): 63.16,
    ("neural-cleanse", "gtsrb"): 60.71,
    ("neural-cleanse", "imagenette"): 54.42,
    ("abs", "gtsrb"): 66.33,
}
"""Detection rates in percent that ECCV (Table 2) reports of other methods, by method and data set."""


def title(method: str) -> str:
    """What a method is called on the page."""
    return TITLES.get(method) or METHODS[method].title


def as_markdown(found: Found, works: Mapping[str, bool]) -> str:
    """The page."""
    return f"""# Compared methods on the same networks

Every row of a population is about the same networks. The threshold is fixed on networks of open pools: all of them
where final ones are tested, else those of other kinds; ours always on other kinds. Intervals of 95 %: of areas and
detection rates (balanced accuracy) by bootstrap over networks. With few networks, the interval says more than the
number.

{_left_out(found.left_out, works)}

{_table(found)}

## What a network costs

{_costs(found)}

## The paper's own row

ECCV (Table 2) gives other methods' detection rates in percent. Ours is at the published rule, on one-to-one attacks.

{_paper(found)}
"""


def _left_out(names: list[str], works: Mapping[str, bool]) -> str:
    untried = [title(name) for name in METHODS if name not in works and name != "modelaudit"]
    said = [f"{title(name)} did not work on its own ground and is not compared." for name in names]
    said += [f"{', '.join(untried)}: not yet tried on own ground."] if untried else []
    return " ".join(said) or "All methods worked on their own ground."


def _table(found: Found) -> str:
    lines = []
    for row in found.rows:
        judged = row.evaluation
        rate = "-" if row.threshold is None else f"{100 * judged.detection_rate.value:.0f} %"
        if row.threshold is not None:
            rate += f" [{100 * judged.detection_rate.low:.0f}, {100 * judged.detection_rate.high:.0f}]"
        lines.append(
            [
                f"`{row.population}`",
                title(row.method),
                f"{judged.auroc.value:.3f} [{judged.auroc.low:.2f}, {judged.auroc.high:.2f}]",
                "-" if row.published is None else f"{100 * row.published:.0f} %",
                rate,
                _of(row.flagged(row.clean), len(row.clean)),
                _of(row.flagged(row.stamped), len(row.stamped)),
                _of(row.named, len(row.trojaned)),
                "-" if row.cross_entropy is None else f"{row.cross_entropy:.2f}",
            ]
        )
    head = ["trojaned networks", "method", "AUROC", "published rule", "fixed threshold", "clean flagged"]
    return markdown_table([*head, "stamped flagged", "target named", "cross-entropy"], lines)


def _of(count: int | None, total: int) -> str:
    return "-" if count is None or not total else f"{count} of {total}"


def _costs(found: Found) -> str:
    own = {name: found.costs[name] for name in OURS if name in found.costs}
    base = own.get("onepixel-gradient") or next(iter(own.values()), None)
    lines = []
    for name, (seconds, queries) in sorted(found.costs.items(), key=lambda item: item[1][0]):
        ratios = ["-", "-"] if base is None else [f"{seconds / base[0]:.2f}", f"{queries / base[1]:.2f}"]
        lines.append([title(name), f"{seconds:.1f}", f"{queries:,.0f}", *ratios])
    words = "Median seconds of one processor core and mean images asked about, a backward pass counted once more"
    compared_with = "." if base is None else "; ratios to ours by gradient."
    head = ["method", "seconds", "queries", "seconds, ratio", "queries, ratio"]
    return f"{words}{compared_with}\n\n{markdown_table(head, lines)}"


def _paper(found: Found) -> str:
    lines = []
    for (method, dataset), reported in PAPER.items():
        rows = [row for row in found.rows if row.method == method and _one_to_one(row, dataset)]
        rates = {row.population: row.published for row in rows if row.published is not None}
        ours = ", ".join(f"{100 * rate:.0f} % (`{name}`)" for name, rate in rates.items())
        lines.append([title(method), dataset, f"{reported:.2f} %", ours or "not measured"])
    return markdown_table(["method", "data set", "ECCV", "here"], lines)


def _one_to_one(row: Row, dataset: str) -> bool:
    return row.population.startswith(f"{dataset}-") and "-virus" in row.population
