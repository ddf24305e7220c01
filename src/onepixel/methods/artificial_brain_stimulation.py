"""ABS (Liu et al., ACM CCS 2019): stimulate one neuron at a time, and rebuild the trigger of those that obey.

A compromised neuron raises one label on every image when it is stimulated (section 4.1, the neuron stimulation
function). For the best candidates a patch within a size bound is found that stimulates the neuron (section 4.2,
Algorithm 2); the network is trojaned if such a patch turns clean images into the label: REASR, the attack success rate
of the reverse engineered trigger (section 4.3).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onepixel.classifiers import Classifier
from onepixel.errors import UndecidedError
from onepixel.methods.base import Needs, Network, Score, Stopwatch, check_images
from onepixel.methods.table import METHODS


class Candidate(NamedTuple):
    """A neuron that raises a label."""

    layer: str
    neuron: int
    label: int
    rise: float


@dataclass(frozen=True)
class ArtificialBrainStimulation:
    """Stimulate, invert, and report the best success rate of an inverted trigger.

    A neuron is a channel of a convolution or a unit of a dense layer, as in the released code, after the nonlinearity
    where that is a module of its own. The paper leaves open what a layer is in networks with branches; every
    convolution, dense layer and nonlinearity but the last dense layer counts here.

    Parameters
    ----------
    levels : int
        Stimulations per neuron, from 0 (5 in the released code).
    reach : float
        The strongest stimulation, in multiples of the layer's largest activation (8 there).
    candidates : int
        Neurons whose triggers are rebuilt (10 there).
    share : float
        The largest share of the pixels that a trigger may cover (64 of 1,024 there).
    steps, batch_size : int
        Of Adam, and images of each.
    learning_rate, size_weight : float
        The mask's surplus over the bound is held down by `size_weight`.
    success : float
        A REASR above this is a backdoor. The paper reports 88 % and more for trojaned networks and less for clean ones.
    seed : int
    """

    name: ClassVar[str] = "abs"
    title: ClassVar[str] = "ABS"
    paper: ClassVar[str] = "Liu et al., ABS, ACM CCS 2019"
    needs: ClassVar[Needs] = Needs(weights=True, images=1)

    levels: int = 5
    reach: float = 8.0
    candidates: int = 10
    share: float = 1 / 16
    steps: int = 150
    batch_size: int = 8
    learning_rate: float = 0.1
    size_weight: float = 10.0
    success: float = 0.88
    seed: int = 0

    def score(self, classifier: Classifier, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        """Return the highest REASR of all candidates; see `Method.score`."""
        check_images(images, labels, self.needs.images, self.title)
        watch, network = Stopwatch(), Network(classifier)
        clean = network.tensor(images)
        _, first = np.unique(labels, return_index=True)
        with network.frozen():
            found = self.stimulated(network, clean[torch.as_tensor(first)])[: self.candidates]
            if not found:
                return Score(0.0, False, None, (), network.queries, watch.seconds)
            rates = self.success_rates(network, clean, torch.as_tensor(labels, device=clean.device), found)
        per_class = np.zeros(network.classes)
        for candidate, rate in zip(found, rates, strict=True):
            per_class[candidate.label] = max(per_class[candidate.label], rate)
        target = int(per_class.argmax())
        value = float(per_class[target])
        return Score(value, value > self.success, target, tuple(map(float, per_class)), network.queries, watch.seconds)

    def stimulated(self, network: Network, images: Tensor) -> list[Candidate]:
        """All neurons with the label that they raise most on most images (N, C, H, W), the strongest first."""
        found = []
        with torch.inference_mode():
            activations = _activations(network, images)
            usual = network(images)
            for layer, activation in activations.items():
                strongest = self.reach * float(activation.max())
                if strongest <= 0:
                    continue
                for neuron in range(activation.shape[1]):
                    rises = torch.stack(
                        [
                            self._answers(network, images, layer, neuron, strongest * level / self.levels)
                            for level in range(1, self.levels)
                        ]
                    ).amax(0)
                    rises = rises - usual
                    two = rises.topk(2, dim=1)
                    label = int(torch.mode(two.indices[:, 0]).values)
                    agree = two.indices[:, 0] == label
                    if float(agree.float().mean()) >= 0.6:
                        rise = float((two.values[:, 0] - two.values[:, 1])[agree].mean())
                        found.append(Candidate(layer, neuron, label, rise))
        return sorted(found, key=lambda candidate: -candidate.rise)

    @staticmethod
    def _answers(network: Network, images: Tensor, layer: str, neuron: int, value: float) -> Tensor:
        def stimulate(module: nn.Module, asked: Any, answer: Tensor) -> Tensor:
            changed = answer.clone()
            changed[:, neuron] = value
            return changed

        handle = network.module.get_submodule(layer).register_forward_hook(stimulate)
        try:
            return network(images)
        finally:
            handle.remove()

    def success_rates(
        self, network: Network, images: Tensor, labels: Tensor, candidates: list[Candidate]
    ) -> list[float]:
        """REASR of every candidate, on the images that are not of its label already; all triggers are found at once."""
        generator = torch.Generator().manual_seed(self.seed)
        count, (channels, height, width) = len(candidates), images.shape[1:]
        bound = self.share * height * width
        start = float(np.log(self.share / (1 - self.share)))
        mask_seed = torch.full((count, 1, 1, height, width), start).to(images).requires_grad_()
        pattern = torch.rand((count, 1, channels, height, width), generator=generator).to(images).requires_grad_()
        optimizer = torch.optim.Adam([mask_seed, pattern], lr=self.learning_rate)
        others = [images[labels != candidate.label] for candidate in candidates]
        if any(len(some) == 0 for some in others):
            raise UndecidedError("ABS needs clean images of at least two classes.")
        layers = list(dict.fromkeys(candidate.layer for candidate in candidates))
        for _ in range(self.steps):
            batch = torch.stack([some[self._draw(len(some), generator)] for some in others])
            mask = torch.sigmoid(mask_seed)
            stamped = (1 - mask) * batch + mask * pattern.clamp(0, 1)
            with _recorded(network.module, layers) as kept:
                network(stamped.flatten(0, 1))
            surplus = torch.relu(mask.sum(dim=(1, 2, 3, 4)) - bound) / bound
            losses = []
            for number, candidate in enumerate(candidates):
                own = [kept[name] for name in (candidate.layer, f"before {candidate.layer}") if name in kept]
                parts = [_split(one.unflatten(0, batch.shape[:2])[number], candidate.neuron) for one in own]
                wanted, rest = (torch.stack(numbers).sum() for numbers in zip(*parts, strict=True))
                price = self.size_weight * surplus[number] * wanted.detach().abs().clamp(min=1)
                losses.append(-wanted + 1e-4 * rest + price)
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
        masks = torch.sigmoid(mask_seed.detach())
        return [
            self._success(network, others[number], masks[number], pattern[number], bound, candidate.label)
            for number, candidate in enumerate(candidates)
        ]

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(count, (self.batch_size,), generator=generator)

    @staticmethod
    def _success(network: Network, others: Tensor, mask: Tensor, pattern: Tensor, bound: float, label: int) -> float:
        """Share of images that become `label` with the mask's strongest pixels, as many as the bound allows."""
        with torch.inference_mode():
            kept = max(1, int(bound))
            lowest = mask.flatten().topk(min(kept, mask.numel())).values[-1]
            sharp = torch.where(mask >= lowest, mask, 0.0)
            answers = network((1 - sharp) * others + sharp * pattern.clamp(0, 1))
            return float((answers.argmax(1) == label).float().mean())


