"""Asking a classifier about changed images: in batches, in log-odds, within a budget that is never exceeded."""

from collections.abc import Callable

import torch
from torch import Tensor

from onepixel.classifiers import Classifier, to_log_odds
from onepixel.errors import BudgetError, UsageError

BATCH_BYTES = 4 * 2**20
"""Bytes of images in one batch: small batches stay in the caches of a core."""

GPU_BATCH_BYTES = 256 * 2**20

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
        return max(16, min(4096, most // (4 * channels * height * width)))

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
            placed = part.to(device=self.classifier.device, dtype=self.classifier.dtype)
            found.append(to_log_odds(self.classifier(placed), self.classifier.outputs).float().cpu())
            self.advance(len(part))
        return torch.cat(found) if found else torch.empty((0, self.classifier.classes))
