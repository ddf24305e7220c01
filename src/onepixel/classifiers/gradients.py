"""Gradients of log-odds to images: of a torch module in this process, or of one that answers from elsewhere."""

from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor

from onepixel.classifiers.base import PROBABILITY_FLOOR, Classifier, logits_to_log_odds, probe_images, to_log_odds
from onepixel.classifiers.module import ModuleClassifier, full_precision


class Elsewhere(Protocol):
    """A classifier whose module is somewhere else, and which tells gradients."""

    def gradients(self, images: Tensor, weights: Tensor) -> Tensor:
        """Gradients (N, C, H, W) of the sum of log-odds (N, K) times weights (N, K)."""


def gives_gradients(classifier: Classifier) -> bool:
    """Whether a gradient search can look inside a classifier."""
    return isinstance(classifier, ModuleClassifier) or is_elsewhere(classifier)


def is_elsewhere(classifier: object) -> "TypeGuard[Elsewhere]":
    """Whether a classifier's module is somewhere else, and gradients come from there."""
    return bool(getattr(classifier, "gives_gradients", False))


class GradientMode:
    """Holds a module in eval mode, with gradients to its input alone, and puts everything back.

    A module elsewhere is held there.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.module = classifier.module if isinstance(classifier, ModuleClassifier) else torch.nn.Module()
        self.precision = full_precision(classifier.device)

    def __enter__(self) -> None:
        self.training = [part for part in self.module.modules() if part.training]
        self.learning = [part for part in self.module.parameters() if part.requires_grad]
        if self.training:  # exported programs know no modes, and refuse to be asked
            self.module.eval()
        for parameter in self.learning:
            parameter.requires_grad_(False)
        self.precision.__enter__()

    def __exit__(self, *error: object) -> None:
        self.precision.__exit__(None, None, None)
        for parameter in self.learning:
            parameter.requires_grad_(True)
        for part in self.training:
            part.training = True


def differentiable_log_odds(classifier: Classifier, images: Tensor) -> Tensor:
    """Log-odds (N, K) of images (N, C, H, W) with gradients to the images, inside a `GradientMode`."""
    if not isinstance(classifier, ModuleClassifier):
        odds: Tensor = Asked.apply(classifier, images)
        return odds
    placed = images.to(device=classifier.device, dtype=classifier.dtype)
    answers = classifier.module(classifier.prepare(placed))
    if classifier.outputs == "logits":
        return logits_to_log_odds(answers).float().cpu()
    p = answers.double().clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return (torch.log(p) - torch.log1p(-p)).float().cpu()


class Asked(torch.autograd.Function):
    """Log-odds that are asked for, forwards and backwards."""

    @staticmethod
    def forward(context: Any, classifier: Any, images: Tensor) -> Tensor:
        """Log-odds (N, K)."""
        context.classifier = classifier
        context.save_for_backward(images.detach())
        return to_log_odds(classifier(images.detach()), classifier.outputs).float()

    @staticmethod
    def backward(context: Any, *weights: Tensor) -> tuple[None, Tensor]:
        """Gradients (N, C, H, W)."""
        (images,) = context.saved_tensors
        return None, context.classifier.gradients(images, weights[0])


def weighted_gradients(classifier: Classifier, images: Tensor, weights: Tensor) -> Tensor:
    """Gradients (N, C, H, W) of the sum of log-odds times weights (N, K)."""
    with GradientMode(classifier):
        placed = images.clone().requires_grad_(True)
        (found,) = torch.autograd.grad((differentiable_log_odds(classifier, placed) * weights).sum(), placed)
    return found


def has_gradients(classifier: Classifier) -> bool:
    """Whether a classifier's module is one that gradients go through; tried on the probe images."""
    if not isinstance(classifier, ModuleClassifier):
        return False
    images = probe_images(classifier.input_shape, torch.float32, torch.device("cpu"))
    try:
        found = weighted_gradients(classifier, images, torch.ones(len(images), classifier.classes))
    except Exception:  # a program may compute in any way, with or without gradients
        return False
    return bool(torch.isfinite(found).all())
