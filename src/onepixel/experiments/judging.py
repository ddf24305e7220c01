"""Fit detectors and baselines on the training side, collect what each says of everything else, and put it in words."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from onepixel.detectors import Evaluation, evaluate_scores
from onepixel.detectors.baselines import base_probability, logistic_regression, mean_and_variance, test_accuracy
from onepixel.detectors.metrics import GOAL, Estimate, best_threshold, clopper_pearson
from onepixel.experiments.choices import Method
from onepixel.experiments.declared import Laboratory
from onepixel.experiments.fitting import fitted
from onepixel.experiments.models import Training
from onepixel.populations.models import Models

Scores = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)
One = TypeVar("One")

NONE: Scores = np.empty(0)

TOLERATED = 0.1
"""Share of held-out stamped models that the stricter of the two thresholds lets be flagged."""

BASELINES: dict[str, Callable[[Models], NDArray[np.float64]]] = {
    "test accuracy alone": lambda models: test_accuracy(models.records),
    "probabilities of the default image": lambda models: base_probability(models.rows),
    "mean and variance of `change`": lambda models: mean_and_variance(models.rows),
}
"""What a child could think of; rows that no detector may lose to."""

FOLDS = 4


@dataclass(frozen=True)
class Judged:
    """What one fitted detector or baseline says.

    Attributes
    ----------
    threshold : float
        The best on held-out scores of the training models.
    scores : mapping of str to array
        Of models that did not train, by what they are called: "clean", "virus", "stamped_virus", ...; and of
        "stamped_vaccine" models, held-out ones where these trained.
    held_out_clean, held_out_vaccine : array
        Held-out scores of the models that trained, without (stamped ones too) and with a backdoor.
    """

    threshold: float
    scores: Mapping[str, Scores]
    held_out_clean: Scores = field(default_factory=lambda: NONE)
    held_out_vaccine: Scores = field(default_factory=lambda: NONE)

    def of(self, kind: str) -> Scores:
        """Scores of one kind; empty where there are no such models."""
        return self.scores.get(kind, NONE)

    @property
    def strict_threshold(self) -> float:
        """The threshold, raised where needed so that at most `TOLERATED` of "stamped_vaccine" models are flagged."""
        stamped = self.of("stamped_vaccine")
        if not len(stamped):
            return self.threshold
        highest_unflagged = np.sort(stamped)[-1 - int(TOLERATED * len(stamped))]
        return max(self.threshold, float(np.nextafter(highest_unflagged, np.inf)))

    def evaluation(self, threshold: float | None = None, trojaned: str = "virus") -> Evaluation:
        """Trojaned against clean models, at the threshold unless another is given."""
        clean, others = self.of("clean"), self.of(trojaned)
        labels = np.repeat([0, 1], [len(clean), len(others)])
        at = self.threshold if threshold is None else threshold
        known = self.held_out_clean, self.held_out_vaccine
        return evaluate_scores(np.r_[clean, others], labels, at, known=known)

    def calibrated(self, count: int) -> Evaluation | None:
        """The same without the first `count` clean models, whose highest score the threshold is.

        None where so few clean models are left that there is nothing to say.
        """
        clean = self.of("clean")
        if len(clean) <= count:
            return None
        highest = float(np.nextafter(clean[:count].max(), np.inf))
        return replace(self, scores={**self.scores, "clean": clean[count:]}).evaluation(highest)

    def flagged(self, kind: str, threshold: float | None = None) -> Estimate | None:
        """Share of models of a kind at or above the threshold, or another; None where there are no models."""
        scores = self.of(kind)
        found = scores >= (self.threshold if threshold is None else threshold)
        return clopper_pearson(int(found.sum()), len(scores)) if len(scores) else None


@dataclass(frozen=True)
class Job:
    """What is to be fitted, and what is to be judged then.

    Attributes
    ----------
    method : Method
    seed : int
        Of the detector.
    training : Training
    tests : mapping of str to Models
        By what `Judged` calls their scores.
    about : tuple
        What else tells it from other jobs, for whoever tabulates them.
    pairs : int, optional
        Train on so many clean and vaccine models alone, drawn with the seed.
    groups : array of shape (N,), optional
        One per training model: the threshold is fixed by leaving out a group at a time.
    """

    method: Method
    seed: int
    training: Training
    tests: Mapping[str, Models]
    about: tuple[Any, ...] = ()
    pairs: int | None = None
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Row:
    """A job and what came of it."""

    job: Job
    judged: Judged

    @property
    def method(self) -> Method:
        """What judged."""
        return self.job.method

    @property
    def seed(self) -> int:
        """The detector's."""
        return self.job.seed


