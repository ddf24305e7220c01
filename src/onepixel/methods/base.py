"""What every compared method has in common: what it needs, what it answers, and how it gets at a network's gradient."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onepixel.classifiers import Classifier, ModuleClassifier
from onepixel.errors import UndecidedError, UsageError

MAD_TO_SIGMA = 1.4826
"""The median absolute deviation of a normal distribution times this is its standard deviation."""


@dataclass(frozen=True)
class Needs:
    """What a method asks of an auditor.

    Attributes
    ----------
    weights : bool
        Gradients or activations, so the network itself; else its answers are enough.
    images : int
        Clean images per class; 0 for none.
    shadows : bool
        Clean and trojaned networks that it is trained on first.
    """

    weights: bool
    images: int = 0
    shadows: bool = False

    def in_words(self) -> str:
        """Describe it for a table, such as "weights, 16 images per class"."""
        parts = ["weights" if self.weights else "answers"]
        parts += [f"{self.images} images per class"] if self.images else []
        parts += ["shadow networks"] if self.shadows else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Score:
    """What a method says of one network.

    Attributes
    ----------
    value : float
        Higher is more suspicious.
    flagged : bool or None
        The decision of the published rule; None where the paper has none.
    target_class : int or None
        The class that the backdoor leads to, where the method names one.
    class_scores : tuple of float
        The same per class, K numbers, where there is such a view; else empty.
    queries : int
        Images that the network was asked about, backward passes counted once more.
    seconds : float
        Wall time.
    """

    value: float
    flagged: bool | None
    target_class: int | None = None
    class_scores: tuple[float, ...] = ()
    queries: int = 0
    seconds: float = field(default=0.0, compare=False)


class Method(Protocol):
    """A way to judge one network."""

    @property
    def name(self) -> str:
        """What it is asked for by."""

    @property
    def title(self) -> str:
        """What its authors call it."""

    @property
    def paper(self) -> str:
        """Authors, title, venue."""

    @property
    def needs(self) -> Needs:
        """What it asks of an auditor."""

    def score(self, classifier: Classifier, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        """Judge a network with clean images (N, C, H, W) in [0, 1] and their classes (N,)."""


@runtime_checkable
class TrainedMethod(Method, Protocol):
    """A method that is trained on shadow networks before it judges any."""

    def fit(self, classifiers: Sequence[Classifier], labels: Sequence[int]) -> "TrainedMethod":
        """Train on networks of which label 1 says trojaned and 0 clean; returns itself."""


class Network:
    """The differentiable inside of a classifier, which counts what it is asked.

    Parameters
    ----------
    classifier : Classifier

    Raises
    ------
    UndecidedError
        If the classifier is no torch module, or only answers through one.
    """

    def __init__(self, classifier: Classifier) -> None:
        if not isinstance(classifier, ModuleClassifier) or classifier.stands_in:
            raise UndecidedError("This method needs the weights of a PyTorch network; here there are only answers.")
        self.classifier = classifier
        self.module: nn.Module = classifier.module
        self.classes = classifier.classes
        self.device, self.dtype = classifier.device, classifier.dtype
        self.queries = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (N, K), differentiable in the images (N, C, H, W) in [0, 1]."""
        self.queries += len(images) * (2 if torch.is_grad_enabled() else 1)
        answers: Tensor = self.module(self.classifier.prepare(images))
        if self.classifier.outputs == "probabilities":
            answers = answers.clamp(min=1e-12).log()
        return answers

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold the module in eval mode and its weights fixed meanwhile; everything is restored afterwards.

        Filters lie in memory channels last meanwhile, with which a processor is half as fast again.
        """
        modes = [(part, part.training) for part in self.module.modules()]
        wanted = [(weight, weight.requires_grad, weight.data) for weight in self.module.parameters()]
        try:
            self.module.eval()
            for weight, _, numbers in wanted:
                weight.requires_grad_(False)
                if numbers.ndim == 4:
                    weight.data = numbers.contiguous(memory_format=torch.channels_last)
            yield
        finally:
            for part, training in modes:
                part.training = training
            for weight, needed, numbers in wanted:
                weight.data = numbers
                weight.requires_grad_(needed)

    def tensor(self, images: NDArray[np.float32]) -> Tensor:
        """Images as the module wants them."""
        return torch.as_tensor(images).to(device=self.device, dtype=self.dtype)


def anomaly_index(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many robust standard deviations each of K numbers lies below their median (positive: below).

    Neural Cleanse, section IV-C: the deviation from the median over 1.4826 times the median absolute deviation.
    """
    median = np.median(sizes)
    spread = MAD_TO_SIGMA * np.median(np.abs(sizes - median))
    return np.asarray((median - sizes) / max(float(spread), 1e-12))


def smallest_is_suspicious(sizes: NDArray[np.float64], threshold: float, queries: int, seconds: float) -> Score:
    """The score of a method that rebuilds one trigger per class: the anomaly index of the smallest of K sizes."""
    index = anomaly_index(sizes)
    target = int(index.argmax())
    flagged = bool(index[target] > threshold)
    return Score(float(index[target]), flagged, target, tuple(map(float, index)), queries, seconds)


def check_images(images: NDArray[np.float32], labels: NDArray[np.int64], per_class: int, name: str) -> None:
    """Refuse too few images, or labels that do not belong to them.

    Raises
    ------
    UsageError
        If images (N, C, H, W) and labels (N,) differ in number.
    UndecidedError
        If there are fewer than two images where some are needed.
    """
    if len(images) != len(labels):
        raise UsageError(f"There are {len(images)} images but {len(labels)} labels.")
    if per_class and len(images) < 2:
        raise UndecidedError(f"{name} needs clean images, at best {per_class} per class.")


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self.start


def cross_entropy_per_trigger(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of each trigger: logits (T, B, K) for T triggers on B images, targets (T,); returns (T,)."""
    triggers, images, classes = logits.shape
    wanted = targets[:, None].expand(triggers, images)
    losses = nn.functional.cross_entropy(logits.reshape(-1, classes), wanted.reshape(-1), reduction="none")
    return losses.reshape(triggers, images).mean(1)
