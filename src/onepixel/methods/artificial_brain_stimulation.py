"""ABS (Liu et al., ACM CCS 2019): stimulate one neuron at a time, and rebuild the trigger of those that obey.

A compromised neuron raises one label on every image when it is stimulated (section 4.1, the neuron stimulation
function). For the best candidates a patch within a size bound is found that stimulates the neuron (section 4.2,
Algorithm 2); the network is trojaned if such a patch turns clean images into the label: REASR, the attack success rate
of the reverse engineered trigger (section 4.3).
"""

from collections.abc import Iterator, Sequence
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

    Follows the authors' released code for CIFAR-10: which neurons are tried, what their triggers are sought with, and
    how success is counted. Differences: the mask starts alike everywhere and its sum is held down, an
    option of that code, which else starts from a square in the upper left corner and counts pixels: a square that
    stays there finds nothing in networks that see where a trigger is, such as LeNet-5. There a mask that is too large
    costs 500 times its sum; Adam, which divides by recent gradients, then hardly hears the neuron, and a mask that
    starts alike everywhere stays translucent everywhere. Here the cost is the square of what is above the bound: its
    gradient settles where the least useful pixel is worth as much, masks become black and white, and 300 steps do
    what 1,000 did not. That code also stimulates
    single units of a flattened convolution, and rebuilds triggers that are filters (section 4.2 names both kinds),
    which is left out here; it descends on a third of 10 or 50 images, here on `batch_size` random ones per step;
    images of the label itself do not count here. A neuron is a channel of a convolution or a unit of a dense layer, as
    there, after the nonlinearity where that is a module of its own. The paper leaves open what a layer is in networks
    with branches; every convolution, dense layer and nonlinearity but the last dense layer counts here.

    Parameters
    ----------
    levels : int
        Stimulations per neuron, from 0 (5 in the released code).
    reach : float
        The strongest stimulation, in multiples of the layer's largest activation (4 to 8 there).
    candidates : int
        Neurons whose triggers are rebuilt (10 there); of the first half at most three are of one layer.
    disagreeing : float
        Share of images that a neuron may raise another label on (2 of 10 images there).
    share : float
        The largest share of the pixels that a trigger may cover (64 of 1,024 there).
    steps, batch_size : int
        Of Adam (1,000 there), and images of each (3 or 16 there).
    learning_rate, size_weight : float
        Of Adam (0.1 there), and of half the square of what the mask's sum is above the bound.
    rest_weight : float
        What activations of all other neurons cost (1e-4 there).
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
    disagreeing: float = 0.2
    share: float = 1 / 16
    steps: int = 300
    batch_size: int = 4
    learning_rate: float = 0.1
    size_weight: float = 10.0
    rest_weight: float = 1e-4
    success: float = 0.88
    seed: int = 0

    def score(self, classifier: Classifier, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        """Return the highest REASR of all candidates; see `Method.score`."""
        check_images(images, labels, self.needs.images, self.title)
        watch, network = Stopwatch(), Network(classifier)
        clean = network.tensor(images)
        classes, first = np.unique(labels, return_index=True)
        if len(classes) < 2:
            raise UndecidedError("ABS needs clean images of at least two classes.")
        with network.frozen():
            found = self.stimulated(network, clean[torch.as_tensor(first)], torch.as_tensor(classes).to(clean.device))
            if not found:
                return Score(0.0, False, None, (), network.queries, watch.seconds)
            chosen = self.chosen(found)
            rates = self.success_rates(network, clean, torch.as_tensor(labels, device=clean.device), chosen)
        per_class = np.zeros(network.classes)
        for candidate, rate in zip(chosen, rates, strict=True):
            per_class[candidate.label] = max(per_class[candidate.label], rate)
        target = int(per_class.argmax())
        value = float(per_class[target])
        return Score(value, value > self.success, target, tuple(map(float, per_class)), network.queries, watch.seconds)

    def stimulated(self, network: Network, images: Tensor, labels: Tensor) -> list[Candidate]:
        """All neurons that raise one label on nearly all images (N, C, H, W), the strongest first.

        A neuron's strength is the least of how far its label rises above the next one, over the images that are not of
        that label (N,) already and where it does.
        """
        found = []
        with torch.inference_mode():
            for layer, activation in _activations(network, images).items():
                strongest = self.reach * float(activation.max())
                if strongest <= 0:
                    continue
                for neuron in range(activation.shape[1]):
                    answers = self._answers(network, images, layer, neuron, strongest)
                    two = (answers[1:].amax(0) - answers[0]).topk(2, dim=1)
                    label = int(torch.mode(two.indices[:, 0]).values)
                    agree = two.indices[:, 0] == label
                    counts = agree & (labels != label)
                    if float(agree.float().mean()) >= 1 - self.disagreeing and bool(counts.any()):
                        rise = float((two.values[:, 0] - two.values[:, 1])[counts].min())
                        found.append(Candidate(layer, neuron, label, rise))
        return sorted(found, key=lambda candidate: -candidate.rise)

    def chosen(self, found: Sequence[Candidate]) -> list[Candidate]:
        """The candidates whose triggers are rebuilt: half of them spread over layers, then the strongest others."""
        spread: list[Candidate] = []
        for one in found:
            if len(spread) < self.candidates // 2 and sum(one.layer == other.layer for other in spread) < 3:
                spread.append(one)
        return [*spread, *(one for one in found if one not in spread)][: self.candidates]

    def _answers(self, network: Network, images: Tensor, layer: str, neuron: int, strongest: float) -> Tensor:
        """Logits (L, N, K) of N images with one neuron held at each of L levels, the first of which is 0."""
        values = (
            torch.arange(self.levels, device=images.device).repeat_interleave(len(images)) * strongest / self.levels
        )

        def stimulate(module: nn.Module, asked: Any, answer: Tensor) -> Tensor:
            changed = answer.clone()
            changed[:, neuron] = values.to(changed).view(-1, *[1] * (changed.ndim - 2))
            return changed

        handle = network.module.get_submodule(layer).register_forward_hook(stimulate)
        try:
            return network(images.repeat(self.levels, 1, 1, 1)).unflatten(0, (self.levels, len(images)))
        finally:
            handle.remove()

    def success_rates(
        self, network: Network, images: Tensor, labels: Tensor, candidates: list[Candidate]
    ) -> list[float]:
        """REASR of every candidate, on the images that are not of its label already; all triggers are found at once."""
        generator = torch.Generator().manual_seed(self.seed)
        count, (channels, height, width) = len(candidates), images.shape[1:]
        bound = self.share * height * width
        start = torch.full((count, 1, 1, height, width), float(np.arctanh(2 * self.share - 1)))
        mask_seed = start.to(images).requires_grad_()
        noise = torch.rand((count, 1, channels, height, width), generator=generator)
        pattern = noise.to(images).requires_grad_()
        optimizer = torch.optim.Adam([mask_seed, pattern], lr=self.learning_rate)
        others = [images[labels != candidate.label] for candidate in candidates]
        for _ in range(self.steps):
            batch = torch.stack([some[self._draw(len(some), generator)] for some in others])
            mask = (torch.tanh(mask_seed) + 1) / 2
            stamped = (1 - mask) * batch + mask * pattern
            excess = (mask.sum(dim=(1, 2, 3, 4)) - bound).clamp(min=0)
            loss = self._neurons(network, stamped, candidates) + (self.size_weight * excess**2 / 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                pattern.clamp_(0, 1)
        masks = ((torch.tanh(mask_seed) + 1) / 2).detach()
        return [
            self._success(network, others[number], masks[number], pattern.detach()[number], candidate.label)
            for number, candidate in enumerate(candidates)
        ]

    def _neurons(self, network: Network, stamped: Tensor, candidates: list[Candidate]) -> Tensor:
        """What all triggers cost: little where each (T, B, C, H, W) stimulates its candidate and no other neuron."""
        layers = list(dict.fromkeys(candidate.layer for candidate in candidates))
        with _recorded(network.module, layers) as kept:
            network(stamped.flatten(0, 1))
        loss = stamped.new_zeros(())
        for layer in layers:
            own = [number for number, candidate in enumerate(candidates) if candidate.layer == layer]
            neurons = torch.tensor([candidates[number].neuron for number in own], device=stamped.device)
            for activation in (kept[name] for name in (layer, f"before {layer}") if name in kept):
                per_neuron = activation.unflatten(0, stamped.shape[:2])[own].flatten(2).sum(1)
                per_neuron = per_neuron.unflatten(1, (activation.shape[1], -1)).sum(2)
                wanted = per_neuron.gather(1, neurons[:, None]).sum()
                loss = loss - wanted + self.rest_weight * (per_neuron.sum() - wanted)
        return loss

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(count, (self.batch_size,), generator=generator)

    @staticmethod
    def _success(network: Network, others: Tensor, mask: Tensor, pattern: Tensor, label: int) -> float:
        """Share of images that become `label`."""
        with torch.inference_mode():
            answers = network((1 - mask) * others + mask * pattern)
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


METHODS.add(ArtificialBrainStimulation())
