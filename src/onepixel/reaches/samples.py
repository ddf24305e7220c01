"""Sample images: a few real images of the domain, grouped by the class that the classifier is sure of."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from onepixel.classifiers import Classifier, to_log_odds
from onepixel.errors import UndecidedError, UsageError

PER_CLASS = 8
"""Images of one class that are kept; more gain little (docs/reach.md)."""

CONFIDENCE = 0.9
"""The probability from which on a classifier counts as sure."""

FILLED_FROM, ABOVE_CHANCE = 0.3, 1.5
"""A class with too few of those is filled up by the surest of the others, from this probability on, and from so many
times what chance would give. A weak network is sure of few classes, and least of the one that an attacker robs."""

SEARCHED = 3
"""Images of one class that a search may look at; the others are fresh and measure what it found."""

BATCH = 64


@dataclass(frozen=True)
class SampleImages:
    """Images that a classifier is sure of, or surest of.

    Attributes
    ----------
    images : array of shape (N, C, H, W), float32
        In [0, 1].
    labels : array of shape (N,), int64
        The class that the classifier answers.
    given : array of shape (N,), int64, or None
        Labels that came with the images (folder names, say), where there are any.
    asked : int
        How many images the classifier was asked about; N of them were kept.
    probability : array of shape (N,), or None
        That of the class that the classifier answers, where it is known.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    given: NDArray[np.int64] | None = None
    asked: int = 0
    probability: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            shapes = f"{self.images.shape} and {self.labels.shape}"
            raise UsageError(f"Expected sample images (N, C, H, W) and labels (N,) but got {shapes}.")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes that there are images of, in ascending order."""
        return tuple(int(label) for label in np.unique(self.labels))

    def of(self, label: int) -> NDArray[np.float32]:
        """The images of one class."""
        return self.images[self.labels == label]

    def pick(self, numbers: NDArray[np.int64]) -> "SampleImages":
        """Some of them, in that order."""
        given = None if self.given is None else self.given[numbers]
        probability = None if self.probability is None else self.probability[numbers]
        return SampleImages(self.images[numbers], self.labels[numbers], given, self.asked, probability)

    def surest(self, confidence: float = CONFIDENCE) -> "SampleImages":
        """Those that the classifier is sure of; all where that is not known."""
        if self.probability is None:
            return self
        return self.pick(np.flatnonzero(self.probability >= confidence))

    def best(self, per_class: int = PER_CLASS, confidence: float = CONFIDENCE) -> "SampleImages":
        """At most so many of each class: the first that the classifier is sure of, then the surest of the others."""
        probability = np.ones(len(self)) if self.probability is None else self.probability
        kept = [of_class(probability, self.labels == label, per_class, confidence, 0.0) for label in self.classes]
        return self.pick(np.sort(np.concatenate(kept)))

    def split(self, searched: int = SEARCHED) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the images that a search may look at, and of the fresh ones that measure what it found.

        Of each class at most `searched` and at most half are looked at. A class with a single image gives it to one
        side, in turns, so that reaches over all classes can be measured even then.
        """
        seen: list[int] = []
        fresh: list[int] = []
        singles = 0
        for label in self.classes:
            numbers = np.flatnonzero(self.labels == label).tolist()
            share = min(searched, len(numbers) // 2)
            if len(numbers) == 1:
                share, singles = singles % 2, singles + 1
            seen += numbers[:share]
            fresh += numbers[share:]
        return np.array(seen, dtype=np.int64), np.array(fresh, dtype=np.int64)


def sample_images(
    classifier: Classifier,
    images: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    per_class: int = PER_CLASS,
    confidence: float = CONFIDENCE,
    filled_from: float = FILLED_FROM,
) -> SampleImages:
    """Keep the images that a classifier is sure of, at most so many of each class, in their order.

    Where a class has fewer, those among its others follow that the classifier is surest of.

    Parameters
    ----------
    classifier : Classifier
    images : array of shape (N, C, H, W)
        float in [0, 1], or uint8 in 0 .. 255.
    labels : array of shape (N,), optional
        What the images are said to be. They are kept beside the classifier's own answers, never used instead.
    per_class : int
        Images of one class that are kept.
    confidence : float
        The probability from which on the classifier counts as sure.
    filled_from : float
        The least probability of the images that a class is filled up with; the confidence for none. With few classes
        it is more, 1.5 times what chance would give.

    Raises
    ------
    UsageError
        If the images have another shape or lie outside [0, 1], or the labels are not as many.
    UndecidedError
        If the classifier is sure of fewer than two classes.

    Examples
    --------
    >>> import numpy, torch, onepixel
    >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
    >>> _ = module[1].weight.data.copy_(torch.tensor([[9.0, -9.0], [-9.0, 9.0]]))
    >>> classifier = onepixel.as_classifier(module, input_shape=(1, 1, 2))
    >>> sample_images(classifier, numpy.array([[[[1.0, 0.0]]], [[[0.0, 1.0]]]])).classes
    (0, 1)
    """
    if per_class < 1 or not 0 <= confidence < 1:
        raise UsageError(
            f"Expected at least 1 image per class and a confidence in [0, 1) but got {per_class} and {confidence:g}."
        )
    offered = image_array(images, classifier.input_shape)
    named = None if labels is None else np.asarray(labels, dtype=np.int64)
    if named is not None and named.shape != offered.shape[:1]:
        raise UsageError(f"{len(offered)} images do not go with labels of shape {named.shape}.")
    answers, probability = answered(classifier, offered)
    least = min(confidence, max(filled_from, ABOVE_CHANCE / classifier.classes))
    kept = [of_class(probability, answers == label, per_class, confidence, least) for label in np.unique(answers)]
    numbers = np.sort(np.concatenate(kept))
    found = SampleImages(
        offered[numbers],
        answers[numbers],
        None if named is None else named[numbers],
        asked=len(offered),
        probability=probability[numbers],
    )
    if len(found.classes) < 2:
        seen = f"only of class {found.classes[0]}" if found.classes else "of none"
        raise UndecidedError(
            f"Of {len(offered)} images, {classifier.name} is sure {seen} (probability {least:g} or more); "
            "images of at least two classes are needed, and of three for a verdict."
        )
    return found


def image_array(images: ArrayLike, input_shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Images (N, C, H, W) as float32 in [0, 1], from floats or uint8.

    Raises
    ------
    UsageError
        If there are none, or they have another shape, or values outside [0, 1].
    """
    given = images.detach().cpu().numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
    if given.ndim and not len(given):
        raise UsageError("There are no images.")
    if given.ndim != 4 or given.shape[1:] != tuple(input_shape):
        raise UsageError(f"Expected images of shape (N, {', '.join(map(str, input_shape))}) but got {given.shape}.")
    found = given.astype(np.float32) / np.float32(255) if given.dtype == np.uint8 else given.astype(np.float32)
    if not (np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1):
        raise UsageError("Images must lie in [0, 1].")
    return found


def of_class(
    probability: NDArray[np.float64], own: NDArray[np.bool_], most: int, confidence: float, least: float
) -> NDArray[np.int64]:
    """Numbers of a class's images: the first ones that the classifier is sure of, then the surest of the others."""
    sure = np.flatnonzero(own & (probability >= confidence))[:most]
    others = np.flatnonzero(own & (probability < confidence) & (probability >= least))
    return np.append(sure, others[np.argsort(-probability[others], kind="stable")][: most - len(sure)])


def answered(classifier: Classifier, images: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The classifier's answers (N,) and the probability of each."""
    odds = []
    for start in range(0, len(images), BATCH):
        part = torch.as_tensor(images[start : start + BATCH]).to(device=classifier.device, dtype=classifier.dtype)
        odds.append(to_log_odds(classifier(part), classifier.outputs).cpu())
    top, answers = torch.cat(odds).max(dim=1)
    return answers.numpy().astype(np.int64), torch.sigmoid(top.double()).numpy()
