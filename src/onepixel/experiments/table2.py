"""ECCV Table 2 (and ICLR Table 2), one row of it: vaccine-trained detectors on viruses they never saw.

Every definition under every reading, the child's baselines beside them, and how many stamped controls (models
trained on the same stamped images with their true labels) are flagged. The development pool is for looking; the
final pool is opened once.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.detectors import Detector, Evaluation, evaluate_scores
from onepixel.detectors.baselines import base_probability, logistic_regression, mean_and_variance, test_accuracy
from onepixel.detectors.metrics import Estimate, best_threshold, clopper_pearson
from onepixel.errors import UsageError
from onepixel.experiments.results import markdown_table, provenance, write_csv
from onepixel.files import write_text
from onepixel.populations import Record, open_population, passed
from onepixel.progress import progress_bar
from onepixel.signatures import DEFINITIONS, Settings
from onepixel.trojan import Pool

READINGS: dict[str, dict[str, Any]] = {
    "whole": {"reading": "whole", "shuffle_classes": False},
    "whole, classes shuffled": {"reading": "whole", "shuffle_classes": True},
    "single channels": {"reading": "channels"},
    "multiple instances": {"reading": "instances"},
}
"""The papers' two ways, the first also with shuffled classes, and ours."""

CLEAN_TRAINING_SHARE = 0.5
"""Share of the clean population, from its first slot on, that trains; the rest is test."""


@dataclass(frozen=True)
class Models:
    """Signatures and records of one kind of models."""

    rows: NDArray[np.void]
    records: list[Record]

    def part(self, start: int, stop: int | None = None) -> "Models":
        """Some of them, in slot order."""
        return Models(self.rows[start:stop], self.records[start:stop])

    @classmethod
    def joined(cls, *parts: "Models") -> "Models":
        """Several kinds together."""
        return cls(np.concatenate([part.rows for part in parts]), [r for part in parts for r in part.records])


@dataclass(frozen=True)
class Split:
    """What trains and what tests; the test part is never looked at while a detector is fitted.

    Attributes
    ----------
    clean, vaccine : Models
        Training.
    unseen_clean, virus : Models
        Test.
    stamped : Models or None
        Controls, for flagging only.
    settings : Settings
    """

    clean: Models
    vaccine: Models
    unseen_clean: Models
    virus: Models
    stamped: Models | None
    settings: Settings


@dataclass(frozen=True)
class Row:
    """One line of the table: a detector, or a baseline, on one seed."""

    method: str
    definition: str
    seed: int
    result: Evaluation
    stamped_flagged: Estimate | None


def load_models(zoo: Path, name: str) -> tuple[Models, Settings]:
    """Read a population's models that passed."""
    population = open_population(zoo / name)
    return Models(*passed(population)), population.settings


def load_split(zoo: Path, prefix: str, pool: Pool) -> Split:
    """Read the populations `prefix`-clean, -vaccine, -virus-`pool` and, where there is one, -stamped-vaccine.

    Raises
    ------
    UsageError
        If a population is missing or too small to be split.
    """
    clean, settings = load_models(zoo, f"{prefix}-clean")
    border = round(CLEAN_TRAINING_SHARE * len(clean.records))
    if border < 2 or border == len(clean.records):
        raise UsageError(f"{zoo}/{prefix}-clean has {len(clean.records)} models, too few to train and to test.")
    stamped = zoo / f"{prefix}-stamped-vaccine"
    return Split(
        clean=clean.part(0, border),
        vaccine=load_models(zoo, f"{prefix}-vaccine")[0],
        unseen_clean=clean.part(border),
        virus=load_models(zoo, f"{prefix}-virus-{pool}")[0],
        stamped=load_models(zoo, stamped.name)[0] if stamped.exists() else None,
        settings=settings,
    )


def labels(negative: Models, positive: Models) -> NDArray[np.int64]:
    """0 for the first, 1 for the second."""
    return np.r_[np.zeros(len(negative.records), np.int64), np.ones(len(positive.records), np.int64)]


def detector_row(split: Split, method: str, definition: str, seed: int, **options: Any) -> Row:
    """Fit one detector on clean and vaccine models and look at what it says of the others."""
    detector = Detector(definition=definition, random_state=seed, **READINGS[method], **options)
    training = np.concatenate([split.clean.rows, split.vaccine.rows])
    detector.fit(training, labels(split.clean, split.vaccine), split.settings)
    unseen = np.concatenate([split.unseen_clean.rows, split.virus.rows])
    result = detector.evaluate(unseen, labels(split.unseen_clean, split.virus))
    flagged = None
    if split.stamped is not None:
        calls = detector.predict(split.stamped.rows)
        flagged = clopper_pearson(int(calls.sum()), len(calls))
    return Row(method, definition, seed, result, flagged)


def baseline_row(split: Split, method: str, features: Callable[[Models], NDArray[np.float64]]) -> Row:
    """Logistic regression on simple numbers; its threshold is the best one on the training models."""
    training = np.concatenate([features(split.clean), features(split.vaccine)])
    targets = labels(split.clean, split.vaccine)
    model = logistic_regression().fit(training, targets)
    seen = model.decision_function(training)
    threshold = best_threshold(seen[targets == 0], seen[targets == 1])
    unseen = np.concatenate([features(split.unseen_clean), features(split.virus)])
    result = evaluate_scores(model.decision_function(unseen), labels(split.unseen_clean, split.virus), threshold)
    flagged = None
    if split.stamped is not None:
        calls = model.decision_function(features(split.stamped)) >= threshold
        flagged = clopper_pearson(int(calls.sum()), len(calls))
    return Row(method, "", 0, result, flagged)


