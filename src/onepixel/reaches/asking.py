"""Asking a classifier about changed images: in batches, in log-odds, within a budget that is never exceeded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue

import torch
from torch import Tensor

from onepixel.classifiers import Classifier, ModuleClassifier, to_log_odds
from onepixel.classifiers.base import probe_images
from onepixel.classifiers.gradients import differentiable_log_odds
from onepixel.errors import BudgetError, UsageError
from onepixel.reaches.copies import faster_copies
from onepixel.reaches.watching import Watch
from onepixel.threads import side_by_side

BATCH_BYTES = 3 * 2**18
"""Bytes of images in one batch: small batches stay in the caches of a core, and what a layer answers is no new memory
every time. It is 64 colour images of 32 x 32."""

GPU_BATCH_BYTES = 256 * 2**20

FEWEST, MOST = 8, 4096
"""Images of one batch."""

TURNS = 4
"""Batches of every core that are made before they are asked."""

AGREEMENT = 1e-3
"""Log-odds that another layout of the same images may differ by, relative to 1 and the largest of them."""

COPY_AGREEMENT = 1e-4
"""The same of a copy whose batch norm is part of its convolutions."""

Advance = Callable[[int], None]


def keep_still(count: int) -> None:
    """Show no progress."""


class Questions:
    """Counts what a classifier is asked, and asks no more than the budget.

    Parameters
    ----------
    classifier : Classifier
    budget : int, optional
        Images that may be asked at most; None for no limit.
    advance : callable, optional
        Called with the number of images just answered.

    Raises
    ------
    UsageError
        If the budget is below 1.
    """

    def __init__(self, classifier: Classifier, budget: int | None = None, advance: Advance = keep_still) -> None:
        if budget is not None and budget < 1:
            raise UsageError(f"A budget of queries is at least 1 but got {budget}.")
        self.classifier = classifier
        self.budget = budget
        self.advance = advance
        self.asked = 0
        self.reserved = 0
        """Queries kept back for later."""
        self.way = fastest_way(classifier)

    @property
    def left(self) -> int | None:
        """How many more may be asked; None for no limit."""
        return None if self.budget is None else max(0, self.budget - self.asked - self.reserved)

    def affords(self, images: int) -> bool:
        """Whether so many more may be asked."""
        return self.budget is None or self.asked + self.reserved + images <= self.budget

    @property
    def batch(self) -> int:
        """Images that are asked at once."""
        channels, height, width = self.classifier.input_shape
        most = BATCH_BYTES if self.classifier.device.type == "cpu" else GPU_BATCH_BYTES
        return max(FEWEST, min(MOST, most // (4 * channels * height * width)))

    @property
    def at_once(self) -> int:
        """Images that are worth asking together, so that every core has its batches."""
        return TURNS * self.batch * len(self.way.classifiers)

    def spend(self, images: int) -> None:
        """Count images as asked.

        Raises
        ------
        BudgetError
            If the budget does not hold so many more; none of them is asked then.
        """
        if not self.affords(images):
            raise BudgetError(
                f"The budget of {self.budget:,} queries does not suffice: {self.asked:,} were asked and "
                f"{images:,} more are needed."
            )
        self.asked += images

    def log_odds(self, images: Tensor) -> Tensor:
        """Log-odds (N, K) of images (N, C, H, W), in float32.

        Raises
        ------
        BudgetError
            If the budget does not hold all of them; none is asked then.
        AnswerError
            If an answer is NaN, infinite or no distribution.
        """
        self.spend(len(images))
        found = []
        for answers in self._answers(images):
            found.append(answers)
            self.advance(len(answers))
        return torch.cat(found) if found else torch.empty((0, self.classifier.classes))

    def differentiable_log_odds(self, images: Tensor) -> Tensor:
        """The same with gradients to the images, inside a `GradientMode`; the caller must `spend` what they cost."""
        return differentiable_log_odds(self.classifier, images.to(memory_format=self.way.layout))

    def _answers(self, images: Tensor) -> Iterator[Tensor]:
        """Log-odds of one batch after the other; each core takes the next, or an even part where they are few."""
        idle: SimpleQueue[Classifier] = SimpleQueue()
        for one in self.way.classifiers:
            idle.put(one)

        def answer(part: Tensor) -> Tensor:
            classifier = idle.get()
            try:
                placed = part.to(device=classifier.device, dtype=classifier.dtype, memory_format=self.way.layout)
                return to_log_odds(classifier(placed), classifier.outputs).float().cpu()
            finally:
                idle.put(classifier)

        cores = len(self.way.classifiers)
        size = max(FEWEST, min(self.batch, -(-len(images) // cores)))
        return side_by_side(answer, images.split(size), cores) if len(images) else iter(())


@dataclass(frozen=True)
class Way:
    """How a classifier is asked.

    Attributes
    ----------
    classifiers : tuple of Classifier
        One for each thread that asks; any of them answers as the classifier does.
    layout : torch.memory_format
        How a batch lies in memory.
    """

    classifiers: tuple[Classifier, ...]
    layout: torch.memory_format


def fastest_way(classifier: Classifier) -> Way:
    """How a classifier is asked: on a processor by copies of its module, one a core, if they answer as it does.

    A processor's convolutions are faster where a pixel's channels lie side by side, and without batch norm after them.
    A batch on each core is faster than all cores on one batch, who wait for each other after every layer. A module may
    be written so that it takes such images wrongly, or not at all (`view`), so probe images decide, which are no
    queries, as those that a classifier is tried on when it is made are none. Images of one channel lie the same either
    way, and they are asked as they are, so that no answer's last digit changes.
    """
    plain = Way((classifier,), torch.contiguous_format)
    if not isinstance(classifier, ModuleClassifier) or classifier.device.type != "cpu":
        return plain
    if classifier.input_shape[0] == 1:
        return plain
    images = probe_images(classifier.input_shape, classifier.dtype, classifier.device)
    try:
        with Watch() as watch:
            expected = classifier(images)
    except Exception:  # any sort of error of what cannot be watched means that it is asked as it is
        return plain
    if watch.one_channel:
        return plain
    expected = to_log_odds(expected, classifier.outputs)

    def agrees(other: Classifier, tolerance: float) -> bool:
        try:
            answers = to_log_odds(other(images.to(memory_format=torch.channels_last)), other.outputs)
        except Exception:  # any sort of error in a module of any sort means that it wants the usual layout
            return False
        return float((answers - expected).abs().max()) <= tolerance * (1 + float(expected.abs().max()))

    copies = faster_copies(classifier, torch.get_num_threads())
    for one in copies[:1]:
        if agrees(one, COPY_AGREEMENT):
            return Way(tuple(copies), torch.channels_last)
    return Way((classifier,), torch.channels_last) if agrees(classifier, AGREEMENT) else plain
