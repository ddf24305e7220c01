"""Answers that an endpoint rounds or cuts off: noticed, said, and made distributions again."""

import numpy as np
from numpy.typing import NDArray

from onepixel.classifiers.base import Outputs
from onepixel.errors import AnswerError

MOST_DECIMALS = 6
LEAST_TELLING = 4


def distributions(answers: NDArray[np.float64], step: float, name: str) -> NDArray[np.float64]:
    """Probabilities (N, K) whose rows sum to 1 again where an endpoint's rounding in steps has spoiled that.

    Raises
    ------
    AnswerError
        If classes are left out (exact zeros, and rows that sum to less than 1): such answers are no distribution.
    """
    sums = answers.sum(axis=1, keepdims=True)
    short = (sums < 1 - max(1e-3, answers.shape[1] * step)) & (sums > 0)
    if (short & (answers >= 0).all(axis=1, keepdims=True) & (answers == 0).any(axis=1, keepdims=True)).any():
        raise AnswerError(
            f"{name} reports its highest classes only (the others are 0, and the rest does not sum to 1); "
            "a one-pixel signature needs one distribution over all K classes."
        )
    rounded = step > 0 and (np.abs(sums - 1) <= answers.shape[1] * step).all() and (answers >= 0).all()
    return answers / sums if rounded else answers


def coarseness(answers: NDArray[np.float64]) -> float:
    """The step of the coarsest decimal grid, from 0.1 to 0.000001, on which all answers lie; 0 if there is none."""
    telling = answers[(answers != 0) & (answers != 1)]
    if telling.size < LEAST_TELLING:
        return 0.0
    for decimals in range(1, MOST_DECIMALS + 1):
        scaled = telling * 10.0**decimals
        if (np.abs(scaled - np.rint(scaled)) <= 1e-6 * np.abs(scaled)).all():
            return float(10.0**-decimals)
    return 0.0


def notices(answers: NDArray[np.float64], step: float, outputs: Outputs) -> list[str]:
    """What is odd about an endpoint's first answers, as sentences for the verdict."""
    found = []
    if step:
        found.append(
            f"The endpoint rounds or cuts off its answers (steps of {step:g}); small changes are lost in that, and "
            "the signature is as coarse as they are."
        )
    zeros = float((answers == 0).mean())
    if outputs == "probabilities" and zeros > 0:
        found.append(f"{100 * zeros:.0f} % of the endpoint's first probabilities are exactly 0.")
    return found
