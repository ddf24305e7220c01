"""MM-BD (Wang, Xiang, Miller, Kesidis, IEEE S&P 2024): the largest margin that each class can reach, without data.

A backdoor makes its target class reach an abnormally large margin over all others somewhere in image space (section
III). The margin of every class is maximised by gradient from random images; a Gamma distribution is fitted to all
margins but the largest, and the largest is tested against its order statistic (section III-B, Eq. 4).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.classifiers import Classifier
from onepixel.methods.base import Needs, Network, Score, Stopwatch
from onepixel.methods.table import METHODS


@dataclass(frozen=True)
class MaximumMargin:
    """Maximise each class's margin and test the largest against the rest.

    As in the authors' released code for CIFAR-10, where a new optimizer is made for each step, so that the momentum it
    is given has no effect; plain gradient descent is used here. Images are clipped to [0, 1] before the network sees
    them, the fit of the Gamma distribution is free in shape, place and scale, and it is of all classes but the one with
    the largest margin. Differences: `starts`, and that all classes go on until the last one has settled.

    Parameters
    ----------
    starts : int
        Random images per class (30 in the released code; the largest margin differs little from that of ten).
    steps : int
        Steps of gradient descent at most (300 there).
    learning_rate : float
        1e-2 there.
    tolerance : float
        Stops when the loss changes by less than this share (1e-5 there).
    seed : int
    """

    name: ClassVar[str] = "mm-bd"
    title: ClassVar[str] = "MM-BD"
    paper: ClassVar[str] = "Wang et al., MM-BD, IEEE S&P 2024"
    needs: ClassVar[Needs] = Needs(weights=True)
    alpha: ClassVar[float] = 0.05

    starts: int = 10
    steps: int = 300
    learning_rate: float = 1e-2
    tolerance: float = 1e-5
    seed: int = 0

    def score(self, classifier: Classifier, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        """Return minus log10 of the p-value of the largest margin; images and labels are not looked at."""
        watch, network = Stopwatch(), Network(classifier)
        with network.frozen():
            margins = self.margins(network, classifier.input_shape)
        p_value, log_p = order_statistic_p_value(margins)
        target = int(margins.argmax())
        flagged = p_value < self.alpha
        return Score(-log_p, flagged, target, tuple(map(float, margins)), network.queries, watch.seconds)

    def margins(self, network: Network, shape: tuple[int, int, int]) -> NDArray[np.float64]:
        """Return the largest margin found per class (K,), in logits."""
        generator = torch.Generator().manual_seed(self.seed)
        classes = network.classes
        images = torch.rand((classes * self.starts, *shape), generator=generator).to(network.device, network.dtype)
        images.requires_grad_()
        own = torch.arange(classes, device=network.device).repeat_interleave(self.starts)
        optimizer = torch.optim.SGD([images], lr=self.learning_rate)
        before = torch.full((classes,), float("inf"), device=network.device, dtype=network.dtype)
        margins = torch.zeros(0)
        for _ in range(self.steps):
            margins = _margins(network(images.clamp(0, 1)), own)
            optimizer.zero_grad()
            (-margins.sum()).backward()
            optimizer.step()
            now = margins.detach().unflatten(0, (classes, self.starts)).sum(1)
            if bool(((before - now).abs() < self.tolerance * before.abs()).all()):
                break
            before = now
        return margins.detach().unflatten(0, (classes, self.starts)).amax(1).double().cpu().numpy()


def _margins(logits: Tensor, own: Tensor) -> Tensor:
    others = logits.scatter(1, own[:, None], float("-inf")).amax(1)
    return logits.gather(1, own[:, None])[:, 0] - others


def order_statistic_p_value(statistics: NDArray[np.float64]) -> tuple[float, float]:
    """p-value of the largest of K statistics, and its decimal logarithm, which does not round to minus infinity.

    The null is a Gamma distribution fitted to all others (MM-BD, section III-B): 1 - G(largest)^K.
    """
    from scipy.stats import gamma

    largest = int(statistics.argmax())
    rest = np.delete(statistics, largest)
    if len(rest) < 2 or float(np.ptp(rest)) == 0:
        return 1.0, 0.0
    shape, location, scale = gamma.fit(rest)
    log_survival = float(gamma.logsf(statistics[largest], shape, loc=location, scale=scale))
    if not np.isfinite(log_survival):  # too small for a float: far out, the density falls off like the survival
        log_density = float(gamma.logpdf(statistics[largest], shape, loc=location, scale=scale))
        log_survival = log_density + float(np.log(scale)) if np.isfinite(log_density) else 0.0
    survival = float(np.exp(log_survival))
    if survival < 1e-8:
        return len(statistics) * survival, (log_survival + float(np.log(len(statistics)))) / float(np.log(10))
    p_value = -float(np.expm1(len(statistics) * np.log1p(-survival))) if survival < 1 else 1.0
    return p_value, float(np.log10(max(p_value, 1e-300)))


METHODS.add(MaximumMargin())
