"""Fit one detector or baseline on the training side and collect what it says of everything else."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from onepixel.detectors import Evaluation, evaluate_scores
from onepixel.detectors.baselines import base_probability, logistic_regression, mean_and_variance, test_accuracy
from onepixel.detectors.metrics import Estimate, best_threshold, clopper_pearson
from onepixel.experiments.choices import Parameters
from onepixel.experiments.fitting import fitted
from onepixel.experiments.models import Models, Training, Unseen

Scores = NDArray[np.float64]

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
    clean, virus : array
        Scores of unseen models.
    stamped_vaccine : array
        Scores of models stamped with vaccine patterns: held-out ones where they trained, else those of the fitted
        detector; empty where there are none.
    stamped_virus : array
        Likewise, of models stamped with virus patterns, which never train.
    stamped_all_classes : array
        Likewise, of models that saw stamped images of every class, which never train.
    held_out_clean, held_out_vaccine : array
        Held-out scores of the models that trained, without (stamped ones too) and with a backdoor.
    """

    threshold: float
    clean: Scores
    virus: Scores
    stamped_vaccine: Scores = field(default_factory=lambda: NONE)
    stamped_virus: Scores = field(default_factory=lambda: NONE)
    stamped_all_classes: Scores = field(default_factory=lambda: NONE)
    held_out_clean: Scores = field(default_factory=lambda: NONE)
    held_out_vaccine: Scores = field(default_factory=lambda: NONE)

    @property
    def strict_threshold(self) -> float:
        """The threshold, raised where that is needed so that at most `TOLERATED` of `stamped_vaccine` are flagged."""
        if not len(self.stamped_vaccine):
            return self.threshold
        tolerated = int(TOLERATED * len(self.stamped_vaccine))
        highest_unflagged = np.sort(self.stamped_vaccine)[-1 - tolerated]
        return max(self.threshold, float(np.nextafter(highest_unflagged, np.inf)))

    def evaluation(self, threshold: float | None = None) -> Evaluation:
        """Virus against clean models, at the threshold unless another is given."""
        labels = np.r_[np.zeros(len(self.clean), np.int64), np.ones(len(self.virus), np.int64)]
        found = self.threshold if threshold is None else threshold
        return evaluate_scores(np.r_[self.clean, self.virus], labels, found)

    def calibrated(self, count: int) -> Evaluation | None:
        """The same without the first `count` clean models, whose highest score the threshold is.

        None where so few clean models are left that there is nothing to say.
        """
        if len(self.clean) <= count:
            return None
        highest = float(np.nextafter(self.clean[:count].max(), np.inf))
        return replace(self, clean=self.clean[count:]).evaluation(highest)


def flagged(scores: Scores, threshold: float) -> Estimate | None:
    """Share of models at or above a threshold; None where there are no models."""
    return clopper_pearson(int((scores >= threshold).sum()), len(scores)) if len(scores) else None


@dataclass(frozen=True)
class Job:
    """What is to be fitted: a detector with these parameters, or, without any, the baseline of this name.

    Where `groups` are given, one per training model, a detector's threshold is fixed by leaving out a group at a time.
    """

    name: str
    parameters: Parameters | None
    training: Training
    unseen: Unseen
    with_stamped: bool
    seed: int
    groups: NDArray[np.int64] | None = None


def judge(job: Job) -> Judged:
    """Fit a detector, or a baseline, and score everything that it did not train on."""
    return judge_by_baseline(job) if job.parameters is None else judge_by_detector(job)


def judge_by_detector(job: Job) -> Judged:
    """Fit a detector; see `Judged`."""
    training = job.training.labelled(with_stamped=job.with_stamped)
    detector = fitted(job.parameters or {}, training, job.training.settings, job.seed, job.groups)
    threshold, held_out = detector.threshold_, detector.held_out_scores_
    return judged_by(job, detector.decision_function, lambda models: models.rows, threshold, held_out, training.labels)


def judge_by_baseline(job: Job) -> Judged:
    """Fit a logistic regression on simple numbers; see `Judged`."""
    features = BASELINES[job.name]
    training = job.training.labelled(with_stamped=job.with_stamped)
    numbers, labels = features(training.models), training.labels
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=job.seed)
    method = "decision_function"
    held_out = cross_val_predict(logistic_regression(), numbers, labels, cv=splitter, method=method)
    model = logistic_regression().fit(numbers, labels)

    threshold = best_threshold(held_out[labels == 0], held_out[labels == 1])
    return judged_by(job, model.decision_function, features, threshold, held_out, labels)


def judged_by(
    job: Job,
    decide: Callable[[Any], Scores],
    look: Callable[[Models], NDArray[Any]],
    threshold: float,
    held_out: Scores,
    labels: NDArray[np.int64],
) -> Judged:
    """Score everything that did not train; stamped models, which stand last where they trained, by held-out scores."""

    def scores(models: Models | None) -> Scores:
        return NONE if models is None else decide(look(models))

    stamped = job.training.stamped
    return Judged(
        threshold=threshold,
        clean=scores(job.unseen.clean),
        virus=scores(job.unseen.virus),
        stamped_vaccine=held_out[-len(stamped) :] if job.with_stamped and stamped is not None else scores(stamped),
        stamped_virus=scores(job.unseen.stamped),
        stamped_all_classes=scores(job.unseen.stamped_all_classes),
        held_out_clean=held_out[labels == 0],
        held_out_vaccine=held_out[labels == 1],
    )


def rates(evaluations: list[Evaluation]) -> list[str]:
    """Cells of a table over seeds: detection rate and AUROC, each with the first seed's interval, and false alarms."""
    first = evaluations[0]
    found: dict[str, NDArray[Any]] = {
        name: np.array([getattr(evaluation, name).value for evaluation in evaluations])
        for name in ("detection_rate", "auroc", "false_positive_rate")
    }
    several = len(evaluations) > 1
    detection, area = found["detection_rate"], found["auroc"]
    return [
        f"{detection.mean():.1%}" + (f" ± {detection.std(ddof=1):.1%}" if several else ""),
        f"{first.detection_rate.low:.1%} to {first.detection_rate.high:.1%}",
        f"{area.mean():.3f}" + (f" ± {area.std(ddof=1):.3f}" if several else ""),
        f"{first.auroc.low:.3f} to {first.auroc.high:.3f}",
        f"{found['false_positive_rate'].mean():.1%}",
    ]


RATES = ["detection rate", "95 %", "AUROC", "95 %", "false alarms"]
"""The head of the cells that `rates` makes."""


def mean_share(shares: list[Estimate | None]) -> str:
    """Mean of shares over seeds with the first one's interval; "-" where there are none."""
    known = [share for share in shares if share is not None]
    if not known:
        return "-"
    return f"{np.mean([share.value for share in known]):.1%} ({known[0].low:.0%} to {known[0].high:.0%})"