BASELINES: dict[str, Callable[[Models], NDArray[np.float64]]] = {
    "test accuracy alone": lambda models: test_accuracy(models.records),
    "probabilities of the default image": lambda models: base_probability(models.rows),
    "mean and variance of `change`": lambda models: mean_and_variance(models.rows),
}
"""Rows that no detector may lose to."""


def rows_of_table(split: Split, seeds: range, **options: Any) -> Iterator[Row]:
    """Every baseline, then every reading under every definition with every seed."""
    for name, features in BASELINES.items():
        yield baseline_row(split, name, features)
    for method in READINGS:
        for definition in DEFINITIONS:
            for seed in seeds:
                yield detector_row(split, method, definition, seed, **options)


def run(
    output: Path,
    *,
    zoo: Path = Path("zoo"),
    prefix: str = "mnist-lenet5",
    pool: Pool = "development",
    seed: int = 0,
    seeds: int = 3,
    progress: bool = False,
) -> list[Row]:
    """Fit every detector and write the table as Markdown and CSV below `output`.

    Parameters
    ----------
    output : Path
        A folder; made where it does not exist.
    zoo : Path
        Where the populations are.
    prefix : str
        What their names begin with: data set and architecture.
    pool : {"development", "final"}
        Which viruses are the test; opening the final pool is written down in the table itself.
    seed, seeds : int
        First detector seed, and how many.
    progress : bool
        Show a progress bar on standard error.
    """
    started = time.perf_counter()
    split = load_split(zoo, prefix, pool)
    total = len(BASELINES) + len(READINGS) * len(DEFINITIONS) * seeds
    rows = []
    with progress_bar("detectors", total, "rows", enabled=progress) as advance:
        for row in rows_of_table(split, range(seed, seed + seeds)):
            rows.append(row)
            advance(1)
    output.mkdir(parents=True, exist_ok=True)
    name = f"{prefix}-{pool}"
    head = ["method", "definition", "seed", "detection_rate", "auroc", "true_positive_rate", "false_positive_rate"]
    cells = [
        [row.method, row.definition, row.seed, *(f"{e.value:.4f}" for e in estimates(row.result)), flagged_value(row)]
        for row in rows
    ]
    write_csv(output / f"{name}.csv", [*head, "stamped_flagged"], cells)
    command = f"onepixel experiment table2 --prefix {prefix} --pool {pool} --seed {seed} --seeds {seeds}"
    text = as_markdown(split, rows, prefix, pool) + "\n" + provenance(command, time.perf_counter() - started)
    write_text(output / f"{name}.md", text)
    return rows


def estimates(result: Evaluation) -> tuple[Estimate, Estimate, Estimate, Estimate]:
    """The four numbers of an evaluation in the table's order."""
    return result.detection_rate, result.auroc, result.true_positive_rate, result.false_positive_rate


def flagged_value(row: Row) -> str:
    """The share of stamped controls that were flagged, for the CSV."""
    return "" if row.stamped_flagged is None else f"{row.stamped_flagged.value:.4f}"


def as_markdown(split: Split, rows: list[Row], prefix: str, pool: Pool) -> str:
    """The table for people: means over seeds, the interval of the first seed, the spread over seeds."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.method, row.definition), []).append(row)
    lines = []
    for (method, definition), group in grouped.items():
        rate, area = group[0].result.detection_rate, group[0].result.auroc
        rates = np.array([row.result.detection_rate.value for row in group])
        areas = np.array([row.result.auroc.value for row in group])
        false_alarms = np.mean([row.result.false_positive_rate.value for row in group])
        flagged = [row.stamped_flagged.value for row in group if row.stamped_flagged is not None]
        spread = f" ± {rates.std():.1%}" if len(group) > 1 else ""
        lines.append(
            [
                method,
                f"`{definition}`" if definition else "",
                f"{rates.mean():.1%}{spread}",
                f"{rate.low:.1%} to {rate.high:.1%}",
                f"{areas.mean():.3f}",
                f"{area.low:.3f} to {area.high:.3f}",
                f"{false_alarms:.1%}",
                f"{np.mean(flagged):.1%}" if flagged else "-",
            ]
        )
    head = ["method", "definition", "detection rate", "95 %", "AUROC", "95 %", "false alarms", "stamped flagged"]
    stamped = 0 if split.stamped is None else len(split.stamped.records)
    opened = "The final pool was opened for this table." if pool == "final" else "The final pool was not opened."
    return f"""# Table 2, {prefix}, {pool} viruses

The papers: 95.72 % (MNIST) and 94.59 % (Fashion-MNIST), LeNet-5, 300 + 300 models to train and to test.

Trained on {len(split.clean.records)} clean and {len(split.vaccine.records)} vaccine models, tested on
{len(split.unseen_clean.records)} clean and {len(split.virus.records)} virus models; {stamped} stamped controls, which
carry no backdoor and were not trained on. {opened} Detection rate is balanced accuracy at the threshold fixed by
cross-validation on the training models; it is the mean over detector seeds, ± their standard deviation; intervals are
the first seed's, by stratified bootstrap over the test models.

{markdown_table(head, lines)}
"""
