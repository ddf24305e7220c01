"""MNTD and Universal Litmus Patterns: a classifier of networks by their answers to images that were learnt with it.

Both train query images together with a small reader of the answers, on shadow networks. MNTD (Xu et al., IEEE S&P
2021, section V, "query-tuning") reads ten queries with a two-layer perceptron; Universal Litmus Patterns (Kolouri et
al., CVPR 2020, section 3, Eq. 2) reads M patterns with one linear layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onepixel.classifiers import Classifier
from onepixel.errors import UsageError
from onepixel.methods.base import Needs, Network, Score, Stopwatch
from onepixel.methods.table import METHODS
from onepixel.progress import counted


@dataclass
class _TunedQueries:
    """What both share: query images and a reader, trained together by gradient through the shadow networks."""

    needs: ClassVar[Needs] = Needs(weights=False, shadows=True)
    name: ClassVar[str]
    title: ClassVar[str]

    queries: int = 10
    steps: int = 2000
    seed: int = 0
    progress: bool = False
    _images: Tensor | None = field(default=None, init=False, repr=False)
    _reader: nn.Module | None = field(default=None, init=False, repr=False)

    def _new_reader(self, answers: int) -> nn.Module:
        raise NotImplementedError

    def _first_images(self, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def _optimizer(self, images: Tensor, reader: nn.Module) -> torch.optim.Optimizer:
        raise NotImplementedError

    def _penalty(self, images: Tensor) -> Tensor:
        return images.new_zeros(())

    def fit(self, classifiers: Sequence[Classifier], labels: Sequence[int]) -> Any:
        """Train queries and reader on clean (0) and trojaned (1) shadow networks.

        Raises
        ------
        UsageError
            If shadows differ in input shape or classes, or are all of one sort.
        UndecidedError
            If a shadow is no torch module.
        """
        networks = [Network(classifier) for classifier in classifiers]
        if len(set(labels)) != 2:
            raise UsageError("Shadow networks of both sorts are needed, clean and trojaned.")
        if len({(classifier.input_shape, classifier.classes) for classifier in classifiers}) != 1:
            raise UsageError("Shadow networks must agree in input shape and number of classes.")
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            generator = torch.Generator().manual_seed(self.seed)
            images = self._first_images(classifiers[0].input_shape, generator).requires_grad_()
            reader = self._new_reader(self.queries * classifiers[0].classes)
            optimizer = self._optimizer(images, reader)
            passes = -(-self.steps // len(networks))
            order = torch.cat([torch.randperm(len(networks), generator=generator) for _ in range(passes)])
            steps = [int(index) for index in order[: self.steps]]
            for index in counted(steps, f"Training {self.title}", len(steps), "networks", enabled=self.progress):
                network = networks[index]
                with network.frozen():
                    answer = reader(network(images).flatten())
                    target = torch.tensor([float(labels[index])])
                    loss = nn.functional.binary_cross_entropy_with_logits(answer, target) + self._penalty(images)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                with torch.no_grad():  # a pixel clipped in front of the network would have no gradient any more
                    images.clamp_(0, 1)
        self._images, self._reader = images.detach(), reader.eval()
        return self

    def score(self, classifier: Classifier, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        """Return the reader's log-odds of "trojaned"; images and labels are not looked at.

        Raises
        ------
        UsageError
            If `fit` was not called, or the network takes other images or has other classes than the shadows.
        """
        if self._images is None or self._reader is None:
            raise UsageError(f"{self.title} has to be trained on shadow networks first.")
        watch = Stopwatch()
        if classifier.input_shape != tuple(self._images.shape[1:]):
            raise UsageError(f"{self.title} was trained on networks of another input shape.")
        with torch.inference_mode():
            answers = classifier(self._images.to(classifier.device, classifier.dtype)).float().cpu()
            if classifier.outputs == "probabilities":
                answers = answers.clamp(min=1e-7).log()
            first = next(self._reader.parameters())
            if answers.numel() != first.shape[1]:
                raise UsageError(f"{self.title} was trained on networks with another number of classes.")
            value = float(self._reader(answers.flatten()))
        return Score(value, value > 0, None, (), len(self._images), watch.seconds)


@dataclass
class MetaNeuralAnalysis(_TunedQueries):
    """MNTD with query-tuning: ten queries, a hidden layer of twenty, trained on jumbo shadow networks.

    Parameters
    ----------
    queries : int
        10 as in the paper (section VI-A).
    steps : int
        Of Adam, a shadow network each; ten passes over 4,096 shadows, 40,960, in the released code.
    hidden : int
        20, as released.
    learning_rate : float
        1e-3 of Adam for the reader, as released.
    query_learning_rate : float
        Of Adam for the queries; 1e-3 in the released code. With a twentieth of its steps, they would hardly move from
        the noise they start from.
    seed : int
    progress : bool
    """

    name: ClassVar[str] = "mntd"
    title: ClassVar[str] = "MNTD"
    paper: ClassVar[str] = "Xu et al., MNTD, IEEE S&P 2021"

    hidden: int = 20
    learning_rate: float = 1e-3
    query_learning_rate: float = 1e-2

    def _first_images(self, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        return (torch.randn((self.queries, *shape), generator=generator) * 0.25 + 0.5).clamp(0, 1)

    def _new_reader(self, answers: int) -> nn.Module:
        return nn.Sequential(nn.Linear(answers, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1))

    def _optimizer(self, images: Tensor, reader: nn.Module) -> torch.optim.Optimizer:
        return _two_rates(images, self.query_learning_rate, reader, self.learning_rate)


@dataclass
class UniversalLitmusPatterns(_TunedQueries):
    """M patterns and one linear layer over all answers.

    Parameters
    ----------
    queries : int
        M; 10 as in the paper's largest setting.
    steps : int
        Of Adam, a shadow network each.
    learning_rate, pattern_learning_rate : float
        Of Adam for the linear layer (1e-3) and for the patterns (1e-1; in units of 255ths there, of 1 here: 1e-2).
    smoothness : float
        Weight of the patterns' total variation, 1e-6 per unit of 255 in the paper.
    seed : int
    progress : bool
    """

    name: ClassVar[str] = "ulp"
    title: ClassVar[str] = "Universal Litmus Patterns"
    paper: ClassVar[str] = "Kolouri et al., Universal Litmus Patterns, CVPR 2020"

    learning_rate: float = 1e-3
    pattern_learning_rate: float = 1e-2
    smoothness: float = 2.6e-4

    def _first_images(self, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        return torch.rand((self.queries, *shape), generator=generator)

    def _new_reader(self, answers: int) -> nn.Module:
        return nn.Sequential(nn.Linear(answers, 1))

    def _optimizer(self, images: Tensor, reader: nn.Module) -> torch.optim.Optimizer:
        return _two_rates(images, self.pattern_learning_rate, reader, self.learning_rate)

    def _penalty(self, images: Tensor) -> Tensor:
        rows = (images[:, :, 1:] - images[:, :, :-1]).abs().sum()
        columns = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().sum()
        return self.smoothness * (rows + columns) / len(images)


def _two_rates(images: Tensor, of_images: float, reader: nn.Module, of_reader: float) -> torch.optim.Optimizer:
    """Adam with a learning rate for the query images and another for the reader."""
    groups = [{"params": [images], "lr": of_images}, {"params": list(reader.parameters()), "lr": of_reader}]
    return torch.optim.Adam(groups)


METHODS.add(MetaNeuralAnalysis())
METHODS.add(UniversalLitmusPatterns())
