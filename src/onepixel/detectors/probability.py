"""The probability that a model is trojaned, from how its score lies among those of known models, and a prior.

Logistic regression on scores, both labels weighing alike (Platt 1999, with his targets, which keep the curve finite
where no scores overlap), gives how many times likelier a score is of a trojaned model than of a clean one; Bayes' rule
does the rest. It is fitted to scores that were left out when the detector was fitted: those of other folds, pools or
kinds. What is fewer than n models can tell is not claimed: the odds stay within n + 1.
"""

from collections.abc import Sequence
from math import exp, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onepixel.errors import UsageError

PRIOR = 0.5
"""The prior unless one is named: a model is as likely trojaned as not."""

STEPS = 100
"""Newton steps at most; ten are usual."""


def checked_prior(prior: float) -> float:
    """A share of trojaned models that is expected.

    Raises
    ------
    UsageError
        If it lies outside (0, 1).
    """
    if not 0 < prior < 1:
        raise UsageError(f"A prior lies above 0 and below 1 but got {prior:g}.")
    return prior


def moved(share: float, before: float, prior: float) -> float:
    """A probability that was told under the prior `before`, under another one.

    Raises
    ------
    UsageError
        If the prior lies outside (0, 1).
    """
    checked_prior(prior)
    return sigmoid(logit(share) - logit(before) + logit(prior))


def probability(score: float, clean: ArrayLike, trojaned: ArrayLike, prior: float = PRIOR) -> float | None:
    """The probability that a model with this score is trojaned.

    Parameters
    ----------
    score : float
    clean, trojaned : array-like of shape (N,), (M,)
        Left-out scores of known models.
    prior : float
        The share of trojaned models that is expected, in (0, 1).

    Returns
    -------
    float or None
        None where there are no known models of one label.

    Raises
    ------
    UsageError
        If the prior lies outside (0, 1).
    """
    found = probabilities([score], clean, trojaned, prior)
    return None if found is None else float(found[0])


def probabilities(
    scores: Sequence[float] | NDArray[np.float64], clean: ArrayLike, trojaned: ArrayLike, prior: float = PRIOR
) -> NDArray[np.float64] | None:
    """The same of several scores (N,) at once."""
    checked_prior(prior)
    negative, positive = np.asarray(clean, dtype=np.float64), np.asarray(trojaned, dtype=np.float64)
    if not len(negative) or not len(positive):
        return None
    slope, offset = logistic_curve(negative, positive)
    evidence = np.clip(
        slope * np.asarray(scores, dtype=np.float64) + offset, -log(len(negative) + 1), log(len(positive) + 1)
    )
    shares: NDArray[np.float64] = 1 / (1 + np.exp(-(evidence + logit(prior))))
    return shares


def logistic_curve(clean: NDArray[np.float64], trojaned: NDArray[np.float64]) -> tuple[float, float]:
    """Slope (at least 0) and offset of log-odds on scores, by Newton's method on Platt's targets; both labels weigh 1.

    Platt, "Probabilistic outputs for support vector machines" (1999), with the step control of Lin, Lin and Weng,
    "A note on Platt's probabilistic outputs" (2007).
    """
    scores = np.concatenate([clean, trojaned])
    center, spread = float(np.median(scores)), float(scores.std()) or 1.0
    x = (scores - center) / spread
    targets = np.r_[np.full(len(clean), 1 / (len(clean) + 2)), np.full(len(trojaned), 1 - 1 / (len(trojaned) + 2))]
    weights = np.r_[np.full(len(clean), 1 / len(clean)), np.full(len(trojaned), 1 / len(trojaned))]
    design = np.stack([x, np.ones_like(x)])

    def loss(found: NDArray[np.float64]) -> float:
        odds = found @ design
        return float((weights * (np.logaddexp(0, odds) - targets * odds)).sum())

    curve = np.zeros(2)
    for _ in range(STEPS):
        shares = 1 / (1 + np.exp(-np.clip(curve @ design, -500, 500)))
        gradient = design @ (weights * (shares - targets))
        if float(np.abs(gradient).max()) < 1e-9:
            break
        hessian = (design * (weights * shares * (1 - shares))) @ design.T + 1e-12 * np.eye(2)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while size > 1e-10 and loss(curve - size * step) > loss(curve) - 1e-4 * size * float(gradient @ step):
            size /= 2
        curve = curve - size * step
    slope = max(0.0, float(curve[0])) / spread  # a detector that errs backwards tells nothing
    return slope, (float(curve[1]) if slope else 0.0) - slope * center


def logit(share: float) -> float:
    """Log-odds of a share, kept finite."""
    kept = min(max(share, 1e-12), 1 - 1e-12)
    return log(kept) - log(1 - kept)


def sigmoid(odds: float) -> float:
    """The share of log-odds."""
    return 1 / (1 + exp(-odds))