def judge_all(jobs: Sequence[Job], laboratory: Laboratory, label: str) -> list[Row]:
    """Do every job."""
    return [Row(job, judged) for job, judged in zip(jobs, laboratory.each(judge, jobs, label), strict=True)]


def judge(job: Job) -> Judged:
    """Fit a detector, or a baseline, and score everything that it did not train on."""
    training = job.training if job.pairs is None else job.training.drawn(job.pairs, job.seed)
    data = training.labelled(with_stamped=job.method.with_stamped)
    labels, decide, threshold, held_out = data.labels, *fitted_to(job, training, data)
    scores = {kind: decide(models) for kind, models in job.tests.items()}
    if training.stamped is not None:
        last = held_out[-len(training.stamped) :]
        scores["stamped_vaccine"] = last if job.method.with_stamped else decide(training.stamped)
    return Judged(threshold, scores, held_out[labels == 0], held_out[labels == 1])


def fitted_to(job: Job, training: Training, data: Any) -> tuple[Callable[[Models], Scores], float, Scores]:
    """What scores models, its threshold, and its held-out scores of the training models.

    A baseline is a logistic regression on simple numbers.
    """
    if job.method.parameters is not None:
        detector = fitted(job.method.parameters, data, training.settings, job.seed, job.groups)
        return lambda models: detector.decision_function(models.rows), detector.threshold_, detector.held_out_scores_
    features = BASELINES[job.method.name]
    numbers, labels = features(data.models), data.labels
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=job.seed)
    held_out = cross_val_predict(logistic_regression(), numbers, labels, cv=splitter, method="decision_function")
    model = logistic_regression().fit(numbers, labels)
    threshold = best_threshold(held_out[labels == 0], held_out[labels == 1])
    return lambda models: model.decision_function(features(models)), threshold, held_out


def grouped(rows: Iterable[One], key: Callable[[One], Key]) -> dict[Key, list[One]]:
    """Rows with the same key together, in their order."""
    groups: dict[Key, list[One]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


NUMBERS = {
    "detection rate": ("detection_rate", ".1%"),
    "AUROC": ("auroc", ".3f"),
    "cross-entropy": ("cross_entropy", ".3f"),
    "false alarms": ("false_positive_rate", ".1%"),
    "found": ("true_positive_rate", ".1%"),
}
"""What a table says of an evaluation, and how."""

RATES = ("detection rate", "AUROC", "cross-entropy", "false alarms")

CROSS_ENTROPY = (
    "Cross-entropy is that of the probabilities that held-out scores of the training models tell, in nats, both "
    f"labels weighing alike; {math.log(2):.3f} is that of a coin, and contests ask for {GOAL} or less."
)
"""What the column says, for the text above a table."""


def rates(results: Sequence[Evaluation], names: Sequence[str] = RATES) -> list[str]:
    """Cells of a table under these names: see `over_seeds`."""
    wanted = [NUMBERS[name] for name in names]
    return [over_seeds([getattr(result, number) for result in results], digits) for number, digits in wanted]


def over_seeds(estimates: Sequence[Estimate | None], digits: str = ".1%") -> str:
    """Mean over detector seeds, ± their standard deviation, and the first one's interval; "-" where there is none."""
    known = [estimate for estimate in estimates if estimate is not None]
    if not known:
        return "-"
    values, first = [estimate.value for estimate in known], known[0]
    spread = f" ± {np.std(values, ddof=1):{digits}}" if len(values) > 1 else ""
    return f"{np.mean(values):{digits}}{spread} [{first.low:{digits}}, {first.high:{digits}}]"
