"""What reads a signature: the networks and machines behind a detector's readings, and how they are trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onepixel.classifiers.module import evaluating
from onepixel.detectors.context_cnn import ContextCNN
from onepixel.detectors.prominence import Prominence
from onepixel.detectors.statistics import StatisticsMachine
from onepixel.detectors.vanilla_cnn import SignatureNetwork

Network = SignatureNetwork | ContextCNN
Reader = Network | StatisticsMachine | Prominence

METHODS = {
    "instances": "vanilla CNN, instances",
    "channels": "vanilla CNN, channels",
    "whole": "vanilla CNN, whole",
    "context": "context CNN",
    "statistics": "statistics",
    "prominence": "prominence",
}
"""Every reading, and what reads it."""

WITHOUT_CHANCE = ("statistics", "prominence")
"""Readings that depend on no seed, so that one member is as good as several."""

Change = Callable[[Tensor, torch.Generator], Tensor]
"""What is done to a batch of signatures (N, K, C, H, W), prepared by a network, in training, at random."""


@dataclass(frozen=True)
class Schedule:
    """How a network is trained: Adam, decaying to 0 along a cosine."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float


def new_network(reading: str, definitions: int, shape: tuple[int, ...]) -> Network:
    """An untrained network for signatures of so many definitions and this shape (K, H, W)."""
    if reading == "context":
        return ContextCNN(definitions)
    return SignatureNetwork(reading, definitions, *shape)  # type: ignore[arg-type]


def restored_reader(reading: str, state: dict[str, Tensor], definitions: int, shape: tuple[int, ...]) -> Reader:
    """A trained network or machine out of its arrays."""
    if reading == "statistics":
        return StatisticsMachine(state).eval()
    if reading == "prominence":
        return Prominence().eval()
    network = new_network(reading, definitions, shape)
    network.load_state_dict(state)
    return network.eval()


def train_network(
    reading: str, inputs: Tensor, wanted: Tensor, schedule: Schedule, changes: Sequence[Change], seed: int
) -> Network:
    """Train one network on inputs (N, D, K, H, W) with labels (N,); both labels weigh the same in the loss.

    `changes` are done to every batch, in their order.
    """
    generator = torch.Generator().manual_seed(seed)
    share = wanted.mean()
    weights = torch.where(wanted == 1, 0.5 / share, 0.5 / (1 - share))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = new_network(reading, inputs.shape[1], tuple(inputs.shape[2:]))
        optimizer = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay)
        steps = schedule.epochs * -(-len(inputs) // schedule.batch_size)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        network.train()
        prepared = network.prepare(inputs)
        for _ in range(schedule.epochs):
            for chosen in torch.randperm(len(inputs), generator=generator).split(schedule.batch_size):
                batch = prepared[chosen]
                for change in changes:
                    batch = change(batch, generator)
                loss = network.loss(batch, wanted[chosen], weights[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                decay.step()
    return network.eval()


def scores_by_reading(networks: list[list[Reader]], inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores (R, N) by reading, each the mean over its members."""
    parts = torch.as_tensor(inputs).split(64)
    by_reading = []
    for members in networks:
        scores = []
        for network in members:
            with evaluating(network):
                scores.append(torch.cat([network(part) for part in parts]).double())
        by_reading.append(torch.stack(scores).mean(dim=0))
    return torch.stack(by_reading).numpy()


def shuffle_classes(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Give every signature (N, K, C, H, W) of a batch its own order of classes."""
    order = torch.rand(batch.shape[:2], generator=generator).argsort(dim=1)
    return batch[torch.arange(len(batch))[:, None], order]


def mirror(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Flip and transpose the images of a batch (N, K, C, H, W), all in the same way."""
    upside_down, left_right, transposed = (torch.rand(3, generator=generator) < 0.5).tolist()
    dims = [dim for dim, chosen in ((-2, upside_down), (-1, left_right)) if chosen]
    flipped = batch.flip(dims) if dims else batch
    return flipped.transpose(-1, -2) if transposed and batch.shape[-1] == batch.shape[-2] else flipped
