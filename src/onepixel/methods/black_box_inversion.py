"""B3D (Dong et al., ICCV 2021): Neural Cleanse by queries alone.

A trigger is a random mask and pattern whose distribution is moved by natural evolution strategies (section 3.2, Eq. 5
to 7), so that scores of the network suffice. As there, a class whose mask's norm is abnormally small is a target.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.classifiers import Classifier, to_log_odds
from onepixel.methods.base import Needs, Score, Stopwatch, check_images, smallest_is_suspicious
from onepixel.methods.table import METHODS


@dataclass(frozen=True)
class BlackBoxInversion:
    """Estimate the smallest trigger per class from the network's scores.

    Parameters
    ----------
    steps : int
        Of Adam per class.
    samples : int
        Triggers drawn per step, in pairs mirrored about the mean pattern (50 in the paper).
    batch_size : int
        Images that each sample is tried on.
    sigma : float
        Standard deviation of the pattern's distribution (0.1 in the paper).
    learning_rate : float
        0.05 in the paper.
    first_weight, multiplier, patience, success : float, float, int, float
        The adaptive weight of the mask's norm, as in Neural Cleanse.
    seed : int
    """

    name: ClassVar[str] = "b3d"
    title: ClassVar[str] = "B3D"
    paper: ClassVar[str] = "Dong et al., Black-box Detection of Backdoor Attacks, ICCV 2021"
    needs: ClassVar[Needs] = Needs(weights=False, images=16)
    threshold: ClassVar[float] = 2.0

    steps: int = 100
    samples: int = 20
    batch_size: int = 4
    sigma: float = 0.1
    learning_rate: float = 0.05
    first_weight: float = 1e-3
    multiplier: float = 2.0
    patience: int = 5
    success: float = 0.9
    seed: int = 0

    def score(self, classifier: Classifier, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        """Return the largest anomaly index of a small mask; see `Method.score`."""
        check_images(images, labels, self.needs.images, self.title)
        watch = Stopwatch()
        clean = torch.as_tensor(images).to(classifier.device, classifier.dtype)
        sizes = np.array([self._mask_size(classifier, clean, target) for target in range(classifier.classes)])
        asked = self.steps * self.samples * min(self.batch_size, len(images)) * classifier.classes
        return smallest_is_suspicious(sizes, self.threshold, asked, watch.seconds)

    def _mask_size(self, classifier: Classifier, images: Tensor, target: int) -> float:
        """Expected L1 norm of the smallest mask that sends images (N, C, H, W) to one class."""
        generator = torch.Generator().manual_seed(self.seed + target)
        channels, height, width = images.shape[1:]
        mask_seed = torch.zeros((1, height, width), requires_grad=True)
        pattern_seed = torch.zeros((channels, height, width), requires_grad=True)
        optimizer = torch.optim.Adam([mask_seed, pattern_seed], lr=self.learning_rate)
        weight, smallest, ups, downs = self.first_weight, float(height * width), 0, 0
        for _ in range(self.steps):
            chosen = torch.randint(len(images), (min(self.batch_size, len(images)),), generator=generator)
            with torch.no_grad():
                chance = torch.sigmoid(2 * mask_seed)
                masks = torch.bernoulli(chance.expand(self.samples, *chance.shape), generator=generator)
                half = torch.randn((self.samples // 2, *pattern_seed.shape), generator=generator)
                noise = torch.cat([half, -half])
                masks = masks[: len(noise)]
                patterns = (torch.tanh(pattern_seed + self.sigma * noise) + 1) / 2
                losses, works = self._losses(classifier, images[chosen], masks, patterns, target)
                total = losses + weight * masks.sum(dim=(1, 2, 3))
                advantage = (total - total.mean()) / total.std().clamp(min=1e-8)
                pattern_seed.grad = torch.einsum("s,schw->chw", advantage, noise) / (len(noise) * self.sigma)
                mask_seed.grad = 2 * torch.einsum("s,schw->chw", advantage, masks - chance) / len(noise)
            optimizer.step()
            size = float(chance.sum())
            if works >= self.success:
                smallest, ups, downs = min(smallest, size), ups + 1, 0
            else:
                ups, downs = 0, downs + 1
            if ups >= self.patience:
                weight, ups = weight * self.multiplier, 0
            if downs >= self.patience:
                weight, downs = weight / self.multiplier**1.5, 0
        return smallest

    @staticmethod
    def _losses(
        classifier: Classifier, images: Tensor, masks: Tensor, patterns: Tensor, target: int
    ) -> tuple[Tensor, float]:
        """Mean loss of each of S triggers (S,), and the share of all answers that are the target."""
        masks, patterns = masks.to(images)[:, None], patterns.to(images)[:, None]
        stamped = (1 - masks) * images + masks * patterns
        answers = classifier(stamped.flatten(0, 1))
        odds = to_log_odds(answers, classifier.outputs)[:, target]
        losses = torch.nn.functional.softplus(-odds).unflatten(0, (len(masks), len(images))).mean(1)
        return losses.float().cpu(), float((answers.argmax(1) == target).float().mean())


METHODS.add(BlackBoxInversion())
