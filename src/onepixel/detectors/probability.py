"""The probability that a model is trojaned, from how its score lies among those of known models, and a prior.

Bayes' rule with a density of scores for either kind: a Gaussian kernel on each cross-validated score, none of whose
models the scoring network saw, with a share of 1 / (n + 1) spread widely, so that a score beyond all others decides no
more than n models can tell.
"""

from collections.abc import Sequence

import numpy as np

from onepixel.detectors.verdict import Verdict
from onepixel.errors import DetectorError

WIDE = 10.0
"""How many standard deviations of all scores the widely spread share reaches."""


def probability_of(verdict: Verdict, prior: float = 0.5) -> float:
    """The probability that the judged model is trojaned.

    Parameters
    ----------
    verdict : Verdict
        Its own probability is moved to this prior if it has one; else it is made from the scores it carries.
    prior : float
        The share of trojaned models that is expected, in (0, 1).

    Raises
    ------
    DetectorError
        If the verdict carries no scores of known models.
    """
    if verdict.probability is not None and verdict.prior is not None:
        share = min(max(verdict.probability, 1e-9), 1 - 1e-9)
        odds = share / (1 - share) * (1 - verdict.prior) / verdict.prior
    else:
        if not verdict.clean_scores or not verdict.trojaned_scores:
            raise DetectorError("The verdict carries no scores of known models to make a probability of.")
        odds = evidence(verdict.score, verdict.clean_scores, verdict.trojaned_scores)
    odds *= prior / (1 - prior)
    return odds / (1 + odds)


def evidence(score: float, clean: Sequence[float], trojaned: Sequence[float]) -> float:
    """How many times likelier the score is of a trojaned model than of a clean one."""
    spread = float(np.std([*clean, *trojaned])) or 1.0
    center = float(np.mean([*clean, *trojaned]))
    ratio = density(score, trojaned, center, spread) / density(score, clean, center, spread)
    return min(max(ratio, 1 / (len(clean) + 1)), len(trojaned) + 1.0)


def density(score: float, known: Sequence[float], center: float, spread: float) -> float:
    """A kernel density of scores (Silverman's rule), with its widely spread share."""
    scores = np.asarray(known)
    width = max(1.06 * float(scores.std()) * len(scores) ** -0.2, 1e-3 * spread)
    narrow = np.exp(-0.5 * ((score - scores) / width) ** 2).mean() / width
    broad = np.exp(-0.5 * ((score - center) / (WIDE * spread)) ** 2) / (WIDE * spread)
    share = 1 / (len(scores) + 1)
    return float((1 - share) * narrow + share * broad)
