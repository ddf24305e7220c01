"""Neural Cleanse (Wang et al., IEEE S&P 2019): the smallest patch that turns every image into a class.

For each class a mask and a pattern are found by gradient (section IV-B, Eq. 2 and 3); the mask's L1 norm is held down
by a weight that adapts itself so that the trigger works on 99 % of the images. A class whose mask is abnormally small
among all classes (anomaly index above 2, section IV-C) is the target of a backdoor.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.classifiers import Classifier
from onepixel.methods.base import (
    Needs,
    Network,
    Score,
    Stopwatch,
    check_images,
    cross_entropy_per_trigger,
    smallest_is_suspicious,
)
from onepixel.methods.table import METHODS


@dataclass(frozen=True)
class NeuralCleanse:
    """Reverse engineer one trigger per class and look for an abnormally small one.

    The weight of the mask's norm is adapted as in the authors' released code: doubled after `patience` rounds in a row
    that work, divided by 2^1.5 after as many that do not. A round there is a thousand images, and there are up to
    1,000; here it is a few mini-batches, of all classes at once, so that a network takes seconds on a processor.

    Parameters
    ----------
    rounds, steps : int
        Rounds, and steps of each.
    batch_size : int
        Images per step and class (32 in the released code).
    learning_rate : float
        Of Adam with betas (0.5, 0.9), as released.
    first_weight, multiplier, patience, success : float, float, int, float
        The adaptive weight (1e-3, 2, 5, 0.99 in the released code).
    seed : int
    """

    name: ClassVar[str] = "neural-cleanse"
    title: ClassVar[str] = "Neural Cleanse"
    paper: ClassVar[str] = "Wang et al., Neural Cleanse, IEEE S&P 2019"
    needs: ClassVar[Needs] = Needs(weights=True, images=16)
    threshold: ClassVar[float] = 2.0

    rounds: int = 50
    steps: int = 5
    batch_size: int = 10
    learning_rate: float = 0.1
    first_weight: float = 1e-3
    multiplier: float = 2.0
    patience: int = 5
    success: float = 0.99
    seed: int = 0

    def score(self, classifier: Classifier, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        """Return the largest anomaly index of a small mask; see `Method.score`."""
        check_images(images, labels, self.needs.images, self.title)
        watch, network = Stopwatch(), Network(classifier)
        with network.frozen():
            sizes = self.mask_sizes(network, network.tensor(images))
        return smallest_is_suspicious(sizes, self.threshold, network.queries, watch.seconds)

    def mask_sizes(self, network: Network, images: Tensor) -> NDArray[np.float64]:
        """L1 norm of the smallest mask that works, per class (K,); H x W where none was found."""
        generator = torch.Generator().manual_seed(self.seed)
        classes, (channels, height, width) = network.classes, images.shape[1:]

        def start(*shape: int) -> Tensor:
            uniform = torch.rand(shape, generator=generator, dtype=torch.float64) * (1 - 2e-4) + 1e-4
            return torch.atanh(2 * uniform - 1).to(images).requires_grad_()

        mask_seed, pattern_seed = start(classes, 1, 1, height, width), start(classes, 1, channels, height, width)
        optimizer = torch.optim.Adam([mask_seed, pattern_seed], lr=self.learning_rate, betas=(0.5, 0.9))
        targets = torch.arange(classes, device=images.device)
        weight = torch.full((classes,), self.first_weight, device=images.device, dtype=images.dtype)
        smallest = torch.full((classes,), float(height * width), device=images.device, dtype=images.dtype)
        ups, downs = torch.zeros_like(targets), torch.zeros_like(targets)
        for _ in range(self.rounds):
            works, size = torch.zeros_like(weight), torch.zeros_like(weight)
            for _ in range(self.steps):
                chosen = torch.randint(len(images), (min(self.batch_size, len(images)),), generator=generator)
                mask, pattern = (torch.tanh(mask_seed) + 1) / 2, (torch.tanh(pattern_seed) + 1) / 2
                stamped = (1 - mask) * images[chosen] + mask * pattern
                logits = network(stamped.flatten(0, 1)).unflatten(0, (classes, len(chosen)))
                norm = mask.sum(dim=(1, 2, 3, 4))
                loss = cross_entropy_per_trigger(logits, targets) + weight * norm
                optimizer.zero_grad()
                loss.sum().backward()
                optimizer.step()
                works += (logits.argmax(2) == targets[:, None]).to(works).mean(1) / self.steps
                size += norm.detach() / self.steps
            good = works >= self.success
            smallest = torch.where(good & (size < smallest), size, smallest)
            ups, downs = torch.where(good, ups + 1, 0), torch.where(good, 0, downs + 1)
            weight = torch.where(ups >= self.patience, weight * self.multiplier, weight)
            weight = torch.where(downs >= self.patience, weight / self.multiplier**1.5, weight)
            ups, downs = torch.where(ups >= self.patience, 0, ups), torch.where(downs >= self.patience, 0, downs)
        return smallest.double().cpu().numpy()


METHODS.add(NeuralCleanse())
