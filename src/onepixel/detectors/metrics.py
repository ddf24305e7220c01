"""How well a detector does, with intervals: the papers' "plus or minus" is undefined, so ours are spelled out."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from onepixel.detectors.probability import probabilities
from onepixel.errors import UsageError

Scores = NDArray[np.float64]
CONFIDENCE = 0.95
RESAMPLES = 2000
GOAL = 0.3465
"""The cross-entropy in nats, half of that of a coin, from which on a contest (NIST TrojAI) counts a detector."""


@dataclass(frozen=True)
class Estimate:
    """A number, most often a share in [0, 1], with a 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


@dataclass(frozen=True)
class Evaluation:
    """How a detector did on labelled models at its threshold.

    Attributes
    ----------
    detection_rate : Estimate
        Balanced accuracy; interval by stratified bootstrap over models.
    auroc : Estimate
        Interval likewise.
    true_positive_rate, false_positive_rate : Estimate
        Clopper-Pearson intervals.
    cross_entropy : Estimate or None
        Of the probabilities that scores of known models make of these, in nats; ln 2 for who knows nothing. None where
        no known scores were given.
    clean, trojaned : int
        How many models of each kind.
    """

    detection_rate: Estimate
    auroc: Estimate
    true_positive_rate: Estimate
    false_positive_rate: Estimate
    clean: int
    trojaned: int
    cross_entropy: Estimate | None = None


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> Estimate:
    """Exact binomial interval of a rate.

    Raises
    ------
    UsageError
        If there are no trials, or more hits than trials.
    """
    if not 0 <= hits <= trials or trials < 1:
        raise UsageError(f"No rate can be made of {hits} hits in {trials} trials.")
    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return Estimate(hits / trials, low, high)


def share_of(flags: Iterable[object]) -> Estimate:
    """The share of what is true, with its exact interval.

    Raises
    ------
    UsageError
        If there is nothing.
    """
    found = [bool(flag) for flag in flags]
    return clopper_pearson(sum(found), len(found))


def bootstrap_mean(values: Scores, seed: int = 0) -> Estimate:
    """The mean of values in [0, 1], with a bootstrap interval over them.

    Raises
    ------
    UsageError
        If there are none.
    """
    if not len(values):
        raise UsageError("No mean can be made of no values.")
    resampled = np.random.default_rng(seed).choice(values, (RESAMPLES, len(values))).mean(axis=1)
    return _bootstrap(float(values.mean()), resampled)


def balanced_accuracy(clean: Scores, trojaned: Scores, threshold: float) -> float:
    """Mean of the share of clean scores below the threshold and of trojaned scores at or above it."""
    return float(((clean < threshold).mean() + (trojaned >= threshold).mean()) / 2)


def auroc(clean: Scores, trojaned: Scores) -> float:
    """Probability that a trojaned model scores above a clean one, ties counting half."""
    from sklearn.metrics import roc_auc_score

    labels = np.r_[np.zeros(len(clean)), np.ones(len(trojaned))]
    return float(roc_auc_score(labels, np.r_[clean, trojaned]))


def best_threshold(clean: Scores, trojaned: Scores) -> float:
    """The threshold with the highest balanced accuracy: the middle of the widest gap among equally good ones."""
    scores = np.unique(np.r_[clean, trojaned])
    if len(scores) == 1:
        return float(scores[0])
    middles = (scores[1:] + scores[:-1]) / 2
    middles = np.where(middles > scores[:-1], middles, scores[1:])  # between neighbouring floats there is no middle
    accuracies = np.array([balanced_accuracy(clean, trojaned, middle) for middle in middles])
    gaps = np.where(accuracies >= accuracies.max() - 1e-12, scores[1:] - scores[:-1], 0)
    return float(middles[gaps.argmax()])


def surprises(shares: Scores) -> Scores:
    """Minus the logarithms, in nats, of the probabilities that were given to what is true."""
    return -np.log(np.clip(shares, 1e-12, 1))


def cross_entropy(clean: Scores, trojaned: Scores) -> float:
    """Cross-entropy in nats of the probabilities of being trojaned, told of clean and of trojaned models.

    Both labels weigh alike, whatever their numbers; 0 is best, ln 2 = 0.693 is that of one half for every model.
    """
    return float((surprises(1 - clean).mean() + surprises(trojaned).mean()) / 2)


def balanced_rate(alarms: Estimate, found: Estimate) -> Estimate:
    """Mean of the shares of clean models let pass and of trojaned ones found.

    The interval goes to both ends of the two shares' own, which is cautious.
    """
    return Estimate(
        (1 - alarms.value + found.value) / 2, (1 - alarms.high + found.low) / 2, (1 - alarms.low + found.high) / 2
    )


def evaluate_scores(
    scores: Scores,
    labels: NDArray[np.int64],
    threshold: float,
    seed: int = 0,
    known: tuple[Scores, Scores] | None = None,
) -> Evaluation:
    """Evaluate scores (N,) of models with labels (N,), 0 clean and 1 trojaned, at a threshold fixed beforehand.

    Parameters
    ----------
    scores : array of shape (N,)
    labels : array of shape (N,)
    threshold : float
    seed : int
        Of the bootstrap.
    known : (clean, trojaned), optional
        Scores of other models, which no network saw that made them, for probabilities and their cross-entropy.

    Raises
    ------
    UsageError
        If one of the two kinds is missing.
    """
    clean, trojaned = scores[labels == 0], scores[labels == 1]
    if not len(clean) or not len(trojaned):
        raise UsageError("An evaluation needs clean and trojaned models.")
    rng = np.random.default_rng(seed)
    # How often each model is drawn says all about a resample, so that both numbers are matrix products.
    negative, positive = (
        rng.multinomial(len(kind), np.full(len(kind), 1 / len(kind)), RESAMPLES).astype(np.float64)
        for kind in (clean, trojaned)
    )
    below, reached = negative @ (clean < threshold), positive @ (trojaned >= threshold)
    rates = (below / len(clean) + reached / len(trojaned)) / 2
    above = (trojaned > clean[:, None]) + 0.5 * (trojaned == clean[:, None])
    areas = ((negative @ above) * positive).sum(axis=1) / (len(clean) * len(trojaned))
    told = None if known is None else probabilities(np.r_[clean, trojaned], *known)
    surprise = None
    if told is not None:
        of_clean, of_trojaned = surprises(1 - told[: len(clean)]), surprises(told[len(clean) :])
        resampled = (negative @ of_clean / len(clean) + positive @ of_trojaned / len(trojaned)) / 2
        surprise = _bootstrap(float((of_clean.mean() + of_trojaned.mean()) / 2), resampled)
    return Evaluation(
        detection_rate=_bootstrap(balanced_accuracy(clean, trojaned, threshold), rates),
        auroc=_bootstrap(auroc(clean, trojaned), areas),
        true_positive_rate=clopper_pearson(int((trojaned >= threshold).sum()), len(trojaned)),
        false_positive_rate=clopper_pearson(int((clean >= threshold).sum()), len(clean)),
        clean=len(clean),
        trojaned=len(trojaned),
        cross_entropy=surprise,
    )


def fast_auroc(clean: Scores, trojaned: Scores) -> float:
    """`auroc` by counting, without scikit-learn's overhead."""
    ordered = np.sort(clean)
    below = np.searchsorted(ordered, trojaned, "left")
    up_to = np.searchsorted(ordered, trojaned, "right")
    return float((below + up_to).mean() / (2 * len(clean)))


def _bootstrap(value: float, resampled: Scores) -> Estimate:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Estimate(value, float(low), float(high))
