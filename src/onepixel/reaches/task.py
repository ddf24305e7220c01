"""What every search is given: the images it may look at, the fresh ones that measure it, and whom to ask."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.classifiers import Classifier
from onepixel.reaches.asking import Questions
from onepixel.reaches.samples import SEARCHED, SampleImages
from onepixel.reaches.value import CAP, EVERY_SOURCE

SEEN_OF_ALL = 9
"""Images of all other classes together that a search for a change from all classes looks at."""

FRESH_OF_ALL = 27
"""Images of all other classes together that measure it."""

SKIMMED_TOGETHER = 30
"""Images that a first look is taken at, of all classes together: with many classes, fewer of each."""

MOST_TARGETS = 100
"""With more classes than this, targets are those that there are sample images of, as many as this at most."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """Images, classes and the classifier.

    Attributes
    ----------
    questions : Questions
    images : Tensor of shape (N, C, H, W), float32, on the CPU
    labels : array of shape (N,)
    seen, fresh : array
        Numbers of the images that a search may look at, and of those that measure what it found.
    sources, targets : array
        Class numbers.
    """

    questions: Questions
    images: Tensor
    labels: Numbers
    seen: Numbers
    fresh: Numbers
    sources: Numbers
    targets: Numbers

    @classmethod
    def of(cls, questions: Questions, samples: SampleImages, searched: int = SEARCHED) -> "Task":
        """Divide sample images into seen and fresh ones and say which classes take part."""
        seen, fresh = samples.split(searched)
        classes = questions.classifier.classes
        targets = np.arange(classes)
        if classes > MOST_TARGETS:
            targets = np.array(samples.classes[:MOST_TARGETS])
        return cls(
            questions,
            torch.as_tensor(samples.images),
            samples.labels,
            seen,
            fresh,
            np.array(samples.classes, dtype=np.int64),
            targets.astype(np.int64),
        )

    def skimmed(self, most: int = SKIMMED_TOGETHER) -> "Task":
        """The same with fewer images that a search may look at: with many classes, and at most so many of each."""
        each = max(1, min(most, SKIMMED_TOGETHER // len(self.sources)))
        labels = self.labels[self.seen]
        kept = [self.seen[labels == source][:each] for source in self.sources]
        return replace(self, seen=np.sort(np.concatenate(kept)))

    @property
    def classifier(self) -> Classifier:
        """Who is asked."""
        return self.questions.classifier

    @property
    def size(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.classifier.input_shape

    def members(self, source: int, target: int, *, fresh: bool) -> Numbers:
        """Numbers of the images of a source (-1: a few of every class but the target), seen or fresh ones."""
        numbers = self.fresh if fresh else self.seen
        labels = self.labels[numbers]
        if source != EVERY_SOURCE:
            return numbers[labels == source]
        return spread_over(numbers[labels != target], labels[labels != target], FRESH_OF_ALL if fresh else SEEN_OF_ALL)

    def members_of(self, sources: Numbers, targets: Numbers, *, fresh: bool) -> list[Numbers]:
        """`members` of many sources and targets; those of each pair are looked up once."""
        known: dict[tuple[int, int], Numbers] = {}
        found = []
        for pair in zip(sources.tolist(), targets.tolist(), strict=True):
            if pair not in known:
                known[pair] = self.members(*pair, fresh=fresh)
            found.append(known[pair])
        return found

    def pairs(self) -> list[tuple[int, int]]:
        """Every source (and -1 for all) with every other target, where there are both seen and fresh images."""
        rows = [EVERY_SOURCE, *(int(source) for source in self.sources)]
        found = [(source, int(target)) for source in rows for target in self.targets if source != target]
        return [pair for pair in found if all(len(self.members(*pair, fresh=fresh)) > 0 for fresh in (False, True))]


def capped(log_odds: Tensor) -> Tensor:
    """Log-odds kept inside the cap."""
    return log_odds.clamp(-CAP, CAP)


def spread_over(numbers: Numbers, labels: Numbers, most: int) -> Numbers:
    """At most so many of some images: the first of each class, then the second of each, and so on."""
    rank = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange(int((labels == label).sum()))
    return np.sort(numbers[np.argsort(rank, kind="stable")[:most]])
