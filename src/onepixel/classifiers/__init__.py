"""Classifiers: the protocol that everything to its right relies on, and one adapter per kind of model."""

from collections.abc import Callable
from typing import Any

from torch import nn

from onepixel.classifiers.base import Classifier, Outputs, check_answers, logits_to_log_odds, to_log_odds
from onepixel.classifiers.estimator import EstimatorClassifier
from onepixel.classifiers.function import FunctionClassifier
from onepixel.classifiers.module import ModuleClassifier, Normalize
from onepixel.classifiers.wrappers import WRAPPERS
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
    input_shape: tuple[int, int, int] | None = None,
    outputs: Outputs | None = None,
    normalize: Normalize | None = None,
    name: str | None = None,
    **of_detector: Any,
) -> Classifier:
    """Wrap a torch module, a scikit-learn estimator or any callable as a `Classifier`, and check its answers once.

    Of torchvision's Faster R-CNN the box head is wrapped, as a classifier of regions behind RoI pooling.

    Parameters
    ----------
    model : torch.nn.Module, estimator with `predict_proba`, or callable on NumPy images (N, C, H, W)
    input_shape : tuple of int
        (C, H, W) of one image; not for a Faster R-CNN, which says it itself.
    outputs : {"logits", "probabilities"}, optional
        "logits" for a torch module unless said otherwise, "probabilities" for everything else.
    normalize : (mean, std), optional
        For torch modules only: the module sees (image - mean) / std.
    name : str, optional
        For people.
    **of_detector
        For a Faster R-CNN alone: `regions` and `channels`, as `onepixel.boxes.RegionClassifier` takes them.

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
    if is_detector(model):
        if (input_shape, outputs, normalize) != (None, None, None):
            raise UsageError("A Faster R-CNN says itself what its regions are; leave all but regions and channels out.")
        return WRAPPERS["regions"].wrap(model, name=name, **of_detector)
    if of_detector:
        raise UsageError(f"{', '.join(of_detector)}: only a Faster R-CNN takes this.")
    if input_shape is None:
        raise UsageError("Say the input shape (C, H, W) of one image.")
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


def is_detector(model: object) -> bool:
    """Whether a model is torchvision's Faster R-CNN; tells without importing torchvision's detectors."""
    name = "torchvision.models.detection.faster_rcnn"
    return any(kind.__module__ == name and kind.__name__ == "FasterRCNN" for kind in type(model).__mro__)
