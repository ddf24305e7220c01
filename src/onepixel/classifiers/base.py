"""The `Classifier` protocol, its log-odds (the unit of every signature), and the one-time check of its answers."""

import math
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.errors import AnswerError, InputShapeError, NondeterminismError, OnepixelError, OutputKindError

Outputs = Literal["logits", "probabilities"]

PROBABILITY_FLOOR = 1e-7
"""Probabilities are kept inside [floor, 1 - floor] before they become log-odds."""


class Classifier(Protocol):
    """Anything that maps images to one distribution over K classes each."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""

    @property
    def outputs(self) -> Outputs:
        """What the answers are."""

    @property
    def classes(self) -> int:
        """K, at least 2."""

    @property
    def device(self) -> torch.device:
        """Where images have to be."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating type that images have to have."""

    @property
    def name(self) -> str:
        """What this classifier is, for people."""

    def __call__(self, images: Tensor) -> Tensor:
        """Answer images (N, C, H, W) in [0, 1] with (N, K) logits or probabilities."""


def logits_to_log_odds(logits: Tensor) -> Tensor:
    """Log-odds of every class: z_k minus the logsumexp of the other logits, exact also where a class saturates.

    Parameters
    ----------
    logits : Tensor of shape (N, K)

    Returns
    -------
    Tensor of shape (N, K)
    """
    # One row for each class: sums and maxima over rows run along memory, several times as fast as along the classes.
    z = logits.T.contiguous()
    largest, top = z.max(dim=0, keepdim=True)
    others = z.scatter(0, top, float("-inf"))
    second = others.amax(dim=0, keepdim=True).clamp(min=torch.finfo(z.dtype).min)
    shares = torch.exp(others - second)
    total = shares.sum(dim=0, keepdim=True)
    # A class that is not the largest stands against the largest and the others; nothing is lost where it saturates.
    rest_odds = (z - largest) - torch.log1p((total - shares) * torch.exp(second - largest))
    top_odds = (largest - second) - torch.log(total)
    return rest_odds.scatter(0, top, top_odds).T.contiguous()


def floored(odds: NDArray[Any]) -> NDArray[Any]:
    """Log-odds kept where those of probabilities end, so that they compare with such."""
    end = math.log1p(-PROBABILITY_FLOOR) - math.log(PROBABILITY_FLOOR)
    return np.clip(odds, -end, end)


def probabilities_to_log_odds(probabilities: Tensor) -> Tensor:
    """Log p - log(1 - p) in float64, with p kept inside [1e-7, 1 - 1e-7].

    Parameters
    ----------
    probabilities : Tensor of shape (N, K)

    Returns
    -------
    Tensor of shape (N, K), float64
    """
    p = probabilities.double().clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return torch.log(p) - torch.log1p(-p)


def to_log_odds(answers: Tensor, outputs: Outputs) -> Tensor:
    """Turn answers (N, K) of either kind into log-odds (N, K).

    Raises
    ------
    AnswerError
        If an answer is not finite, or is no distribution where it should be one.
    """
    if not bool(torch.isfinite(answers).all()):
        raise AnswerError("The classifier answered NaN or infinity.")
    if outputs == "logits":
        return logits_to_log_odds(answers)
    if not looks_like_distribution(answers):
        raise OutputKindError(
            "The classifier's answers are no probabilities (each row must lie in [0, 1] and sum to 1); "
            'if they are logits, say outputs="logits".'
        )
    return probabilities_to_log_odds(answers)


def looks_like_distribution(answers: Tensor, tolerance: float = 1e-3) -> bool:
    """Whether every row of (N, K) answers lies in [0, 1] and sums to 1 within the tolerance."""
    within = bool((answers >= -tolerance).all()) and bool((answers <= 1 + tolerance).all())
    return within and bool(((answers.sum(dim=1) - 1).abs() <= tolerance).all())


def probe_images(input_shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Four fixed images (4, C, H, W): black, white, and two of uniform noise."""
    noise = torch.rand((2, *input_shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images = torch.cat([torch.zeros(1, *input_shape), torch.ones(1, *input_shape), noise])
    return images.to(device=device, dtype=dtype)


def check_answers(classifier: Classifier) -> int:
    """Ask nine images once and return K; every way in which the answers are unusable is its own error.

    Checked are the shape (N, K) with K >= 2, finiteness, that the answers are of the kind that `outputs` says,
    and that an image gets the same answer twice and in another batch (float tolerance).

    Raises
    ------
    InputShapeError
        If the classifier fails on images of its `input_shape`.
    AnswerError, OutputKindError, NondeterminismError
        As their names say.
    """
    images = probe_images(classifier.input_shape, classifier.dtype, classifier.device)
    try:
        first = classifier(images)
    except OnepixelError:
        raise
    except Exception as error:
        shape = tuple(images.shape)
        reason = " ".join(str(error).split())[:200]
        raise InputShapeError(f"{classifier.name} does not accept images of shape {shape}: {reason}") from error
    if first.ndim != 2 or first.shape[0] != len(images):
        expected = f"({len(images)}, K)"
        raise AnswerError(f"{len(images)} images were answered in the shape {tuple(first.shape)}, not {expected}.")
    if first.shape[1] < 2:
        raise AnswerError(f"A classifier needs at least two classes; this one answers {first.shape[1]} number(s).")
    if not bool(torch.isfinite(first).all()):
        raise AnswerError(f"{classifier.name} answered NaN or infinity.")
    distribution = looks_like_distribution(first)
    if classifier.outputs == "probabilities" and not distribution:
        raise OutputKindError(
            "The answers are no probabilities (rows outside [0, 1] or not summing to 1); "
            'if they are logits, say outputs="logits".'
        )
    if classifier.outputs == "logits" and looks_like_distribution(first, 1e-5):
        raise OutputKindError('The answers are plainly probabilities, not logits; say outputs="probabilities".')
    again = classifier(images)
    alone = classifier(images[:1])
    tolerance = 1e-4 * (1 + float(first.abs().max()))
    difference = max(float((first - again).abs().max()), float((first[:1] - alone).abs().max()))
    if not difference <= tolerance:
        raise NondeterminismError(
            f"The classifier answers the same image differently (by {difference:.2g}); "
            "a signature of it would mean nothing."
        )
    return first.shape[1]
