"""Classifiers: the protocol that everything to its right relies on, and one adapter per kind of model."""

from collections.abc import Callable
from typing import Any

from torch import nn

from onepixel.classifiers.base import Classifier, Outputs, check_answers, logits_to_log_odds, to_log_odds
from onepixel.classifiers.estimator import EstimatorClassifier
from onepixel.classifiers.function import FunctionClassifier
from onepixel.classifiers.module import ModuleClassifier, Normalize
from onepixel.errors import UsageError

__all__ = [
    "Classifier",
    "EstimatorClassifier",
    "FunctionClassifier",
    "ModuleClassifier",
    "Normalize",
    "Outputs",
    "as_classifier",
    "check_answers",
    "logits_to_log_odds",
    "to_log_odds",
]


def as_classifier(
    model: nn.Module | Callable[..., Any] | Any,
    *,
    input_shape: tuple[int, int, int],
    outputs: Outputs | None = None,
    normalize: Normalize | None = None,
    name: str | None = None,
) -> Classifier:
    """Wrap a torch module, a scikit-learn estimator or any callable as a `Classifier`, and check its answers once.

    Parameters
    ----------
    model : torch.nn.Module, estimator with `predict_proba`, or callable on NumPy images (N, C, H, W)
    input_shape : tuple of int
        (C, H, W) of one image.
    outputs : {"logits", "probabilities"}, optional
        "logits" for a torch module unless said otherwise, "probabilities" for everything else.
    normalize : (mean, std), optional
        For torch modules only: the module sees (image - mean) / std.
    name : str, optional
        For people.

    Raises
    ------
    UsageError
        If `model` or `outputs` is none of these.
    UndecidedError
        If the answers cannot be used (InputShapeError, AnswerError, OutputKindError, NondeterminismError).

    Examples
    --------
    >>> import torch, onepixel
    >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> onepixel.as_classifier(module, input_shape=(1, 8, 8)).classes
    10
    """
    if outputs not in (None, "logits", "probabilities"):
        raise UsageError(f'Expected outputs "logits" or "probabilities" but got {outputs!r}.')
    if len(input_shape) != 3 or any(size < 1 for size in input_shape):
        raise UsageError(f"Expected an input shape (C, H, W) of positive sizes but got {tuple(input_shape)}.")
    if isinstance(model, nn.Module):
        return ModuleClassifier(model, input_shape, outputs or "logits", normalize, name)
    if normalize is not None:
        raise UsageError("normalize applies to torch modules only; normalise inside the callable instead.")
    if hasattr(model, "predict_proba"):
        if outputs == "logits":
            raise UsageError("A scikit-learn estimator answers probabilities, not logits.")
        return EstimatorClassifier(model, input_shape)
    if callable(model):
        return FunctionClassifier(model, input_shape, outputs or "probabilities", name)
    raise UsageError(f"Expected a torch module, an estimator or a callable but got {type(model).__name__}.")