_NONLINEARITIES = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Tanh,
    nn.Softplus,
    nn.Sigmoid,
)


def _layers(module: nn.Module) -> list[str]:
    """Names of the layers that are stimulated: nonlinearities, else convolutions and dense layers but the last."""
    named = list(module.named_modules())
    nonlinear = [name for name, part in named if isinstance(part, _NONLINEARITIES)]
    if nonlinear:
        return nonlinear
    weighted = [name for name, part in named if isinstance(part, nn.Conv2d | nn.Linear)]
    if len(weighted) < 2:
        raise UndecidedError("ABS stimulates hidden neurons; this network has no layers that it knows.")
    return weighted[:-1]


@contextmanager
def _recorded(module: nn.Module, layers: list[str]) -> Iterator[dict[str, Tensor]]:
    """Keep the answers of these layers meanwhile, of nonlinearities what they are asked too; the last call counts."""
    kept: dict[str, Tensor] = {}

    def keep(part: nn.Module, asked: Any, answer: Tensor, *, name: str) -> None:
        kept[name] = answer
        if isinstance(part, _NONLINEARITIES):
            kept[f"before {name}"] = asked[0]

    handles = [module.get_submodule(name).register_forward_hook(partial(keep, name=name)) for name in layers]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _activations(network: Network, images: Tensor) -> dict[str, Tensor]:
    """What every stimulated layer answers (N, channels, ...)."""
    with _recorded(network.module, _layers(network.module)) as kept:
        network(images)
    layers = {name: answer for name, answer in kept.items() if not name.startswith("before ")}
    return {name: answer for name, answer in layers.items() if answer.ndim in (2, 4)}


def _split(activation: Tensor, neuron: int) -> tuple[Tensor, Tensor]:
    """Mean activation of one neuron, and of all others, of (N, channels, ...)."""
    wanted = activation[:, neuron].mean()
    count = activation.shape[1]
    rest = (activation.mean() * count - wanted) / max(count - 1, 1)
    return wanted, rest


METHODS.add(ArtificialBrainStimulation())
