"""Asking a classifier about changed images: in batches, in log-odds, within a budget that is never exceeded."""

from collections.abc import Callable

import torch
from torch import Tensor

from onepixel.classifiers import Classifier, ModuleClassifier, to_log_odds
from onepixel.classifiers.base import probe_images
from onepixel.errors import BudgetError, UsageError

BATCH_BYTES = 3 * 2**19
"""Bytes of images in one batch: small batches stay in the caches of a core. It is 128 colour images of 32 x 32."""

GPU_BATCH_BYTES = 256 * 2**20

FEWEST, MOST = 8, 4096
"""Images of one batch."""

AGREEMENT = 1e-3
"""Log-odds that another layout of the same images may differ by, relative to 1 and the largest of them."""

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
        self.layout = fastest_layout(classifier)

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
        for part in images.split(self.batch):
            placed = part.to(device=self.classifier.device, dtype=self.classifier.dtype, memory_format=self.layout)
            found.append(to_log_odds(self.classifier(placed), self.classifier.outputs).float().cpu())
            self.advance(len(part))
        return torch.cat(found) if found else torch.empty((0, self.classifier.classes))


def fastest_layout(classifier: Classifier) -> torch.memory_format:
    """How a batch lies in memory: a processor's convolutions are faster where a pixel's channels lie side by side.

    A module may be written so that it takes such images wrongly, or not at all (`view`), so probe images decide,
    which are no queries, as those that a classifier is tried on when it is made are none.
    Images of one channel lie the same either way, and so they do not change an answer's last digit.
    """
    plain, beside = torch.contiguous_format, torch.channels_last
    if not isinstance(classifier, ModuleClassifier) or classifier.device.type != "cpu":
        return plain
    if classifier.input_shape[0] == 1:
        return plain
    images = probe_images(classifier.input_shape, classifier.dtype, classifier.device)
    expected = to_log_odds(classifier(images), classifier.outputs)
    try:
        answers = to_log_odds(classifier(images.to(memory_format=beside)), classifier.outputs)
    except Exception:  # any sort of error in a module of any sort means that it wants the usual layout
        return plain
    difference = float((answers - expected).abs().max())
    return beside if difference <= AGREEMENT * (1 + float(expected.abs().max())) else plain
